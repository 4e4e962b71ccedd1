// SPDX-License-Identifier: Apache-2.0
//! Objects and snapshots that the tests of this folder start from.

use std::sync::Arc;

use kube::core::ApiResource;
use serde_json::{Value, json};

use crate::api::autoscaling::PodAutoscaler;
use kube_fenced_election::clock::Timestamp;

use super::{
    snapshot::{Claim, HpaSeen, PodReading, Reading, SampleError, Samples, Snapshot, TargetSeen},
    targets::{Form, Target, read_target},
};

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_500_000 + seconds).unwrap()
}

/// An APA on the Deployment `web`, 1 to 10 replicas, one external metric with the wanted value 30;
/// with top-level fields of the spec replaced (`null` removes).
pub(super) fn pa(changes: Value) -> PodAutoscaler {
    let mut spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "maxReplicas": 10, "scalingStrategy": "APA", "metricsSources": [source("external", "queue", "30")],
    });
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(spec.as_object_mut().unwrap().remove(key)),
            value => spec[key] = value.clone(),
        }
    }
    let metadata = json!({"name": "pa", "namespace": "ns", "uid": "u1", "generation": 1});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

pub(super) fn source(kind: &str, metric: &str, value: &str) -> Value {
    json!({
        "metricSourceType": kind, "targetMetric": metric, "targetValue": value,
        "protocolType": "http", "port": "8000", "path": "metrics",
    })
}

pub(super) fn annotated(mut pa: PodAutoscaler, annotations: &[(&str, &str)]) -> PodAutoscaler {
    let entry = |(key, value): &(&str, &str)| (format!("autoscaling.aibrix.ai/{key}"), (*value).to_owned());
    pa.metadata.annotations.get_or_insert_default().extend(annotations.iter().map(entry));
    pa
}

pub(super) fn resource(group: &str, kind: &str) -> ApiResource {
    ApiResource {
        group: group.into(),
        version: "v1".into(),
        api_version: format!("{group}/v1"),
        kind: kind.into(),
        plural: format!("{}s", kind.to_lowercase()),
    }
}

pub(super) fn deployment(pa: &PodAutoscaler, replicas: i32) -> Target {
    let object = json!({"spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}}});
    read_target(pa, resource("apps", "Deployment"), Form::Object, &object)
}

/// A pass that holds its claim and sees `replicas` of the target, and this round.
pub(super) fn seen(pa: PodAutoscaler, replicas: i32, taken: Timestamp, sources: Vec<Reading>) -> Snapshot {
    let target = deployment(&pa, replicas);
    Snapshot {
        target: Some(TargetSeen::Found(Box::new(target))),
        samples: Samples { taken: Some(taken), pending: false, sources },
        ..unread(pa)
    }
}

/// A pass that holds its claim and read no target.
pub(super) fn unread(pa: PodAutoscaler) -> Snapshot {
    Snapshot {
        pa: Arc::new(pa),
        claim: Claim::Held,
        hpa: HpaSeen::Absent,
        target: None,
        samples: Samples::default(),
        caught_up: true,
    }
}

/// Pods that are ready, by number.
pub(super) fn ready_pods(values: impl IntoIterator<Item = Result<f64, SampleError>>) -> Reading {
    pods(values.into_iter().map(|value| (true, value)))
}

/// Pods by number: whether each is ready, and its value.
pub(super) fn pods(values: impl IntoIterator<Item = (bool, Result<f64, SampleError>)>) -> Reading {
    let each = values.into_iter().enumerate();
    let each = each.map(|(at, (ready, value))| PodReading { uid: at.to_string().into(), ready, value });
    Reading::PerPod(each.collect())
}

pub(super) fn total(value: f64) -> Reading {
    Reading::Total(Ok(value))
}

pub(super) fn failed(why: &str) -> Result<f64, SampleError> {
    Err(SampleError(why.to_owned()))
}
