// SPDX-License-Identifier: Apache-2.0
//! The generated HorizontalPodAutoscaler: how it is built, and which patch makes a stored one equal.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use k8s_openapi::{
    api::autoscaling::v2::{
        CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler,
        HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricIdentifier, MetricSpec,
        MetricTarget, PodsMetricSource, ResourceMetricSource,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta, OwnerReference},
    },
};
use serde_json::{Map, Value, json};

use crate::{
    api::{
        autoscaling::{API_VERSION, MetricSource, POD_AUTOSCALER, PodAutoscaler},
        keys::LAST_APPLIED_ANNOTATION,
    },
    validation::{
        pod_autoscaler::target_value,
        target_metric::{Matcher, Operator, TargetMetric},
    },
};
use kube_loops::rollout::{
    controller_ref::{adoption_patch, controller_of},
    template::quantity::{are_equal, format_binary, format_milli},
};

use super::{annotations::Parameters, bounds::Bounds};

/// Longest stabilisation window that the API server takes, in seconds.
const LONGEST_WINDOW_SECONDS: i64 = 3600;

/// Name of the HorizontalPodAutoscaler of a PodAutoscaler.
pub(super) fn name_for(pa: &PodAutoscaler) -> String {
    format!("{}-hpa", pa.metadata.name.as_deref().unwrap_or(""))
}

/// The HorizontalPodAutoscaler that `pa` asks for.
pub(super) fn build_hpa(
    pa: &PodAutoscaler,
    bounds: &Bounds,
    parameters: &Parameters,
) -> HorizontalPodAutoscaler {
    let target = &pa.spec.scale_target_ref;
    let owner = OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: POD_AUTOSCALER.to_owned(),
        name: pa.metadata.name.clone().unwrap_or_default(),
        uid: pa.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    let mut annotations = pa.metadata.annotations.clone().unwrap_or_default();
    annotations.remove(LAST_APPLIED_ANNOTATION);
    let limits = &parameters.limits;
    let cooldown = &parameters.cooldown;
    HorizontalPodAutoscaler {
        metadata: ObjectMeta {
            name: Some(name_for(pa)),
            namespace: pa.metadata.namespace.clone(),
            labels: pa.metadata.labels.clone().filter(|labels| !labels.is_empty()),
            annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
            owner_references: Some(vec![owner]),
            ..Default::default()
        },
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some(target.api_version.clone()).filter(|version| !version.is_empty()),
                kind: target.kind.clone(),
                name: target.name.clone(),
            },
            min_replicas: Some(bounds.min).filter(|min| *min > 0),
            max_replicas: bounds.max,
            metrics: Some(pa.spec.metrics_sources.iter().map(metric_of).collect()),
            behavior: Some(HorizontalPodAutoscalerBehavior {
                scale_up: Some(rules((limits.up_rate - 1.0) * 100.0, limits.up_rate, cooldown.up, "Max")),
                scale_down: Some(rules(
                    (1.0 - 1.0 / limits.down_rate) * 100.0,
                    limits.down_rate,
                    cooldown.down,
                    "Min",
                )),
            }),
        }),
        status: None,
    }
}

/// Whether two scale the same target.
pub(super) fn scales_the_same(have: &HorizontalPodAutoscaler, want: &HorizontalPodAutoscaler) -> bool {
    let target = |hpa: &HorizontalPodAutoscaler| hpa.spec.as_ref().map(|spec| spec.scale_target_ref.clone());
    target(have) == target(want)
}

/// The patch that makes one that nobody controls ours and equal, and the paths of what that is; `None`: `want` has no
/// controller.
pub(super) fn adopting(
    have: &HorizontalPodAutoscaler,
    want: &HorizontalPodAutoscaler,
) -> Option<(Value, Vec<String>)> {
    let (mut patch, fields) = patch_for(have, want).unwrap_or_else(|| (json!({}), Vec::new()));
    json_patch::merge(&mut patch, &adoption_patch(&have.metadata, controller_of(&want.metadata)?));
    Some((patch, fields))
}

/// One direction: at most `percent` per minute. A rate of exactly 1 forbids the direction.
fn rules(percent: f64, rate: f64, window: jiff::SignedDuration, select: &str) -> HPAScalingRules {
    let select = if rate <= 1.0 { "Disabled" } else { select };
    let window = window.as_secs().clamp(0, LONGEST_WINDOW_SECONDS);
    HPAScalingRules {
        policies: Some(vec![HPAScalingPolicy {
            type_: "Percent".to_owned(),
            value: truncated(percent).max(1),
            period_seconds: 60,
        }]),
        select_policy: Some(select.to_owned()),
        stabilization_window_seconds: Some(i32::try_from(window).unwrap_or(0)),
    }
}

/// COMPAT: only the name of the metric decides, whatever the type of its source says.
fn metric_of(source: &MetricSource) -> MetricSpec {
    let value = target_value(source).unwrap_or(0.0);
    match source.target_metric.to_lowercase().as_str() {
        "cpu" => resource(
            "cpu",
            MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(truncated(value.ceil())),
                ..Default::default()
            },
        ),
        "memory" => resource("memory", average(format_binary(rounded(value * 1024.0 * 1024.0).max(1)))),
        _ => MetricSpec {
            type_: "Pods".to_owned(),
            pods: Some(PodsMetricSource {
                metric: identifier_of(&source.target_metric),
                // To the nearest thousandth; the API server refuses zero.
                target: average(format_milli(rounded(value * 1000.0).max(1))),
            }),
            ..Default::default()
        },
    }
}

