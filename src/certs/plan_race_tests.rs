// SPDX-License-Identifier: Apache-2.0
//! Several replicas over one Secret and two configurations: their reads and writes interleave in any order, they
//! restart at any point, people break things. At no moment may a client that trusts what is published, or what
//! was published a few seconds ago, meet a replica whose certificate it does not accept.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use proptest::prelude::*;

use kube_fenced_election::clock::{Clock as _, Instant, SystemClock};

use super::{
    bundle::Entry,
    plan::{FRESH, OVERLAP, Plan, SETTLE, Step, plan},
    rotation::{CA_CERTIFICATE, LOOK_AHEAD, Pair, Reason, Renewal, SecretContents},
    snapshot::{Configuration, Lookup, Snapshot},
    state::ReplicaState,
    testing::{NOW, days},
    x509::{Authority, Fault, Fingerprint},
};

/// How far an API server may lag behind: less than [`SETTLE`].
const LAG: Duration = Duration::from_secs(5);
/// Time between two passes of a replica that is alive; events make them more frequent.
const SLOWEST_LOOK: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ca {
    number: u8,
    not_after: Timestamp,
}

impl Ca {
    fn facts(self) -> Authority {
        Authority { fingerprint: Fingerprint::numbered(self.number), not_after: self.not_after }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leaf {
    number: u8,
    by: Ca,
    not_after: Timestamp,
}

#[derive(Debug, Clone, Default)]
struct Secret {
    version: u32,
    ca: Option<Ca>,
    leaf: Option<Leaf>,
}

#[derive(Debug, Clone)]
struct Bundles {
    version: u32,
    entries: [Vec<Ca>; 2],
}

#[derive(Debug, Clone)]
enum Phase {
    Wait,
    HasSecret(Duration, Option<Secret>),
    Acts(Duration, Option<Secret>, Box<([Bundles; 2], Plan)>),
}

#[derive(Debug)]
struct Replica {
    skew: i64,
    memory: ReplicaState,
    candidate: Option<(Ca, Leaf)>,
    serving: Option<Leaf>,
    phase: Phase,
    looked: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Go(usize),
    Pass(u16),
    Restart(usize),
    BreakSecret,
    BreakServer,
    DeleteSecret,
    Clear(usize, usize),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        60 => (0..3_usize).prop_map(Action::Go),
        30 => (10..4000_u16).prop_map(Action::Pass),
        2 => (0..3_usize).prop_map(Action::Restart),
        1 => Just(Action::BreakSecret),
        1 => Just(Action::BreakServer),
        1 => Just(Action::DeleteSecret),
        1 => (0..2_usize, 0..2_usize).prop_map(|(a, b)| Action::Clear(a, b)),
    ];
    proptest::collection::vec(action, 0..300)
}

struct World {
    base: Instant,
    time: Duration,
    secret: Option<Secret>,
    bundles: [Bundles; 2],
    /// What was published since when.
    past: Vec<(Duration, Vec<Vec<Ca>>)>,
    replicas: Vec<Replica>,
    numbers: u8,
}

impl World {
    fn new(left: Duration, skews: [i64; 3]) -> Self {
        let ca = Ca { number: 1, not_after: NOW + left };
        let leaf = Leaf { number: 2, by: ca, not_after: NOW + left };
        let bundles = Bundles { version: 1, entries: [vec![ca], vec![ca]] };
        let replica = |skew| Replica {
            skew,
            memory: ReplicaState::default(),
            candidate: None,
            serving: None,
            phase: Phase::Wait,
            looked: Duration::ZERO,
        };
        let mut world = Self {
            base: SystemClock.instant(),
            time: Duration::ZERO,
            secret: Some(Secret { version: 1, ca: Some(ca), leaf: Some(leaf) }),
            bundles: [bundles.clone(), bundles],
            past: Vec::new(),
            replicas: skews.map(replica).into(),
            numbers: 10,
        };
        world.published();
        world
    }

    fn number(&mut self) -> u8 {
        self.numbers += 1;
        self.numbers
    }

    fn published(&mut self) {
        let entries = self.bundles.iter().flat_map(|it| it.entries.iter().cloned()).collect();
        self.past.push((self.time, entries));
    }

