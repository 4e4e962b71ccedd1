// SPDX-License-Identifier: Apache-2.0
//! The verbs by which loops change objects; nothing else in the tree creates, patches, replaces or deletes.
//!
//! A writer is made from a term's fenced client: a loop without a Lease cannot have one. Whatever it changes it changes
//! only as it was when it was decided on: a write that arrives late, or twice, undoes nothing that a later leader did.
//!
//! | Purpose | Call | Guard |
//! |---|---|---|
//! | create a child | [`Writer::create`], [`Writer::create_dynamic`] | its name |
//! | whole object, whole status | [`Writer::replace_dynamic`], [`Writer::replace_status`] | `resourceVersion`, required |
//! | one field that others own too | [`Writer::merge_patch`], [`Writer::patch`] | `resourceVersion`, required |
//! | element of a list, by its key | [`Change::Strategic`] | `resourceVersion`, required |
//! | element of a list, one value | [`Writer::json_patch`] | its `test` operations, required |
//! | count of a scale | [`Writer::json_patch_scale`] | its `test` operations, required |
//! | delete | [`Writer::delete`] | uid, required |
//!
//! In a dry run ([`Writer::dry_run`]) they are noted instead.
//!
//! Objects are sent as they serialise, byte for byte: raw JSON in them survives.

use std::fmt::Debug;

use http::Request;
use json_patch::PatchOperation;
use kube::{
    Client, Resource,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::{ApiResource, request},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tracing::info;

use super::{
    dry_run::{NotedStep, Notes},
    error::{ObjectRef, WriteError},
};

/// Recorded as the writer of everything but applies and Leases, so that ownership continues from a Go manager.
pub const FIELD_MANAGER: &str = "manager";

/// Writes with one client.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    /// Of a dry run: takes the writes in place of the API server.
    notes: Option<Notes>,
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

/// What the object must still be for a patch to apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard<'a> {
    /// The very object, not a namesake.
    pub uid: Option<&'a str>,
    /// Unchanged since it was read.
    pub version: &'a str,
}

/// A change of some fields.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// RFC 7396: null removes a key, lists are replaced whole.
    Merge(Value),
    /// Lists are joined by the kind's keys (containers by name): kinds of Kubernetes only.
    Strategic(Value),
}

/// How to delete.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Deletion {
    /// What becomes of dependents; `None`: the kind's default.
    pub propagation: Option<PropagationPolicy>,
    /// Seconds that a pod has to end; `None`: its own; 0: at once.
    pub grace_seconds: Option<u32>,
    /// Only if unchanged since it was read.
    pub version: Option<String>,
}

impl Deletion {
    /// Its dependents go in the background.
    pub fn background() -> Self {
        Self { propagation: Some(PropagationPolicy::Background), ..Self::default() }
    }
}

/// The metadata that addresses an object.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Head {
    metadata: HeadMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HeadMeta {
    name: Option<String>,
    generate_name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
}

type Built = Result<Request<Vec<u8>>, request::Error>;

impl Target {
    fn object_ref(&self) -> ObjectRef {
        ObjectRef {
            kind: self.resource.kind.clone(),
            namespace: self.namespace.clone().unwrap_or_default(),
            name: self.name.clone(),
        }
    }

    pub(super) fn request(&self) -> request::Request {
        let namespace = self.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        request::Request::new(DynamicObject::url_path(&self.resource, namespace))
    }

    /// Refuses what would end up at another path: names come from what users wrote.
    fn check(&self) -> Result<(), WriteError> {
        let strays = |part: &str| matches!(part, "." | "..") || part.contains(['/', '%', '?', '#']);
        if strays(&self.name) || self.namespace.as_deref().is_some_and(strays) {
            return Err(self.unsound("is no name of an object"));
        }
        Ok(())
    }

    fn log(&self, what: &'static str) {
        info!(child_kind = self.resource.kind, child = self.name, "{what}");
    }

    fn unsound(&self, why: &str) -> WriteError {
        let object = self.object_ref();
        WriteError::Invalid { message: format!("{object} {why}"), object }
    }
}

