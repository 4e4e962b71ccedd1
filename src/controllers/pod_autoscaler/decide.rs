// SPDX-License-Identifier: Apache-2.0
//! How many replicas: bounds first, then the largest recommendation of the metric sources.
//!
//! A missing measurement never lowers the count. A source without any value blocks scaling down, and so does a window
//! that does not span its full length in this term. A pod that is ready and has no value counts as being at the target,
//! or at its last value if that is more; one that had none in this term blocks scaling down for [`SILENT_ROUNDS`].

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::{
    api::{
        autoscaling::{
            DEFAULT_OBSERVE_WINDOW_SECONDS, DEFAULT_PANIC_WINDOW_SECONDS, MetricSource, PodAutoscaler,
        },
        keys::pod_autoscaler::ALLOW_UNRESPONSIVE_METRIC,
    },
    validation::pod_autoscaler::target_value,
};
use kube_fenced_election::clock::Timestamp;
use kube_loops::k8s::text::cut;

use super::{
    algorithm::{Totals, aggregate::totals_of_pods, apa, kpa},
    annotations::Parameters,
    bounds::Bounds,
    snapshot::{PodReading, Reading, SampleError, Samples},
    state::{Climb, Note, PodMemory, SourceMemory, State},
    status::ERROR_BYTES,
};

