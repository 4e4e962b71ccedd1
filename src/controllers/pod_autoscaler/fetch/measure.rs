// SPDX-License-Identifier: Apache-2.0
//! Which measurements an autoscaler wants: its metric sources applied to the pods of its target. Pure.

use std::sync::Arc;

use crate::{
    api::{
        autoscaling::{MetricSource, PodAutoscaler},
        keys,
    },
    controllers::pod_autoscaler::{snapshot::SampleError, targets::PodSelection},
    engine::{
        exposition::{Combine, Query},
        http::{Scheme, Target},
        metric_names,
    },
    k8s::pod_facts::PodFacts,
    validation::target_metric::{Matchers, SyntaxError, TargetMetric},
};

use super::samples::{Item, Origin, Pick, Wanted, WantedPod};

/// Most values of one object in a round.
const MOST_VALUES: usize = 10_000;

/// One entry for each metric source of `pa`, in order. `pods`: those of the namespace that may be selected.
pub(super) fn wanted_by(pa: &PodAutoscaler, selection: &PodSelection, pods: &[Arc<PodFacts>]) -> Vec<Wanted> {
    let namespace = pa.metadata.namespace.as_deref().unwrap_or_default();
    // Pods that have not started or are leaving say nothing about load.
    let pods = pods.iter().filter(|pod| pod.is_running() && selection.matches(&pod.labels));
    let pods: Vec<&PodFacts> = pods.map(Arc::as_ref).collect();
    let sources = &pa.spec.metrics_sources;
    let per_pod = sources.iter().filter(|source| is_per_pod(source)).count();
    if per_pod.saturating_mul(pods.len()) > MOST_VALUES {
        let error = SampleError(format!(
            "{per_pod} sources for each of {} pods are too many values, at most {MOST_VALUES}",
            pods.len()
        ));
        let refused = |source| {
            let is_refused = is_per_pod(source);
            if is_refused {
                Wanted::Failed(error.clone())
            } else {
                wanted(source, namespace, selection, &pods)
            }
        };
        return sources.iter().map(refused).collect();
    }
    sources.iter().map(|source| wanted(source, namespace, selection, &pods)).collect()
}

fn is_per_pod(source: &MetricSource) -> bool {
    !matches!(source.metric_source_type.as_str(), "external" | "domain")
}

/// What a round of measurements is about: rounds about something else are not comparable.
pub(super) fn subject_of(pa: &PodAutoscaler) -> String {
    let uid = pa.metadata.uid.as_deref().unwrap_or_default();
    let spec = &pa.spec;
    format!("{uid} {:?} {:?} {:?}", spec.scale_target_ref, spec.sub_target_selector, spec.metrics_sources)
}

fn wanted(source: &MetricSource, namespace: &str, selection: &PodSelection, pods: &[&PodFacts]) -> Wanted {
    let (metric, api_series) = (TargetMetric::parse(&source.target_metric), || {
        TargetMetric::api_matchers(&source.target_metric).map_err(|error| unreadable(source, &error))
    });
    let TargetMetric { name: metric, matchers: series } = match metric {
        Ok(metric) => metric,
        Err(error) => return Wanted::Failed(unreadable(source, &error)),
    };
    match source.metric_source_type.as_str() {
        "pod" => {
            let addressed = pods.iter().filter(|pod| pod.ip.is_some());
            let items = addressed.map(|pod| Ok(of_pod(pod, scrape(source, &metric, &series, pod)?)));
            items.collect::<Result<_, _>>().map_or_else(Wanted::Failed, Wanted::PerPod)
        }
        "resource" => {
            let origin = Origin::Usage { namespace: namespace.to_owned(), selector: selection.to_string() };
            let items = pods.iter().map(|pod| {
                let name = pod.name.to_string();
                let pick = if metric == "cpu" { Pick::Cpu(name) } else { Pick::Memory(name) };
                of_pod(pod, Ok(Item { origin: origin.clone(), pick }))
            });
            Wanted::PerPod(items.collect())
        }
        "custom" => match api_series() {
            Ok(series) => {
                let items = pods.iter().map(|pod| {
                    let (namespace, name) = (namespace.to_owned(), pod.name.to_string());
                    let (metric, series) = (metric.clone(), series.clone());
                    let origin = Origin::Custom { namespace, pod: name, metric, series };
                    of_pod(pod, Ok(Item { origin, pick: Pick::Number }))
                });
                Wanted::PerPod(items.collect())
            }
            Err(error) => Wanted::Failed(error),
        },
        "external" | "domain" if source.endpoint.is_empty() => match api_series() {
            Ok(series) => {
                let origin = Origin::External { namespace: namespace.to_owned(), metric, series };
                Wanted::Total(Item { origin, pick: Pick::Number })
            }
            Err(error) => Wanted::Failed(error),
        },
        "external" | "domain" => endpoint(source, &metric, &series),
        other => Wanted::Failed(SampleError(format!("unsupported metricSourceType: {other}"))),
    }
}

fn of_pod(pod: &PodFacts, item: Result<Item, SampleError>) -> WantedPod {
    WantedPod { uid: pod.uid.clone(), ready: pod.ready_since.is_some(), item }
}

fn unreadable(source: &MetricSource, error: &SyntaxError) -> SampleError {
    SampleError(format!("targetMetric {:?}: {error}", source.target_metric))
}

/// `Err`: no pod can be asked. `Ok(Err)`: this one cannot.
fn scrape(
    source: &MetricSource,
    metric: &str,
    series: &Matchers,
    pod: &PodFacts,
) -> Result<Result<Item, SampleError>, SampleError> {
    let engine = pod.labels.get(keys::ENGINE_LABEL).map_or("", String::as_str);
    let families = metric_names::families_for(metric, engine)
        .map_err(|why| SampleError(format!("metric {metric:?}: {why}")))?;
    let scheme = scheme_of(source)?;
    let Some(ip) = pod.ip else {
        return Ok(Err(SampleError(format!("pod {} has no IP address", pod.name))));
    };
    let path = metric_names::path_for(&source.path, engine);
    let target =
        Target::pod(scheme, ip, &source.port, path).map_err(|error| SampleError(error.to_string()))?;
    // All names of one thing are of one kind.
    let is_ratio = families.iter().any(|family| Combine::of(family) == Combine::Ratio);
    let combine = if is_ratio { Combine::Ratio } else { Combine::Count };
    let pick = Pick::Series { queries: queries(families, series), combine };
    Ok(Ok(Item { origin: Origin::Text(target), pick }))
}

fn endpoint(source: &MetricSource, metric: &str, series: &Matchers) -> Wanted {
    let target = scheme_of(source).and_then(|scheme| {
        Target::endpoint(scheme, &source.endpoint, &source.path)
            .map_err(|error| SampleError(error.to_string()))
    });
    match target {
        Ok(target) => {
            let queries = queries(metric_names::families_for_endpoint(metric), series);
            Wanted::Total(Item {
                origin: Origin::Text(target),
                pick: Pick::Series { queries, combine: Combine::Sum },
            })
        }
        Err(error) => Wanted::Failed(error),
    }
}

fn queries<'a>(families: impl IntoIterator<Item = &'a str>, series: &Matchers) -> Vec<Query> {
    let query = |family: &str| Query { family: family.to_owned(), matchers: series.clone() };
    families.into_iter().map(query).collect()
}

fn scheme_of(source: &MetricSource) -> Result<Scheme, SampleError> {
    let wrong = || SampleError(format!("protocolType {:?} is neither http nor https", source.protocol_type));
    Scheme::parse(&source.protocol_type).ok_or_else(wrong)
}
