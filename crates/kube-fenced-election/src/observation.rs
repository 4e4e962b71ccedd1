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
//! was not delivered may lie in between. Another holder who appears before that has robbed the first, who may still be working:
//! both claims count until they end, also for the robber itself. (A create that was on its way while the
//! Lease was made, led and deleted would otherwise make two leaders: found by `tests/election_model`.)

use std::{
    hash::{Hash, Hasher},
    time::Duration,
};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};

use crate::clock::{Instant, Timestamp};

/// Longest time for which a claim is respected without a renewal.
///
/// A stored duration can be anything up to 68 years. Waiting for that would wedge the election;
/// ignoring it could rob an honest holder. No one who renews at all renews less than once an hour.
/// An absurd duration that somebody wrote over a known holder's own is not respected at all (see the
/// module's page), so this bound concerns only Leases that were absurd when first seen.
pub const LONGEST_CLAIM: Duration = Duration::from_hours(1);

/// Duration of a claim whose Lease names a holder but no usable duration.
const SHORTEST_CLAIM: Duration = Duration::from_secs(1);

/// What a read or a watch showed.
#[derive(Debug, Clone, PartialEq)]
pub enum Sight {
    /// The Lease exists.
    Present(Box<Lease>),
    /// The Lease does not exist. With the `resourceVersion` of its deletion where that is known.
    Absent(Option<String>),
}

/// Where a [`Sight`] comes from: tells whether it may be older than what is known, and whether something may have
/// gone unseen before it.
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

/// What a new [`Sight`] meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Novelty {
    /// Another version than before.
    Changed,
    /// The same version of the same object with the same spec.
    Same,
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
pub enum Chance {
    /// Nobody holds it, or only this candidate itself.
    Free(Instant),
    /// Somebody holds it, whose claim ends at this moment unless renewed.
    Expires(Instant),
}

/// Everything that is known of one Lease.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Observation {
    /// `None`: nothing has been seen yet.
    sight: Option<Sight>,
    first_observed: Instant,
    claim: Option<Claim>,
    /// Claims that had not ended when another holder appeared without a release in between. Whoever they
    /// belong to may not know yet. Empty unless somebody meddles with the Lease.
    robbed: Vec<Claim>,
    /// The watch has delivered every change since the present state, or will.
    unbroken: bool,
}

impl Observation {
    /// Nothing has been seen yet.
    pub fn new(now: Instant) -> Self {
        Self { sight: None, first_observed: now, claim: None, robbed: Vec::new(), unbroken: false }
    }

    /// The watch broke: changes may go unseen until it delivers again.
    pub fn watch_broken(&mut self) {
        self.unbroken = false;
    }

    /// Takes over what was seen at `at`.
    pub fn saw(&mut self, sight: Sight, source: Source, at: Instant) -> Novelty {
        let unbroken = match source {
            Source::List => false,
            Source::Watch | Source::Answer | Source::Overtaken => self.unbroken,
        };
        // From here on the watch delivers every change.
        self.unbroken |= matches!(source, Source::List | Source::Watch);
        if let Some(known) = &self.sight {
            if known.same_as(&sight) {
                return Novelty::Same;
            }
            if source != Source::Answer && sight.is_older_than(known) {
                return Novelty::Stale;
            }
            if unbroken && known.has_spec_of(&sight) {
                self.sight = Some(sight);
                return Novelty::Changed;
            }
        }
        let claim = self.claim_after(&sight, at);
        if let Some(claim) = &claim {
            let robbed = self.claim.take().into_iter().filter(|before| before.holder != claim.holder);
            self.robbed.extend(robbed);
            self.robbed.retain(|it| at < it.ends() && it.holder != claim.holder);
        }
        self.claim = claim;
        self.sight = Some(sight);
        self.first_observed = at;
        Novelty::Changed
    }

    fn claim_after(&self, sight: &Sight, at: Instant) -> Option<Claim> {
        let spec = sight.spec();
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
        self.sight.is_some()
    }

    /// The Lease as last seen; `None` when unknown or absent.
    pub fn lease(&self) -> Option<&Lease> {
        self.sight.as_ref()?.lease()
    }

    /// Whether the Lease is known not to exist.
    pub fn is_absent(&self) -> bool {
        matches!(self.sight, Some(Sight::Absent(_)))
    }

    fn spec(&self) -> Option<&LeaseSpec> {
        self.sight.as_ref().and_then(Sight::spec)
    }

    /// The holder that the Lease names; `None` when unknown, absent or empty.
    pub fn holder(&self) -> Option<&str> {
        self.spec().and_then(holder_of)
    }

    /// The holder that may still be leading though the Lease need not name it any more.
    pub fn claimant(&self) -> Option<&str> {
        self.claim.as_ref().map(|claim| claim.holder.as_str())
    }

    /// Whether the Lease says by the rules that its last holder has given it away.
    pub fn is_released(&self) -> bool {
        self.spec().is_some_and(|spec| holder_of(spec).is_none() && is_released(spec))
    }

