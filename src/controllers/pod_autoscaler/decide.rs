// SPDX-License-Identifier: Apache-2.0
//! How many replicas: bounds first, then the largest recommendation of the metric sources.
//!
//! A missing measurement never lowers the count: a source without any value blocks scaling down, and so
//! does a window that does not span its full length in this term.

use crate::{
    api::autoscaling::{
        DEFAULT_OBSERVE_WINDOW_SECONDS, DEFAULT_PANIC_WINDOW_SECONDS, MetricSource, PodAutoscaler,
    },
    validation::pod_autoscaler::target_value,
};
use kube_fenced_election::clock::Timestamp;
use kube_loops::k8s::text::cut;

use super::{
    algorithm::{aggregate::mean_of_pods, apa, kpa},
    annotations::Parameters,
    bounds::Bounds,
    snapshot::{Reading, SampleError, Samples},
    state::{Note, SourceMemory, State},
    status::ERROR_BYTES,
};

/// Longest text of one source in an error, in bytes.
const SOURCE_ERROR_BYTES: usize = 160;
/// COMPAT: KPA has no activation rule of its own.
const ACTIVATION: i32 = 1;

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScaleDecision {
    /// Replicas wanted.
    pub(super) desired: i32,
    /// `boundary-check`, `kpa` or `apa`.
    pub(super) algorithm: &'static str,
    /// Why, in words that dashboards know.
    pub(super) reason: &'static str,
}

/// Everything that a decision on measurements looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct DecisionInputs<'a> {
    /// The object.
    pub(super) pa: &'a PodAutoscaler,
    /// R.
    pub(super) current: i32,
    /// Bounds in force.
    pub(super) bounds: &'a Bounds,
    /// From annotations.
    pub(super) parameters: &'a Parameters,
    /// One round of measurements, a reading for each source.
    pub(super) samples: &'a Samples,
    /// Wall time of the pass: the time of the samples.
    pub(super) now: Timestamp,
}

/// No recommendation could be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to compute metric-based replicas: {0}")]
pub(super) struct ComputeError(pub(super) String);

/// What bounds alone decide; `None`: the measurements decide.
pub(super) fn at_bounds(current: i32, bounds: &Bounds) -> Option<ScaleDecision> {
    let decision = |desired, reason| Some(ScaleDecision { desired, algorithm: "boundary-check", reason });
    if current == 0 && bounds.min != 0 && !bounds.has_explicit_min {
        return decision(0, "scaling disabled: current replicas is 0");
    }
    if current > bounds.max {
        return decision(bounds.max, "current replicas exceed maximum");
    }
    if current < bounds.min {
        return decision(bounds.min, "current replicas below minimum");
    }
    None
}

/// What one round of measurements decides. Updates the windows in `state`, and its note.
///
/// # Errors
/// [`ComputeError`] when no source has a value: hold R and say so.
pub(super) fn by_metrics(
    inputs: DecisionInputs<'_>,
    state: &mut State,
) -> Result<ScaleDecision, ComputeError> {
    let DecisionInputs { pa, current, bounds, parameters, samples, now } = inputs;
    let is_kpa = pa.spec.scaling_strategy == "KPA";
    state.note = None;
    state.sources.resize_with(pa.spec.metrics_sources.len(), SourceMemory::default);

    let mut raw: Option<i32> = None;
    let mut failures: Vec<String> = Vec::new();
    let sources = pa.spec.metrics_sources.iter().zip(&samples.sources).zip(&mut state.sources);
    for ((source, reading), remembered) in sources {
        match recommend(inputs, source, reading, remembered) {
            Ok(count) => {
                let count = count.min(bounds.max).max(bounds.min);
                raw = Some(raw.map_or(count, |raw| raw.max(count)));
            }
            Err(error) => {
                failures.push(cut(&format!("{}: {error}", source.target_metric), SOURCE_ERROR_BYTES));
            }
        }
    }
    let Some(raw) = raw else {
        return Err(all_failed(pa, &failures));
    };
    let stabilised = state.recommendations.stabilise(now, current, raw, parameters.cooldown);
    let mut desired = stabilised.min(bounds.max).max(bounds.min);
    if raw < current {
        let full_at = if is_kpa {
            state.sources.iter().filter_map(|source| source.windows.full_at()).max()
        } else {
            state.recommendations.full_at(parameters.cooldown.down)
        };
        state.note = withheld(&failures, full_at.filter(|full_at| now < *full_at));
        if state.note.is_some() {
            desired = desired.max(current);
        }
    }
    let reason = match (desired.cmp(&current), is_kpa) {
        (std::cmp::Ordering::Greater, true) => "kpa above target",
        (std::cmp::Ordering::Greater, false) => "apa above target",
        (std::cmp::Ordering::Less, _) => "All metrics below target",
        (std::cmp::Ordering::Equal, _) => "stable",
    };
    Ok(ScaleDecision { desired, algorithm: if is_kpa { "kpa" } else { "apa" }, reason })
}

