// SPDX-License-Identifier: Apache-2.0
//! Whether the spec of a user is acceptable, and in which words it is refused.
//!
//! Pure, for admission webhooks (all errors at once, as field errors) and for plans (the first problem,
//! as reason and message of a condition): admission may have been bypassed.

pub mod artifact_url;
pub mod field_error;
pub mod kv_cache;
pub mod model_adapter;
pub mod pod_autoscaler;
pub mod schedules;
pub mod storm_service;

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
