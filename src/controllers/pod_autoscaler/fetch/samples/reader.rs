// SPDX-License-Identifier: Apache-2.0
//! Reads one origin, once. No retries: the next period is the retry.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::api::{GetParams, ListParams, Request};
use parking_lot::Mutex;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    controllers::pod_autoscaler::{fetch, snapshot::SampleError},
    engine::{
        exposition::Query,
        http::{EngineClient, Target},
    },
    validation::target_metric::Matchers,
};
use kube_loops::{
    chain::Chain, k8s::text, rollout::template::quantity::GoQuantity, runtime::requests::runner::SendRequest,
};

use super::{
    cache::{MetricsCache, Scrape},
    wanted::{Origin, Usage, Value},
};

const CUSTOM: &str = "custom.metrics.k8s.io";
/// Versions of the custom metrics API that are understood, best first.
const CUSTOM_VERSIONS: [&str; 2] = ["v1beta2", "v1beta1"];
/// Longest error text in bytes: it goes to conditions, events and the history.
const LONGEST_ERROR: usize = 256;

/// The real origins: engines over HTTP, metrics APIs through the API server.
pub(in crate::controllers::pod_autoscaler) struct Sources {
    engine: EngineClient,
    api: kube::Client,
    /// Version of the custom metrics API that is served; looked up at first use and after a failure.
    custom_version: Mutex<Option<&'static str>>,
}

impl Sources {
    /// Reads with these clients; `api` is only asked, never told.
    pub(in crate::controllers::pod_autoscaler) fn new(engine: EngineClient, api: kube::Client) -> Self {
        Self { engine, api, custom_version: Mutex::new(None) }
    }

    /// Reads one; of a text it keeps these series.
    pub(super) async fn read(
        &self,
        origin: &Origin,
        queries: &BTreeSet<Arc<Query>>,
    ) -> Result<Value, SampleError> {
        match origin {
            Origin::Text(target) => self.text(target, queries).await,
            Origin::Usage { namespace, selector } => self.usage(namespace, selector).await,
            Origin::Custom { namespace, pod, metric, series } => {
                self.custom(namespace, pod, metric, series).await
            }
            Origin::External { namespace, metric, series } => self.external(namespace, metric, series).await,
        }
    }

    async fn text(&self, target: &Target, queries: &BTreeSet<Arc<Query>>) -> Result<Value, SampleError> {
        let families = self.engine.scrape(target, queries.iter().map(|query| &**query)).await;
        families.map(Value::Text).map_err(|error| said(&error))
    }

    async fn usage(&self, namespace: &str, selector: &str) -> Result<Value, SampleError> {
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
        let request = Request::new(path).list(&ListParams::default().labels(selector));
        let list: PodMetricsList = self.ask(request.map_err(|error| said(&error))?).await?;
        let pods =
            list.items.into_iter().filter_map(|pod| Some((pod.metadata.name, usage_of(&pod.containers)?)));
        Ok(Value::Usage(pods.collect()))
    }

    async fn custom(
        &self,
        namespace: &str,
        pod: &str,
        metric: &str,
        series: &Matchers,
    ) -> Result<Value, SampleError> {
        let known = *self.custom_version.lock();
        let version = match known {
            Some(version) => version,
            None => self.find_custom_version().await?,
        };
        let path = format!("/apis/{CUSTOM}/{version}/namespaces/{namespace}/pods/{pod}");
        let list: ValueList = match self.named(&path, metric, Some(("metricLabelSelector", series))).await {
            Ok(list) => list,
            Err(error) => {
                // An adapter may have been replaced by one of another version.
                *self.custom_version.lock() = None;
                return Err(error);
            }
        };
        let [item] = list.items.as_slice() else {
            let found = list.items.len();
            return Err(SampleError(format!(
                "custom metric {metric} of pod {namespace}/{pod}: {found} values instead of one"
            )));
        };
        number(metric, &item.value).map(Value::Number)
    }

