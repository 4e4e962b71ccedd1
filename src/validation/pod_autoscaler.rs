// SPDX-License-Identifier: Apache-2.0
//! The spec of a PodAutoscaler: all errors for admission, the first problem for the controller.

use serde_json::{Value, json};

use crate::{
    api::{
        autoscaling::{
            DEFAULT_OBSERVE_WINDOW_SECONDS, DEFAULT_PANIC_WINDOW_SECONDS, MetricSource, PodAutoscaler,
            PodAutoscalerSpec,
        },
        keys::ORCHESTRATION_GROUP,
    },
    gocompat::number::parse_float,
};
use kube_loops::k8s::owner::group_of;

use super::{
    field_error::FieldError,
    schedules::{MOST_SCHEDULES, parse_schedules},
    target_metric::{SyntaxError, TargetMetric},
};

const STRATEGIES: [&str; 3] = ["HPA", "KPA", "APA"];
const LONGEST_WINDOW_SECONDS: i64 = 3600;
/// Most metric sources of one PodAutoscaler.
const MOST_SOURCES: usize = 32;
const HPA_WITH_ROLE: &str =
    "not supported with scalingStrategy=HPA; use APA or KPA for StormService role-level autoscaling";

/// Why the controller leaves a PodAutoscaler alone: reason and message of its condition `ValidSpec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Reason of the condition.
    pub reason: &'static str,
    /// Message of the condition.
    pub message: String,
}

/// The wanted value of a source; `None` unless it is a finite number above 0.
pub(crate) fn target_value(source: &MetricSource) -> Option<f64> {
    parse_float(&source.target_value).ok().filter(|value| value.is_finite() && *value > 0.0)
}

/// Everything that admission refuses, in the order of the fields.
pub(crate) fn field_errors(pa: &PodAutoscaler) -> Vec<FieldError> {
    let spec = &pa.spec;
    let mut errors = Vec::new();
    if spec.scale_target_ref.name.is_empty() {
        errors.push(FieldError::required("spec.scaleTargetRef.name", "must be set"));
    }
    if spec.scale_target_ref.kind.is_empty() {
        errors.push(FieldError::required("spec.scaleTargetRef.kind", "must be set"));
    }
    bound_errors(spec, &mut errors);
    window_errors(spec, &mut errors);
    if let Err(error) = parse_schedules(pa) {
        let count = spec.schedules.as_ref().map_or(0, Vec::len);
        let value = match serde_json::to_value(&spec.schedules) {
            Ok(value) if count <= MOST_SCHEDULES => value,
            Ok(_) | Err(_) => json!(count),
        };
        errors.push(FieldError::invalid("spec.schedules", value, error.to_string()));
    }
    if !STRATEGIES.contains(&spec.scaling_strategy.as_str()) {
        let value = spec.scaling_strategy.as_str();
        errors.push(FieldError::not_supported("spec.scalingStrategy", value, &STRATEGIES));
    }
    if spec.scaling_strategy == "HPA" && role_of(spec).is_some() {
        errors.push(FieldError::forbidden("spec.subTargetSelector.roleName", HPA_WITH_ROLE));
    }
    if spec.metrics_sources.is_empty() {
        let detail = "at least one metricsSource is required";
        errors.push(FieldError::invalid("spec.metricsSources", json!([]), detail));
    }
    if let Some(detail) = too_many_sources(spec) {
        errors.push(FieldError::invalid("spec.metricsSources", spec.metrics_sources.len(), detail));
        return errors;
    }
    for (i, source) in spec.metrics_sources.iter().enumerate() {
        source_errors(&format!("spec.metricsSources[{i}]"), source, &spec.scaling_strategy, &mut errors);
    }
    errors
}

fn too_many_sources(spec: &PodAutoscalerSpec) -> Option<String> {
    (spec.metrics_sources.len() > MOST_SOURCES).then(|| format!("are too many, at most {MOST_SOURCES}"))
}

fn bound_errors(spec: &PodAutoscalerSpec, errors: &mut Vec<FieldError>) {
    let max = spec.max_replicas;
    if let Some(min) = spec.min_replicas.filter(|min| *min < 0) {
        errors.push(FieldError::invalid("spec.minReplicas", min, "must not be negative"));
    }
    if max <= 0 {
        errors.push(FieldError::invalid("spec.maxReplicas", max, "must be positive"));
    }
    if let Some(min) = spec.min_replicas.filter(|min| max < *min) {
        errors.push(FieldError::invalid("spec.minReplicas", min, "cannot be greater than maxReplicas"));
        errors.push(FieldError::invalid("spec.maxReplicas", max, "cannot be less than minReplicas"));
    }
}

