// SPDX-License-Identifier: Apache-2.0

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use http::StatusCode;

use crate::{
    controllers::pod_autoscaler::snapshot::{Reading, SampleError},
    engine::{
        exposition::{Combine, Query},
        http::{EngineClient, Limits, Scheme, Target},
    },
    testkit::{
        fake_engine::{Engine, FakeEngine, Load},
        metrics_api::{MetricsApi, PodUsage},
    },
    validation::target_metric::Matchers,
};

use super::{
    reader::Sources,
    wanted::{Item, Origin, Pick, Value, Wanted},
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn api() -> (MetricsApi, Sources) {
    let api = MetricsApi::start(SocketAddr::from((LOOPBACK, 0)), false).await.unwrap();
    let url = format!("http://{}", api.address()).parse().unwrap();
    let client = kube::Client::try_from(kube::Config::new(url)).unwrap();
    let engine = EngineClient::new(Limits::default(), "test").unwrap();
    (api, Sources::new(engine, client))
}

async fn number(sources: &Sources, origin: Origin, pick: Pick) -> Result<f64, SampleError> {
    let queries: BTreeSet<Arc<Query>> = pick.queries().iter().cloned().map(Arc::new).collect();
    let outcome = sources.read(&origin, &queries).await.map(Arc::new);
    let wanted = Wanted::Total(Item { origin, pick });
    let Reading::Total(number) = wanted.reading(|_| Some(outcome.clone())) else { panic!("{wanted:?}") };
    number
}

fn external(metric: &str) -> Origin {
    Origin::External { namespace: "ns".to_owned(), metric: metric.to_owned(), series: Matchers::default() }
}

fn custom(metric: &str) -> Origin {
    Origin::Custom {
        namespace: "ns".to_owned(),
        pod: "a".to_owned(),
        metric: metric.to_owned(),
        series: Matchers::default(),
    }
}

#[tokio::test]
async fn text_of_a_pod_gives_its_family() {
    let (_api, sources) = api().await;
    let engine = FakeEngine::start(SocketAddr::from((LOOPBACK, 0))).await.unwrap();
    engine.pods.load(None, &Load::of(Engine::Vllm).with("num_requests_running", 3.0));
    let target = Target::pod(Scheme::Http, LOOPBACK, &engine.port(), "metrics").unwrap();
    let pick = |queries| Pick::Series { queries, combine: Combine::Count };
    let of = |family: &str| number(&sources, Origin::Text(target.clone()), pick(vec![family.into()]));
    assert_eq!(of("vllm:num_requests_running").await, Ok(3.0));
    let url = format!("GET http://127.0.0.1:{}/metrics", engine.port());
    assert_eq!(of("absent").await, Err(SampleError(format!("{url}: metric \"absent\": not found"))));
    let either = pick(vec!["absent".into(), "vllm:num_requests_running".into()]);
    assert_eq!(number(&sources, Origin::Text(target), either).await, Ok(3.0));
}

#[tokio::test]
async fn usage_is_summed_over_containers_with_one_list() {
    let (api, sources) = api().await;
    for (pod, app) in [("a", "web"), ("b", "web"), ("other", "db")] {
        let labels = [("app".to_owned(), app.to_owned())].into();
        let containers = vec![("30".to_owned(), "1Ki".to_owned()), ("20".to_owned(), "1".to_owned())];
        api.values.pod("ns", pod, Some(PodUsage { labels, containers }));
    }
    let origin = Origin::Usage { namespace: "ns".to_owned(), selector: "app=web".to_owned() };
    let of = |pick| number(&sources, origin.clone(), pick);
    assert_eq!(of(Pick::Cpu("a".to_owned())).await, Ok(50_000.0));
    assert_eq!(of(Pick::Memory("b".to_owned())).await, Ok(1025.0));
    assert!(of(Pick::Cpu("other".to_owned())).await.is_err());
    let Value::Usage(pods) = sources.read(&origin, &BTreeSet::new()).await.unwrap() else { panic!() };
    assert_eq!(pods.len(), 2);
}

#[tokio::test]
async fn pod_with_an_unmeasured_container_has_no_usage() {
    let (api, sources) = api().await;
    let containers = vec![("30m".to_owned(), "1Ki".to_owned()), (String::new(), "1Ki".to_owned())];
    api.values.pod("ns", "a", Some(PodUsage { containers, ..PodUsage::default() }));
    let origin = Origin::Usage { namespace: "ns".to_owned(), selector: "!x".to_owned() };
    assert!(number(&sources, origin, Pick::Cpu("a".to_owned())).await.is_err());
}

#[tokio::test]
async fn external_items_are_summed_and_none_is_an_error() {
    let (api, sources) = api().await;
    api.values.external("ns", "queue", &["40", "60500m"]);
    assert_eq!(number(&sources, external("queue"), Pick::Number).await, Ok(100.5));
    let none = "no external metric values returned for other in namespace ns";
    assert_eq!(number(&sources, external("other"), Pick::Number).await, Err(SampleError(none.to_owned())));
    api.values.fail_with(Some(StatusCode::FORBIDDEN));
    let failed = "failed to fetch external metric queue in namespace ns: told to fail";
    assert_eq!(number(&sources, external("queue"), Pick::Number).await, Err(SampleError(failed.to_owned())));
}

#[tokio::test]
async fn custom_metric_keeps_its_fraction_and_looks_its_version_up_once() {
    let (api, sources) = api().await;
    api.values.custom("ns", "a", "load", Some("1500m"));
    assert_eq!(number(&sources, custom("load"), Pick::Number).await, Ok(1.5));
    assert_eq!(number(&sources, custom("load"), Pick::Number).await, Ok(1.5));
    assert!(number(&sources, custom("other"), Pick::Number).await.is_err());
}

#[tokio::test]
async fn metric_name_never_leads_to_another_path() {
    let (api, sources) = api().await;
    for name in ["../../../../api/v1/namespaces/ns/secrets", "..", ".", "a?watch=true", "a%2fb", "a#b", ""] {
        assert!(number(&sources, external(name), Pick::Number).await.is_err(), "{name}");
        assert!(number(&sources, custom(name), Pick::Number).await.is_err(), "{name}");
    }
    assert!(api.values.counts().is_empty());
}
