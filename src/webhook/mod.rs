// SPDX-License-Identifier: Apache-2.0
//! What admission webhooks answer: reviews in, reviews out.
//!
//! Handlers are pure functions of one review. They keep nothing, ask nobody and depend on no controller, so
//! every replica answers every path, leader or not. One that must know a stored object too names its kind: it is
//! read before. All shipped webhooks have the failure policy `Ignore`:
//! no controller may rely on a handler having run.
//!
//! An answer never changes what a handler did not mean to change: of an object a handler reads only its
//! [`parts`](parts::Parts), and a patch holds only the paths that differ.

pub(crate) mod deployment;
pub(crate) mod json_patch;
pub(crate) mod kv_cache;
pub(crate) mod metrics;
pub(crate) mod model_adapter;
mod parts;
pub(crate) mod pod_autoscaler;
pub(crate) mod review;
mod router;
pub(crate) mod sidecar_injection;
pub(crate) mod storm_service;

#[cfg(test)]
mod deployment_tests;
#[cfg(test)]
mod json_patch_tests;
#[cfg(test)]
mod kv_cache_tests;
#[cfg(test)]
mod model_adapter_tests;
#[cfg(test)]
mod parts_tests;
#[cfg(test)]
mod pod_autoscaler_tests;
#[cfg(test)]
mod review_tests;
#[cfg(test)]
mod router_tests;
#[cfg(test)]
mod sidecar_injection_tests;
#[cfg(test)]
mod storm_service_tests;

pub(crate) use router::{Limits, ReadStored, router};

use self::review::{AdmissionResponse, Request};

/// One path with what answers it.
#[derive(Debug, Clone, Copy)]
pub struct Hook {
    /// Path that the API server calls.
    pub path: &'static str,
    /// Whether its answers may change the object.
    pub mutating: bool,
    /// The kind of which the object that the review names is read first, into [`Request::stored`].
    pub reads: Option<StoredKind>,
    /// Answers one review.
    pub handler: fn(&Request) -> AdmissionResponse,
}

/// A kind of stored objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredKind {
    /// Group.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Resource.
    pub plural: &'static str,
}

const fn mutating(path: &'static str, handler: fn(&Request) -> AdmissionResponse) -> Hook {
    Hook { path, mutating: true, reads: None, handler }
}

const fn validating(path: &'static str, handler: fn(&Request) -> AdmissionResponse) -> Hook {
    Hook { path, mutating: false, reads: None, handler }
}

/// All paths. Each is answered whichever controllers are enabled.
pub const HOOKS: [Hook; 11] = [
    mutating(deployment::MUTATING_PATH, deployment::mutate),
    validating(deployment::VALIDATING_PATH, deployment::validate),
    mutating(kv_cache::MUTATING_PATH, kv_cache::mutate),
    validating(kv_cache::VALIDATING_PATH, kv_cache::validate),
    mutating(model_adapter::MUTATING_PATH, model_adapter::mutate),
    validating(model_adapter::VALIDATING_PATH, model_adapter::validate),
    mutating(pod_autoscaler::MUTATING_PATH, pod_autoscaler::mutate),
    validating(pod_autoscaler::VALIDATING_PATH, pod_autoscaler::validate),
    mutating(storm_service::MUTATING_PATH, storm_service::mutate),
    validating(storm_service::VALIDATING_PATH, storm_service::validate),
    Hook {
        reads: Some(storm_service::STORED),
        ..validating(storm_service::SCALE_PATH, storm_service::validate_scale)
    },
];
