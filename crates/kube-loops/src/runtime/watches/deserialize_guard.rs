// SPDX-License-Identifier: Apache-2.0
//! An object that may be malformed: one bad object must not hide the good ones of its list or watch.

use std::{borrow::Cow, fmt, sync::Arc};

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Resource, core::DynamicResourceScope};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::cluster::events::{EventDraft, Severity};

/// An object that a watch skipped because it could not be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// `apiVersion` of the kind.
    pub api_version: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid; empty if not even that could be read.
    pub uid: String,
    /// The version that is malformed.
    pub version: String,
    /// What the parser said.
    pub error: String,
}

/// Reason of the event on an object that cannot be parsed.
const MALFORMED: &str = "MalformedObject";

impl Malformed {
    /// The event that says so, on the object.
    pub fn event(&self) -> EventDraft {
        let regarding = ObjectReference {
            api_version: Some(self.api_version.to_string()),
            kind: Some(self.kind.to_string()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: Some(self.uid.clone()),
            resource_version: Some(self.version.clone()),
            field_path: None,
        };
        let message = format!("the object is skipped until it is corrected: {}", self.error);
        EventDraft { severity: Severity::Warning, reason: MALFORMED.to_owned(), message, regarding }
    }
}

/// Parses to the object, or to what identifies it and the parser's complaint.
///
/// The text of the object is set aside first and parsed on its own. That needs the object to come as
/// text, directly from JSON; the API server writes `type` before `object` in its watch events, so serde
/// has no reason to buffer it.
#[derive(Clone)]
pub(super) struct DeserializeGuard<K>(pub(super) Result<K, Box<InvalidObject>>);

/// What is known of an object that could not be parsed.
#[derive(Clone)]
pub(super) struct InvalidObject {
    pub(super) meta: ObjectMeta,
    pub(super) error: String,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for DeserializeGuard<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let parsed = serde_json::from_str(text.get());
        Ok(Self(parsed.map_err(|error| {
            Box::new(InvalidObject { meta: identity(text.get()), error: error.to_string() })
        })))
    }
}

/// Reads the identifying fields one by one: each may itself be what is malformed.
fn identity(text: &str) -> ObjectMeta {
    let object: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let field = |name: &str| {
        object
            .get("metadata")
            .and_then(|meta| meta.get(name))
            .and_then(|value| value.as_str())
            .map(str::to_owned)
    };
    ObjectMeta {
        namespace: field("namespace"),
        name: field("name"),
        uid: field("uid"),
        resource_version: field("resourceVersion"),
        ..ObjectMeta::default()
    }
}

impl<K: Resource> Resource for DeserializeGuard<K> {
    type DynamicType = K::DynamicType;
    // Whether it is asked for in one namespace or in all is decided when the watch begins.
    type Scope = DynamicResourceScope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(invalid) => &invalid.meta,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(invalid) => &mut invalid.meta,
        }
    }
}

impl<K> fmt::Debug for DeserializeGuard<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(_) => f.write_str("DeserializeGuard(object)"),
            Err(invalid) => f.debug_tuple("DeserializeGuard").field(&invalid.error).finish(),
        }
    }
}
