// SPDX-License-Identifier: Apache-2.0
//! The facts of a pass. Pure.

use std::sync::Arc;

use super::{
    routes::{GrantFacts, MadeRoute, RouteFacts},
    sources::Source,
};

/// What a pass looks at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Snapshot {
    /// The route or grant, and what it stands for.
    pub(super) subject: Subject,
    /// Losses of workloads that no pass has dealt with yet; `None`: none.
    pub(super) loss: Option<u64>,
}

/// What a key stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Subject {
    /// In the namespace of the gateway: a route.
    Route(RouteSnapshot),
    /// In any other: a grant.
    Grant(GrantSnapshot),
}

impl Snapshot {
    /// Whether a loss is not dealt with by this pass: as long as a route of ours leads there, the grant waits for its
    /// end.
    pub(super) fn waits_for_loss(&self) -> bool {
        match &self.subject {
            Subject::Route(_) => false,
            Subject::Grant(grant) => !grant.needed && grant.used,
        }
    }
}

/// What a pass for a route looks at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RouteSnapshot {
    /// All workloads whose model's route has this name.
    pub(super) sources: Vec<Source>,
    /// The route.
    pub(super) route: Option<Arc<RouteFacts>>,
    /// Whether all workloads of the kind that the route was made for can be seen. Otherwise there may be one.
    pub(super) origin_in_sight: bool,
    /// Whether a workload was seen to go, or to serve the model no longer, in this term.
    pub(super) source_lost: bool,
    /// Routes of this name that we made for a gateway in another namespace.
    pub(super) left: Vec<Arc<MadeRoute>>,
    /// The ReferenceGrant that only this route still needs where it leads now.
    pub(super) last_use_of: Option<Arc<GrantFacts>>,
}

/// What a pass for the ReferenceGrant of a namespace looks at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GrantSnapshot {
    /// The namespace.
    pub(super) namespace: String,
    /// Whether any workload there serves a model.
    pub(super) needed: bool,
    /// Whether a route of ours leads there.
    pub(super) used: bool,
    /// Whether a workload there was seen to go, or to serve a model no longer, in this term.
    pub(super) source_lost: bool,
    /// The ReferenceGrant of our name.
    pub(super) grant: Option<Arc<GrantFacts>>,
}
