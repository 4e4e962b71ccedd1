// SPDX-License-Identifier: Apache-2.0
//! `model.aibrix.ai/v1alpha1`.

mod model_adapter;

pub use model_adapter::{CredentialsSecretRef, ModelAdapter, ModelAdapterSpec, ModelAdapterStatus};

/// Group of the kinds here.
pub const GROUP: &str = "model.aibrix.ai";
/// Their only version.
pub const VERSION: &str = "v1alpha1";
/// Their `apiVersion`.
pub const API_VERSION: &str = "model.aibrix.ai/v1alpha1";
/// Kind of the ModelAdapter.
pub const MODEL_ADAPTER: &str = "ModelAdapter";

#[cfg(test)]
mod model_adapter_tests;
