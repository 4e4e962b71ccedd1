// SPDX-License-Identifier: Apache-2.0
//! Pure: what to serve, what to make, what to publish next. At most one kind of change for each pass.
//!
//! # Changing the CA without a gap
//!
//! 1. A replica makes a CA and keeps it to itself (the *candidate*).
//! 2. It adds the candidate to the bundles: clients trust old and new.
//! 3. When all entries have held it for [`SETTLE`], it stores it in the Secret with a server certificate.
//! 4. Every replica serves what the Secret holds once the bundles have held that CA for [`SETTLE`].
//! 5. [`OVERLAP`] after a replica first saw a CA in the bundles that is not (or no longer) in the Secret, it
//!    takes it out. Nobody copies such a CA into an entry that holds another one already: configurations are
//!    written one after the other, and who reads in between would bring back what is just being taken out.
//!
//! No step needs to know who took the one before: where things stand follows from the Secret (which CA is the
//! one) and from the bundles (who is trusted), and waits are measured by each replica from its own first observation.
//! So a replica may end or start at any point:
//!
//! - between 1 and 2, nothing has happened;
//! - between 2 and 3, the bundles trust one CA more, whose key is lost; step 5 takes it out, and another
//!   replica begins at 1, since the Secret is as it was;
//! - after 3, a new replica finds the Secret's CA in the bundles already, because it was there before it came
//!   into the Secret, and may serve at once;
//! - a wait of step 5 that begins anew lasts longer, which trusts the old CA longer: the safe side.
//!
//! Two replicas may do this at the same time: the Secret is written by compare-and-swap, so one candidate wins,
//! and the other is dropped by its maker, who takes it out at once, or by step 5. A candidate cannot be taken out before its
//! maker has given it up: step 3 needs an observation younger than [`FRESH`] that finds it in all
//! entries, and [`OVERLAP`] is longer than [`SETTLE`], [`FRESH`] and the longest request together.
//!
//! A replica that has not reached the API server for longer than [`OVERLAP`] may serve a certificate that is not
//! trusted any more.
//!
//! Where nobody trusts a CA that is alive (an empty Secret, an expired CA) there is nothing to overlap with: the
//! Secret is stored at once and published afterwards.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use kube_fenced_election::clock::Instant;

use super::{
    bundle::{Bundles, is_alive},
    rotation::{Pair, Reason, Renewal, SecretContents},
    snapshot::{Lookup, Snapshot},
    state::ReplicaState,
    x509::{Authority, Fingerprint},
};

/// How long a CA must have been in all bundles before something is served that needs it: API servers of one
/// cluster learn of a changed configuration one after the other.
pub(crate) const SETTLE: Duration = Duration::from_secs(10);
/// How long a CA that is not the Secret's stays in the bundles.
pub(crate) const OVERLAP: Duration = Duration::from_mins(10);
/// How old an observation may be when a CA is stored because of it.
pub(crate) const FRESH: Duration = Duration::from_mins(1);
/// Time between two passes when nothing happens.
pub(crate) const PERIOD: Duration = Duration::from_hours(12);
/// CAs in a bundle besides those that have a reason to be there; what exceeds them is taken out after
/// [`OVERLAP`] also while the Secret is broken.
const MANY_EXTRAS: usize = 8;
/// With so many nobody adds another one: replicas that make a CA and die at once, again and again, must not fill
/// the configurations.
const MOST_EXTRAS: usize = 32;
const SHORTEST_WAIT: Duration = Duration::from_millis(20);

/// A change to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Create the Secret, without data.
    CreateSecret,
    /// Make a CA and a server certificate, and keep them as the candidate.
    MakeAuthority(Reason),
    /// Store the candidate in the Secret.
    StoreAuthority,
    /// Make a server certificate by the CA in the Secret, and store it there.
    RenewServer(Reason),
    /// Write bundles.
    Publish(Publication),
}

/// Bundles to write, by configuration.
pub(crate) type Publication = BTreeMap<usize, Bundles>;

/// Where a certificate to serve comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateSource {
    /// The Secret.
    Secret,
    /// The mounted files.
    Files,
}

/// What follows from an observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Serve this from now on; `None`: as before.
    pub serve: Option<(CertificateSource, Pair)>,
    /// The candidate is of no use any more.
    pub drop_candidate: bool,
    /// What to change.
    pub step: Option<Step>,
    /// Time until the next pass if nothing happens.
    pub wait: Duration,
    /// Whether clients of all configurations accept what is served; otherwise why not.
    pub readiness: Result<(), String>,
}

