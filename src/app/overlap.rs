// SPDX-License-Identifier: Apache-2.0
//! Looks for other installations that work on the same objects.
//!
//! Elections keep two replicas of one installation apart, and not two installations: those have Leases in two
//! namespaces, both lead, and both write. Each manager looks for Leases of controllers in other namespaces that somebody
//! keeps renewing, and says what it finds, unless the two work in different namespaces. It changes nothing: which of the
//! two shall go, people decide.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::{Lease, LeaseSpec},
    core::v1::ObjectReference,
};
use kube::{Api, Client, api::ListParams};
use tokio_util::sync::CancellationToken;

use crate::api::keys::{LEASE_CONTROLLER_LABEL, LEASE_NAMESPACES};
use kube_fenced_election::clock::SharedClock;
use kube_loops::{
    chain::Chain,
    cluster::events::{EventDraft, Recorder, Severity},
    metrics::families::IntGauge,
};

/// Time between two looks.
const PERIOD: Duration = Duration::from_mins(10);
/// From the first look to the second: an installation that was started at the same moment leads by then.
const SECOND_LOOK: Duration = Duration::from_mins(1);
/// Whoever has renewed its Lease within this time is at work, as far as both clocks agree.
const RECENT: Duration = Duration::from_mins(1);
/// Objects in one answer of the API server.
const PAGE: u32 = 500;
/// Reason of the event.
const REASON: &str = "OverlappingInstallation";

/// Controllers of other installations that work on our objects, by the namespace of their Leases.
pub(super) type Found = BTreeMap<String, BTreeSet<String>>;

/// What tells overlapping installations from others. Pure.
#[derive(Debug)]
pub(super) struct Overlaps {
    namespace: String,
    controllers: BTreeSet<String>,
    /// Namespaces in which they work; none: all.
    watched: BTreeSet<String>,
    /// Leases as the last look saw them.
    seen: BTreeMap<(String, String), Option<LeaseSpec>>,
}

impl Overlaps {
    /// `namespace`: of our own Leases; `controllers`: those that run here; `watched`: where they work, none: everywhere.
    pub(super) fn new(
        namespace: &str,
        controllers: impl IntoIterator<Item = String>,
        watched: BTreeSet<String>,
    ) -> Self {
        let (namespace, controllers) = (namespace.to_owned(), controllers.into_iter().collect());
        Self { namespace, controllers, watched, seen: BTreeMap::new() }
    }

    /// What the Leases of all namespaces show at `now`, by the wall clock. Where clocks disagree, a renewal since the
    /// last look tells.
    pub(super) fn found(&mut self, leases: Vec<Lease>, now: Timestamp) -> Found {
        let mut found = Found::new();
        let mut seen = BTreeMap::new();
        for lease in leases {
            let (namespace, name) =
                (lease.metadata.namespace.unwrap_or_default(), lease.metadata.name.unwrap_or_default());
            let controller = lease.metadata.labels.unwrap_or_default().remove(LEASE_CONTROLLER_LABEL);
            let Some(controller) = controller.filter(|it| self.controllers.contains(it)) else { continue };
            let theirs = lease.metadata.annotations.unwrap_or_default().remove(LEASE_NAMESPACES);
            if namespace == self.namespace || !self.meets(theirs.as_deref().unwrap_or_default()) {
                continue;
            }
            let key = (namespace, name);
            let renewed = self.seen.get(&key).is_some_and(|before| *before != lease.spec);
            if is_held(lease.spec.as_ref()) && (renewed || is_recent(lease.spec.as_ref(), now)) {
                found.entry(key.0.clone()).or_default().insert(controller);
            }
            seen.insert(key, lease.spec);
        }
        self.seen = seen;
        found
    }

    /// Whether one of these namespaces, between commas, is one of ours. None stands for all.
    fn meets(&self, theirs: &str) -> bool {
        self.watched.is_empty() || theirs.is_empty() || theirs.split(',').any(|it| self.watched.contains(it))
    }
}

fn is_held(spec: Option<&LeaseSpec>) -> bool {
    spec.and_then(|spec| spec.holder_identity.as_ref()).is_some_and(|holder| !holder.is_empty())
}

