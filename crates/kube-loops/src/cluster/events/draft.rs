// SPDX-License-Identifier: Apache-2.0
//! An event before it is sent.

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use crate::k8s::text::{EVENT_MESSAGE_BYTES, cut};

/// Type of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Something went as it should.
    Normal,
    /// Somebody may have to act.
    Warning,
}

impl Severity {
    /// As the API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// An event before it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct EventDraft {
    /// Type.
    pub severity: Severity,
    /// Reason, in `PascalCase`.
    pub reason: String,
    /// Text for people.
    pub message: String,
    /// The object that it is about. Its namespace is the event's; `default` for cluster-scoped objects.
    pub regarding: ObjectReference,
}

/// What an event says of the object that it is about, whose `metadata` this is.
pub fn regarding(api_version: &str, kind: &str, metadata: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        api_version: Some(api_version.to_owned()),
        kind: Some(kind.to_owned()),
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
        field_path: None,
    }
}

impl EventDraft {
    /// The same with a message that the API server takes.
    pub(super) fn fitting(mut self) -> Self {
        self.message = cut(&self.message, EVENT_MESSAGE_BYTES);
        self
    }

    /// Namespace in which it is recorded.
    pub(super) fn namespace(&self) -> &str {
        self.regarding.namespace.as_deref().filter(|it| !it.is_empty()).unwrap_or("default")
    }
}
