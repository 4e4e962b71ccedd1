// SPDX-License-Identifier: Apache-2.0
//! What will be done to the managers: drawn from a seed before anything starts, so that a seed names a plan.

use std::{fmt, ops::RangeInclusive, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// The lease duration for which the lengths in here are meant; another one stretches them.
const USUAL_LEASE: Duration = Duration::from_secs(15);

/// Watches that failed have looked again this long after they could.
const WATCHES: Duration = Duration::from_secs(5);

/// For so long a controller that gave its Lease away does not try to get it back.
const STAND_BACK: Duration = Duration::from_mins(1);

/// For so much of its lease duration an older manager does not renew at most, and still has its Lease.
const LONGEST_PAUSE: f64 = 2.0 / 3.0;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// SIGKILL, and a new process after a while.
    Killed,
    /// SIGTERM, and a new process when it has ended: a rolling update.
    Terminated,
    /// SIGSTOP for a while.
    Frozen,
    /// The controller of a Lease panics.
    Panicked,
    /// Connections to the API server end and new ones are refused, for a while.
    Cut,
    /// Connections stay open and nothing comes back.
    HalfOpen,
    /// Its cable is pulled: what is under way stays in the kernel's hands, and is sent again afterwards.
    Unplugged,
    /// Each connection is reset, for a while.
    Reset,
    /// Each answer comes 2 s later, for a while.
    Slow,
    /// 1 kB/s, for a while.
    Throttled,
    /// What watches of children deliver is held back, for a while.
    LaggingWatch,
    /// Watches and reads hang while Leases pass, until the controllers have given way.
    DeadWatches,
    /// The next renewal of each Lease is lost; what is tried again passes.
    RenewalLost,
    /// The wall clock jumps an hour ahead, and back after a while.
    ClockAhead,
    /// The wall clock jumps an hour back, and ahead again after a while.
    ClockBehind,
    /// The API server is killed, and started again at once or after a while.
    ApiRestarted,
    /// The API server is killed, and started again after a minute.
    ApiDown,
    /// etcd is frozen for a while: the API server answers no write.
    EtcdPaused,
    /// The manager may not touch Leases any more, for a while.
    Forbidden,
    /// A Lease is deleted.
    Deleted,
    /// A Lease gets the labels that tools stamp on everything.
    Stamped,
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
    /// Somebody writes an older manager into the Lease of such, over our group; it renews it for a while.
    OlderWrittenIn,
    /// Our group's renewals of the older managers' Lease are refused until an older manager wins it.
    OlderWins,
}

/// What a kind of fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hits {
    /// One replica: the holder of the Lease.
    Replica,
    /// The replica behind a proxy that knows HTTP, whatever it holds.
    Proxied,
    /// All replicas: the API server, or what it needs.
    All,
    /// One Lease.
    Lease,
    /// All controllers: an older manager gets the Lease of such, and ours must stop.
    Older,
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
    /// For how long an older manager that has its Lease does not renew it.
    pub(crate) pause: Duration,
    /// Whether an older manager releases its Lease in the end; `false`: it stops without a word.
    pub(crate) releases: bool,
}

/// One or two faults at a time, and the rest that follows.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    /// The faults that begin together.
    pub(crate) faults: Vec<Fault>,
    /// How long everything is left in peace afterwards.
    pub(crate) rest: Duration,
}

/// All kinds with their weights: kills, freezes and restarts are what happens most. Giving way takes more
/// than a minute whatever the lease duration is, so it is rare.
const WEIGHTS: [(Kind, u32); 28] = [
    (Kind::Killed, 8),
    (Kind::Terminated, 8),
    (Kind::Frozen, 10),
    (Kind::Panicked, 4),
    (Kind::Cut, 4),
    (Kind::HalfOpen, 4),
    (Kind::Unplugged, 5),
    (Kind::Reset, 4),
    (Kind::Slow, 4),
    (Kind::Throttled, 4),
    (Kind::LaggingWatch, 5),
    (Kind::DeadWatches, 1),
    (Kind::RenewalLost, 4),
    (Kind::ClockAhead, 3),
    (Kind::ClockBehind, 3),
    (Kind::ApiRestarted, 3),
    (Kind::ApiDown, 1),
    (Kind::EtcdPaused, 3),
    (Kind::Forbidden, 2),
    (Kind::Deleted, 4),
    (Kind::Emptied, 4),
    (Kind::Stamped, 4),
    (Kind::Garbage, 4),
    (Kind::HugeDuration, 4),
    (Kind::FutureRenewal, 4),
    (Kind::Stolen, 4),
    (Kind::OlderWrittenIn, 5),
    (Kind::OlderWins, 3),
];

