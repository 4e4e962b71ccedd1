// SPDX-License-Identifier: Apache-2.0
//! The verbs by which loops change objects; nothing else in the tree creates, patches, replaces or deletes.
//!
//! A writer is made from a term's fenced client: a loop without a Lease cannot have one. Every method says
//! with which precondition it writes.

use std::fmt::Debug;

use kube::{
    Api, Client, Resource,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions},
    core::ApiResource,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::error::{Thing, WriteError};

/// Recorded as the writer of everything but applies and Leases, so that ownership continues from a Go manager.
const FIELD_MANAGER: &str = "manager";

/// Writes with one client.
#[derive(Clone)]
pub struct Writer {
    client: Client,
}

impl Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

/// Names one object by resource, namespace and name.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its resource.
    pub resource: ApiResource,
    /// Its namespace; `None` for cluster-scoped objects.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Target {
    fn thing(&self) -> Thing {
        Thing {
            kind: self.resource.kind.clone(),
            namespace: self.namespace.clone().unwrap_or_default(),
            name: self.name.clone(),
        }
    }
}

impl Writer {
    /// A writer for the term of this fenced client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Creates a namespaced object: POST.
    ///
    /// # Errors
    /// [`WriteError::AlreadyExists`]: read it and see whose it is.
    pub async fn create<K>(&self, object: &K) -> Result<K, WriteError>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>
            + Serialize
            + DeserializeOwned
            + Clone
            + Debug,
        K::DynamicType: Default,
    {
        let (api, thing) = self.api_of(object);
        api.create(&post(), object).await.map_err(|error| WriteError::new(thing, "create", &error))
    }

    /// Replaces a namespaced object as a whole: PUT with the `resourceVersion` that it carries.
    ///
    /// # Errors
    /// [`WriteError::Conflict`]: read it again and decide anew.
    pub async fn replace<K>(&self, object: &K) -> Result<K, WriteError>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>
            + Serialize
            + DeserializeOwned
            + Clone
            + Debug,
        K::DynamicType: Default,
    {
        let (api, thing) = self.api_of(object);
        let name = thing.name.clone();
        api.replace(&name, &post(), object).await.map_err(|error| WriteError::new(thing, "update", &error))
    }

    /// Replaces the status of a namespaced object: PUT on `/status`, whole, with the `resourceVersion` that it
    /// carries. Callers write only what differs.
    ///
    /// # Errors
    /// [`WriteError::Conflict`]: compute the status anew from the object as it is now.
    pub async fn replace_status<K>(&self, object: &K) -> Result<K, WriteError>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>
            + Serialize
            + DeserializeOwned
            + Clone
            + Debug,
        K::DynamicType: Default,
    {
        let (api, thing) = self.api_of(object);
        let name = thing.name.clone();
        let written = api.replace_status(&name, &post(), object).await;
        written.map_err(|error| WriteError::new(thing, "update the status of", &error))
    }

    /// Sets exactly the fields of `patch`: merge patch. With `version` only if the object still has that
    /// `resourceVersion`.
    ///
    /// # Errors
    /// As the API server answers.
    pub async fn merge_patch(
        &self,
        target: &Target,
        patch: &Value,
        version: Option<&str>,
    ) -> Result<DynamicObject, WriteError> {
        let mut patch = patch.clone();
        if let (Some(version), Some(fields)) = (version, patch.as_object_mut()) {
            let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("resourceVersion".to_owned(), json!(version));
            }
        }
        let patch: Patch<&Value> = Patch::Merge(&patch);
        self.patch(target, &patch).await
    }

    /// Changes elements of lists: JSON patch whose `test` operations are its preconditions.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] when a `test` failed: read the object again.
    pub async fn json_patch(
        &self,
        target: &Target,
        patch: json_patch::Patch,
    ) -> Result<DynamicObject, WriteError> {
        let patch: Patch<()> = Patch::Json(patch);
        self.patch(target, &patch).await
    }

    /// Deletes the object with this uid; a namesake that was created meanwhile survives. That it is gone
    /// already is success.
    ///
    /// # Errors
    /// [`WriteError::Conflict`]: another object has the name now.
    pub async fn delete(&self, target: &Target, uid: &str) -> Result<(), WriteError> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let deleted = self.dynamic(target).delete(&target.name, &params).await;
        let failed = deleted.err().map(|error| WriteError::new(target.thing(), "delete", &error));
        failed.filter(|error| !matches!(error, WriteError::NotFound { .. })).map_or(Ok(()), Err)
    }

    async fn patch<P: Serialize + Debug>(
        &self,
        target: &Target,
        patch: &Patch<P>,
    ) -> Result<DynamicObject, WriteError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patched = self.dynamic(target).patch(&target.name, &params, patch).await;
        patched.map_err(|error| WriteError::new(target.thing(), "patch", &error))
    }

    fn dynamic(&self, target: &Target) -> Api<DynamicObject> {
        match &target.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &target.resource),
            None => Api::all_with(self.client.clone(), &target.resource),
        }
    }

    fn api_of<K>(&self, object: &K) -> (Api<K>, Thing)
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        let thing = Thing {
            kind: K::kind(&K::DynamicType::default()).into_owned(),
            name: object.meta().name.clone().unwrap_or_default(),
            namespace: namespace.clone(),
        };
        (Api::namespaced(self.client.clone(), &namespace), thing)
    }
}

fn post() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}