fn window_errors(spec: &PodAutoscalerSpec, errors: &mut Vec<FieldError>) {
    let windows = [
        ("spec.observeWindowSeconds", spec.observe_window_seconds),
        ("spec.panicWindowSeconds", spec.panic_window_seconds),
    ];
    for (field, seconds) in windows {
        match seconds {
            Some(seconds) if seconds <= 0 => {
                errors.push(FieldError::invalid(field, seconds, "must be greater than 0"));
            }
            Some(seconds) if seconds > LONGEST_WINDOW_SECONDS => {
                errors.push(FieldError::invalid(field, seconds, "must be less than or equal to 3600"));
            }
            Some(_) | None => {}
        }
    }
    let (observe, panic) = windows_of(spec);
    if panic > observe {
        let detail = "must be less than or equal to observeWindowSeconds";
        errors.push(FieldError::invalid("spec.panicWindowSeconds", panic, detail));
    }
}

fn source_errors(path: &str, source: &MetricSource, strategy: &str, errors: &mut Vec<FieldError>) {
    let at = |field: &str| format!("{path}.{field}");
    let value = source.target_value.as_str();
    if source.target_metric.is_empty() {
        errors.push(FieldError::required(at("targetMetric"), "must be set"));
    } else if let Some(error) = metric_error(source, strategy) {
        errors.push(FieldError::invalid(
            at("targetMetric"),
            source.target_metric.as_str(),
            error.to_string(),
        ));
    }
    if value.is_empty() {
        errors.push(FieldError::required(at("targetValue"), "must be set"));
    } else {
        match parse_float(value) {
            Ok(number) if number.is_finite() && number > 0.0 => {}
            Ok(number) if number.is_finite() => {
                errors.push(FieldError::invalid(at("targetValue"), value, "must be greater than 0"));
            }
            Ok(_) | Err(_) => {
                errors.push(FieldError::invalid(at("targetValue"), value, "must be a valid number"));
            }
        }
    }
    let mut require = |field: &str, value: &str, detail: &str| {
        if value.is_empty() {
            errors.push(FieldError::required(at(field), detail));
        }
    };
    match source.metric_source_type.as_str() {
        "pod" => {
            let detail = "required for metricSourceType=pod";
            require("protocolType", &source.protocol_type, detail);
            require("port", &source.port, detail);
            require("path", &source.path, detail);
        }
        "external" | "domain" if !source.endpoint.is_empty() => {
            let detail = "required for metricSourceType=external/domain";
            require("protocolType", &source.protocol_type, detail);
            require("path", &source.path, detail);
        }
        "external" | "domain" | "custom" => {}
        "resource" => {
            if !is_resource(&source.target_metric) {
                let metric = source.target_metric.as_str();
                errors.push(FieldError::not_supported(at("targetMetric"), metric, &["cpu", "memory"]));
            }
            for (field, value) in [
                ("port", &source.port),
                ("endpoint", &source.endpoint),
                ("path", &source.path),
                ("protocolType", &source.protocol_type),
            ] {
                if !value.is_empty() {
                    errors
                        .push(FieldError::forbidden(at(field), "not allowed for metricSourceType=resource"));
                }
            }
        }
        other => errors.push(FieldError::not_supported(
            at("metricSourceType"),
            Value::from(other),
            &["pod", "external", "domain", "resource", "custom"],
        )),
    }
}

/// The first problem that keeps the controller from acting; `None`: the spec is fine.
pub(crate) fn first_problem(pa: &PodAutoscaler) -> Option<Problem> {
    let spec = &pa.spec;
    let problem = |reason, message: &str| Some(Problem { reason, message: message.to_owned() });
    let target = &spec.scale_target_ref;
    if target.name.is_empty() || target.kind.is_empty() {
        let message = "scaleTargetRef.kind and scaleTargetRef.name must be set.";
        return problem("MissingScaleTargetRef", message);
    }
    if let Some(message) = bounds_problem(spec) {
        return problem("InvalidBounds", message);
    }
    if !STRATEGIES.contains(&spec.scaling_strategy.as_str()) {
        let message = "Unsupported scalingStrategy; must be one of HPA/KPA/APA.";
        return problem("InvalidScalingStrategy", message);
    }
    if spec.scaling_strategy == "HPA" && role_of(spec).is_some() {
        let message = format!("subTargetSelector.roleName is {HPA_WITH_ROLE}.");
        return problem("InvalidScalingStrategy", &message);
    }
    let own_namespace = pa.metadata.namespace.as_deref().unwrap_or("");
    if !target.namespace.is_empty() && target.namespace != own_namespace {
        let message = "scaleTargetRef.namespace must be empty or equal to the PodAutoscaler namespace.";
        return problem("InvalidSpec", message);
    }
    let is_storm_service =
        group_of(&target.api_version) == ORCHESTRATION_GROUP && target.kind == "StormService";
    if role_of(spec).is_some() && !is_storm_service {
        return problem(
            "InvalidSpec",
            "subTargetSelector.roleName is only supported for StormService targets.",
        );
    }
    if let Some(message) = windows_problem(spec) {
        return problem("InvalidSpec", message);
    }
    if let Err(error) = parse_schedules(pa) {
        return problem("InvalidSpec", &error.to_string());
    }
    if spec.metrics_sources.is_empty() {
        return problem("MetricsConfigError", "at least one metricsSource is required.");
    }
    if let Some(message) = too_many_sources(spec) {
        let count = spec.metrics_sources.len();
        return problem("MetricsConfigError", &format!("metricsSources: {count} {message}."));
    }
    let message = spec
        .metrics_sources
        .iter()
        .enumerate()
        .find_map(|(i, source)| source_problem(i, source, &spec.scaling_strategy))?;
    problem("MetricsConfigError", &message)
}