impl Kind {
    /// What it hits.
    pub(crate) fn hits(self) -> Hits {
        match self {
            Self::Killed
            | Self::Terminated
            | Self::Frozen
            | Self::Panicked
            | Self::Cut
            | Self::HalfOpen
            | Self::Unplugged
            | Self::Reset
            | Self::Slow
            | Self::Throttled
            | Self::ClockAhead
            | Self::ClockBehind => Hits::Replica,
            Self::LaggingWatch | Self::DeadWatches | Self::RenewalLost => Hits::Proxied,
            Self::ApiRestarted | Self::ApiDown | Self::EtcdPaused | Self::Forbidden => Hits::All,
            Self::Deleted
            | Self::Emptied
            | Self::Stamped
            | Self::Garbage
            | Self::HugeDuration
            | Self::FutureRenewal
            | Self::Stolen => Hits::Lease,
            Self::OlderWrittenIn | Self::OlderWins => Hits::Older,
        }
    }

    /// Whether watches have failed when it is over, and look again only after a while.
    pub(crate) fn breaks_watches(self) -> bool {
        self == Self::Cut
            || self == Self::HalfOpen
            || self == Self::Unplugged
            || self == Self::Reset
            || self == Self::Slow
            || self == Self::Throttled
            || matches!(self.hits(), Hits::Proxied | Hits::All)
    }

    /// Whether some replica does not see what is written meanwhile.
    fn blinds(self) -> bool {
        self.breaks_watches() || matches!(self, Self::Frozen | Self::Killed | Self::Terminated)
    }

    /// Whether it needs a wall clock that can be moved.
    fn needs_faketime(self) -> bool {
        matches!(self, Self::ClockAhead | Self::ClockBehind)
    }

    /// Seconds that it lasts with the usual lease duration; zero for what is done at once.
    fn seconds(self, random: &mut StdRng) -> RangeInclusive<u64> {
        match self {
            Self::Killed => 0..=4,
            // Both sides of the lease duration.
            Self::Frozen if random.random_bool(0.5) => 1..=14,
            Self::Frozen => 14..=40,
            Self::Cut
            | Self::HalfOpen
            | Self::Slow
            | Self::Throttled
            | Self::LaggingWatch
            | Self::RenewalLost
            | Self::ClockAhead
            | Self::ClockBehind => 5..=22,
            // Both sides of the lease duration, and of the time for which the kernel tries again.
            Self::Unplugged => 3..=30,
            Self::Reset => 2..=18,
            Self::ApiRestarted => 0..=12,
            Self::ApiDown => 60..=60,
            // An older manager stays on both sides of the lease duration.
            Self::EtcdPaused | Self::OlderWrittenIn | Self::OlderWins => 1..=25,
            Self::Forbidden => 2..=25,
            // Not stretched: see `lasts`.
            Self::DeadWatches => 66..=80,
            Self::Panicked
            | Self::Terminated
            | Self::Deleted
            | Self::Emptied
            | Self::Stamped
            | Self::Garbage
            | Self::HugeDuration
            | Self::FutureRenewal
            | Self::Stolen => 0..=0,
        }
    }

    fn lasts(self, random: &mut StdRng, lease: Duration) -> Duration {
        let seconds = self.seconds(random);
        let usual = Duration::from_secs(random.random_range(seconds));
        // A controller gives way after a minute, whatever its Lease's duration is.
        if self == Self::DeadWatches { usual } else { usual.mul_f64(lease.div_duration_f64(USUAL_LEASE)) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "SIGKILL, restarted",
            Self::Terminated => "SIGTERM, restarted",
            Self::Frozen => "SIGSTOP, SIGCONT",
            Self::Panicked => "controller panics",
            Self::Cut => "connections cut",
            Self::HalfOpen => "connections half-open",
            Self::Unplugged => "cable pulled",
            Self::Reset => "connections reset",
            Self::Slow => "2 s latency",
            Self::Throttled => "1 kB/s",
            Self::LaggingWatch => "watch of children held back",
            Self::DeadWatches => "watches dead, Leases pass",
            Self::RenewalLost => "one renewal of each Lease lost",
            Self::ClockAhead => "wall clock +1 h",
            Self::ClockBehind => "wall clock -1 h",
            Self::ApiRestarted => "API server restarted",
            Self::ApiDown => "API server down, four leases long",
            Self::EtcdPaused => "etcd paused",
            Self::Forbidden => "Leases forbidden",
            Self::Deleted => "Lease deleted",
            Self::Emptied => "Lease emptied",
            Self::Stamped => "Lease stamped with labels",
            Self::Garbage => "Lease garbage",
            Self::HugeDuration => "Lease huge duration",
            Self::FutureRenewal => "Lease future renewTime",
            Self::Stolen => "Lease taken by a stranger",
            Self::OlderWrittenIn => "older manager written into its Lease",
            Self::OlderWins => "older manager wins its Lease",
        })
    }
}