/// Longest text of one source in an error, in bytes.
const SOURCE_ERROR_BYTES: usize = 160;
/// Rounds in which a ready pod that never had a value may be an overloaded one.
const SILENT_ROUNDS: u32 = 3;
/// How old a value of a pod may be that stands for a missing one.
const LAST_VALUE: SignedDuration = SignedDuration::from_mins(5);
/// How far a value may move, as a part of what it was, and still not have reacted.
const MOVED: f64 = 0.1;
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
    let (mut failures, mut silent) = (Vec::<String>::new(), 0);
    let blind_rounds = std::mem::take(&mut state.unknown).blind_rounds;
    (state.unknown.pods, state.unknown.of_pods, state.unknown.first_pod) = unknown_pods(samples);
    state.unknown.of_sources = pa.spec.metrics_sources.len();
    let sources = pa.spec.metrics_sources.iter().zip(&samples.sources).zip(&mut state.sources);
    for ((source, reading), remembered) in sources {
        let recommended = recommend(inputs, source, reading, remembered);
        silent = silent.max(remembered.pods.values().filter(|pod| pod.may_be_overloaded()).count());
        match recommended {
            Ok(count) => {
                let count = count.min(bounds.max).max(bounds.min);
                raw = Some(raw.map_or(count, |raw| raw.max(count)));
            }
            Err(error) => {
                failures.push(cut(&format!("{}: {error}", source.target_metric), SOURCE_ERROR_BYTES));
            }
        }
    }
    state.unknown.sources.clone_from(&failures);
    let climbs = pa.spec.metrics_sources.iter().zip(&state.sources);
    let mut stuck = climbs.filter_map(|(source, it)| Some((source, it.climb.filter(|climb| climb.held)?)));
    state.limited = stuck.next().map(|(source, climb)| unresponsive(source, climb));
    let Some(raw) = raw else {
        state.unknown.no_pods = samples.sources.iter().all(|reading| *reading == Reading::PerPod(Vec::new()));
        state.unknown.blind_rounds = blind_rounds.saturating_add(u32::from(!state.unknown.no_pods));
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
        state.note = withheld(&failures, silent, full_at.filter(|full_at| now < *full_at));
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

/// Pods without a value, all that were asked, and why the first has none, of the source that has most of those.
fn unknown_pods(samples: &Samples) -> (usize, usize, String) {
    let of = |reading: &Reading| match reading {
        Reading::PerPod(pods) => {
            let is_unknown = |pod: &&PodReading| !pod.value.as_ref().is_ok_and(|value| value.is_finite());
            let unknown: Vec<&PodReading> = pods.iter().filter(is_unknown).collect();
            let why = unknown.first().map(|pod| match &pod.value {
                Ok(_) => not_a_number().0,
                Err(error) => cut(&error.0, SOURCE_ERROR_BYTES),
            });
            (unknown.len(), pods.len(), why.unwrap_or_default())
        }
        Reading::Total(_) | Reading::Failed(_) => (0, 0, String::new()),
    };
    samples
        .sources
        .iter()
        .map(of)
        .max_by_key(|(unknown, of_pods, _)| (*unknown, *of_pods))
        .unwrap_or_default()
}

fn not_a_number() -> SampleError {
    SampleError("the value is not a finite number".to_owned())
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
    let per_pod = matches!(reading, Reading::PerPod(_));
    let sample = sample_of(reading, inputs, target.unwrap_or(f64::INFINITY), &mut state.pods)?;
    let Some(target) = target else { return Ok(current) };
    let sample = sample.map(|total| total.clamp(f64::MIN, f64::MAX));
    let stable = pa.spec.observe_window_seconds.unwrap_or(DEFAULT_OBSERVE_WINDOW_SECONDS);
    let panic = pa.spec.panic_window_seconds.unwrap_or(DEFAULT_PANIC_WINDOW_SECONDS);
    state.windows.record(now, sample, stable, panic);
    let (stable, panic) = state.windows.means();
    if pa.spec.scaling_strategy != "KPA" {
        // APA takes a value that no pod reported for what each of the replicas has.
        if per_pod {
            return Ok(apa::recommend(current, target, stable, parameters.limits));
        }
        let total = stable.map(|value| (value * f64::from(current)).clamp(f64::MIN, f64::MAX));
        let count = apa::recommend(current, target, total, parameters.limits);
        let is_allowed = pa.metadata.annotations.as_ref().and_then(|all| all.get(ALLOW_UNRESPONSIVE_METRIC));
        if is_allowed.is_some_and(|value| value == "true") {
            state.climb = None;
            return Ok(count);
        }
        return Ok(if state.reacts(current, count, stable.sum) { count } else { current });
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

/// The totals of a reading. Notes in `pods` what is known of each.
fn sample_of(
    reading: &Reading,
    inputs: DecisionInputs<'_>,
    target: f64,
    pods: &mut BTreeMap<Box<str>, PodMemory>,
) -> Result<Totals, SampleError> {
    match reading {
        Reading::Failed(error) => Err(error.clone()),
        Reading::Total(value) => {
            let value = value.clone()?;
            if value.is_finite() { Ok(Totals::of(value)) } else { Err(not_a_number()) }
        }
        Reading::PerPod(readings) if readings.is_empty() => {
            pods.clear();
            Err(SampleError("no running pods to collect metrics from".to_owned()))
        }
        Reading::PerPod(readings) => {
            let mut before = std::mem::take(pods);
            let (mut values, mut measured) = (Vec::with_capacity(readings.len()), 0_usize);
            for PodReading { uid, ready, value } in readings {
                let mut memory = before.remove(uid).unwrap_or_default();
                let value = value.as_ref().ok().copied().filter(|value| value.is_finite());
                measured += usize::from(value.is_some());
                values.extend(memory.observe(value, *ready, target, inputs.now));
                pods.insert(uid.clone(), memory);
            }
            let totals = totals_of_pods(&values, inputs.current, target).filter(|_| measured > 0);
            totals.ok_or_else(|| {
                let errors = readings.iter().filter_map(|pod| pod.value.as_ref().err());
                let error = errors.min_by(|a, b| a.0.cmp(&b.0)).cloned().unwrap_or_else(not_a_number);
                let count = readings.len();
                SampleError(format!("failed to collect metrics from all {count} pods: {error}"))
            })
        }
    }
}

impl SourceMemory {
    /// Notes what is recommended for a value. Answers whether the value has reacted to what was done before: after two
    /// scale-ups in a row that have doubled the replicas, it should have.
    fn reacts(&mut self, current: i32, recommended: i32, value: f64) -> bool {
        if recommended <= current {
            self.climb = None;
            return true;
        }
        let has_moved = |climb: &Climb| (value - climb.value).abs() >= MOVED * climb.value.abs();
        let climb = self.climb.filter(|climb| !has_moved(climb));
        let mut climb = climb.unwrap_or(Climb { from: current, value, steps: 0, held: false });
        climb.held = climb.steps >= 2 && current >= climb.from.saturating_mul(2);
        climb.steps = climb.steps.saturating_add(u32::from(!climb.held));
        self.climb = Some(climb);
        !climb.held
    }
}

impl PodMemory {
    /// Notes a value, and answers what the pod counts as; `None`: it is missing, and not ready.
    fn observe(&mut self, value: Option<f64>, ready: bool, target: f64, now: Timestamp) -> Option<f64> {
        if let Some(value) = value {
            *self = Self { last: Some((now, value)), silent_rounds: 0 };
            return Some(value);
        }
        if !ready {
            self.silent_rounds = 0;
            return None;
        }
        self.silent_rounds = self.silent_rounds.saturating_add(1);
        let is_young = |(at, _): &(Timestamp, f64)| now.duration_since(*at) <= LAST_VALUE;
        let last = self.last.filter(is_young).map_or(target, |(_, last)| last);
        Some(target.max(last))
    }

    /// Whether it may have so much to do that it does not answer.
    fn may_be_overloaded(&self) -> bool {
        self.last.is_none() && (1..=SILENT_ROUNDS).contains(&self.silent_rounds)
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

fn unresponsive(source: &MetricSource, Climb { from, value, .. }: Climb) -> String {
    let (kind, metric) = (&source.metric_source_type, &source.target_metric);
    let text = format!(
        "{kind} metric {metric} stays at about {value} while more than {from} replicas came, by which APA would multiply \
         them again and again: use scalingStrategy KPA for a total, let pods report the metric, or set the annotation \
         {ALLOW_UNRESPONSIVE_METRIC}: \"true\""
    );
    cut(&text, ERROR_BYTES)
}

fn withheld(failures: &[String], silent: usize, full_at: Option<Timestamp>) -> Option<Note> {
    if let Some(until) = full_at {
        let shown = Timestamp::from_second(until.as_second()).unwrap_or(until);
        let text = format!("scale-down withheld until {shown}: the observed window is not complete yet");
        return Some(Note { text, until: Some(until) });
    }
    if !failures.is_empty() {
        let failures = failures.join("; ");
        let text = format!("scale-down withheld: not all metric sources have values: {failures}");
        return Some(Note { text: cut(&text, ERROR_BYTES), until: None });
    }
    let text = format!("scale-down withheld: {silent} pods are ready and have not answered yet");
    (silent > 0).then_some(Note { text, until: None })
}