    fn wall(&self, replica: usize) -> Timestamp {
        NOW + self.time + jiff::SignedDuration::from_secs(self.replicas[replica].skew)
    }

    fn held(secret: &Secret, bundles: &[Bundles; 2], now: Timestamp) -> SecretContents {
        let soon = now + LOOK_AHEAD;
        let reason = || Reason { key: CA_CERTIFICATE, fault: Fault::Missing };
        let renewal = match (secret.ca, secret.leaf) {
            (None, _) => Renewal::Authority(reason()),
            (Some(ca), _) if ca.not_after < soon => Renewal::Authority(reason()),
            (Some(ca), Some(leaf)) if leaf.by == ca && leaf.not_after >= soon => Renewal::Nothing,
            (Some(_), _) => Renewal::Server(reason()),
        };
        let known = |ca: Ca| {
            secret.ca == Some(ca) || bundles.iter().any(|it| it.entries.iter().any(|it| it.contains(&ca)))
        };
        let leaf = secret.leaf.filter(|leaf| leaf.not_after >= now && known(leaf.by));
        SecretContents { renewal, authority: secret.ca.map(Ca::facts), pair: leaf.map(facts) }
    }

    /// One phase of a replica: read the Secret; read the configurations and plan; act.
    fn go(&mut self, replica: usize) {
        let phase = std::mem::replace(&mut self.replicas[replica].phase, Phase::Wait);
        match phase {
            Phase::Wait => {
                self.replicas[replica].phase = Phase::HasSecret(self.time, self.secret.clone());
            }
            Phase::HasSecret(at, secret) => self.plan(replica, at, secret),
            Phase::Acts(at, secret, seen) => self.act(replica, at, secret, &seen.0, &seen.1),
        }
    }

    fn plan(&mut self, replica: usize, at: Duration, secret: Option<Secret>) {
        // The configurations are read at this moment, the Secret was at another.
        let (now, instant) = (self.wall(replica), self.base + self.time);
        let seen = self.snapshot(secret.as_ref(), now);
        let known: Vec<Leaf> = secret.iter().filter_map(|it| it.leaf).collect();
        let own = &mut self.replicas[replica];
        own.memory.update(&seen, instant);
        let plan = plan(&seen, &own.memory, now, instant);
        if plan.drop_candidate {
            own.candidate = None;
            let dropped = own.memory.candidate.take();
            own.memory.abandoned.extend(dropped.map(|it| it.fingerprint));
        }
        if let Some((_, pair)) = plan.serve {
            own.serving = known.into_iter().find(|leaf| Fingerprint::numbered(leaf.number) == pair.leaf);
            own.memory.serving = Some(pair);
        }
        own.looked = self.time;
        own.phase = Phase::Acts(at, secret, Box::new((self.bundles.clone(), plan)));
    }

    fn snapshot(&self, secret: Option<&Secret>, now: Timestamp) -> Snapshot {
        let entry = |authorities: &Vec<Ca>| Entry {
            ours: true,
            authorities: authorities.iter().map(|it| it.facts()).collect(),
            foul: false,
        };
        let configuration = |bundles: &Bundles| Configuration {
            title: "webhooks".to_owned(),
            entries: Lookup::Found(bundles.entries.iter().map(entry).collect()),
        };
        Snapshot {
            secret: secret.map_or(Lookup::NotFound, |it| Lookup::Found(Self::held(it, &self.bundles, now))),
            configurations: self.bundles.iter().map(configuration).collect(),
            files: None,
        }
    }

