// SPDX-License-Identifier: Apache-2.0
//! Which other processes run? Each keeps a presence Lease of its own.
//!
//! Presence decides nothing about leadership. It tells how to share the controllers out, whether
//! anybody could take over from a controller that cannot work, and who of those that signed the Lease
//! of [`super::legacy`] has gone.
//!
//! All Leases of the namespace are watched, and those of members picked here: a selector would lose members whose
//! labels were replaced, and those of versions that set others.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Instant, SharedClock, Timestamp, sleep_until},
    watch_backoff::WatchBackoff,
};

use super::{
    names::Names,
    registry::{ElectionRegistry, Member, Members},
};

const RENEW_PERIOD: Duration = Duration::from_secs(10);
/// A member that has not renewed for this long, as observed from here, is gone.
const STALE_AFTER: Duration = Duration::from_mins(1);
/// How long a member that is gone is remembered: what it has left behind is removed within seconds.
const REMEMBERED_FOR: Duration = Duration::from_hours(1);
const SWEEP_PERIOD: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Bound of the last requests of a stopping process, on which nothing depends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Name of the presence Lease of `identity`.
pub(crate) fn presence_name(names: &Names, identity: &str) -> String {
    format!("{}-{}", names.manager, fingerprint(identity))
}

/// 64-bit FNV-1a in hex: short, stable, and good enough to tell a few identities apart.
pub(super) fn fingerprint(identity: &str) -> String {
    let hash = identity.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// A presence Lease as seen from here.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    member: Member,
    version: Option<String>,
    uid: Option<String>,
    spec: Option<LeaseSpec>,
    renewed: Instant,
    /// Its Lease was deleted. It may have been by hand: a member makes it anew.
    deleted: bool,
}

/// A member that has not renewed its presence Lease, which is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StaleMember {
    pub(super) name: String,
    pub(super) uid: Option<String>,
    pub(super) version: Option<String>,
}

/// Everybody else who has been seen. Pure.
#[derive(Debug)]
pub(super) struct Roster {
    names: Arc<Names>,
    own: String,
    seen: BTreeMap<String, Seen>,
    known_since: Option<Instant>,
    some_left: bool,
}

impl Roster {
    pub(super) fn new(names: Arc<Names>, own: String) -> Self {
        Self { names, own, seen: BTreeMap::new(), known_since: None, some_left: false }
    }

    /// A presence Lease was created, renewed or listed.
    pub(super) fn observe(&mut self, lease: &Lease, now: Instant) {
        if !self.names.is_presence(lease) {
            return;
        }
        let Some(name) = lease.metadata.name.clone().filter(|name| *name != self.own) else { return };
        let version = lease.metadata.resource_version.clone();
        let before = self.seen.get(&name).filter(|seen| seen.uid == lease.metadata.uid && !seen.deleted);
        // A change of labels alone is no renewal; and a version can be used again after a restore of etcd.
        let same_spec = before.filter(|seen| seen.spec == lease.spec);
        let renewed = same_spec.map_or(now, |seen| seen.renewed);
        // A member that was stale counts as seen from now on.
        let seen_since = before.filter(|seen| !seen.is_stale(now)).map_or(now, |seen| seen.member.seen_since);
        let annotation = |key: &str| lease.metadata.annotations.as_ref()?.get(key);
        let member = Member {
            identity: lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
            seen_since,
            leaving: annotation(&self.names.leaving_annotation()).is_some(),
            contends_for: annotation(&self.names.contends_for_annotation())
                .map(|leases| leases.split(',').map(str::to_owned).collect()),
            elections: annotation(&self.names.elections_annotation())
                .map(String::as_str)
                .map(elections_in)
                .unwrap_or_default(),
            guards: annotation(&self.names.guards_annotation()).cloned(),
        };
        let (uid, spec) = (lease.metadata.uid.clone(), lease.spec.clone());
        self.seen.insert(name, Seen { member, version, uid, spec, renewed, deleted: false });
    }

    /// A presence Lease was deleted.
    pub(super) fn remove(&mut self, name: &str) {
        let Some(seen) = self.seen.get_mut(name) else { return };
        self.some_left = true;
        seen.deleted = true;
    }

