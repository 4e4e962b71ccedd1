// SPDX-License-Identifier: Apache-2.0
//! What the arithmetic of rollouts knows of one replica, whatever its kind: a pod, a group of pods, a set of
//! roles, a Ray cluster.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The facts of one replica, taken from the object at the beginning of a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Name of the object. It ends every order, so that no choice depends on the order of a list.
    pub name: String,
    /// Uid of the object, for the precondition of a deletion.
    pub uid: String,
    /// Creation time. `None` (never for a stored object) counts as the newest.
    pub created: Option<Timestamp>,
    /// How far its life has come.
    pub life: Life,
    /// Whether it serves: active, ready by its status and, where the kind has a drain, not draining.
    pub ready: bool,
    /// Which template it was made from.
    pub revision: Revision,
    /// Its index among its siblings, where the kind has one and the object bears a usable one.
    pub index: Option<usize>,
    /// Deletion cost: the higher, the longer it stays. 0 where nobody gave one.
    pub deletion_cost: i64,
    /// Whether our own drain before a deletion has begun on it. It then comes first in the orders of roles,
    /// so that the choice does not wander from pass to pass.
    pub draining: bool,
}

/// How far the life of a replica has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It serves or may serve one day.
    Active,
    /// It is being deleted, and holds its place until it is gone.
    Terminating,
    /// It has ended without being deleted: a pod that failed, succeeded or was evicted. It never serves
    /// again.
    Ended,
}

/// Which template a replica was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revision {
    /// The wanted one: the replica is *updated*.
    Update,
    /// The one that was in force before the rollout.
    Current,
    /// A third one, or an unknown one.
    Other,
}

impl Replica {
    /// Whether it counts: neither terminating nor ended.
    pub fn is_active(&self) -> bool {
        self.life == Life::Active
    }

    /// Whether it was made from the wanted template.
    pub fn is_updated(&self) -> bool {
        self.revision == Revision::Update
    }
}

/// The life of a pod: *ended* in phase `Failed` or `Succeeded`, *terminating* with a deletion timestamp
/// (whatever the phase), else *active*. An absent phase is that of a pod nobody has looked at yet.
pub fn life_of_pod(meta: &ObjectMeta, phase: Option<&str>) -> Life {
    if meta.deletion_timestamp.is_some() {
        Life::Terminating
    } else if matches!(phase, Some("Failed" | "Succeeded")) {
        Life::Ended
    } else {
        Life::Active
    }
}

/// The life of an object that has no end of its own, such as a set of pods: terminating with a deletion
/// timestamp, else active.
pub fn life_of_object(meta: &ObjectMeta) -> Life {
    if meta.deletion_timestamp.is_some() { Life::Terminating } else { Life::Active }
}

/// How many replicas of each sort there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Neither terminating nor ended.
    pub active: usize,
    /// Being deleted.
    pub terminating: usize,
    /// Ended without being deleted.
    pub ended: usize,
    /// Active and ready.
    pub ready: usize,
    /// Active and from the wanted template.
    pub updated: usize,
    /// Active, ready and from the wanted template.
    pub updated_ready: usize,
}

impl Counts {
    /// Counts a list of replicas.
    pub fn of(replicas: &[Replica]) -> Self {
        let mut counts = Self::default();
        for replica in replicas {
            match replica.life {
                Life::Terminating => counts.terminating += 1,
                Life::Ended => counts.ended += 1,
                Life::Active => {
                    counts.active += 1;
                    counts.ready += usize::from(replica.ready);
                    counts.updated += usize::from(replica.is_updated());
                    counts.updated_ready += usize::from(replica.ready && replica.is_updated());
                }
            }
        }
        counts
    }

    /// Active ones from another template than the wanted one.
    pub const fn outdated(self) -> usize {
        self.active - self.updated
    }

    /// Active and terminating ones: what holds resources. Ended ones hold none.
    pub const fn live(self) -> usize {
        self.active + self.terminating
    }
}