/// Plans from an observation. Same inputs, same plan; once everything fits, no step.
pub(crate) fn plan(seen: &Snapshot, state: &ReplicaState, now: Timestamp, at: Instant) -> Plan {
    let mut timer = Timer { shortest: PERIOD, at };
    let serve = choose_certificate(seen, state, now, &mut timer);
    let serving = serve.map(|(_, pair)| pair).or_else(|| alive(state.serving, now));
    if let Some(pair) = serving {
        timer.until_wall(pair.not_after, now);
    }
    let held = seen.secret.found();
    let changes_authority = held.is_some_and(|held| matches!(held.renewal, Renewal::Authority(_)));
    let drop_candidate = held.is_some() && !changes_authority && state.candidate.is_some();
    let blocked = state.store_blocked_until.filter(|until| at < *until);
    if let Some(until) = blocked {
        timer.until(until);
    }
    let candidate = state.candidate.filter(|_| changes_authority && blocked.is_none());
    let step = match (&seen.secret, blocked) {
        (Lookup::NotFound, _) => Some(Step::CreateSecret),
        (Lookup::Found(held), None) => renew(held, seen, state, candidate, (now, &mut timer)),
        (Lookup::Found(_), Some(_)) | (Lookup::Unknown(_), _) => None,
    };
    let step = step.or_else(|| {
        let publication = publication(held?, seen, state, (candidate, serving), (now, &mut timer));
        (!publication.is_empty()).then_some(Step::Publish(publication))
    });
    let readiness = readiness(seen, state, serving);
    Plan { serve, drop_candidate, step, wait: timer.shortest.max(SHORTEST_WAIT), readiness }
}

/// Collects the time of the next pass.
struct Timer {
    shortest: Duration,
    at: Instant,
}

impl Timer {
    fn until(&mut self, due: Instant) {
        self.shortest = self.shortest.min(due.saturating_duration_since(self.at));
    }

    fn until_wall(&mut self, due: Timestamp, now: Timestamp) {
        let left = Duration::try_from(due.duration_since(now)).unwrap_or_default();
        self.shortest = self.shortest.min(left.saturating_add(Duration::from_secs(1)));
    }

    /// Whether `time` has passed since `from`; otherwise schedules a pass for then.
    fn passed(&mut self, time: Duration, from: Option<Instant>) -> bool {
        let Some(from) = from else { return false };
        let due = from + time;
        if self.at < due {
            self.until(due);
        }
        self.at >= due
    }
}

fn alive(pair: Option<Pair>, now: Timestamp) -> Option<Pair> {
    pair.filter(|pair| now <= pair.not_after)
}

/// What to serve instead of what is served now.
fn choose_certificate(
    seen: &Snapshot,
    state: &ReplicaState,
    now: Timestamp,
    timer: &mut Timer,
) -> Option<(CertificateSource, Pair)> {
    let current = alive(state.serving, now);
    let offered = seen.secret.found().and_then(|held| held.pair);
    let Some(offered) = offered else {
        let files = alive(seen.files, now).filter(|_| current.is_none())?;
        return Some((CertificateSource::Files, files));
    };
    let takes = match current {
        None => true,
        Some(current) if current == offered => false,
        Some(current) if current.authority == offered.authority || current.leaf == offered.leaf => true,
        Some(current) => {
            let trusted = current.authority.is_some_and(|it| seen.is_trusted_everywhere(it));
            // Nobody to keep in mind: a replica that stores a CA has published it before.
            let alone = seen.has_unread_configuration() || seen.own_entries().next().is_none();
            let since = offered.authority.and_then(|it| state.trusted_since(it));
            alone || !trusted || timer.passed(SETTLE, since)
        }
    };
    takes.then_some((CertificateSource::Secret, offered))
}

