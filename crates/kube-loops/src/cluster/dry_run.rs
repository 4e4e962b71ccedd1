// SPDX-License-Identifier: Apache-2.0
//! A dry run: what a loop would write, noted instead of sent.
//!
//! Each write is answered as the API server would, from the object as it is stored and the writes noted before it,
//! so that a pass goes on as if it had been made. Only reads are sent.

use std::{collections::HashMap, fmt, sync::Arc};

use http::{HeaderValue, Method, Request, header::CONTENT_TYPE};
use kube::{Client, core::Status};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{error::PATCH_DID_NOT_APPLY, writer::Target};

/// A write, or an effect outside the API server, that was noted instead of made.
#[derive(Debug, Clone, PartialEq)]
pub struct NotedStep {
    /// What would be done: `create`, `update`, `update the status of`, `patch`, `delete`, or a word of the loop for
    /// what it does outside the API server.
    pub verb: &'static str,
    /// To what.
    pub target: Target,
    /// Object, patch or options that would be sent.
    pub content: Value,
}

/// The steps noted so far, and the objects as they would be. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Noted>>);

#[derive(Default)]
struct Noted {
    steps: Vec<NotedStep>,
    /// By path; `None`: deleted.
    stored: HashMap<String, Option<Value>>,
    created: u64,
}

impl Notes {
    pub(super) fn note(&self, step: NotedStep) {
        self.0.lock().steps.push(step);
    }

    /// The steps since the last call.
    pub(super) fn take(&self) -> Vec<NotedStep> {
        std::mem::take(&mut self.0.lock().steps)
    }

    /// Notes a write and answers it. `client` reads the object that a patch is about.
    pub(super) async fn answer(
        &self,
        client: &Client,
        verb: &'static str,
        target: &Target,
        request: &Request<Vec<u8>>,
    ) -> Result<String, kube::Error> {
        let sent: Value = serde_json::from_slice(request.body()).map_err(kube::Error::SerdeError)?;
        self.note(NotedStep { verb, target: target.clone(), content: sent.clone() });
        let mut path = format!("{}/{}", target.request().url_path, target.name);
        let object = match *request.method() {
            Method::POST => {
                let (name, created) = self.created(sent);
                if target.name.is_empty() {
                    path.push_str(&name);
                }
                Some(created)
            }
            Method::DELETE => None,
            Method::PATCH => {
                // A subresource is patched in its own form.
                request.uri().path().clone_into(&mut path);
                let noted = self.0.lock().stored.get(&path).cloned();
                let stored = match noted {
                    Some(noted) => noted.ok_or_else(|| failure(404, "NotFound", "not found"))?,
                    None => client.request(read(&path)?).await?,
                };
                Some(patched(stored, sent, request.headers().get(CONTENT_TYPE))?)
            }
            _ => Some(sent),
        };
        let object = object.map(next_version);
        let answer = object.as_ref().map_or_else(|| json!({}), Value::clone).to_string();
        self.0.lock().stored.insert(path, object);
        Ok(answer)
    }

    /// The object with the name and the uid that the API server would give it.
    fn created(&self, mut object: Value) -> (String, Value) {
        let mut noted = self.0.lock();
        noted.created = noted.created.saturating_add(1);
        let text = |key: &str| object.pointer(key).and_then(Value::as_str).map(str::to_owned);
        let name = text("/metadata/name").unwrap_or_else(|| {
            format!("{}{}", text("/metadata/generateName").unwrap_or_default(), noted.created)
        });
        let added = json!({"metadata": {"name": name, "uid": format!("dry-run-{}", noted.created)}});
        json_patch::merge(&mut object, &added);
        (name, object)
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Notes").field(&self.0.lock().steps).finish()
    }
}

fn read(path: &str) -> Result<Request<Vec<u8>>, kube::Error> {
    Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)
}

/// The object with the patch applied, if it is the one that the patch is for.
fn patched(mut object: Value, patch: Value, kind: Option<&HeaderValue>) -> Result<Value, kube::Error> {
    if kind.is_some_and(|kind| kind == "application/json-patch+json") {
        let patch: json_patch::Patch = serde_json::from_value(patch).map_err(kube::Error::SerdeError)?;
        let applied = json_patch::patch(&mut object, &patch);
        return applied.map(|()| object).map_err(|_| failure(422, "Invalid", PATCH_DID_NOT_APPLY));
    }
    for key in ["/metadata/uid", "/metadata/resourceVersion"] {
        if patch.pointer(key).is_some_and(|wanted| Some(wanted) != object.pointer(key)) {
            return Err(failure(409, "Conflict", "the object has been modified"));
        }
    }
    // A strategic merge patch, too: of the lists that it would join, only what is sent is seen afterwards.
    json_patch::merge(&mut object, &patch);
    Ok(object)
}

/// The object as the write leaves it: later than what any store shows of it.
fn next_version(mut object: Value) -> Value {
    let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or("0");
    if let Ok(number) = version.parse::<u64>() {
        let next = json!({"metadata": {"resourceVersion": number.saturating_add(1).to_string()}});
        json_patch::merge(&mut object, &next);
    }
    object
}

fn failure(code: u16, reason: &str, message: &str) -> kube::Error {
    kube::Error::Api(Status::failure(message, reason).with_code(code).boxed())
}
