// SPDX-License-Identifier: Apache-2.0

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::{
    replica::{Counts, Life, Replica, Revision, life_of_object, life_of_pod},
    replica_cases::replica,
};

#[test]
fn life_of_a_pod_follows_from_deletion_and_phase() {
    let kept = ObjectMeta::default();
    let deleted = ObjectMeta {
        deletion_timestamp: Some(Time("2026-01-01T00:00:00Z".parse().unwrap())),
        ..ObjectMeta::default()
    };
    let table = [
        (None, Life::Active),
        (Some("Pending"), Life::Active),
        (Some("Running"), Life::Active),
        (Some("Unknown"), Life::Active),
        (Some("Failed"), Life::Ended),
        (Some("Succeeded"), Life::Ended),
    ];
    for (phase, life) in table {
        assert_eq!(life_of_pod(&kept, phase), life, "{phase:?}");
        assert_eq!(life_of_pod(&deleted, phase), Life::Terminating, "{phase:?}");
    }
    assert_eq!((life_of_object(&kept), life_of_object(&deleted)), (Life::Active, Life::Terminating));
}

#[test]
fn only_active_replicas_are_ready_or_updated() {
    let old = Replica { revision: Revision::Current, ..replica("old", 1) };
    let replicas = [
        replica("a", 1),
        Replica { ready: false, ..replica("b", 1) },
        old,
        Replica { life: Life::Terminating, ..replica("c", 1) },
        Replica { life: Life::Ended, ..replica("d", 1) },
    ];
    let counts = Counts::of(&replicas);
    let expected = Counts { active: 3, terminating: 1, ended: 1, ready: 2, updated: 2, updated_ready: 1 };
    assert_eq!((counts, counts.outdated(), counts.live()), (expected, 1, 4));
}
