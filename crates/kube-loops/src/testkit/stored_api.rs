// SPDX-License-Identifier: Apache-2.0
//! An API server in memory that takes writes and tells the watches of them: for whole terms of a controller.
//! Everything stands in the namespace `ns`.

#![expect(clippy::indexing_slicing, reason = "an object that lacks what a test needs fails that test")]

use std::{collections::BTreeMap, convert::Infallible, fmt::Debug, sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::testkit::scripted::ScriptedApi;

/// How long [`StoredApi::wait`] waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// The server. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct StoredApi {
    /// The side that watches see.
    pub watched: ScriptedApi,
    objects: Arc<Mutex<BTreeMap<(String, String), Value>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Debug for StoredApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StoredApi").field(&*self.objects.lock()).finish()
    }
}

impl StoredApi {
    /// Stores an object, such as in `/api/v1/pods`, and returns it as stored.
    pub fn put(&self, collection: &str, mut object: Value) -> Value {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let known = self.get(collection, &name);
        let meta = &mut object["metadata"];
        if meta["uid"].is_null() {
            meta["uid"] = match &known {
                Some(known) => known["metadata"]["uid"].clone(),
                None => json!(format!("{}-{name}", collection.rsplit('/').next().unwrap_or_default())),
            };
        }
        let bare = |object: &Value| (object["spec"].clone(), object["metadata"]["deletionTimestamp"].clone());
        let generation = known.as_ref().map_or(1, |known| {
            let before = known["metadata"]["generation"].as_i64().unwrap_or(1);
            before + i64::from(bare(known) != bare(&object))
        });
        object["metadata"]["generation"] = json!(generation);
        let version = self.watched.put(collection, object.clone());
        object["metadata"]["resourceVersion"] = json!(version);
        self.objects.lock().insert((collection.to_owned(), name), object.clone());
        object
    }

    /// The object, if there is one.
    pub fn get(&self, collection: &str, name: &str) -> Option<Value> {
        self.objects.lock().get(&(collection.to_owned(), name.to_owned())).cloned()
    }

    /// All objects of a collection.
    pub fn list(&self, collection: &str) -> Vec<Value> {
        let objects = self.objects.lock();
        objects.iter().filter(|((of, _), _)| of == collection).map(|(_, object)| object.clone()).collect()
    }

    /// Changes an object as a user would: merge patch.
    pub fn change(&self, collection: &str, name: &str, patch: &Value) {
        if let Some(mut object) = self.get(collection, name) {
            json_patch::merge(&mut object, patch);
            self.put(collection, object);
        }
    }

    /// Removes an object, whatever its finalizers.
    pub fn remove(&self, collection: &str, name: &str) {
        self.objects.lock().remove(&(collection.to_owned(), name.to_owned()));
        self.watched.delete(collection, "ns", name);
    }

    /// Deletes an object: with finalizers it stays until the last of them is gone.
    pub fn delete(&self, collection: &str, name: &str) {
        let Some(object) = self.get(collection, name) else { return };
        if has_finalizers(&object) {
            let patch = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
            self.change(collection, name, &patch);
        } else {
            self.remove(collection, name);
        }
    }

    /// Method and path of everything that was asked besides lists and watches, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }

    /// Forgets what was asked.
    pub fn forget_asked(&self) {
        self.asked.lock().clear();
    }

    /// A client that may write.
    pub fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap_or_default();
                let (status, answer) = api.answer(&parts, &body);
                let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
                *response.status_mut() = status;
                Ok::<_, Infallible>(response)
            }
        });
        kube::Client::new(service, "ns")
    }

    fn answer(&self, parts: &http::request::Parts, body: &[u8]) -> (StatusCode, Value) {
        let path = parts.uri.path();
        self.asked.lock().push(format!("{} {path}", parts.method));
        let (root, rest) = path.split_once("/namespaces/ns/").unwrap_or((path, ""));
        let mut words = rest.split('/');
        let collection = format!("{root}/{}", words.next().unwrap_or_default());
        let name = words.next().unwrap_or_default();
        let stored = self.get(&collection, name);
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let refused = |code: StatusCode, reason: &str, message: &str| {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "reason": reason, "code": code.as_u16(), "message": format!("{message}: {path}")});
            (code, status)
        };
        match (&parts.method, stored) {
            (&Method::POST, _) => {
                let name = body["metadata"]["name"].as_str().unwrap_or_default();
                if self.get(&collection, name).is_some() {
                    return refused(StatusCode::CONFLICT, "AlreadyExists", "exists");
                }
                (StatusCode::CREATED, self.put(&collection, body))
            }
            (&Method::GET, Some(object)) => (StatusCode::OK, object),
            (&Method::PUT, Some(mut object)) => {
                if object["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
                    return refused(StatusCode::CONFLICT, "Conflict", "changed");
                }
                object["status"] = body["status"].clone();
                (StatusCode::OK, self.put(&collection, object))
            }
            (&Method::PATCH, Some(mut object)) => {
                let differs = |field: &str| {
                    let wanted = &body["metadata"][field];
                    !wanted.is_null() && *wanted != object["metadata"][field]
                };
                if differs("uid") {
                    let message = "metadata.uid: Invalid value: field is immutable";
                    return refused(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
                }
                if differs("resourceVersion") {
                    return refused(StatusCode::CONFLICT, "Conflict", "changed");
                }
                let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
                if kind.is_some_and(|kind| kind.contains("json-patch")) {
                    let patched = serde_json::from_value::<json_patch::Patch>(body)
                        .is_ok_and(|patch| json_patch::patch(&mut object, &patch).is_ok());
                    if !patched {
                        let message = "the server rejected our request due to an error in our request";
                        return refused(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
                    }
                } else {
                    json_patch::merge(&mut object, &body);
                }
                if !object["metadata"]["deletionTimestamp"].is_null() && !has_finalizers(&object) {
                    self.remove(&collection, name);
                    return (StatusCode::OK, object);
                }
                (StatusCode::OK, self.put(&collection, object))
            }
            (&Method::DELETE, Some(object)) => {
                let wanted = &body["preconditions"];
                if !wanted["uid"].is_null() && wanted["uid"] != object["metadata"]["uid"] {
                    let message = "the UID in the precondition does not match the UID in record";
                    return refused(StatusCode::CONFLICT, "Conflict", message);
                }
                self.remove(&collection, name);
                (StatusCode::OK, object)
            }
            _ => refused(StatusCode::NOT_FOUND, "NotFound", "not found"),
        }
    }

    /// Waits until `look` finds something.
    ///
    /// # Errors
    /// What there was instead, after ten seconds.
    pub async fn wait<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> Result<T, String> {
        let found = async {
            loop {
                if let Some(found) = look(self) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, found).await.map_err(|_| format!("waited in vain for {what}: {self:#?}"))
    }
}

fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}