impl Writer {
    /// A writer for the term of this fenced client.
    pub fn new(client: Client) -> Self {
        Self { client, notes: None }
    }

    /// A writer that notes each write instead of sending it, and answers it as if it had been made. `client` reads.
    pub fn dry_run(client: Client) -> Self {
        Self { client, notes: Some(Notes::default()) }
    }

    /// The steps that were noted since the last call; none unless this is a dry run.
    pub fn take_noted(&self) -> Vec<NotedStep> {
        self.notes.as_ref().map(Notes::take).unwrap_or_default()
    }

    /// To be asked before an effect outside the API server: in a dry run it is noted, and must not be made.
    pub fn notes_instead(&self, step: impl FnOnce() -> NotedStep) -> bool {
        self.notes.as_ref().inspect(|notes| notes.note(step())).is_some()
    }

    /// Creates an object: POST.
    ///
    /// # Errors
    /// [`WriteError::AlreadyExists`]: read it and see whose it is.
    pub async fn create<K>(&self, object: &K) -> Result<K, WriteError>
    where
        K: Resource + Serialize + DeserializeOwned,
        K::DynamicType: Default,
    {
        self.create_as(&resource_of::<K>(), object).await
    }

    /// Creates an object of a kind known at run time only, with `apiVersion` and `kind`: POST.
    ///
    /// # Errors
    /// As [`Writer::create`].
    pub async fn create_dynamic(&self, resource: &ApiResource, object: &Value) -> Result<Value, WriteError> {
        self.create_as(resource, object).await
    }

    /// Replaces an object of a kind known at run time only as a whole: PUT with the `resourceVersion` that it carries.
    ///
    /// # Errors
    /// [`WriteError::Conflict`]: read it again and decide anew.
    pub async fn replace_dynamic(&self, resource: &ApiResource, object: &Value) -> Result<Value, WriteError> {
        self.put(resource.clone(), "", object).await
    }

    /// Replaces the status of an object: PUT on `/status`, whole, with the `resourceVersion` that it carries.
    /// Callers write only what differs ([`super::status::same`]).
    ///
    /// # Errors
    /// [`WriteError::Conflict`]: compute the status anew from the object as it is now.
    pub async fn replace_status<K>(&self, object: &K) -> Result<K, WriteError>
    where
        K: Resource + Serialize + DeserializeOwned,
        K::DynamicType: Default,
    {
        self.put(resource_of::<K>(), "status", object).await
    }

    /// Sets exactly the fields of `patch`, if the object still has that `resourceVersion`: merge patch.
    ///
    /// # Errors
    /// [`WriteError::Conflict`]: it has not.
    pub async fn merge_patch(
        &self,
        target: &Target,
        patch: &Value,
        version: &str,
    ) -> Result<DynamicObject, WriteError> {
        self.patch(target, "", Change::Merge(patch.clone()), Guard { uid: None, version }).await
    }

    /// Changes some fields of an object, or of its `subresource` unless that is empty.
    ///
    /// # Errors
    /// [`WriteError::Conflict`]: the guard did not hold.
    pub async fn patch(
        &self,
        target: &Target,
        subresource: &str,
        change: Change,
        guard: Guard<'_>,
    ) -> Result<DynamicObject, WriteError> {
        self.patch_as(target, subresource, change, guard).await
    }

    /// Like [`Writer::patch`], with the answer as the type of the object.
    ///
    /// # Errors
    /// As [`Writer::patch`].
    pub async fn patch_as<A: DeserializeOwned>(
        &self,
        target: &Target,
        subresource: &str,
        change: Change,
        guard: Guard<'_>,
    ) -> Result<A, WriteError> {
        if guard.version.is_empty() {
            return Err(target.unsound("is to be patched, but its resourceVersion is not known"));
        }
        let guarded = |patch| {
            with_guard(patch, guard).ok_or_else(|| target.unsound("cannot be patched by what is no object"))
        };
        let patch = match change {
            Change::Merge(patch) => Patch::Merge(guarded(patch)?),
            Change::Strategic(patch) => Patch::Strategic(guarded(patch)?),
        };
        match self.send_patch(target, subresource, &patch).await {
            Ok(patched) => {
                target.log("patched");
                Ok(patched)
            }
            // The API server takes another uid for an attempt to change it.
            Err(WriteError::Invalid { object, message })
                if guard.uid.is_some() && message.contains("metadata.uid") =>
            {
                Err(WriteError::Conflict { object, message })
            }
            Err(error) => Err(error),
        }
    }

