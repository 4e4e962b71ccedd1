// SPDX-License-Identifier: Apache-2.0
//! Targets that are read from the API server instead of a store.

use std::{collections::BTreeSet, sync::Arc};

use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject},
};
use parking_lot::Mutex;
use serde_json::Value;
use tracing::info;

use crate::controllers::pod_autoscaler::targets::{self, Form, as_count, is_known_kind};

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
    /// Resources whose scale may not be read or written, though the object may.
    forbidden: Mutex<BTreeSet<String>>,
}

/// A target as it was read.
#[derive(Debug)]
pub(in crate::controllers::pod_autoscaler) struct TargetRead {
    /// Its kind.
    pub(in crate::controllers::pod_autoscaler) resource: ApiResource,
    /// What was read of it.
    pub(in crate::controllers::pod_autoscaler) form: Form,
    /// That.
    pub(in crate::controllers::pod_autoscaler) json: Value,
    /// The field manager besides us that wrote its replicas last.
    pub(in crate::controllers::pod_autoscaler) other_writer: Option<Arc<str>>,
}

impl TargetRead {
    /// What was read from the API server.
    pub(super) fn live(resource: ApiResource, form: Form, json: Value) -> Self {
        let fields = json.pointer("/metadata/managedFields").cloned().unwrap_or_default();
        let fields: Option<Vec<_>> = serde_json::from_value(fields).ok();
        let other_writer = targets::other_writer(fields.as_deref()).map(Arc::from);
        Self { resource, form, json, other_writer }
    }
}

impl Live {
    /// Reads with this client.
    pub(in crate::controllers::pod_autoscaler) fn new(client: Client, clock: SharedClock) -> Self {
        Self { discovery: Discovery::new(client.clone(), clock), client, forbidden: Mutex::default() }
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
    ) -> Result<TargetRead, LiveError> {
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
        for mapping in found {
            match self.one_of_any_kind(&mapping, namespace, name).await {
                Ok((form, json)) => return Ok(TargetRead::live(mapping.resource, form, json)),
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

    /// The scale of an object, if its kind has one that may be read; else the object.
    async fn one_of_any_kind(
        &self,
        mapping: &Mapping,
        namespace: &str,
        name: &str,
    ) -> Result<(Form, Value), LiveError> {
        let resource = &mapping.resource;
        if !mapping.scale || is_known_kind(&resource.group, &resource.kind) {
            return Ok((Form::Object, self.one(resource, namespace, name).await?));
        }
        if !self.may_scale(resource)
            && let Ok(object) = self.one(resource, namespace, name).await
            && has_usual_fields(&object)
        {
            return Ok((Form::ScaleForbidden, object));
        }
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, resource);
        let error = match api.get_scale(name).await {
            Ok(scale) => {
                let json = serde_json::to_value(scale).map_err(|error| LiveError::Get(error.to_string()))?;
                return Ok((Form::Scale, json));
            }
            Err(error) => error,
        };
        let refusal = LiveError::Get(said(&error));
        if !matches!(error, kube::Error::Api(status) if status.code == 403) {
            return Err(refusal);
        }
        // AIBrix's role, and grants from its documentation, know no subresources.
        let object = self.one(resource, namespace, name).await.map_err(|_| refusal)?;
        self.forbid_scale(resource);
        Ok((Form::ScaleForbidden, object))
    }

    /// Whether nothing is known against reading and writing the scale of this resource.
    pub(in crate::controllers::pod_autoscaler) fn may_scale(&self, resource: &ApiResource) -> bool {
        !self.forbidden.lock().contains(&full_name(resource))
    }

    /// The scale of this resource is forbidden; in this term its objects are read and written instead.
    pub(in crate::controllers::pod_autoscaler) fn forbid_scale(&self, resource: &ApiResource) {
        let resource = full_name(resource);
        if self.forbidden.lock().insert(resource.clone()) {
            info!(
                child_kind = resource,
                "the scale subresource is forbidden: objects are read and patched instead; grant get and patch on it"
            );
        }
    }

    /// Whether an object keeps this count where the most kinds do.
    pub(in crate::controllers::pod_autoscaler) async fn counts_in_spec(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        count: Option<i32>,
    ) -> bool {
        let object = self.one(resource, namespace, name).await;
        let found = object.ok().and_then(|object| object.pointer("/spec/replicas").and_then(as_count));
        found.is_some() && found == Some(count.unwrap_or(0))
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

fn full_name(resource: &ApiResource) -> String {
    format!("{}.{}", resource.plural, resource.group)
}

/// Whether replicas and selector stand where the most kinds have them.
fn has_usual_fields(object: &Value) -> bool {
    let has = |path: &str| object.pointer(path).is_some_and(|value| !value.is_null());
    has("/spec/replicas") && (has("/status/selector") || has("/spec/selector"))
}
