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
        http::{Scheme, Target},
        metric_names,
    },
    k8s::pod_facts::PodFacts,
};

use super::samples::{Item, Origin, Pick, Wanted};

/// One entry for each metric source of `pa`, in order. `pods`: those of the namespace that may be selected.
pub(super) fn wanted_by(pa: &PodAutoscaler, selection: &PodSelection, pods: &[Arc<PodFacts>]) -> Vec<Wanted> {
    let namespace = pa.metadata.namespace.as_deref().unwrap_or_default();
    // Pods that have not started or are leaving say nothing about load.
    let pods = pods.iter().filter(|pod| pod.is_running() && selection.matches(&pod.labels));
    let pods: Vec<&PodFacts> = pods.map(Arc::as_ref).collect();
    pa.spec.metrics_sources.iter().map(|source| wanted(source, namespace, selection, &pods)).collect()
}

/// What a round of measurements is about: rounds about something else are not comparable.
pub(super) fn subject_of(pa: &PodAutoscaler) -> String {
    let uid = pa.metadata.uid.as_deref().unwrap_or_default();
    let spec = &pa.spec;
    format!("{uid} {:?} {:?} {:?}", spec.scale_target_ref, spec.sub_target_selector, spec.metrics_sources)
}

fn wanted(source: &MetricSource, namespace: &str, selection: &PodSelection, pods: &[&PodFacts]) -> Wanted {
    match source.metric_source_type.as_str() {
        "pod" => {
            let addressed = pods.iter().filter(|pod| pod.ip.is_some());
            match addressed.map(|pod| scrape(source, pod)).collect() {
                Ok(items) => Wanted::PerPod(items),
                Err(error) => Wanted::Failed(error),
            }
        }
        "resource" => {
            let origin = Origin::Usage { namespace: namespace.to_owned(), selector: selection.to_string() };
            let items = pods.iter().map(|pod| {
                let pod = pod.name.to_string();
                let pick = if source.target_metric == "cpu" { Pick::Cpu(pod) } else { Pick::Memory(pod) };
                Ok(Item { origin: origin.clone(), pick })
            });
            Wanted::PerPod(items.collect())
        }
        "custom" => {
            let items = pods.iter().map(|pod| {
                let (namespace, pod) = (namespace.to_owned(), pod.name.to_string());
                let origin = Origin::Custom { namespace, pod, metric: source.target_metric.clone() };
                Ok(Item { origin, pick: Pick::Number })
            });
            Wanted::PerPod(items.collect())
        }
        "external" | "domain" => external(source, namespace),
        other => Wanted::Failed(SampleError(format!("unsupported metricSourceType: {other}"))),
    }
}

/// `Err`: no pod can be asked. `Ok(Err)`: this one cannot.
fn scrape(source: &MetricSource, pod: &PodFacts) -> Result<Result<Item, SampleError>, SampleError> {
    let engine = pod.labels.get(keys::ENGINE_LABEL).map_or("", String::as_str);
    let family = metric_names::family_for(&source.target_metric, engine)
        .map_err(|why| SampleError(format!("metric {:?}: {why}", source.target_metric)))?;
    let scheme = scheme_of(source)?;
    let Some(ip) = pod.ip else {
        return Ok(Err(SampleError(format!("pod {} has no IP address", pod.name))));
    };
    let path = metric_names::path_for(&source.path, engine);
    let target =
        Target::pod(scheme, ip, &source.port, path).map_err(|error| SampleError(error.to_string()))?;
    Ok(Ok(Item { origin: Origin::Text(target), pick: Pick::First(family.to_owned()) }))
}

fn external(source: &MetricSource, namespace: &str) -> Wanted {
    if source.endpoint.is_empty() {
        let origin =
            Origin::External { namespace: namespace.to_owned(), metric: source.target_metric.clone() };
        return Wanted::Total(Item { origin, pick: Pick::Number });
    }
    let target = scheme_of(source).and_then(|scheme| {
        Target::endpoint(scheme, &source.endpoint, &source.path)
            .map_err(|error| SampleError(error.to_string()))
    });
    match target {
        Ok(target) => {
            let families = metric_names::families_for_endpoint(&source.target_metric);
            let pick = Pick::Sum(families.map(str::to_owned).collect());
            Wanted::Total(Item { origin: Origin::Text(target), pick })
        }
        Err(error) => Wanted::Failed(error),
    }
}

fn scheme_of(source: &MetricSource) -> Result<Scheme, SampleError> {
    let wrong = || SampleError(format!("protocolType {:?} is neither http nor https", source.protocol_type));
    Scheme::parse(&source.protocol_type).ok_or_else(wrong)
}
