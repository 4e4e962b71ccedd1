// SPDX-License-Identifier: Apache-2.0
//! What was seen of one Lease and when, by the monotonic clock: who may still be leading?
//!
//! Pure. Nothing in here compares a stored timestamp with a local clock: a claim lasts as long as
//! its own duration says, counted from the moment at which *this* process first saw it. That is
//! never earlier than the moment at which the holder wrote it, so as long as both clocks run at the
//! same rate a claim that looks expired from here has expired for its holder, too.
//!
//! A Lease can change without its holder's doing: deleted by hand, cut to garbage, given another
//! duration. The holder may not have noticed yet and may be working, so such a change never shortens
//! its claim: the claim is taken to have been renewed at that very moment with the duration that the
//! holder itself had written last. Only a release by the rules (no holder, duration of one second)
//! ends a claim early. A change of nothing but metadata (a tool that labels Leases) is no renewal: on an unbroken
//! watch it moves the version and not the time. After a list or a gap the time restarts, because a renewal that
//! was not delivered may lie in between. Another holder who appears before that has overwritten the first, who may
//! still be working: both claims count until they end, also for the new holder itself. (A create that was on its way while the
//! Lease was made, led and deleted would otherwise make two leaders: found by `tests/election_model`.)

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};

use crate::clock::{Instant, Timestamp};

pub(crate) use super::snapshot::LeaseSnapshot;

/// Longest time for which a claim is respected without a renewal.
///
/// A stored duration can be anything up to 68 years. Waiting for that would wedge the election;
/// ignoring it could take the Lease from an honest holder. No one who renews at all renews less than once an hour.
/// An absurd duration that somebody wrote over a known holder's own is not respected at all (see the
/// module's page), so this bound concerns only Leases that were absurd when first seen.
pub(crate) const LONGEST_CLAIM: Duration = Duration::from_hours(1);

/// Duration of a claim whose Lease names a holder but no usable duration.
const SHORTEST_CLAIM: Duration = Duration::from_secs(1);

/// Where a [`LeaseSnapshot`] comes from: tells whether it may be older than what is known, and whether something
/// may have gone unseen before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The list with which a watch begins. May lag, and skips what came before it.
    List,
    /// An event of the watch. May lag; on an unbroken watch nothing is skipped.
    Watch,
    /// The answer to a request that was sent after everything that was seen before.
    Answer,
    /// An answer that an event of the watch has overtaken: may lag.
    Overtaken,
}

/// Whether a [`LeaseSnapshot`] changed what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// Another version than before.
    Yes,
    /// The same version of the same object with the same spec.
    No,
    /// Older than what is known already: not taken over.
    Stale,
}

/// Who may be leading, as far as known from here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Claim {
    holder: String,
    lasts: Duration,
    since: Instant,
    /// `renewTime` of the holder's own last write.
    renewed: Option<Timestamp>,
}

/// From when on a candidate may try to acquire the Lease, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcquirableAt {
    /// Nobody holds it, or only this candidate itself.
    Free(Instant),
    /// Somebody holds it, whose claim ends at this moment unless renewed.
    Expires(Instant),
}

/// Everything that is known of one Lease.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Observation {
    /// `None`: nothing has been seen yet.
    snapshot: Option<LeaseSnapshot>,
    first_observed: Instant,
    claim: Option<Claim>,
    /// Claims that had not ended when another holder appeared without a release in between. Whoever they
    /// belong to may not know yet. Empty unless somebody meddles with the Lease.
    overwritten: Vec<Claim>,
    /// The watch has delivered every change since the present state, or will.
    unbroken: bool,
}

impl Observation {
    /// Nothing has been seen yet.
    pub fn new(now: Instant) -> Self {
        Self { snapshot: None, first_observed: now, claim: None, overwritten: Vec::new(), unbroken: false }
    }

    /// The watch broke: changes may go unseen until it delivers again.
    pub(crate) fn watch_broken(&mut self) {
        self.unbroken = false;
    }

    /// Takes over what was seen at `at`.
    pub fn observe(&mut self, snapshot: LeaseSnapshot, source: Source, at: Instant) -> Changed {
        let unbroken = match source {
            Source::List => false,
            Source::Watch | Source::Answer | Source::Overtaken => self.unbroken,
        };
        // From here on the watch delivers every change.
        self.unbroken |= matches!(source, Source::List | Source::Watch);
        if let Some(known) = &self.snapshot {
            if known.same_as(&snapshot) {
                return Changed::No;
            }
            if source != Source::Answer && snapshot.is_older_than(known) {
                return Changed::Stale;
            }
            if unbroken && known.has_spec_of(&snapshot) {
                self.snapshot = Some(snapshot);
                return Changed::Yes;
            }
        }
        let claim = self.claim_after(&snapshot, at);
        if let Some(claim) = &claim {
            let overwritten = self.claim.take().into_iter().filter(|before| before.holder != claim.holder);
            self.overwritten.extend(overwritten);
            self.overwritten.retain(|it| at < it.ends() && it.holder != claim.holder);
        }
        self.claim = claim;
        self.snapshot = Some(snapshot);
        self.first_observed = at;
        Changed::Yes
    }

    fn claim_after(&self, snapshot: &LeaseSnapshot, at: Instant) -> Option<Claim> {
        let spec = snapshot.spec();
        let before = self.claim.as_ref();
        if let Some(holder) = spec.and_then(holder_of) {
            // Written by the holder itself, or by somebody who edited the Lease under its hands? Holders
            // write a later `renewTime` each time. (Both times are the holder's own: no clock of ours.)
            let renewed = spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
            let claim = match before {
                Some(claim) if claim.holder == holder && renewed <= claim.renewed => {
                    Claim { since: at, ..claim.clone() }
                }
                Some(_) | None => {
                    Claim { holder: holder.to_owned(), lasts: claim_duration(spec), since: at, renewed }
                }
            };
            return Some(claim);
        }
        if spec.is_some_and(is_released) {
            return None;
        }
        // Gone or emptied, but not by a release. `since` moves only while the holder was still named:
        // its last renewal may have gone unseen right before.
        let claim = before?.clone();
        let since = if self.holder().is_some() { at } else { claim.since };
        Some(Claim { since, ..claim })
    }

