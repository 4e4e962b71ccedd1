// SPDX-License-Identifier: Apache-2.0
//! How long an adapter that could not be loaded on a pod waits for the next attempt. It is never given up.

use std::time::Duration;

use kube_loops::runtime::backoff::exponential;

const BASE: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(5);
/// Pace of the first attempts when waiting may help.
const STEADY: Duration = Duration::from_secs(10);
/// Failures in a row after which that pace ends.
const STEADY_FAILURES: u32 = 5;

/// What kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadFailure {
    /// Likely to pass: no connection, no list of models, or the engine answers 5xx. The sidecar answers 500 for
    /// everything.
    Transient,
    /// Likely to stay until somebody changes something: the engine answers 4xx, the URL names nothing, the
    /// Secret is missing.
    Lasting,
}

/// The wait after this failure, the `failures`-th in a row (counted from 1).
///
/// `min(5 s · 2^failures, 300 s)`, but 10 s for the first five transient ones.
pub(crate) fn delay_after(failure: LoadFailure, failures: u32) -> Duration {
    match failure {
        LoadFailure::Transient if failures <= STEADY_FAILURES => STEADY,
        LoadFailure::Transient | LoadFailure::Lasting => exponential(BASE, failures, LONGEST),
    }
}
