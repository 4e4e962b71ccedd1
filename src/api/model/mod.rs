// SPDX-License-Identifier: Apache-2.0
//! `model.aibrix.ai/v1alpha1`.

mod model_adapter;

pub(crate) use model_adapter::{ModelAdapter, ModelAdapterSpec, ModelAdapterStatus};

/// Group of the kinds here.
pub(crate) const GROUP: &str = "model.aibrix.ai";
/// Their only version.
pub(crate) const VERSION: &str = "v1alpha1";
/// Their `apiVersion`.
pub(crate) const API_VERSION: &str = "model.aibrix.ai/v1alpha1";
/// Kind of the ModelAdapter.
pub(crate) const MODEL_ADAPTER: &str = "ModelAdapter";

#[cfg(test)]
mod model_adapter_tests;
