// SPDX-License-Identifier: Apache-2.0
//! Parameters of scaling from the annotations of a PodAutoscaler.
//!
//! Each key stands alone: a value that cannot be used falls back to the default of its key and is
//! reported once, and all others stay in force.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::{
    api::{autoscaling::PodAutoscaler, keys::pod_autoscaler as keys},
    gocompat::{
        duration::{format_duration, parse_duration},
        number::{parse_bool, parse_float},
    },
};
use kube_loops::k8s::text::cut;

use super::algorithm::{Limits, cooldown::CooldownWindows};

/// Longest part of a value that a warning repeats, in bytes.
const VALUE_BYTES: usize = 64;

/// Parameters with defaults.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parameters {
    /// Rates and tolerances.
    pub(super) limits: Limits,
    /// θ, above 0.
    pub(super) panic_threshold: f64,
    /// Stabilisation.
    pub(super) cooldown: CooldownWindows,
    /// What could not be used, in the order of the keys.
    pub(super) warnings: Vec<String>,
}

/// Reads the annotations of `pa`.
pub(super) fn parse_parameters(pa: &PodAutoscaler) -> Parameters {
    let none = BTreeMap::new();
    let mut reader =
        Reader { annotations: pa.metadata.annotations.as_ref().unwrap_or(&none), warnings: Vec::new() };
    let rate = |value: f64| value.is_finite() && value >= 1.0;
    let at_least_zero = |value: f64| value.is_finite() && value >= 0.0;
    let fraction = |value: f64| (0.0..=1.0).contains(&value);
    let above_zero = |value: f64| value.is_finite() && value > 0.0;
    let limits = Limits {
        up_rate: reader.number(&[keys::MAX_SCALE_UP_RATE], 2.0, "a number of at least 1", rate),
        down_rate: reader.number(&[keys::MAX_SCALE_DOWN_RATE], 2.0, "a number of at least 1", rate),
        up_tolerance: reader.number(
            &[keys::SCALE_UP_TOLERANCE, keys::LEGACY_UP_TOLERANCE],
            0.1,
            "a number of at least 0",
            at_least_zero,
        ),
        down_tolerance: reader.number(
            &[keys::SCALE_DOWN_TOLERANCE, keys::LEGACY_DOWN_TOLERANCE],
            0.1,
            "a number from 0 to 1",
            fraction,
        ),
    };
    let panic_threshold = reader.number(&[keys::PANIC_THRESHOLD], 2.0, "a number above 0", above_zero);
    let up = reader.window(&[keys::SCALE_UP_COOLDOWN_WINDOW], SignedDuration::ZERO);
    let down_keys = [keys::SCALE_DOWN_COOLDOWN_WINDOW, keys::LEGACY_SCALE_DOWN_DELAY];
    let down = reader.window(&down_keys, SignedDuration::from_secs(300));
    reader.value(&[keys::SCALE_TO_ZERO], false, "a boolean", "false", |text| parse_bool(text).ok());
    Parameters { limits, panic_threshold, cooldown: CooldownWindows { up, down }, warnings: reader.warnings }
}

struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
    warnings: Vec<String>,
}

impl Reader<'_> {
    /// The value under the first of `names` that is present.
    fn value<T>(
        &mut self,
        names: &[&str],
        default: T,
        wanted: &str,
        default_text: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let Some((name, text)) = names.iter().find_map(|name| Some((name, self.annotations.get(*name)?)))
        else {
            return default;
        };
        parse(text).unwrap_or_else(|| {
            let text = cut(text, VALUE_BYTES);
            self.warnings.push(format!("annotation {name}: {text:?} is not {wanted}; using {default_text}"));
            default
        })
    }

    fn number(&mut self, names: &[&str], default: f64, wanted: &str, fits: fn(f64) -> bool) -> f64 {
        let parse = |text: &str| parse_float(text).ok().filter(|value| fits(*value));
        self.value(names, default, wanted, &default.to_string(), parse)
    }

    fn window(&mut self, names: &[&str], default: SignedDuration) -> SignedDuration {
        let parse = |text: &str| parse_duration(text).ok().filter(|window| !window.is_negative());
        self.value(names, default, "a duration of at least 0s", &format_duration(default), parse)
    }
}