/// The name, and which of its series count. The spec was validated: what cannot be read stays as it is written.
fn identifier_of(target_metric: &str) -> MetricIdentifier {
    let parsed = TargetMetric::parse(target_metric);
    let Ok(TargetMetric { name, matchers }) = parsed else {
        return MetricIdentifier { name: target_metric.to_owned(), selector: None };
    };
    let mut selector = LabelSelector::default();
    for Matcher { label, operator, value } in matchers.iter() {
        // Equal twice with two values lets nothing through, which a map could not say.
        let operator = if *operator == Operator::NotEqual { "NotIn" } else { "In" };
        selector.match_expressions.get_or_insert_default().push(LabelSelectorRequirement {
            key: label.clone(),
            operator: operator.to_owned(),
            values: Some(vec![value.clone()]),
        });
    }
    MetricIdentifier { name, selector: (!matchers.is_empty()).then_some(selector) }
}

fn resource(name: &str, target: MetricTarget) -> MetricSpec {
    MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource { name: name.to_owned(), target }),
        ..Default::default()
    }
}

fn average(quantity: String) -> MetricTarget {
    MetricTarget {
        type_: "AverageValue".to_owned(),
        average_value: Some(Quantity(quantity)),
        ..Default::default()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, which is what is wanted")]
fn truncated(value: f64) -> i32 {
    value as i32
}

#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, which is what is wanted")]
fn rounded(value: f64) -> i64 {
    value.round() as i64
}

/// The merge patch that gives `have` everything that `want` asks for, and the paths of what that is; `None`: it has it
/// already. Labels, annotations and fields of others stay.
pub(super) fn patch_for(
    have: &HorizontalPodAutoscaler,
    want: &HorizontalPodAutoscaler,
) -> Option<(Value, Vec<String>)> {
    let mut metadata = Map::new();
    let mut fields = differences(have.spec.as_ref(), want.spec.as_ref());
    let spec_differs = !fields.is_empty();
    for (field, have, want) in [
        ("labels", &have.metadata.labels, &want.metadata.labels),
        ("annotations", &have.metadata.annotations, &want.metadata.annotations),
    ] {
        let missing = missing_entries(have.as_ref(), want.as_ref());
        if !missing.is_empty() {
            fields.extend(missing.keys().map(|key| format!("metadata.{field}[{key}]")));
            metadata.insert(field.to_owned(), Value::Object(missing));
        }
    }
    if have.metadata.owner_references != want.metadata.owner_references {
        fields.push("metadata.ownerReferences".to_owned());
        metadata.insert("ownerReferences".to_owned(), to_json(&want.metadata.owner_references));
    }
    if fields.is_empty() {
        return None;
    }
    let mut patch = json!({"metadata": metadata});
    if let (true, Some(want), Some(patch)) = (spec_differs, &want.spec, patch.as_object_mut()) {
        let mut spec = to_json(want);
        if let (None, Some(spec)) = (want.min_replicas, spec.as_object_mut()) {
            spec.insert("minReplicas".to_owned(), Value::Null);
        }
        patch.insert("spec".to_owned(), spec);
    }
    Some((patch, fields))
}

fn missing_entries(
    have: Option<&BTreeMap<String, String>>,
    want: Option<&BTreeMap<String, String>>,
) -> Map<String, Value> {
    let is_missing =
        |(key, value): &(&String, &String)| have.and_then(|have| have.get(key.as_str())) != Some(*value);
    let missing = want.into_iter().flatten().filter(is_missing);
    missing.map(|(key, value)| (key.clone(), json!(value))).collect()
}

/// What `want` sets and `have` has otherwise, by path. The API server adds defaults and prints quantities its own way.
fn differences(
    have: Option<&HorizontalPodAutoscalerSpec>,
    want: Option<&HorizontalPodAutoscalerSpec>,
) -> Vec<String> {
    let mut found = Vec::new();
    match (have, want) {
        (Some(have), Some(want)) => {
            // Unset means 1 to the API server, which also stores it.
            if have.min_replicas.unwrap_or(1) != want.min_replicas.unwrap_or(1) {
                found.push("spec.minReplicas".to_owned());
            }
            compare(&to_json(want), &to_json(have), "spec", &mut found);
        }
        (None, None) => {}
        (Some(_), None) | (None, Some(_)) => found.push("spec".to_owned()),
    }
    found
}

/// Paths of the values of `want` that are not in `have`; lists of another length differ as a whole.
fn compare(want: &Value, have: &Value, path: &str, found: &mut Vec<String>) {
    match (want, have) {
        (Value::Object(want), Value::Object(have)) => {
            for (key, value) in want.iter().filter(|(key, _)| *key != "minReplicas") {
                compare(value, have.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}"), found);
            }
        }
        (Value::Array(want), Value::Array(have)) if want.len() == have.len() => {
            for (n, (want, have)) in want.iter().zip(have).enumerate() {
                compare(want, have, &format!("{path}[{n}]"), found);
            }
        }
        (Value::String(want), Value::String(have))
            if path.ends_with(".averageValue") && are_equal(want, have) => {}
        (want, have) if want == have => {}
        _ => found.push(path.to_owned()),
    }
}

/// Tells one content from another: what a patch of ours is about.
pub(super) fn digest(hpa: &HorizontalPodAutoscaler) -> String {
    let HorizontalPodAutoscaler { metadata, spec, .. } = hpa;
    let content =
        json!([metadata.uid, metadata.labels, metadata.annotations, metadata.owner_references, spec]);
    let mut hasher = DefaultHasher::new();
    content.to_string().hash(&mut hasher);
    format!("{:x}", hasher.finish())
}

fn to_json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
