// SPDX-License-Identifier: Apache-2.0
//! What will be done to the managers: drawn from a seed before anything starts, so that a seed names a plan.

use std::{fmt, ops::RangeInclusive, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// SIGKILL, and a new process after a while.
    Killed,
    /// SIGTERM, and a new process when it has ended: a rolling update.
    Terminated,
    /// SIGSTOP for a while.
    Frozen,
    /// Connections to the API server end and new ones are refused, for a while.
    Cut,
    /// Connections stay open and nothing comes back.
    HalfOpen,
    /// Each connection is reset, for a while.
    Reset,
    /// Each answer comes 2 s later, for a while.
    Slow,
    /// 1 kB/s, for a while.
    Throttled,
    /// The API server is killed, and started again after a while.
    ApiServer,
    /// A Lease is deleted.
    Deleted,
    /// A Lease loses its whole spec.
    Emptied,
    /// A Lease's numbers and times are nonsense.
    Garbage,
    /// A Lease is said to last for 68 years.
    HugeDuration,
    /// A Lease was renewed in the year 2199.
    FutureRenewal,
    /// Somebody else writes himself into a Lease and never renews it.
    Stolen,
}

/// What a kind of fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hits {
    /// One replica.
    Replica,
    /// The API server.
    ApiServer,
    /// One Lease.
    Lease,
}

/// One fault of the plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// What happens.
    pub(crate) kind: Kind,
    /// For how long.
    pub(crate) lasts: Duration,
    /// Which of the Leases it is about: one that hits a replica hits the holder of this Lease.
    pub(crate) lease: usize,
}

/// One or two faults at a time, and the rest that follows.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    /// The faults that begin together.
    pub(crate) faults: Vec<Fault>,
    /// How long everything is left in peace afterwards.
    pub(crate) rest: Duration,
}

/// All kinds with their weights: kills, freezes and restarts are what happens most.
const WEIGHTS: [(Kind, u32); 15] = [
    (Kind::Killed, 4),
    (Kind::Terminated, 4),
    (Kind::Frozen, 4),
    (Kind::Cut, 2),
    (Kind::HalfOpen, 2),
    (Kind::Reset, 2),
    (Kind::Slow, 2),
    (Kind::Throttled, 2),
    (Kind::ApiServer, 2),
    (Kind::Deleted, 2),
    (Kind::Emptied, 2),
    (Kind::Garbage, 2),
    (Kind::HugeDuration, 2),
    (Kind::FutureRenewal, 2),
    (Kind::Stolen, 2),
];

impl Kind {
    /// What it hits.
    pub(crate) fn hits(self) -> Hits {
        match self {
            Self::Killed
            | Self::Terminated
            | Self::Frozen
            | Self::Cut
            | Self::HalfOpen
            | Self::Reset
            | Self::Slow
            | Self::Throttled => Hits::Replica,
            Self::ApiServer => Hits::ApiServer,
            Self::Deleted
            | Self::Emptied
            | Self::Garbage
            | Self::HugeDuration
            | Self::FutureRenewal
            | Self::Stolen => Hits::Lease,
        }
    }

    /// Seconds that it lasts; zero for what is done at once.
    fn seconds(self, random: &mut StdRng) -> RangeInclusive<u64> {
        match self {
            Self::Killed => 0..=4,
            // Both sides of the lease duration.
            Self::Frozen if random.random_bool(0.5) => 1..=14,
            Self::Frozen => 14..=40,
            Self::Cut | Self::HalfOpen | Self::Slow | Self::Throttled => 5..=22,
            Self::Reset => 2..=18,
            Self::ApiServer => 0..=18,
            Self::Terminated
            | Self::Deleted
            | Self::Emptied
            | Self::Garbage
            | Self::HugeDuration
            | Self::FutureRenewal
            | Self::Stolen => 0..=0,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "SIGKILL, restarted",
            Self::Terminated => "SIGTERM, restarted",
            Self::Frozen => "SIGSTOP 1-40 s",
            Self::Cut => "connections cut",
            Self::HalfOpen => "connections half-open",
            Self::Reset => "connections reset",
            Self::Slow => "2 s latency",
            Self::Throttled => "1 kB/s",
            Self::ApiServer => "API server restarted",
            Self::Deleted => "Lease deleted",
            Self::Emptied => "Lease emptied",
            Self::Garbage => "Lease garbage",
            Self::HugeDuration => "Lease huge duration",
            Self::FutureRenewal => "Lease future renewTime",
            Self::Stolen => "Lease stolen",
        })
    }
}

impl Fault {
    fn draw(random: &mut StdRng, leases: usize) -> Self {
        let (kind, _) = WEIGHTS.choose_weighted(random, |it| it.1).expect("some weight is not zero");
        let seconds = kind.seconds(random);
        let lasts = Duration::from_secs(random.random_range(seconds));
        Self { kind: *kind, lasts, lease: random.random_range(0..leases) }
    }

    /// Whether it can begin together with `other`: two need two victims, and no Lease is edited while the API
    /// server is down.
    fn goes_with(&self, other: &Self) -> bool {
        match (self.kind.hits(), other.kind.hits()) {
            (Hits::Replica, Hits::Replica | Hits::Lease | Hits::ApiServer)
            | (Hits::Lease | Hits::ApiServer, Hits::Replica) => true,
            (Hits::Lease, Hits::Lease) => self.lease != other.lease,
            (Hits::ApiServer, _) | (_, Hits::ApiServer) => false,
        }
    }
}

/// `faults` faults on replicas that stand for `leases` Leases, in rounds: two of five rounds have two.
pub(crate) fn draw(seed: u64, faults: usize, leases: usize) -> Vec<Round> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rounds = Vec::new();
    let mut left = faults;
    while left > 0 {
        let first = Fault::draw(&mut random, leases);
        let mut together = vec![first];
        if left > 1 && random.random_bool(0.4) {
            let second = Fault::draw(&mut random, leases);
            together.extend(second.goes_with(&first).then_some(second));
        }
        left -= together.len();
        let rest = Duration::from_millis(random.random_range(500..4000));
        rounds.push(Round { faults: together, rest });
    }
    rounds
}
