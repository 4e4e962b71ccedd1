// SPDX-License-Identifier: Apache-2.0
//! Measurements for all autoscalers of one term, taken outside their passes.
//!
//! Promised: the term is cut into periods, one for each tick of the loop, and within one period each [`Origin`] is read at most once,
//! however many autoscalers and metrics want it; an autoscaler gets at most one round of measurements
//! per period, and every period's round consists of reads that began in that period. A pass never
//! waits: it asks the [`MetricsCache`], gets the last complete round at once, and is queued again, once, when
//! the round that it asked for is complete. A read that fails is a missing value, never a zero, and is
//! tried again in the next period, not before. An engine that has too much to do answers late: a read may take most of
//! a period, and its answer counts for the round that asked for it. What takes long leaves its lane, and waits in one
//! of its own from then on: a thousand dead pods cannot delay the living ones.
//!
//! Kept: the numbers that somebody wants, no bodies. Absent: decisions.

mod cache;
mod reader;
mod wanted;

#[cfg(test)]
mod cache_run_tests;
#[cfg(test)]
mod cache_tests;
#[cfg(test)]
mod reader_tests;

pub(super) use self::wanted::{Item, Origin, Pick, Wanted, WantedPod};
pub(in crate::controllers::pod_autoscaler) use self::{cache::MetricsCache, reader::Sources};
