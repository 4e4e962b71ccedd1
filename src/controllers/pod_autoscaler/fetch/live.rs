// SPDX-License-Identifier: Apache-2.0
//! Targets that are read from the API server instead of a store.

use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject},
};
use serde_json::Value;

use kube_fenced_election::clock::SharedClock;
use kube_loops::{
    chain::Chain,
    cluster::discovery::{Discovery, Mapping},
};

use super::said;

/// Why a target could not be read. The texts follow `unable to get target scaleObj: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::controllers::pod_autoscaler) enum LiveError {
    /// More than one slash.
    #[error("invalid API version in scale target reference: unexpected GroupVersion string: {0}")]
    ApiVersion(String),
    /// The kind is not served, or not in namespaces.
    #[error("unable to determine resource for scale target reference: {0}")]
    Kind(String),
    /// The object could not be read.
    #[error("failed to query scale subresource: {0}")]
    Get(String),
}

/// Reads targets live.
pub(in crate::controllers::pod_autoscaler) struct Live {
    client: Client,
    discovery: Discovery,
}

impl Live {
    /// Reads with this client.
    pub(in crate::controllers::pod_autoscaler) fn new(client: Client, clock: SharedClock) -> Self {
        Self { discovery: Discovery::new(client.clone(), clock), client }
    }

    /// A target of a kind that is not watched: any namespaced kind can be a target, and watching what a
    /// user may name some day is neither possible nor permitted.
    ///
    /// # Errors
    /// [`LiveError`].
    pub(in crate::controllers::pod_autoscaler) async fn any_kind(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(ApiResource, Value), LiveError> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if version.contains('/') {
            return Err(LiveError::ApiVersion(api_version.to_owned()));
        }
        let found = self.discovery.mappings(group, kind).await;
        let mut found = found.map_err(|error| LiveError::Kind(Chain(&error).to_string()))?;
        found.retain(|mapping| mapping.namespaced);
        // The version that the user names comes first: patches are written in its terms.
        found.sort_by_key(|mapping| mapping.resource.version != version);
        let mut first_error = None;
        for Mapping { resource, .. } in found {
            match self.one(&resource, namespace, name).await {
                Ok(object) => return Ok((resource, object)),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        if first_error.is_some() {
            // The kind may have moved to another version.
            self.discovery.forget(group, kind);
        }
        let no_match = || LiveError::Kind(format!("no matches for kind {kind:?} in group {group:?}"));
        Err(first_error.unwrap_or_else(no_match))
    }

    /// A target of a known kind, read past the store: because the store does not show our own last write
    /// to it yet (scaling twice on one measurement), or does not show an object that may have been
    /// created a moment ago (an alarm about nothing).
    ///
    /// # Errors
    /// [`LiveError::Get`].
    pub(in crate::controllers::pod_autoscaler) async fn one(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
    ) -> Result<Value, LiveError> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, resource);
        let read = api.get(name).await.map_err(|error| LiveError::Get(said(&error)))?;
        serde_json::to_value(read).map_err(|error| LiveError::Get(error.to_string()))
    }
}