    fn act(
        &mut self,
        replica: usize,
        at: Duration,
        secret: Option<Secret>,
        bundles: &[Bundles; 2],
        plan: &Plan,
    ) {
        let wall = self.wall(replica);
        match &plan.step {
            None => {}
            Some(Step::CreateSecret) => {
                let version = u32::from(self.number()) * 1000;
                self.secret.get_or_insert(Secret { version, ca: None, leaf: None });
            }
            Some(Step::MakeAuthority(_)) => {
                let ca = Ca { number: self.number(), not_after: wall + days(3650) };
                let leaf = Leaf { number: self.number(), by: ca, not_after: wall + days(365) };
                self.replicas[replica].candidate = Some((ca, leaf));
                self.replicas[replica].memory.candidate = Some(ca.facts());
            }
            Some(Step::StoreAuthority) if self.time.saturating_sub(at) > FRESH => {}
            Some(Step::StoreAuthority) => {
                let Some((ca, leaf)) = self.replicas[replica].candidate else { return };
                if self.store(secret, |it| (it.ca, it.leaf) = (Some(ca), Some(leaf))) {
                    self.replicas[replica].candidate = None;
                    self.replicas[replica].memory.candidate = None;
                }
            }
            Some(Step::RenewServer(_)) => {
                let number = self.number();
                let by = secret.as_ref().and_then(|it| it.ca);
                self.store(secret, |it| {
                    it.leaf = by.map(|by| Leaf { number, by, not_after: wall + days(365) });
                });
            }
            Some(Step::Publish(publication)) => {
                let candidate = self.replicas[replica].candidate.map(|(ca, _)| ca);
                let stored = secret.and_then(|it| it.ca);
                let known = |fingerprint: &Fingerprint| {
                    let published = bundles.iter().flat_map(|it| it.entries.iter().flatten()).copied();
                    let mut all = published.chain(stored).chain(candidate);
                    all.find(|ca| ca.facts().fingerprint == *fingerprint).expect("a CA that is known")
                };
                for (index, entries) in publication {
                    if self.bundles[*index].version != bundles[*index].version {
                        continue; // conflict
                    }
                    self.bundles[*index].version += 1;
                    for (position, want) in entries {
                        self.bundles[*index].entries[*position] = want.iter().map(known).collect();
                    }
                    self.published();
                }
            }
        }
    }

    fn store(&mut self, seen: Option<Secret>, change: impl FnOnce(&mut Secret)) -> bool {
        let (Some(have), Some(seen)) = (&mut self.secret, seen) else { return false };
        if have.version != seen.version {
            return false;
        }
        have.version += 1;
        change(have);
        true
    }

    /// Time passes in small steps; nobody alive sleeps through more than [`SLOWEST_LOOK`].
    fn pass(&mut self, time: Duration) {
        self.time += time;
        for replica in 0..self.replicas.len() {
            if self.time.saturating_sub(self.replicas[replica].looked) > SLOWEST_LOOK {
                while !matches!(self.replicas[replica].phase, Phase::Wait) {
                    self.go(replica);
                }
                self.go(replica);
                self.go(replica);
            }
        }
    }

    fn take(&mut self, action: Action) {
        match action {
            Action::Go(replica) => self.go(replica),
            Action::Pass(millis) => self.pass(Duration::from_millis(millis.into())),
            Action::Restart(replica) => {
                let old = &mut self.replicas[replica];
                (old.memory, old.candidate) = (ReplicaState::default(), None);
                (old.serving, old.phase) = (None, Phase::Wait);
            }
            Action::BreakSecret => self.edit(|it| *it = Secret { version: it.version, ..Secret::default() }),
            Action::BreakServer => self.edit(|it| it.leaf = None),
            Action::DeleteSecret => self.secret = None,
            Action::Clear(configuration, entry) => {
                // What nobody remembers cannot come back.
                let others = self.bundles.iter().enumerate().flat_map(|(index, bundles)| {
                    bundles.entries.iter().enumerate().map(move |(at, it)| ((index, at), it))
                });
                let lost: Vec<Ca> = self.bundles[configuration].entries[entry].clone();
                let mut others = others.filter(|(place, _)| *place != (configuration, entry));
                if others.any(|(_, it)| lost.iter().all(|ca| it.contains(ca))) {
                    self.bundles[configuration].entries[entry].clear();
                    self.bundles[configuration].version += 1;
                    self.published();
                }
            }
        }
    }

    fn edit(&mut self, change: impl FnOnce(&mut Secret)) {
        if let Some(secret) = &mut self.secret {
            secret.version += 1;
            change(secret);
        }
    }

    /// What was published at some time within the last [`LAG`].
    fn recent(&self) -> impl Iterator<Item = &Vec<Vec<Ca>>> {
        let from = self.time.saturating_sub(LAG);
        let first = self.past.iter().rposition(|(at, _)| *at <= from).unwrap_or(0);
        self.past[first..].iter().map(|(_, entries)| entries)
    }