    /// A complete list: whoever is not in it is gone.
    pub(super) fn listed(&mut self, leases: &[Lease], now: Instant) {
        let names: Vec<&str> = leases.iter().filter_map(|lease| lease.metadata.name.as_deref()).collect();
        let missing: Vec<String> =
            self.seen.keys().filter(|name| !names.contains(&name.as_str())).cloned().collect();
        for name in missing {
            self.remove(&name);
        }
        for lease in leases {
            self.observe(lease, now);
        }
        self.known_since.get_or_insert(now);
    }

    /// Members that have not renewed for a minute.
    pub(super) fn stale(&self, now: Instant) -> Vec<StaleMember> {
        let stale = self.seen.iter().filter(|(_, seen)| !seen.deleted && seen.is_stale(now));
        stale
            .map(|(name, seen)| StaleMember {
                name: name.clone(),
                uid: seen.uid.clone(),
                version: seen.version.clone(),
            })
            .collect()
    }

    /// Everybody else who is present.
    pub(super) fn members(&mut self, now: Instant) -> Members {
        self.seen.retain(|_, seen| !(seen.deleted && seen.is_over(now, REMEMBERED_FOR)));
        let (stale, fresh): (Vec<_>, Vec<_>) = self.seen.iter().partition(|(_, seen)| seen.is_stale(now));
        let present = fresh.into_iter().filter(|(_, seen)| !seen.deleted);
        Members {
            known_since: self.known_since,
            others: present.map(|(name, seen)| (name.clone(), seen.member.clone())).collect(),
            some_left: self.some_left || !stale.is_empty(),
            expired: stale.into_iter().map(|(name, _)| name.clone()).collect(),
        }
    }
}

impl Seen {
    fn is_stale(&self, now: Instant) -> bool {
        self.is_over(now, STALE_AFTER)
    }

    fn is_over(&self, now: Instant, after: Duration) -> bool {
        now.saturating_duration_since(self.renewed) >= after
    }
}

/// The task that keeps this process's presence Lease and watches the others'.
pub(super) struct Presence {
    pub(super) names: Arc<Names>,
    pub(super) api: Api<Lease>,
    pub(super) identity: String,
    pub(super) registry: Arc<ElectionRegistry>,
    pub(super) shutdown: CancellationToken,
    /// Cancelled when the Lease of the older manager has been left: peers judge by presence who has.
    pub(super) legacy_left: CancellationToken,
    pub(super) spread: bool,
    pub(super) clock: SharedClock,
}

impl Presence {
    pub(super) async fn run(self) {
        let name = presence_name(&self.names, &self.identity);
        let mut roster = Roster::new(Arc::clone(&self.names), name.clone());
        let mut events = self.watch();
        let mut listed = Vec::new();
        let mut electors = self.registry.electors();
        let mut leaving = false;
        let mut renew_at = self.clock.instant();
        let mut sweep_at = renew_at + SWEEP_PERIOD;
        loop {
            let mut sweep = false;
            tokio::select! {
                biased;
                () = Self::electors_ended(&mut electors, &self.legacy_left) => break,
                () = self.shutdown.cancelled(), if !leaving => {
                    leaving = true;
                    self.renew(&name, leaving, SHUTDOWN_TIMEOUT).await;
                }
                Some(event) = events.next() => apply(event, &mut listed, &mut roster, self.clock.instant()),
                () = sleep_until(&*self.clock, renew_at) => {
                    renew_at = self.clock.instant() + RENEW_PERIOD;
                    self.renew(&name, leaving, REQUEST_TIMEOUT).await;
                }
                () = sleep_until(&*self.clock, sweep_at) => {
                    sweep = true;
                    sweep_at = self.clock.instant() + SWEEP_PERIOD;
                }
            }
            let now = self.clock.instant();
            self.registry.set_members(roster.members(now));
            if sweep {
                self.delete_stale(&mut roster, now).await;
                if self.spread && !leaving {
                    self.registry.offer_surplus(now);
                }
            }
        }
        let params = DeleteParams::default();
        let deleted = self.api.delete(&name, &params);
        if !matches!(tokio::time::timeout(SHUTDOWN_TIMEOUT, deleted).await, Ok(Ok(_))) {
            tracing::debug!(lease = name, "presence lease is left to expire");
        }
    }

    async fn electors_ended(
        electors: &mut tokio::sync::watch::Receiver<usize>,
        legacy_left: &CancellationToken,
    ) {
        // An error means that the registry has been dropped, and all electors with it.
        drop(electors.wait_for(|count| *count == 0).await);
        legacy_left.cancelled().await;
    }