    /// Whether anything has been seen.
    pub fn is_known(&self) -> bool {
        self.snapshot.is_some()
    }

    /// The Lease as last seen; `None` when unknown or absent.
    pub fn lease(&self) -> Option<&Lease> {
        self.snapshot.as_ref()?.lease()
    }

    fn spec(&self) -> Option<&LeaseSpec> {
        self.snapshot.as_ref().and_then(LeaseSnapshot::spec)
    }

    /// The holder that the Lease names; `None` when unknown, absent or empty.
    pub fn holder(&self) -> Option<&str> {
        self.spec().and_then(holder_of)
    }

    /// The holder that may still be leading though the Lease need not name it any more.
    pub(crate) fn claimant(&self) -> Option<&str> {
        self.claim.as_ref().map(|claim| claim.holder.as_str())
    }

    /// Whether its last holder has released the Lease by the rules.
    pub(crate) fn is_released(&self) -> bool {
        self.spec().is_some_and(|spec| holder_of(spec).is_none() && is_released(spec))
    }

    /// The stored duration in whole seconds; `None` when absent, null or not positive.
    pub(crate) fn stored_seconds(&self) -> Option<u64> {
        stored_seconds(self.spec())
    }

    /// `leaseTransitions`; garbage counts as 0.
    pub(crate) fn transitions(&self) -> i32 {
        self.spec().and_then(|spec| spec.lease_transitions).unwrap_or_default().max(0)
    }

    /// `metadata.resourceVersion` as last seen.
    pub fn resource_version(&self) -> Option<&str> {
        self.lease()?.metadata.resource_version.as_deref()
    }

    /// When uid and spec were first seen as they are now.
    pub(crate) fn first_observed(&self) -> Instant {
        self.first_observed
    }

    /// From when on `me` may try to acquire; `None` while nothing is known.
    pub(crate) fn acquirable_at(&self, me: &str) -> Option<AcquirableAt> {
        if !self.is_known() {
            return None;
        }
        let acquirable = match &self.claim {
            Some(claim) if claim.holder != me => AcquirableAt::Expires(claim.ends()),
            Some(_) | None => AcquirableAt::Free(self.first_observed),
        };
        let overwritten = self.overwritten.iter().filter(|it| it.holder != me).map(Claim::ends).max();
        Some(
            overwritten
                .filter(|until| *until > acquirable.moment())
                .map_or(acquirable, AcquirableAt::Expires),
        )
    }

    /// Whether `me` may try to acquire now.
    pub fn is_acquirable_by(&self, me: &str, now: Instant) -> bool {
        self.acquirable_at(me).is_some_and(|acquirable| acquirable.moment() <= now)
    }

    /// The foreign holder that keeps the Lease for longer than `usual` without a renewal, and the end of its claim.
    pub(crate) fn claim_longer_than(
        &self,
        usual: Duration,
        me: &str,
        now: Instant,
    ) -> Option<(&str, Instant)> {
        let claims = self.claim.iter().chain(&self.overwritten);
        let long = claims.filter(|claim| claim.holder != me && claim.lasts > usual && now < claim.ends());
        long.map(|claim| (claim.holder.as_str(), claim.ends())).max_by_key(|(_, ends)| *ends)
    }

    /// The foreign holder whose claim has not ended, if there is one.
    pub(crate) fn live_rival(&self, me: &str, now: Instant) -> Option<&str> {
        self.claim
            .as_ref()
            .filter(|claim| claim.holder != me && now < claim.ends())
            .map(|claim| claim.holder.as_str())
    }

    /// Whoever holds the Lease by name and by time.
    pub(crate) fn live_holder(&self, now: Instant) -> Option<&str> {
        let claim = self.claim.as_ref().filter(|claim| now < claim.ends())?;
        self.holder().filter(|holder| *holder == claim.holder)
    }
}

impl Claim {
    fn ends(&self) -> Instant {
        self.since + self.lasts
    }
}

impl AcquirableAt {
    /// The moment from which on trying makes sense.
    pub(crate) fn moment(self) -> Instant {
        match self {
            Self::Free(moment) | Self::Expires(moment) => moment,
        }
    }
}

fn holder_of(spec: &LeaseSpec) -> Option<&str> {
    spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// What client-go and `kube-leader-election` leave behind: no holder, one second.
fn is_released(spec: &LeaseSpec) -> bool {
    spec.lease_duration_seconds == Some(1)
}

fn stored_seconds(spec: Option<&LeaseSpec>) -> Option<u64> {
    spec?
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
}

fn claim_duration(spec: Option<&LeaseSpec>) -> Duration {
    stored_seconds(spec).map_or(SHORTEST_CLAIM, Duration::from_secs).min(LONGEST_CLAIM)
}

/// Until when a holder may work after a successful request: the stored duration counted from right
/// before the request was sent, less a [`margin`].
pub(crate) fn valid_until(sent: Instant, stored: &Lease) -> Instant {
    let lasts = claim_duration(stored.spec.as_ref());
    sent + lasts.saturating_sub(margin(lasts))
}

/// Time for requests that are on their way when a right ends, of a claim that lasts so long: a tenth of it, at
/// most a second.
pub(crate) fn margin(lasts: Duration) -> Duration {
    (lasts / 10).min(Duration::from_secs(1))
}