    async fn find_custom_version(&self) -> Result<&'static str, SampleError> {
        let group: ApiGroup = self.named("/apis", CUSTOM, None).await?;
        let preferred = group.preferred_version.map(|version| version.version);
        let mut served =
            preferred.into_iter().chain(group.versions.into_iter().map(|version| version.version));
        let known = |served: String| CUSTOM_VERSIONS.into_iter().find(|version| *version == served);
        let version = served.find_map(known);
        let version =
            version.ok_or_else(|| SampleError(format!("no known version of {CUSTOM} is served")))?;
        *self.custom_version.lock() = Some(version);
        Ok(version)
    }

    async fn external(&self, namespace: &str, metric: &str, series: &Matchers) -> Result<Value, SampleError> {
        let path = format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}");
        let list: ValueList = self.named(&path, metric, Some(("labelSelector", series))).await.map_err(
            |SampleError(why)| {
                let metric = format!("{metric}{series}");
                SampleError(format!(
                    "failed to fetch external metric {metric} in namespace {namespace}: {why}"
                ))
            },
        )?;
        if list.items.is_empty() {
            let error =
                format!("no external metric values returned for {metric}{series} in namespace {namespace}");
            return Err(SampleError(error));
        }
        let numbers = list.items.iter().map(|item| number(metric, &item.value));
        numbers.sum::<Result<f64, SampleError>>().map(Value::Number)
    }

    /// GET of `path/name`, where `name` is what a user wrote, restricted to series by that parameter.
    async fn named<T: DeserializeOwned>(
        &self,
        path: &str,
        name: &str,
        series: Option<(&str, &Matchers)>,
    ) -> Result<T, SampleError> {
        // Otherwise a metric called `../../…` would read any object that the manager may read.
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '%', '?', '#']) {
            return Err(SampleError(format!("{name:?} is not a valid metric name")));
        }
        let request = Request::new(path).get(name, &GetParams::default());
        let mut request = request.map_err(|error| said(&error))?;
        if let Some((parameter, series)) = series.filter(|(_, series)| !series.is_empty()) {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair(parameter, &series.label_selector());
            let uri = format!("{}?{}", request.uri().path(), query.finish());
            *request.uri_mut() = uri.parse().map_err(|error: http::uri::InvalidUri| said(&error))?;
        }
        self.ask(request).await
    }

    async fn ask<T: DeserializeOwned>(&self, request: http::Request<Vec<u8>>) -> Result<T, SampleError> {
        self.api.request(request).await.map_err(|error| cut(&fetch::said(&error)))
    }
}

impl SendRequest<MetricsCache> for Sources {
    async fn send(&self, scrape: &Scrape) -> Result<Value, SampleError> {
        self.read(&scrape.origin, &scrape.queries).await
    }
}

#[derive(Deserialize)]
struct PodMetricsList {
    #[serde(default)]
    items: Vec<PodMetrics>,
}

#[derive(Deserialize)]
struct PodMetrics {
    metadata: Named,
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    usage: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ValueList {
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiGroup {
    #[serde(default)]
    versions: Vec<Version>,
    preferred_version: Option<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

/// Sum over the containers; `None` when one of them was not measured: a part is not the whole.
fn usage_of(containers: &[Container]) -> Option<Usage> {
    let quantity = |container: &Container, name| GoQuantity::parse(container.usage.get(name)?);
    let mut sum = Usage { cpu_milli: 0.0, memory_bytes: 0.0 };
    for container in containers {
        sum.cpu_milli += quantity(container, "cpu")?.ceil(3);
        sum.memory_bytes += quantity(container, "memory")?.ceil(0);
    }
    (!containers.is_empty()).then_some(sum)
}

fn number(metric: &str, value: &str) -> Result<f64, SampleError> {
    let quantity = GoQuantity::parse(value);
    let wrong = || cut(&format!("metric {metric}: {value:?} is not a quantity"));
    quantity.map(|quantity| quantity.value()).ok_or_else(wrong)
}

fn said(error: &impl std::error::Error) -> SampleError {
    cut(&Chain(error).to_string())
}

fn cut(message: &str) -> SampleError {
    SampleError(text::cut(message, LONGEST_ERROR))
}
