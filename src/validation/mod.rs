// SPDX-License-Identifier: Apache-2.0
//! Whether the spec of a user is acceptable, and in which words it is refused.
//!
//! Pure, for admission webhooks (all errors at once, as field errors) and for plans (the first problem,
//! as reason and message of a condition): admission may have been bypassed.

pub(crate) mod artifact_url;
pub(crate) mod field_error;
pub(crate) mod kv_cache;
pub(crate) mod model_adapter;
pub(crate) mod pod_autoscaler;
pub(crate) mod schedules;
pub(crate) mod storm_service;
pub(crate) mod target_metric;

#[cfg(test)]
mod artifact_url_tests;
#[cfg(test)]
mod field_error_tests;
#[cfg(test)]
mod kv_cache_tests;
#[cfg(test)]
mod model_adapter_tests;
#[cfg(test)]
mod pod_autoscaler_tests;
#[cfg(test)]
mod schedules_tests;
#[cfg(test)]
mod storm_service_tests;
#[cfg(test)]
mod target_metric_tests;
