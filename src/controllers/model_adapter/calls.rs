// SPDX-License-Identifier: Apache-2.0
//! What is asked of engines, and what comes back. [`super::load_tracker`] decides which call is due, and
//! [`super::fetch::engines`] makes it.

use std::sync::Arc;

use crate::engine::{endpoint::Endpoint, models::ListedModel};
use kube_fenced_election::clock::Timestamp;
use kube_loops::runtime::reconciler::Key;

use super::{load_retry::LoadFailure, snapshot::Change, source::Source};

/// Whose models are listed: a pod, and where it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    /// Uid of the pod.
    pub(super) pod: Box<str>,
    /// Where.
    pub(super) endpoint: Endpoint,
}

/// Which call.
#[derive(Debug, Clone)]
pub(super) enum Call {
    /// The list of models.
    List(Arc<Origin>),
    /// A change.
    Change(Arc<Order>),
}

/// What came of a call.
#[derive(Debug)]
pub(super) enum Answer {
    /// Of a list.
    Models(Models),
    /// Of a change.
    Change(Ended),
}

/// A change that was ordered for an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    /// The adapter.
    pub(super) key: Key,
    /// Its uid.
    pub(super) uid: Box<str>,
    /// Generation of its spec.
    pub(super) generation: Option<i64>,
    /// Where.
    pub(super) origin: Origin,
    /// Since when the pod is ready.
    pub(super) ready_since: Option<Timestamp>,
    /// What.
    pub(super) what: What,
}

/// What is to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// To load; `reload`: in place of another version.
    Load {
        /// What.
        source: Arc<Source>,
        /// Unload first.
        reload: bool,
    },
    /// To unload.
    Unload,
}

/// How a change ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// It worked.
    Well,
    /// The engine says that it has an adapter of that name already.
    Already {
        /// In words.
        error: String,
    },
    /// It did not, or nobody knows.
    Badly {
        /// What kind of failure.
        kind: LoadFailure,
        /// In words.
        error: String,
        /// The engine answered: nothing goes on there.
        answered: bool,
    },
}

/// How a list ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Models {
    /// These.
    Known(Vec<ListedModel>),
    /// It was not told.
    Unknown {
        /// Why.
        error: String,
        /// There was no answer in time.
        silent: bool,
    },
}

impl What {
    /// Which change that is.
    pub(super) fn change(&self) -> Change {
        match self {
            Self::Load { .. } => Change::Load,
            Self::Unload => Change::Unload,
        }
    }

    /// Hash of what is loaded; `None`: nothing is.
    pub(super) fn hash(&self) -> Option<&Arc<str>> {
        match self {
            Self::Load { source, .. } => Some(&source.hash),
            Self::Unload => None,
        }
    }
}