    /// Changes elements of lists: JSON patch whose `test` operations are its preconditions: of the `resourceVersion`, or
    /// of the uid and the values that were decided on. Reads the answer as `A`.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] when a `test` failed or a path is not there: read the object again.
    pub async fn json_patch<A: DeserializeOwned>(
        &self,
        target: &Target,
        patch: json_patch::Patch,
    ) -> Result<A, WriteError> {
        guarded(target, &patch)?;
        self.send_patch(target, "", &Patch::<()>::Json(patch)).await
    }

    /// The same for the count in the subresource `scale`, whatever the kind's own path to it is.
    ///
    /// # Errors
    /// As [`Writer::json_patch`].
    pub async fn json_patch_scale<A: DeserializeOwned>(
        &self,
        target: &Target,
        patch: json_patch::Patch,
    ) -> Result<A, WriteError> {
        guarded(target, &patch)?;
        self.send_patch(target, "scale", &Patch::<()>::Json(patch)).await
    }

    /// Deletes the object with this uid, its dependents in the background. That it is gone already, or that a
    /// namesake has taken its place, is success; the namesake survives.
    ///
    /// # Errors
    /// As the API server answers.
    pub async fn delete(&self, target: &Target, uid: &str) -> Result<(), WriteError> {
        self.delete_with(target, uid, Deletion::background()).await
    }

    /// Deletes the object with this uid in another way than [`Writer::delete`].
    ///
    /// # Errors
    /// [`WriteError::Conflict`]: `version` was given, and the object has changed.
    pub async fn delete_with(&self, target: &Target, uid: &str, how: Deletion) -> Result<(), WriteError> {
        target.check()?;
        if uid.is_empty() {
            return Err(target.unsound("is to be deleted, but its uid is not known"));
        }
        let params = DeleteParams {
            grace_period_seconds: how.grace_seconds,
            propagation_policy: how.propagation,
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: how.version }),
            ..DeleteParams::default()
        };
        let request = target.request().delete(&target.name, &params);
        // The answer is the object or a Status, of no use here.
        match self.exchange(target, "delete", request).await {
            Ok(_) => target.log("deleted"),
            Err(WriteError::NotFound { .. }) => {}
            Err(WriteError::Conflict { message, .. }) if is_about_uid(&message) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Creates an object of this resource, and reads the answer as another type.
    ///
    /// # Errors
    /// As [`Writer::create`].
    pub(crate) async fn create_as<T: Serialize, A: DeserializeOwned>(
        &self,
        resource: &ApiResource,
        object: &T,
    ) -> Result<A, WriteError> {
        let (target, body, head) = encode(resource.clone(), object)?;
        if target.name.is_empty() && head.generate_name.as_deref().unwrap_or_default().is_empty() {
            return Err(target.unsound("has neither name nor generateName"));
        }
        // The API server answers 500, as if it were worth another try.
        if head.resource_version.is_some_and(|version| !version.is_empty()) {
            return Err(target.unsound("is to be created, but has a resourceVersion"));
        }
        let request = target.request().create(&post(), body);
        let created = self.send(&target, "create", request).await?;
        target.log("created");
        Ok(created)
    }

    async fn put<T: Serialize, A: DeserializeOwned>(
        &self,
        resource: ApiResource,
        subresource: &str,
        object: &T,
    ) -> Result<A, WriteError> {
        let (target, body, head) = encode(resource, object)?;
        // Without it some kinds would be overwritten whatever they are.
        if head.resource_version.unwrap_or_default().is_empty() {
            return Err(target.unsound("is to be replaced, but has no resourceVersion"));
        }
        let request = match subresource {
            "" => target.request().replace(&target.name, &post(), body),
            _ => target.request().replace_subresource(subresource, &target.name, &post(), body),
        };
        let verb = if subresource.is_empty() { "update" } else { "update the status of" };
        self.send(&target, verb, request).await
    }

    async fn send_patch<P: Serialize, A: DeserializeOwned>(
        &self,
        target: &Target,
        subresource: &str,
        patch: &Patch<P>,
    ) -> Result<A, WriteError> {
        target.check()?;
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let request = match subresource {
            "" => target.request().patch(&target.name, &params, patch),
            _ => target.request().patch_subresource(subresource, &target.name, &params, patch),
        };
        self.send(target, "patch", request).await
    }

    async fn send<A: DeserializeOwned>(
        &self,
        target: &Target,
        verb: &'static str,
        request: Built,
    ) -> Result<A, WriteError> {
        let answer = self.exchange(target, verb, request).await?;
        serde_json::from_str(&answer)
            .map_err(|error| WriteError::new(target.object_ref(), verb, &kube::Error::SerdeError(error)))
    }

    async fn exchange(
        &self,
        target: &Target,
        verb: &'static str,
        request: Built,
    ) -> Result<String, WriteError> {
        let request = request.map_err(|error| target.unsound(&format!("cannot be asked for: {error}")))?;
        let answer = match &self.notes {
            None => self.client.request_text(request).await,
            Some(notes) => notes.answer(&self.client, verb, target, &request).await,
        };
        answer.map_err(|error| WriteError::new(target.object_ref(), verb, &error))
    }
}

