// SPDX-License-Identifier: Apache-2.0
//! Everything that talks HTTP to pods and metric endpoints.
//!
//! Promised: one request per call, bounded in time and size, never through a proxy; a read follows one redirect, on the
//! same origin, a change none; a failure is a typed error and never a number. Absent: retries (the caller's next period is
//! the retry), caching, knowledge of our kinds. Requests that change something outside the API server
//! pass the fence of the term right before they are sent, and end with it ([`call`]). Remote APIs have a
//! file each: [`models`], [`lora`] and the runtime sidecar's.

pub(crate) mod call;
pub(crate) mod endpoint;
pub(crate) mod exposition;
pub(crate) mod http;
pub(crate) mod lora;
pub(crate) mod metric_names;
pub(crate) mod models;
pub(crate) mod promql;
mod redactor;
mod refusals;
mod runtime_sidecar;
pub(crate) mod tls;

#[cfg(test)]
mod call_tests;
#[cfg(test)]
mod exposition_tests;
#[cfg(test)]
mod http_tests;
#[cfg(test)]
mod lora_tests;
#[cfg(test)]
mod metric_names_tests;
#[cfg(test)]
mod refusals_tests;
