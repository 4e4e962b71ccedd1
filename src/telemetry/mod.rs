// SPDX-License-Identifier: Apache-2.0
//! What the process says about itself: log lines in klog's shape and metrics in Prometheus' text format.
//!
//! Nothing here is global but the log subscriber that [`init`] installs once; a [`Metrics`] is a value
//! that the composition root hands out.

mod exposition;
pub mod families;
mod filter;
mod format;
mod klog;
mod metrics;
mod process;
mod series;

use std::{error::Error, fmt};

pub use klog::{LogError, LogSettings, Sink, init, log_panics, subscriber};
pub use metrics::{Metrics, MetricsError, exponential_buckets};
pub use series::{Series, SeriesFamily};

/// Prints an error with its whole chain of causes, `what failed: why: root cause`, leaving out a cause
/// whose text the line above it already ends with.
///
/// For the log field `error = %Chain(&error)`.
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !last.ends_with(&text) {
                write!(f, ": {text}")?;
                last = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod exposition_tests;
#[cfg(test)]
mod filter_tests;
#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod klog_tests;
#[cfg(test)]
mod metrics_tests;
#[cfg(test)]
mod series_tests;
