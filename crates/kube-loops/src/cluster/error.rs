// SPDX-License-Identifier: Apache-2.0
//! What can go wrong at the API server, in words for people. `kube::Error` does not leave this module.

use std::fmt;

use kube_fenced_election::fence::NotLeading;

use crate::chain::Chain;

use super::client::RequestTimeout;

pub(super) const PATCH_DID_NOT_APPLY: &str = "the server rejected our request due to an error in our request";

/// The object or objects of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRef {
    /// Kind, such as `Deployment`.
    pub kind: String,
    /// Namespace; empty for cluster-scoped objects and for all namespaces.
    pub namespace: String,
    /// Name; empty for a list.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        match (namespace.is_empty(), name.is_empty()) {
            (true, true) => f.write_str(kind),
            (true, false) => write!(f, "{kind} {name}"),
            (false, true) => write!(f, "{kind} in namespace {namespace}"),
            (false, false) => write!(f, "{kind} {namespace}/{name}"),
        }
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// An answer with an error.
    #[error("{message} (code {code})")]
    Answer {
        /// HTTP status.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// No answer in time.
    #[error(transparent)]
    Timeout(RequestTimeout),
    /// No connection, a broken one, or an answer that cannot be understood.
    #[error("{0}")]
    Transport(String),
}

impl Cause {
    fn of(error: &kube::Error) -> Self {
        if let kube::Error::Api(status) = error {
            return Self::Answer { code: status.code, message: status.message.clone() };
        }
        if let Some(timeout) = find::<RequestTimeout>(error) {
            return Self::Timeout(*timeout);
        }
        let inner = if let kube::Error::Service(inner) = error { inner.as_ref() } else { error };
        Self::Transport(Chain(inner).to_string())
    }
}

/// A read failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {object}: {cause}")]
pub struct ReadError {
    /// What was to be read.
    pub object: ObjectRef,
    /// Why it failed.
    #[source]
    pub cause: Cause,
}

impl ReadError {
    /// A failed read of `object`.
    pub fn new(object: ObjectRef, error: &kube::Error) -> Self {
        Self { object, cause: Cause::of(error) }
    }
}

/// A change failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The term is over: drop the work.
    #[error(transparent)]
    NotLeading(#[from] NotLeading),
    /// Somebody else changed the object since it was read: read it again and decide anew.
    #[error("{object} was changed by somebody else since it was read: {message}")]
    Conflict {
        /// The object.
        object: ObjectRef,
        /// The server's words.
        message: String,
    },
    /// An object of that name exists: read it, and see whose it is.
    #[error("{object} exists already")]
    AlreadyExists {
        /// The object.
        object: ObjectRef,
    },
    /// The object, or the namespace or kind that it needs, is gone.
    #[error("{object} not found: {message}")]
    NotFound {
        /// The object.
        object: ObjectRef,
        /// The server's words.
        message: String,
    },
    /// A role lacks a rule, or an admission plugin or quota refused.
    #[error("not allowed to {verb} {object}{}: {message}", advice(message))]
    Forbidden {
        /// The object.
        object: ObjectRef,
        /// What was tried.
        verb: &'static str,
        /// The server's words: they name verb, resource and namespace.
        message: String,
    },
    /// The API server will not take the object as it is.
    #[error("{message}")]
    Invalid {
        /// The object.
        object: ObjectRef,
        /// The server's words.
        message: String,
    },
    /// A failure that may pass.
    #[error("failed to {verb} {object}: {cause}")]
    Other {
        /// The object.
        object: ObjectRef,
        /// What was tried.
        verb: &'static str,
        /// Why it failed.
        #[source]
        cause: Cause,
    },
}

impl WriteError {
    /// Sorts an error of a request that was to `verb` this object.
    pub(super) fn new(object: ObjectRef, verb: &'static str, error: &kube::Error) -> Self {
        if find::<NotLeading>(error).is_some() {
            return Self::NotLeading(NotLeading);
        }
        let kube::Error::Api(status) = error else {
            return Self::Other { object, verb, cause: Cause::of(error) };
        };
        let message = status.message.clone();
        match (status.code, status.reason.as_str()) {
            (409, "AlreadyExists") => Self::AlreadyExists { object },
            (409, _) => Self::Conflict { object, message },
            (404, _) => Self::NotFound { object, message },
            // Not a matter of permissions: whatever is created there would go with it.
            (403, _) if has_cause(status, "NamespaceTerminating") => Self::NotFound { object, message },
            (403, _) => Self::Forbidden { object, verb, message },
            // A JSON patch whose `test` failed or whose path is gone comes as 422, as does an object that is
            // wrong. The API server keeps the cause for itself: only this phrase tells them apart.
            (422, _) if message.starts_with(PATCH_DID_NOT_APPLY) => Self::Conflict { object, message },
            (400 | 405 | 413 | 422, _) => Self::Invalid { object, message },
            _ => Self::Other { object, verb, cause: Cause::of(error) },
        }
    }

    /// Whether people have to be told. When somebody else was faster, the store will show what is so.
    pub fn is_news(&self) -> bool {
        !matches!(self, Self::Conflict { .. } | Self::AlreadyExists { .. } | Self::NotLeading(_))
    }
}

/// RBAC says "cannot"; admission plugins and quotas answer 403 in other words.
fn advice(message: &str) -> &'static str {
    if message.contains("cannot") { "; grant it to the manager's ServiceAccount" } else { "" }
}

fn has_cause(status: &kube::core::Status, reason: &str) -> bool {
    status.details.as_ref().is_some_and(|details| details.causes.iter().any(|cause| cause.reason == reason))
}

/// Finds an error of this type in a chain of causes.
fn find<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        if let Some(kube::Error::Service(inner)) = error.downcast_ref::<kube::Error>() {
            return find(inner.as_ref());
        }
        next = error.source();
    }
    None
}
