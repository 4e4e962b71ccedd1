// SPDX-License-Identifier: Apache-2.0

use std::{sync::Arc, time::Duration};

use http::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, client::ConfigExt as _};
use parking_lot::Mutex;
use tower::util::BoxCloneSyncService;

use crate::{
    cluster::{
        error::{Cause, ObjectRef, ReadError, WriteError},
        writer::{Target, Writer},
    },
    metrics::Metrics,
    testkit::scripted_api::{Answer, ScriptedApi},
};
use kube_fenced_election::{
    clock::{Clock as _, SystemClock},
    fence::Fence,
};

use super::{ClientSettings, Clients, ReadOnly, ServerDate, Source, TermTransport, Transport, Wire};

fn settings() -> ClientSettings {
    ClientSettings {
        kubeconfig_flag: None,
        kubeconfig_env: None,
        home: None,
        qps: 1.0,
        burst: 1,
        program: "program/1.2.3".into(),
        identity: "pod-0_f00d".into(),
    }
}

fn clients(api: &ScriptedApi, metrics: &Metrics) -> Clients {
    dated_clients(api, metrics, None)
}

fn dated_clients(api: &ScriptedApi, metrics: &Metrics, dates: Option<ServerDate>) -> Clients {
    let mut config = kube::Config::new("https://10.0.0.1:6443/prefix".parse().unwrap());
    config.auth_info.token = Some("secret".to_owned().into());
    config.auth_info.impersonate = Some("somebody".into());
    let auth = config.auth_layer().unwrap();
    let transport: Transport = BoxCloneSyncService::new(api.clone());
    let election_transports = [transport.clone(), transport.clone()];
    let of_terms = transport.clone();
    let term_transport: TermTransport = Box::new(move |_, _| of_terms.clone());
    let wire =
        Wire { transport, election_transports, term_transport, config, auth, source: Source::InCluster };
    let requests = metrics.int_counter("rest_client_requests_total", "Help.", &["code", "method", "host"]);
    Clients::over(wire, &settings(), &requests.unwrap(), dates, Arc::new(SystemClock))
}

fn pods(client: kube::Client) -> Api<Pod> {
    Api::namespaced(client, "ns")
}

const UNACKNOWLEDGED: Duration = Duration::from_secs(5);
const POD: &str = "/prefix/api/v1/namespaces/ns/pods/a";

#[tokio::test(start_paused = true)]
async fn requests_carry_address_credentials_and_who_sends_them() {
    let api = ScriptedApi::echo();
    let metrics = Metrics::new();
    let clients = clients(&api, &metrics);
    pods(clients.reader()).get_opt("a").await.unwrap();
    let [election, second] = clients.election("kv-cache-controller");
    pods(election).get_opt("a").await.unwrap();
    pods(second).get_opt("a").await.unwrap();
    let seen = api.requests();
    assert_eq!(api.log(), [format!("GET {POD}"), format!("GET {POD}"), format!("GET {POD}")]);
    assert_eq!(seen[0].header("authorization"), "Bearer secret");
    assert_eq!(seen[0].header("impersonate-user"), "somebody");
    assert!(seen[0].header("user-agent").ends_with(") reader/pod-0_f00d"));
    assert!(seen[1].header("user-agent").ends_with(") kv-cache-controller/pod-0_f00d"));
    assert!(seen[2].header("user-agent").ends_with(") kv-cache-controller/pod-0_f00d"));
    let count = r#"rest_client_requests_total{code="200",host="10.0.0.1:6443",method="GET"} 3"#;
    assert!(metrics.render().contains(count), "{}", metrics.render());
}

#[tokio::test(start_paused = true)]
async fn refusal_of_a_closed_fence_is_recognised_by_the_writer() {
    let api = ScriptedApi::echo();
    let clients = clients(&api, &Metrics::new());
    let (keeper, fence) = Fence::new(Arc::new(SystemClock), SystemClock.instant() + Duration::from_secs(14));
    let told: Arc<Mutex<Vec<Method>>> = Arc::default();
    let refused = {
        let told = Arc::clone(&told);
        Arc::new(move |method: &Method| told.lock().push(method.clone()))
    };
    let client = clients.fenced("kv-cache-controller", &fence, refused, UNACKNOWLEDGED);
    keeper.revoke();
    let resource = kube::core::ApiResource::erase::<Pod>(&());
    let target = Target { resource, namespace: Some("ns".into()), name: "a".into() };
    let error = Writer::new(client).delete(&target, "uid").await.unwrap_err();
    assert!(matches!(error, WriteError::NotLeading(_)), "{error:?}");
    assert_eq!(*told.lock(), [Method::DELETE]);
    assert_eq!(api.log(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_hung_answer_is_recognised_as_time_out() {
    let api = ScriptedApi::in_turn([Answer::Hang, Answer::HangInBody]);
    let clients = clients(&api, &Metrics::new());
    for _ in 0..2 {
        let error = pods(clients.process()).get("a").await.unwrap_err();
        let object = ObjectRef { kind: "Pod".into(), namespace: "ns".into(), name: "a".into() };
        let error = ReadError::new(object, &error);
        assert!(matches!(error.cause, Cause::Timeout(_)), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_reader_refuses_to_change_anything() {
    let api = ScriptedApi::echo();
    let clients = clients(&api, &Metrics::new());
    let result = pods(clients.reader()).delete("a", &kube::api::DeleteParams::default()).await;
    let Err(kube::Error::Service(error)) = result else { panic!("{result:?}") };
    assert!(error.is::<ReadOnly>());
}

#[tokio::test(start_paused = true)]
async fn limited_clients_share_their_buckets_and_electors_have_none() {
    let api = ScriptedApi::echo();
    let clients = clients(&api, &Metrics::new());
    let (_keeper, fence) = Fence::without_election(Arc::new(SystemClock));
    let start = SystemClock.instant();
    for client in
        [clients.reader(), clients.process(), clients.fenced("c", &fence, Arc::new(|_| ()), UNACKNOWLEDGED)]
    {
        pods(client).get_opt("a").await.unwrap();
    }
    assert_eq!((SystemClock.instant() - start).as_secs(), 2);
    let start = SystemClock.instant();
    for _ in 0..10 {
        for client in clients.election("c") {
            pods(client).get_opt("a").await.unwrap();
        }
    }
    assert_eq!(SystemClock.instant(), start);
}

#[tokio::test(start_paused = true)]
async fn server_errors_are_not_retried() {
    let api = ScriptedApi::new(|_| Answer::failure(503, "ServiceUnavailable", "try again"));
    let clients = clients(&api, &Metrics::new());
    pods(clients.process()).get("a").await.unwrap_err();
    assert_eq!(api.requests().len(), 1);
}

#[tokio::test]
async fn debug_output_has_no_credentials() {
    let clients = clients(&ScriptedApi::echo(), &Metrics::new());
    assert_eq!(format!("{clients:?}"), "Clients { host: \"10.0.0.1:6443\", source: InCluster, .. }");
}
