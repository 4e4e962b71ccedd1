// SPDX-License-Identifier: Apache-2.0
//! Replicas, and a cluster that holds them, for the tests of this folder.

use jiff::Timestamp;
use proptest::prelude::*;

use super::replica::{Life, Replica, Revision};

/// So many cases, and no file of failures: a case that failed becomes a test. `PROPTEST_CASES` is how many there are
/// where 256 are asked for.
pub(super) fn cases(cases: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases * cases / 256, failure_persistence: None, ..config }
}

/// An active, ready, updated replica that was made `second` seconds after the epoch.
pub(super) fn replica(name: &str, second: i64) -> Replica {
    Replica {
        name: name.to_owned(),
        uid: format!("uid-of-{name}"),
        created: Some(Timestamp::from_second(second).unwrap()),
        life: Life::Active,
        ready: true,
        revision: Revision::Update,
        index: None,
        deletion_cost: 0,
        draining: false,
    }
}

/// Up to `most` replicas of any shape, with different names, all of one life.
pub(super) fn any_replicas(most: usize, life: Life) -> impl Strategy<Value = Vec<Replica>> {
    let one = (0_i64..4, any::<bool>(), 0_u8..3, prop::option::of(0_usize..4), -1_i64..2, any::<bool>());
    prop::collection::vec(one, 0..=most).prop_map(move |facts| {
        let build = |(number, (second, ready, revision, index, deletion_cost, draining))| Replica {
            ready,
            revision: [Revision::Update, Revision::Current, Revision::Other][usize::from(revision)],
            index,
            deletion_cost,
            draining,
            life,
            ..replica(&format!("r{number}"), second)
        };
        facts.into_iter().enumerate().map(build).collect()
    })
}

/// A cluster that does what a planner asks, and what clusters do of their own accord.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) replicas: Vec<Replica>,
    made: i64,
}

impl World {
    /// Names are made unique; a terminating or ended replica is not ready.
    pub(super) fn new(mut replicas: Vec<Replica>) -> Self {
        for (number, replica) in replicas.iter_mut().enumerate() {
            replica.name = format!("first-{number}");
            replica.draining = false;
            replica.ready &= replica.is_active();
        }
        Self { replicas, made: 100 }
    }

    /// Deletes: what has ended is gone at once, everything else terminates.
    pub(super) fn delete(&mut self, victims: &[&Replica]) {
        let is_victim = |replica: &Replica| victims.iter().any(|victim| victim.name == replica.name);
        self.replicas.retain(|replica| !(replica.life == Life::Ended && is_victim(replica)));
        for replica in self.replicas.iter_mut().filter(|replica| is_victim(replica)) {
            replica.life = Life::Terminating;
            replica.ready = false;
        }
    }

    /// Creates replicas that are not ready yet.
    pub(super) fn create(&mut self, count: usize, revision: Revision) {
        for _ in 0..count {
            self.create_at(revision, None);
        }
    }

    /// Creates one replica with an index.
    pub(super) fn create_at(&mut self, revision: Revision, index: Option<usize>) {
        self.made += 1;
        let name = format!("made-{}", self.made);
        self.replicas.push(Replica { ready: false, revision, index, ..replica(&name, self.made) });
    }

    /// One thing that happens by itself: a replica becomes ready or stops being so, is gone or ends.
    pub(super) fn happen(&mut self, event: u8) {
        if self.replicas.is_empty() {
            return;
        }
        let at = usize::from(event / 8) % self.replicas.len();
        match (event % 8, self.replicas[at].life) {
            (0..=3, Life::Active) => self.replicas[at].ready = true,
            (4, Life::Active) => self.replicas[at].ready = false,
            (5, Life::Active) => (self.replicas[at].life, self.replicas[at].ready) = (Life::Ended, false),
            (0..=5, Life::Terminating) => drop(self.replicas.remove(at)),
            _ => {}
        }
    }

    /// Everything that is under way comes to its end.
    pub(super) fn settle(&mut self) {
        self.replicas.retain(|replica| replica.life != Life::Terminating);
        for replica in self.replicas.iter_mut().filter(|replica| replica.is_active()) {
            replica.ready = true;
        }
    }
}