    fn watch(&self) -> BoxStream<'static, watcher::Result<watcher::Event<Lease>>> {
        watcher(self.api.clone(), watcher::Config::default()).backoff(WatchBackoff::default()).boxed()
    }

    async fn renew(&self, name: &str, leaving: bool, limit: Duration) {
        let renewed = async {
            let params =
                PatchParams { field_manager: Some(self.names.manager.clone()), ..PatchParams::default() };
            let now = micro_time(self.clock.now());
            let mut wanted = self.lease(name, &now, leaving);
            match self.api.patch(name, &params, &Patch::Merge(&wanted)).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    if let Some(spec) = wanted.get_mut("spec").and_then(Value::as_object_mut) {
                        spec.insert("acquireTime".into(), json!(now));
                    }
                    let lease = serde_json::from_value(wanted).map_err(kube::Error::SerdeError)?;
                    let params = PostParams {
                        field_manager: Some(self.names.manager.clone()),
                        ..PostParams::default()
                    };
                    self.api.create(&params, &lease).await.map(drop)
                }
                other => other.map(drop),
            }
        };
        match tokio::time::timeout(limit, renewed).await {
            Ok(Ok(())) => {}
            // Peers notice after a minute; nothing depends on it before.
            Ok(Err(error)) => tracing::debug!(lease = name, %error, "could not renew presence"),
            Err(_) => tracing::debug!(lease = name, "could not renew presence in time"),
        }
    }

    fn lease(&self, name: &str, now: &str, leaving: bool) -> Value {
        let pairs =
            self.registry.elections().iter().map(|(lease, controller)| format!("{controller}={lease}"));
        let elections: Vec<_> = pairs.collect();
        let mut annotations = BTreeMap::from([
            (self.names.contends_for_annotation(), self.registry.wanted().join(",")),
            (self.names.elections_annotation(), elections.join(",")),
        ]);
        annotations
            .extend(self.registry.guards().map(|lease| (self.names.guards_annotation(), lease.to_owned())));
        if leaving {
            annotations.insert(self.names.leaving_annotation(), "true".to_owned());
        }
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": name, "labels": self.names.member_labels(), "annotations": annotations },
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": STALE_AFTER.as_secs(),
                "renewTime": now,
            },
        })
    }

    /// Deletes the presence Leases of stale members, unless one has renewed meanwhile.
    async fn delete_stale(&self, roster: &mut Roster, now: Instant) {
        for StaleMember { name, uid, version } in roster.stale(now) {
            let preconditions = Some(Preconditions { uid, resource_version: version });
            let params = DeleteParams { preconditions, ..DeleteParams::default() };
            match tokio::time::timeout(REQUEST_TIMEOUT, self.api.delete(&name, &params)).await {
                Ok(Ok(_)) => roster.remove(&name),
                Ok(Err(kube::Error::Api(status))) if status.code == 404 => roster.remove(&name),
                // Renewed or deleted by somebody else, or to be tried again at the next sweep.
                Ok(Err(error)) => {
                    tracing::debug!(lease = name, %error, "could not delete presence of a gone member");
                }
                Err(_) => tracing::debug!(lease = name, "could not delete presence of a gone member in time"),
            }
        }
    }
}

fn apply(
    event: watcher::Result<watcher::Event<Lease>>,
    listed: &mut Vec<Lease>,
    roster: &mut Roster,
    now: Instant,
) {
    match event {
        Ok(watcher::Event::Init) => listed.clear(),
        Ok(watcher::Event::InitApply(lease)) => listed.push(lease),
        Ok(watcher::Event::InitDone) => roster.listed(&std::mem::take(listed), now),
        Ok(watcher::Event::Apply(lease)) => roster.observe(&lease, now),
        Ok(watcher::Event::Delete(lease)) => {
            roster.remove(lease.metadata.name.as_deref().unwrap_or_default());
        }
        Err(error) => tracing::debug!(%error, "watch on presence leases is broken"),
    }
}

/// Elections written as `controller=lease`, between commas; what is written otherwise is left out.
fn elections_in(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(controller, lease)| (lease.to_owned(), controller.to_owned())).collect()
}

fn micro_time(now: Timestamp) -> String {
    format!("{now:.6}")
}