impl Fault {
    fn draw(random: &mut StdRng, scope: &Scope) -> Self {
        let kinds: Vec<_> =
            WEIGHTS.iter().filter(|(kind, _)| scope.faketime || !kind.needs_faketime()).collect();
        let (kind, _) = kinds.choose_weighted(random, |it| it.1).expect("some weight is not zero");
        Self::of(*kind, random, scope)
    }

    fn of(kind: Kind, random: &mut StdRng, scope: &Scope) -> Self {
        let lasts = kind.lasts(random, scope.lease);
        // Only a probe loop can be told to panic; they are the last in the list.
        let first = if kind == Kind::Panicked { scope.built } else { 0 };
        let lease = random.random_range(first..scope.leases);
        let pause = scope.lease.mul_f64(random.random_range(0.0..=LONGEST_PAUSE));
        Self { kind, lasts, lease, pause, releases: random.random_bool(0.5) }
    }

    /// Whether it can begin together with `other`: two need two victims, and no Lease is edited while there
    /// is nobody to edit it.
    fn goes_with(&self, other: &Self) -> bool {
        match (self.kind.hits(), other.kind.hits()) {
            (Hits::Lease, Hits::Lease) => self.lease != other.lease,
            (Hits::All | Hits::Older, Hits::All | Hits::Lease | Hits::Older)
            | (Hits::Lease, Hits::All | Hits::Older)
            | (Hits::Proxied, Hits::Proxied) => false,
            // A panic is ordered by an edit, and needs a controller that runs.
            (Hits::All | Hits::Older, _) => other.kind != Kind::Panicked,
            (_, Hits::All | Hits::Older) => self.kind != Kind::Panicked,
            (Hits::Replica | Hits::Proxied | Hits::Lease, Hits::Replica | Hits::Proxied | Hits::Lease) => {
                true
            }
        }
    }
}

/// What faults can be drawn from.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// How many Leases there are.
    pub(crate) leases: usize,
    /// How many of them, the first, are those of controllers that are no probe loops.
    pub(crate) built: usize,
    /// How long one lasts.
    pub(crate) lease: Duration,
    /// Whether wall clocks can be moved.
    pub(crate) faketime: bool,
    /// What happens together in each round; empty: what is drawn.
    pub(crate) only: Vec<Kind>,
}

/// The kinds that `text` names, as the report does and with ` + ` between them.
///
/// # Errors
/// A name that is none, with those that are.
pub(crate) fn kinds(text: &str) -> Result<Vec<Kind>, String> {
    let known = || WEIGHTS.iter().map(|it| it.0);
    let named = |name: &str| known().find(|it| it.to_string() == name);
    let unknown = |name: &str| {
        let all: Vec<_> = known().map(|it| it.to_string()).collect();
        format!("no kind of fault is called {name:?}; there are: {}", all.join("; "))
    };
    text.split(" + ").map(|name| named(name.trim()).ok_or_else(|| unknown(name))).collect()
}

/// `faults` faults, in rounds: about two of five rounds have two.
pub(crate) fn draw(seed: u64, faults: usize, scope: &Scope) -> Vec<Round> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rounds = Vec::new();
    let mut left = faults;
    while left > 0 {
        let mut together: Vec<Fault> =
            scope.only.iter().map(|kind| Fault::of(*kind, &mut random, scope)).collect();
        if together.is_empty() {
            let first = Fault::draw(&mut random, scope);
            together.push(first);
            if left > 1 && random.random_bool(0.45) {
                let second = Fault::draw(&mut random, scope);
                together.extend(second.goes_with(&first).then_some(second));
            }
        }
        left = left.saturating_sub(together.len());
        let mut rest = Duration::from_millis(random.random_range(500..4000));
        // A replica is healthy, as the bound for times without a leader has it, when its watches work and
        // none of its controllers stands back.
        if together.iter().any(|it| it.kind.breaks_watches()) {
            rest += WATCHES;
        }
        // Whoever did not see a renewal counts from the moment at which he sees the Lease, as the rule of
        // observation has it: the next fault waits for the next renewal.
        if together.iter().any(|it| it.kind.blinds()) {
            rest += scope.lease / 3;
        }
        if together.iter().any(|it| it.kind == Kind::DeadWatches) {
            rest += STAND_BACK;
        }
        rounds.push(Round { faults: together, rest });
    }
    rounds
}

#[test]
fn every_kind_can_be_named() {
    for (kind, _) in WEIGHTS {
        assert_eq!(kinds(&kind.to_string()), Ok(vec![kind]));
    }
    let both = kinds("wall clock +1 h + older manager wins its Lease");
    assert_eq!(both, Ok(vec![Kind::ClockAhead, Kind::OlderWins]));
    assert!(kinds("wall clock").is_err_and(|it| it.contains("wall clock +1 h; wall clock -1 h")));
}