fn resource_of<K: Resource>() -> ApiResource
where
    K::DynamicType: Default,
{
    ApiResource::erase::<K>(&K::DynamicType::default())
}

fn encode<T: Serialize>(
    resource: ApiResource,
    object: &T,
) -> Result<(Target, Vec<u8>, HeadMeta), WriteError> {
    let encoded = serde_json::to_vec(object).and_then(|body| {
        let head: Head = serde_json::from_slice(&body)?;
        Ok((body, head.metadata))
    });
    let mut target = Target { resource, namespace: None, name: String::new() };
    let (body, head) =
        encoded.map_err(|error| target.unsound(&format!("cannot be written as JSON: {error}")))?;
    target.namespace.clone_from(&head.namespace);
    target.name = head.name.clone().unwrap_or_default();
    target.check()?;
    Ok((target, body, head))
}

/// Said before the storage is asked, and by the storage.
fn is_about_uid(message: &str) -> bool {
    ["the UID in the precondition", "Precondition failed: UID"].iter().any(|start| message.contains(start))
}

fn post() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// The patch with the guard in its metadata; `None`: there is no place for it.
fn with_guard(mut patch: Value, guard: Guard<'_>) -> Option<Value> {
    let object = patch.as_object_mut()?;
    for (key, value) in [("uid", guard.uid), ("resourceVersion", Some(guard.version))] {
        if let Some(value) = value {
            let metadata = object.entry("metadata").or_insert_with(|| json!({}));
            metadata.as_object_mut()?.insert(key.to_owned(), value.into());
        }
    }
    Some(patch)
}

/// Refuses a patch of which no test fails by a change that somebody else makes meanwhile.
fn guarded(target: &Target, patch: &json_patch::Patch) -> Result<(), WriteError> {
    let tests =
        || patch.0.iter().filter_map(|it| if let PatchOperation::Test(it) = it { Some(it) } else { None });
    let tested = |path: &str| tests().any(|it| it.path.as_str() == path && !it.value.is_null());
    if tested("/metadata/resourceVersion") || (tested("/metadata/uid") && tests().count() > 1) {
        return Ok(());
    }
    Err(target.unsound("is to be patched without a test of what was decided on"))
}