fn is_recent(spec: Option<&LeaseSpec>, now: Timestamp) -> bool {
    let Some(renewed) = spec.and_then(|spec| spec.renew_time.as_ref()) else { return false };
    now.duration_since(renewed.0).unsigned_abs() <= RECENT
}

/// The Deployment of a pod by the pod's name; `None` when that is not made as those of Deployments are.
pub(super) fn deployment_of(pod: &str) -> Option<&str> {
    let (replica_set, suffix) = pod.rsplit_once('-')?;
    let (deployment, hash) = replica_set.rsplit_once('-')?;
    let generated = |text: &str| text.bytes().all(|it| it.is_ascii_digit() || it.is_ascii_lowercase());
    let made = suffix.len() == 5 && (6..=10).contains(&hash.len()) && generated(suffix) && generated(hash);
    made.then_some(deployment)
}

/// The task that looks.
pub(super) struct OverlapWatch {
    pub(super) overlaps: Overlaps,
    pub(super) client: Client,
    /// Namespace of our Leases and of our Deployment.
    pub(super) namespace: String,
    /// Name of this process's pod or host.
    pub(super) pod: String,
    /// One of our Leases: what events are about when there is no Deployment.
    pub(super) lease: String,
    pub(super) recorder: Recorder,
    pub(super) gauge: IntGauge,
    pub(super) clock: SharedClock,
    pub(super) shutdown: CancellationToken,
}

impl OverlapWatch {
    /// Looks now, a minute later, and every ten minutes until shutdown.
    pub(super) async fn run(self) {
        let shutdown = self.shutdown.clone();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.look_for_ever() => {}
        }
    }

    async fn look_for_ever(mut self) {
        let mut known = Found::new();
        let mut failed: Option<String> = None;
        let mut wait = SECOND_LOOK;
        loop {
            match self.leases().await {
                Ok(leases) => {
                    let found = self.overlaps.found(leases, self.clock.now());
                    self.tell(&found, found != known).await;
                    known = found;
                    failed = None;
                }
                Err(error) => {
                    let error = Chain(&error).to_string();
                    if failed.as_ref() != Some(&error) {
                        tracing::info!(
                            error,
                            "could not look for other installations that work on the same objects"
                        );
                    }
                    failed = Some(error);
                }
            }
            tokio::time::sleep(wait).await;
            wait = PERIOD;
        }
    }

    /// The Leases of controllers of all namespaces.
    async fn leases(&self) -> kube::Result<Vec<Lease>> {
        let api: Api<Lease> = Api::all(self.client.clone());
        let mut params = ListParams::default().labels(LEASE_CONTROLLER_LABEL).limit(PAGE);
        let mut leases = Vec::new();
        loop {
            let page = api.list(&params).await?;
            leases.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(leases),
            }
        }
    }

    async fn tell(&self, found: &Found, new: bool) {
        self.gauge.set(i64::from(!found.is_empty()));
        for (namespace, controllers) in found {
            let controllers = controllers.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            tracing::error!(
                namespace = self.namespace,
                other_namespace = namespace,
                controllers,
                "another installation works on the same objects"
            );
            if new {
                let message = format!(
                    "another installation with Leases in namespace {namespace} works on the same objects ({controllers}): \
                     remove one of the two, \
                     or give each namespaces of its own with --watch-namespaces"
                );
                let regarding = self.regarding().await;
                let reason = REASON.to_owned();
                self.recorder.publish(EventDraft { severity: Severity::Warning, reason, message, regarding });
            }
        }
    }

    /// Our Deployment, or one of our Leases.
    async fn regarding(&self) -> ObjectReference {
        let namespace = Some(self.namespace.clone());
        let Some(deployment) = deployment_of(&self.pod) else {
            return ObjectReference {
                kind: Some("Lease".to_owned()),
                api_version: Some("coordination.k8s.io/v1".to_owned()),
                name: Some(self.lease.clone()),
                namespace,
                ..ObjectReference::default()
            };
        };
        // Without the permission to read it, the event lacks the uid and says the same.
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = api.get_opt(deployment).await.ok().flatten();
        ObjectReference {
            kind: Some("Deployment".to_owned()),
            api_version: Some("apps/v1".to_owned()),
            name: Some(deployment.to_owned()),
            uid: found.and_then(|found| found.metadata.uid),
            namespace,
            ..ObjectReference::default()
        }
    }
}
