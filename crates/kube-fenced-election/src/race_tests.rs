// SPDX-License-Identifier: Apache-2.0
//! Random faults against whole replicas: never two valid fences for one Lease.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use crate::testkit::lease_store::{Fault, LeaseStore};

use super::harness_tests::{Replica, pass, settings};

const KV: &str = "kv-cache-controller";

#[derive(Debug, Clone)]
enum Disturbance {
    Requests(usize, Fault),
    Heal(usize),
    StallWatches(usize, bool),
    BreakWatches(usize),
    /// Its controller could work, or not.
    Fit(usize, bool),
    Kill(usize),
    Stop(usize),
    Delete,
    Garbage(u8),
    Label,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        (0_u64..6000).prop_map(|ms| Fault::Slow(Duration::from_millis(ms))),
        Just(Fault::Hang),
        Just(Fault::Lost),
        Just(Fault::Unanswered),
        Just(Fault::Refused(503)),
        Just(Fault::Refused(409)),
    ]
}

fn disturbance() -> impl Strategy<Value = Disturbance> {
    let replica = 0_usize..3;
    prop_oneof![
        4 => (replica.clone(), fault()).prop_map(|(which, fault)| Disturbance::Requests(which, fault)),
        4 => replica.clone().prop_map(Disturbance::Heal),
        2 => (replica.clone(), any::<bool>()).prop_map(|(which, stalled)| Disturbance::StallWatches(which, stalled)),
        1 => replica.clone().prop_map(Disturbance::BreakWatches),
        2 => (replica.clone(), any::<bool>()).prop_map(|(which, eligible)| Disturbance::Fit(which, eligible)),
        1 => replica.clone().prop_map(Disturbance::Kill),
        1 => replica.prop_map(Disturbance::Stop),
        1 => Just(Disturbance::Delete),
        1 => (0_u8..4).prop_map(Disturbance::Garbage),
        1 => Just(Disturbance::Label),
    ]
}

async fn play(disturbances: Vec<(u64, Disturbance)>) -> Result<(), TestCaseError> {
    let store = LeaseStore::new();
    let mut born = 0;
    let mut new = |store: &LeaseStore| {
        born += 1;
        Replica::start(store, settings(&format!("r{born}")), &[(KV, "kv")])
    };
    let mut replicas: Vec<Replica> = (0..3).map(|_| new(&store)).collect();
    pass(3.0).await;
    let mut happened = Vec::new();
    for (wait, disturbance) in disturbances {
        for _ in 0..wait {
            pass(0.05).await;
            let leaders = replicas.iter().filter(|replica| replica.leads(KV)).count();
            prop_assert!(leaders <= 1, "{leaders} leaders after {happened:?}");
        }
        if matches!(disturbance, Disturbance::Kill(_) | Disturbance::Stop(_)) {
            // A candidate that is born while a Lease that others hold is gone cannot know of them.
            for _ in 0..2000 {
                if !store.holder("kv").is_empty() {
                    break;
                }
                pass(0.02).await;
            }
        }
        match disturbance.clone() {
            Disturbance::Requests(which, fault) => replicas[which].link.requests(fault),
            Disturbance::Heal(which) => {
                replicas[which].link.requests(Fault::None);
                replicas[which].link.stall_watches(false);
            }
            Disturbance::StallWatches(which, stalled) => replicas[which].link.stall_watches(stalled),
            Disturbance::BreakWatches(which) => replicas[which].link.break_watches(),
            Disturbance::Fit(which, eligible) => replicas[which].candidacies[KV].set_eligible(eligible),
            Disturbance::Kill(which) => {
                let fresh = new(&store);
                std::mem::replace(&mut replicas[which], fresh).kill();
            }
            Disturbance::Stop(which) => {
                replicas[which].link.requests(Fault::None);
                let fresh = new(&store);
                std::mem::replace(&mut replicas[which], fresh).stop().await;
            }
            Disturbance::Delete if replicas.iter().all(|replica| replica.status().holder.is_some()) => {
                store.delete("kv");
            }
            Disturbance::Delete => {}
            Disturbance::Garbage(0) => {
                store.edit("kv", &json!({ "spec": { "leaseDurationSeconds": i32::MAX } }));
            }
            Disturbance::Garbage(1) => {
                store.edit("kv", &json!({ "spec": { "leaseTransitions": null } }));
            }
            Disturbance::Garbage(2) => {
                store.edit("kv", &json!({ "spec": { "renewTime": null, "acquireTime": null } }));
            }
            Disturbance::Garbage(_) => {
                store.edit("kv", &json!({ "spec": { "renewTime": "1999-01-01T00:00:00.000000Z" } }));
            }
            Disturbance::Label => {
                store.edit("kv", &json!({ "metadata": { "labels": { "touched": wait.to_string() } } }));
            }
        }
        happened.push((wait, disturbance));
    }
    for replica in &replicas {
        replica.link.requests(Fault::None);
        replica.link.stall_watches(false);
    }
    let mut recovered = false;
    for tick in 0..1000 {
        pass(0.05).await;
        let leaders = replicas.iter().filter(|replica| replica.leads(KV)).count();
        prop_assert!(leaders <= 1, "{leaders} leaders after {happened:?}");
        recovered |= leaders == 1;
        if recovered && tick > 200 {
            break;
        }
    }
    prop_assert!(recovered, "nobody leads 50 s after {happened:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 16, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_fences_are_open_at_once_whatever_happens(
        disturbances in prop::collection::vec((0_u64..160, disturbance()), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(play(disturbances))?;
    }
}
