// SPDX-License-Identifier: Apache-2.0
//! ModelAdapter: a LoRA that is kept loaded on inference engines.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::api::wire::{conditions_schema, is_zero, label_selector_schema};

// The published schema requires the artifact URL and the selector, but not the spec itself: an object may
// come without any, which reads as the default.
/// Which LoRA is loaded on which pods.
#[derive(CustomResource, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "model.aibrix.ai",
    version = "v1alpha1",
    kind = "ModelAdapter",
    namespaced,
    status = "ModelAdapterStatus",
    derive = "PartialEq",
    doc = "ModelAdapter keeps a LoRA loaded on inference engines.",
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Desired","type":"integer","jsonPath":".status.desiredReplicas"}"#,
    printcolumn = r#"{"name":"Ready","type":"integer","jsonPath":".status.readyReplicas"}"#,
    printcolumn = r#"{"name":"Candidates","type":"integer","jsonPath":".status.candidates"}"#,
    printcolumn = r#"{"name":"Model Path","type":"string","jsonPath":".spec.artifactURL"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", remote = "Self")]
#[schemars(extend("required" = ["artifactURL", "podSelector"]))]
pub(crate) struct ModelAdapterSpec {
    /// Name of the base model, for a label of the Service; it does not select pods. Absent: no label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// Pods that may host the adapter; an empty selector takes all pods of the namespace. Absent: the spec
    /// is invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub pod_selector: Option<LabelSelector>,
    /// Accepted and without effect: the policy is a flag of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler_name: Option<String>,
    /// Where the weights of the LoRA are; empty: the spec is invalid.
    #[serde(default, rename = "artifactURL")]
    pub artifact_url: String,
    /// Secret in the same namespace with what the runtime sidecar needs for the download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<CredentialsSecretRef>,
    /// 1: one pod, chosen by the scheduling policy. Absent: all pods that match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [1]))]
    pub replicas: Option<i32>,
    /// For the runtime sidecar as it is; `api-key` is also the bearer token of every call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_config: Option<BTreeMap<String, String>>,
}

impl<'de> Deserialize<'de> for ModelAdapterSpec {
    /// An absent or null spec is an empty one: such an object must parse, so that its status can say what is
    /// wrong with it and so that it can be deleted.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Given(#[serde(with = "ModelAdapterSpec")] ModelAdapterSpec);
        let given = Option::<Given>::deserialize(deserializer)?;
        Ok(given.map_or_else(Self::default, |given| given.0))
    }
}

impl Serialize for ModelAdapterSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl std::fmt::Debug for ModelAdapterSpec {
    /// Everything but the values of `additionalConfig` and what an artifact URL may carry beside the place.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = self.additional_config.as_ref().map(|config| config.keys().collect::<Vec<_>>());
        f.debug_struct("ModelAdapterSpec")
            .field("base_model", &self.base_model)
            .field("pod_selector", &self.pod_selector)
            .field("replicas", &self.replicas)
            .field("credentials_secret_ref", &self.credentials_secret_ref)
            .field("additional_config", &keys)
            .finish_non_exhaustive()
    }
}

/// A Secret of the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub(crate) struct CredentialsSecretRef {
    /// Its name; empty by default, which names none.
    #[serde(default)]
    pub name: String,
}

/// Where the adapter is loaded, as the engines report it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModelAdapterStatus {
    /// `Pending`, `Scheduled`, `Bound`, `ResourceCreated`, `Running`, `Failed` or `Scaled`; empty: not
    /// looked at yet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phase: String,
    /// Pods that match the selector and can host the adapter; 0 is not written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub candidates: i32,
    /// Pods that should host it: 1, or all candidates; 0 is not written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub desired_replicas: i32,
    /// Pods that do; 0 is not written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ready_replicas: i32,
    // Omitted when empty: a status is replaced as a whole, so that clears it.
    /// Their names, which the gateway reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<String>,
    /// Conditions in the order of their first appearance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
}