/// What to make or to store.
fn renew(
    held: &SecretContents,
    seen: &Snapshot,
    state: &ReplicaState,
    candidate: Option<Authority>,
    (now, timer): (Timestamp, &mut Timer),
) -> Option<Step> {
    let reason = match &held.renewal {
        Renewal::Nothing => return None,
        Renewal::Server(reason) => return Some(Step::RenewServer(reason.clone())),
        Renewal::Authority(reason) => reason,
    };
    let Some(candidate) = candidate else { return Some(Step::MakeAuthority(reason.clone())) };
    let trusted = |it: &Authority| it.fingerprint != candidate.fingerprint && is_alive(it, now);
    let somebody_trusts = seen.own_entries().any(|(_, _, entry)| entry.authorities.iter().any(trusted));
    // Blind, with an old certificate that still works: better late than broken.
    let somebody_may = seen.has_unread_configuration() && held.pair.is_some();
    let ready = if somebody_may {
        false
    } else if somebody_trusts {
        seen.is_trusted_everywhere(candidate.fingerprint)
            && timer.passed(SETTLE, state.trusted_since(candidate.fingerprint))
    } else {
        true
    };
    ready.then_some(Step::StoreAuthority)
}

/// Entries of ours that hold other CAs than they shall, with those.
fn publication(
    held: &SecretContents,
    seen: &Snapshot,
    state: &ReplicaState,
    (candidate, serving): (Option<Authority>, Option<Pair>),
    (now, timer): (Timestamp, &mut Timer),
) -> Publication {
    let changing = matches!(held.renewal, Renewal::Authority(_));
    // A CA that is to be replaced is worth publishing as long as its server certificate works.
    let from_secret = held.authority.map(|it| it.fingerprint).filter(|fingerprint| {
        !changing || held.pair.is_some_and(|pair| pair.authority == Some(*fingerprint))
    });
    let candidate = candidate.map(|it| it.fingerprint);
    let needed = [from_secret, serving.and_then(|pair| pair.authority), candidate];
    let mut want: Vec<Fingerprint> = Vec::new();
    let mut extras = 0;
    for (_, _, entry) in seen.own_entries() {
        for authority in &entry.authorities {
            if want.contains(&authority.fingerprint) {
                continue;
            }
            if !needed.contains(&Some(authority.fingerprint)) {
                if !is_alive(authority, now) || state.abandoned.contains(&authority.fingerprint) {
                    continue;
                }
                // While the Secret is broken the old CA, the first one, may be all that there is.
                let over = !changing || extras >= MANY_EXTRAS;
                if over && timer.passed(OVERLAP, state.extra_since(authority.fingerprint)) {
                    continue;
                }
                timer.until_wall(authority.not_after, now);
                extras += 1;
            }
            want.push(authority.fingerprint);
        }
    }
    let candidate = candidate.filter(|_| extras < MOST_EXTRAS);
    for fingerprint in [from_secret, candidate].into_iter().flatten() {
        if !want.contains(&fingerprint) {
            want.push(fingerprint);
        }
    }
    let mut publication = Publication::new();
    for (configuration, at, entry) in seen.own_entries() {
        // An entry that holds none of them, because somebody cleared it, gets them all.
        let holds_none = !want.iter().any(|it| entry.holds(*it));
        let belongs = |it: &Fingerprint| holds_none || entry.holds(*it) || needed.contains(&Some(*it));
        let want: Vec<Fingerprint> = want.iter().copied().filter(belongs).collect();
        let same = entry.authorities.len() == want.len() && want.iter().all(|it| entry.holds(*it));
        if !same && !want.is_empty() {
            publication.entry(configuration).or_default().insert(at, want);
        }
    }
    publication
}

fn readiness(seen: &Snapshot, state: &ReplicaState, serving: Option<Pair>) -> Result<(), String> {
    let Some(serving) = serving else {
        return Err(match &seen.secret {
            Lookup::NotFound => "the Secret does not exist".to_owned(),
            Lookup::Unknown(cause) => cause.clone(),
            Lookup::Found(held) => match &held.renewal {
                Renewal::Nothing => "no certificate is served yet".to_owned(),
                Renewal::Server(reason) | Renewal::Authority(reason) => {
                    format!("the Secret holds no usable certificate: {reason}")
                }
            },
        });
    };
    let Some(authority) = serving.authority else {
        return Err("the CA of the certificate is not known".to_owned());
    };
    let known_good = state.last_trusted.contains(&authority);
    for configuration in &seen.configurations {
        if let Lookup::Unknown(cause) = &configuration.entries
            && !known_good
        {
            return Err(cause.clone());
        }
    }
    let lacking = seen.own_entries().find(|(_, _, entry)| !entry.holds(authority));
    match lacking.and_then(|(index, _, _)| seen.configurations.get(index)) {
        Some(configuration) => Err(format!("{} does not carry the CA", configuration.title)),
        None => Ok(()),
    }
}