    fn refused(&self) -> Option<String> {
        let now = NOW + self.time;
        for (index, replica) in self.replicas.iter().enumerate() {
            let Some(leaf) = replica.serving.filter(|leaf| now <= leaf.not_after) else { continue };
            for entries in self.recent() {
                let trusting = entries.iter().filter(|entry| !entry.is_empty());
                if let Some(entry) = trusting.clone().find(|entry| !entry.contains(&leaf.by)) {
                    return Some(format!("replica {index} serves {leaf:?}, a client trusts {entry:?}"));
                }
            }
        }
        None
    }

    /// All replicas run passes until all waits are over.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..300 {
            for replica in 0..self.replicas.len() {
                for _ in 0..3 {
                    self.go(replica);
                }
                prop_assert_eq!(self.refused(), None);
            }
            self.time += Duration::from_secs(11);
        }
        Ok(())
    }
}

fn facts(leaf: Leaf) -> Pair {
    Pair {
        leaf: Fingerprint::numbered(leaf.number),
        authority: Some(leaf.by.facts().fingerprint),
        not_after: leaf.not_after,
    }
}

fn lives() -> impl Strategy<Value = (Duration, [i64; 3])> {
    let skews = (-3600..3600_i64, -3600..3600_i64).prop_map(|(one, other)| [0, one, other]);
    prop_oneof![
        3 => (Just(days(89)), skews.clone()),
        1 => (Just(days(400)), skews),
        // Ends while it is being replaced.
        1 => (Just(Duration::from_secs(300)), Just([0; 3])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // scenario: manager-and-deployment 34
    #[test]
    fn client_that_trusts_what_is_published_is_never_refused(
        (left, skews) in lives(),
        actions in actions(),
    ) {
        let mut world = World::new(left, skews);
        for action in actions {
            world.take(action);
            prop_assert_eq!(world.refused(), None, "after {:?} at {:?}", action, world.time);
        }
        world.settle()?;
        let secret = world.secret.clone().expect("a Secret");
        let ca = secret.ca.expect("a CA in the Secret");
        let leaf = secret.leaf.expect("a certificate in the Secret");
        prop_assert!(ca.not_after > NOW + world.time + LOOK_AHEAD);
        for bundles in &world.bundles {
            for entry in &bundles.entries {
                prop_assert_eq!(entry, &vec![ca], "only the Secret's CA is left");
            }
        }
        let serving: BTreeSet<u8> = world.replicas.iter().filter_map(|it| Some(it.serving?.number)).collect();
        prop_assert_eq!(serving, BTreeSet::from([leaf.number]), "all serve what the Secret holds");
    }
}

/// The Secret is read, then nothing happens for long, and the configurations are read: what they hold may have come
/// a moment ago, and waits for it begin now.
#[test]
fn slow_look_shortens_no_wait() {
    let mut world = World::new(days(400), [0; 3]);
    let times = |count, action| std::iter::repeat_n(action, count);
    let slow_publisher = times(5, Action::Go(0)).chain([Action::Go(1), Action::DeleteSecret]);
    let candidate_in_one_configuration =
        times(9, Action::Go(0)).chain([Action::Clear(0, 0)]).chain(times(2, Action::Go(0)));
    let published = [Action::Pass(8000), Action::Go(1), Action::Pass(2000), Action::Go(1)];
    let slow_maker = published.into_iter().chain(times(5, Action::Go(0)));
    for action in slow_publisher.chain(candidate_in_one_configuration).chain(slow_maker) {
        world.take(action);
    }
    let secret = world.secret.clone().expect("a Secret");
    assert_eq!(secret.ca, None, "the candidate was published in all configurations this very moment");
    world.settle().expect("nobody is refused");
    assert_ne!(world.secret.and_then(|it| it.ca), None, "the candidate is stored in the end");
}

#[test]
fn waits_are_ordered_as_the_argument_needs_it() {
    let longest_request = Duration::from_secs(30);
    assert!(LAG < SETTLE);
    assert!(SETTLE + FRESH + longest_request < OVERLAP);
}
