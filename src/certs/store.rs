// SPDX-License-Identifier: Apache-2.0
//! Reads and writes the Secret and both webhook configurations: GET, and PUT with the `resourceVersion` that was
//! read; roles grant no patch. All of it as raw JSON, so that fields unknown to us survive.

use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        core::v1::Secret,
    },
};
use kube::{
    Client, Resource,
    api::GetParams,
    core::{ApiResource, DynamicObject, Request},
};
use serde_json::{Value, json};

use kube_loops::cluster::{
    error::{Cause, ObjectRef, ReadError, WriteError},
    writer::Writer,
};

use super::{Settings, rotation::Data, snapshot::Lookup};

/// One object by its name.
#[derive(Debug, Clone)]
struct Named {
    resource: ApiResource,
    namespace: Option<String>,
    name: String,
}

impl Named {
    fn of<K: Resource<DynamicType = ()>>(namespace: Option<&str>, name: &str) -> Self {
        let namespace = namespace.map(str::to_owned);
        Self { resource: ApiResource::erase::<K>(&()), namespace, name: name.to_owned() }
    }

    fn object_ref(&self) -> ObjectRef {
        ObjectRef {
            kind: self.resource.kind.clone(),
            namespace: self.namespace.clone().unwrap_or_default(),
            name: self.name.clone(),
        }
    }
}

/// The objects as they were read.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) secret: Lookup<Value>,
    /// With kind and name of each.
    pub(super) configurations: Vec<(String, Lookup<Value>)>,
}

/// Reads and writes these objects.
pub(super) struct Store {
    client: Client,
    writer: Writer,
    secret: Named,
    configurations: [Named; 2],
}

impl Store {
    pub(super) fn new(client: Client, settings: &Settings) -> Self {
        let secret = Named::of::<Secret>(Some(&settings.names.namespace), &settings.secret_name);
        let mutating = Named::of::<MutatingWebhookConfiguration>(None, &settings.mutating_configuration);
        let validating =
            Named::of::<ValidatingWebhookConfiguration>(None, &settings.validating_configuration);
        let writer = Writer::new(client.clone());
        Self { client, writer, secret, configurations: [mutating, validating] }
    }

    /// Kind, namespace and name of the Secret, for people.
    pub(super) fn secret_title(&self) -> String {
        self.secret.object_ref().to_string()
    }

    /// Reads all of them from the API server.
    pub(super) async fn read_all(&self) -> Objects {
        let [mutating, validating] = &self.configurations;
        let (secret, first, second) =
            tokio::join!(self.get(&self.secret), self.get(mutating), self.get(validating));
        let configurations = vec![(title(mutating), staying(first)), (title(validating), staying(second))];
        Objects { secret, configurations }
    }

    async fn get(&self, object: &Named) -> Lookup<Value> {
        let path = DynamicObject::url_path(&object.resource, object.namespace.as_deref());
        let request = Request::new(path).get(&object.name, &GetParams::default());
        let answer = match request {
            Ok(request) => self.client.request::<Value>(request).await,
            Err(error) => return Lookup::Unknown(error.to_string()),
        };
        match answer.map_err(|error| ReadError::new(object.object_ref(), &error)) {
            Ok(object) => Lookup::Found(object),
            Err(ReadError { cause: Cause::Answer { code: 404, .. }, .. }) => Lookup::NotFound,
            Err(error) => Lookup::Unknown(error.to_string()),
        }
    }

    /// Creates the Secret without data, of type Opaque: whoever comes next fills it.
    pub(super) async fn create_secret(&self) -> Result<(), WriteError> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": self.secret.name, "namespace": self.secret.namespace},
        });
        self.writer.create_dynamic(&self.secret.resource, &secret).await.map(drop)
    }

    /// Sets these keys of the Secret that was read.
    pub(super) async fn fill(
        &self,
        mut secret: Value,
        entries: &[(&'static str, String)],
    ) -> Result<(), WriteError> {
        if !secret.get("data").is_some_and(Value::is_object) {
            insert(&mut secret, "data", json!({}));
        }
        if let Some(data) = secret.get_mut("data") {
            for (key, text) in entries {
                insert(data, key, json!(ByteString(text.clone().into_bytes())));
            }
        }
        self.writer.replace_dynamic(&self.secret.resource, &secret).await.map(drop)
    }

    /// Replaces the configuration at this place by one that was read and changed.
    pub(super) async fn replace(&self, place: usize, configuration: &Value) -> Result<(), WriteError> {
        let Some(named) = self.configurations.get(place) else { return Ok(()) };
        self.writer.replace_dynamic(&named.resource, configuration).await.map(drop)
    }
}

fn insert(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

fn title(object: &Named) -> String {
    object.object_ref().to_string()
}

/// A configuration that is being deleted counts as gone.
fn staying(seen: Lookup<Value>) -> Lookup<Value> {
    let leaving = seen.found().is_some_and(|object| object.pointer("/metadata/deletionTimestamp").is_some());
    if leaving { Lookup::NotFound } else { seen }
}

/// The data of a Secret; what is no data is left out.
pub(super) fn data_of(secret: &Value) -> Data {
    let data = secret.get("data").and_then(Value::as_object);
    let decode = |(key, value): (&String, &Value)| {
        let bytes: ByteString = serde_json::from_value(value.clone()).ok()?;
        Some((key.clone(), bytes.0))
    };
    data.into_iter().flatten().filter_map(decode).collect()
}