fn bounds_problem(spec: &PodAutoscalerSpec) -> Option<&'static str> {
    if spec.min_replicas.is_some_and(|min| min < 0) {
        return Some("minReplicas must not be negative.");
    }
    if spec.max_replicas <= 0 {
        return Some("maxReplicas must be positive.");
    }
    if spec.min_replicas.is_some_and(|min| spec.max_replicas < min) {
        return Some("minReplicas cannot be greater than maxReplicas.");
    }
    None
}

fn windows_problem(spec: &PodAutoscalerSpec) -> Option<&'static str> {
    let (observe, panic) = windows_of(spec);
    if observe <= 0 {
        return Some("observeWindowSeconds must be greater than 0.");
    }
    if observe > LONGEST_WINDOW_SECONDS {
        return Some("observeWindowSeconds must be less than or equal to 3600.");
    }
    if panic <= 0 {
        return Some("panicWindowSeconds must be greater than 0.");
    }
    if panic > LONGEST_WINDOW_SECONDS {
        return Some("panicWindowSeconds must be less than or equal to 3600.");
    }
    if panic > observe {
        return Some("panicWindowSeconds must be less than or equal to observeWindowSeconds.");
    }
    None
}

fn source_problem(i: usize, source: &MetricSource, strategy: &str) -> Option<String> {
    let at = |problem: &str| Some(format!("metricsSource[{i}]: {problem}"));
    if source.target_metric.is_empty() {
        return at("targetMetric must be specified");
    }
    if let Some(error) = metric_error(source, strategy) {
        return at(&format!("targetMetric {:?}: {error}", source.target_metric));
    }
    if source.target_value.is_empty() {
        return at("targetValue must be specified");
    }
    if target_value(source).is_none() {
        return at("targetValue must be a number greater than 0");
    }
    let missing = |fields: &[(&str, &String)], kind: &str| {
        let (field, _) = fields.iter().find(|(_, value)| value.is_empty())?;
        Some(format!("{field} is required for metricSourceType={kind}."))
    };
    let protocol = ("protocolType", &source.protocol_type);
    let path = ("path", &source.path);
    match source.metric_source_type.as_str() {
        "pod" => missing(&[protocol, ("port", &source.port), path], "pod"),
        "external" | "domain" if !source.endpoint.is_empty() => missing(&[protocol, path], "external"),
        "external" | "domain" | "custom" => None,
        "resource" if !is_resource(&source.target_metric) => {
            Some("for metricSourceType=resource, targetMetric must be 'cpu' or 'memory'.".to_owned())
        }
        "resource" => {
            let set = [&source.port, &source.endpoint, &source.path, &source.protocol_type];
            let message =
                "port, endpoint, path, and protocolType are not allowed for metricSourceType=resource.";
            set.iter().any(|value| !value.is_empty()).then(|| message.to_owned())
        }
        other => at(&format!("unsupported metricSourceType: {other}")),
    }
}

/// What cannot be read of the name of a metric and the choice of its series.
fn metric_error(source: &MetricSource, strategy: &str) -> Option<SyntaxError> {
    let is_api = match source.metric_source_type.as_str() {
        "custom" => true,
        "external" | "domain" => source.endpoint.is_empty(),
        _ => strategy == "HPA",
    };
    let metric = &source.target_metric;
    if is_api { TargetMetric::api_matchers(metric).err() } else { TargetMetric::parse(metric).err() }
}

fn is_resource(metric: &str) -> bool {
    matches!(metric, "cpu" | "memory")
}

fn role_of(spec: &PodAutoscalerSpec) -> Option<&str> {
    let role = spec.sub_target_selector.as_ref().map(|selector| selector.role_name.as_str());
    role.filter(|role| !role.is_empty())
}

/// Stable and panic window in seconds, with defaults.
fn windows_of(spec: &PodAutoscalerSpec) -> (i64, i64) {
    let observe = spec.observe_window_seconds.unwrap_or(DEFAULT_OBSERVE_WINDOW_SECONDS);
    (observe, spec.panic_window_seconds.unwrap_or(DEFAULT_PANIC_WINDOW_SECONDS))
}
