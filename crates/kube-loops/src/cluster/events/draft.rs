// SPDX-License-Identifier: Apache-2.0
//! An event before it is sent.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;

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

/// What an event says, to be told of the object that a pass is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventText {
    /// Somebody may have to act.
    pub warning: bool,
    /// Reason, in `PascalCase`.
    pub reason: &'static str,
    /// Text for people.
    pub message: String,
}

impl EventText {
    /// The event on this object.
    pub fn on<K: Resource<DynamicType = ()>>(self, object: &K) -> EventDraft {
        let Self { warning, reason, message } = self;
        let resource_version = object.meta().resource_version.clone();
        EventDraft {
            severity: if warning { Severity::Warning } else { Severity::Normal },
            reason: reason.to_owned(),
            message,
            regarding: ObjectReference { resource_version, ..object.object_ref(&()) },
        }
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
