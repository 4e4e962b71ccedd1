// SPDX-License-Identifier: Apache-2.0
//! Admission webhooks, called by a real API server through the shipped Service and configurations.

mod deployments;
mod kv_caches;
mod model_adapters;
mod outage;
mod pod_autoscalers;
mod process;
mod storm_services;
mod world;