    /// The stored duration in whole seconds; `None` when absent, null or not positive.
    pub fn stored_seconds(&self) -> Option<u64> {
        stored_seconds(self.spec())
    }

    /// `leaseTransitions`; garbage counts as 0.
    pub fn transitions(&self) -> i32 {
        self.spec().and_then(|spec| spec.lease_transitions).unwrap_or_default().max(0)
    }

    /// `metadata.resourceVersion` as last seen.
    pub fn resource_version(&self) -> Option<&str> {
        self.lease()?.metadata.resource_version.as_deref()
    }

    /// When uid and spec were first seen as they are now.
    pub fn first_observed(&self) -> Instant {
        self.first_observed
    }

    /// From when on `me` may try to acquire; `None` while nothing is known.
    pub fn chance_for(&self, me: &str) -> Option<Chance> {
        if !self.is_known() {
            return None;
        }
        let chance = match &self.claim {
            Some(claim) if claim.holder != me => Chance::Expires(claim.ends()),
            Some(_) | None => Chance::Free(self.first_observed),
        };
        let robbed = self.robbed.iter().filter(|it| it.holder != me).map(Claim::ends).max();
        Some(robbed.filter(|until| *until > chance.from()).map_or(chance, Chance::Expires))
    }

    /// Whether `me` may try to acquire now.
    pub fn is_open_to(&self, me: &str, now: Instant) -> bool {
        self.chance_for(me).is_some_and(|chance| chance.from() <= now)
    }

    /// The foreign holder whose claim has not ended, if there is one.
    pub fn live_rival(&self, me: &str, now: Instant) -> Option<&str> {
        self.claim
            .as_ref()
            .filter(|claim| claim.holder != me && now < claim.ends())
            .map(|claim| claim.holder.as_str())
    }

    /// Whoever holds the Lease by name and by time.
    pub fn live_holder(&self, now: Instant) -> Option<&str> {
        let claim = self.claim.as_ref().filter(|claim| now < claim.ends())?;
        self.holder().filter(|holder| *holder == claim.holder)
    }
}

impl Claim {
    fn ends(&self) -> Instant {
        self.since + self.lasts
    }
}

impl Chance {
    /// The moment from which on trying makes sense.
    pub fn from(self) -> Instant {
        match self {
            Self::Free(moment) | Self::Expires(moment) => moment,
        }
    }
}

/// By what decisions depend on; labels and the like do not count.
impl Hash for Sight {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (std::mem::discriminant(self), self.version()).hash(state);
        let Self::Present(lease) = self else { return };
        lease.metadata.uid.hash(state);
        let Some(spec) = &lease.spec else { return };
        spec.holder_identity.hash(state);
        (spec.lease_duration_seconds, spec.lease_transitions).hash(state);
        spec.renew_time.as_ref().map(|time| time.0).hash(state);
    }
}

impl Sight {
    /// The Lease; `None` when it does not exist.
    pub fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Present(lease) => Some(lease),
            Self::Absent(_) => None,
        }
    }

    fn spec(&self) -> Option<&LeaseSpec> {
        self.lease()?.spec.as_ref()
    }

    fn version(&self) -> Option<&str> {
        match self {
            Self::Present(lease) => lease.metadata.resource_version.as_deref(),
            Self::Absent(version) => version.as_deref(),
        }
    }

    fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent(_), Self::Absent(_)) => true,
            (Self::Present(_), Self::Present(_)) => {
                // After a restore of etcd a version can be used again.
                self.has_spec_of(other) && self.version() == other.version()
            }
            (Self::Present(_), Self::Absent(_)) | (Self::Absent(_), Self::Present(_)) => false,
        }
    }

    /// Whether both are the same object with the same spec: nobody renewed, acquired or released in between.
    fn has_spec_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Present(known), Self::Present(new)) => {
                known.metadata.uid == new.metadata.uid && known.spec == new.spec
            }
            (Self::Present(_) | Self::Absent(_), Self::Absent(_)) | (Self::Absent(_), Self::Present(_)) => {
                false
            }
        }
    }

    /// Resource versions of one resource type are ordered (as decimal numbers of any length).
    /// Anything else has no order and is taken as it comes.
    fn is_older_than(&self, known: &Self) -> bool {
        match (self.version().and_then(ordinal), known.version().and_then(ordinal)) {
            (Some(new), Some(known)) => new < known,
            (Some(_) | None, Some(_) | None) => false,
        }
    }
}

fn ordinal(version: &str) -> Option<(usize, &str)> {
    let digits = version.trim_start_matches('0');
    (!version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
        .then_some((digits.len(), digits))
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
pub fn valid_until(sent: Instant, stored: &Lease) -> Instant {
    let lasts = claim_duration(stored.spec.as_ref());
    sent + lasts.saturating_sub(margin(lasts))
}

/// Time for requests that are on their way when a right ends, of a claim that lasts so long: a tenth of it, at
/// most a second.
pub fn margin(lasts: Duration) -> Duration {
    (lasts / 10).min(Duration::from_secs(1))
}
