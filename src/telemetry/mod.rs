// SPDX-License-Identifier: Apache-2.0
//! Log lines in klog's format, and the `process_*` metrics.
//!
//! Nothing here is global but the log subscriber that [`init`] installs once.

mod filter;
mod format;
mod klog;
pub(crate) mod process;

pub(crate) use klog::{LogSettings, init, log_panics};

#[cfg(test)]
mod filter_tests;
#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod klog_tests;
#[cfg(test)]
mod process_tests;