/// Recommendation of one source, not clamped to bounds.
fn recommend(
    inputs: DecisionInputs<'_>,
    source: &MetricSource,
    reading: &Reading,
    state: &mut SourceMemory,
) -> Result<i32, SampleError> {
    let DecisionInputs { pa, current, parameters, now, .. } = inputs;
    let identity = identity_of(source);
    if state.identity != identity {
        *state = SourceMemory { identity, ..SourceMemory::default() };
    }
    let target = target_value(source);
    let (value, per_pod) = value_of(reading, current, target.unwrap_or(f64::INFINITY))?;
    let Some(target) = target else { return Ok(current) };
    let is_kpa = pa.spec.scaling_strategy == "KPA";
    // KPA works on totals, APA on means.
    let sample = if is_kpa && per_pod { value * f64::from(current) } else { value };
    let sample = sample.clamp(f64::MIN, f64::MAX);
    let stable = pa.spec.observe_window_seconds.unwrap_or(DEFAULT_OBSERVE_WINDOW_SECONDS);
    let panic = pa.spec.panic_window_seconds.unwrap_or(DEFAULT_PANIC_WINDOW_SECONDS);
    state.windows.record(now, sample, stable, panic);
    let (stable, panic) = state.windows.means();
    if !is_kpa {
        return Ok(apa::recommend(current, target, stable, parameters.limits));
    }
    let input = kpa::Input {
        current,
        target,
        stable,
        panic,
        summed: per_pod,
        activation: ACTIVATION,
        peak: state.panic_peak,
    };
    let output = kpa::recommend(input, parameters.panic_threshold, parameters.limits);
    state.panic_peak = output.peak;
    Ok(output.desired)
}

/// The value of a reading, and whether it is a mean over pods.
fn value_of(reading: &Reading, current: i32, target: f64) -> Result<(f64, bool), SampleError> {
    let not_a_number = || SampleError("the value is not a finite number".to_owned());
    match reading {
        Reading::Failed(error) => Err(error.clone()),
        Reading::Total(value) => {
            let value = value.clone()?;
            if value.is_finite() { Ok((value, false)) } else { Err(not_a_number()) }
        }
        Reading::PerPod(values) if values.is_empty() => {
            Err(SampleError("no running pods to collect metrics from".to_owned()))
        }
        Reading::PerPod(values) => {
            let known: Vec<f64> = values.iter().filter_map(|value| value.as_ref().ok().copied()).collect();
            mean_of_pods(&known, current, target).map(|mean| (mean, true)).ok_or_else(|| {
                let error =
                    values.iter().filter_map(|value| value.clone().err()).min_by(|a, b| a.0.cmp(&b.0));
                let error = error.unwrap_or_else(not_a_number);
                SampleError(format!("failed to collect metrics from all {} pods: {error}", values.len()))
            })
        }
    }
}

/// Another source in the same place of the list must not inherit windows.
fn identity_of(source: &MetricSource) -> String {
    let MetricSource { metric_source_type, protocol_type, endpoint, path, port, target_metric, .. } = source;
    [metric_source_type, protocol_type, endpoint, path, port, target_metric].map(String::as_str).join("\n")
}

fn all_failed(pa: &PodAutoscaler, failures: &[String]) -> ComputeError {
    let namespace = pa.metadata.namespace.as_deref().unwrap_or("");
    let name = pa.metadata.name.as_deref().unwrap_or("");
    let count = failures.len();
    let text = format!("all {count} metric sources failed for PodAutoscaler {namespace}/{name}");
    let details = failures.join("; ");
    ComputeError(cut(&if details.is_empty() { text } else { format!("{text}: {details}") }, ERROR_BYTES))
}

fn withheld(failures: &[String], full_at: Option<Timestamp>) -> Option<Note> {
    if let Some(until) = full_at {
        let shown = Timestamp::from_second(until.as_second()).unwrap_or(until);
        let text = format!("scale-down withheld until {shown}: the observed window is not complete yet");
        return Some(Note { text, until: Some(until) });
    }
    let failures = failures.join("; ");
    let text = format!("scale-down withheld: not all metric sources have values: {failures}");
    (!failures.is_empty()).then(|| Note { text: cut(&text, ERROR_BYTES), until: None })
}
