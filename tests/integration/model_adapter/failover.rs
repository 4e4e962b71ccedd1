// SPDX-License-Identifier: Apache-2.0
//! Change of leader: nothing is loaded twice, moved or unloaded, and nobody loads without the Lease.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use aibrix_controller_manager::testkit::fake_engine::{Effect, Entry};
use serde_json::Value;

use crate::support::{
    ControlPlane,
    audit::{AuditLog, Caller},
    engines::{Asked, asked_without_lease},
    eventually,
    holders::wait_all_held,
    install::NAMESPACE,
    leases::{history_of, who_wrote_without_lease},
    manager::Manager,
};

use super::{
    scene::{Call, Scene, instances, phase},
    world::{ALONE, LEASE, NEXT_LOOK, SOON, plane},
};

/// Bound for a take-over after a death.
const TAKE_OVER: Duration = Duration::from_secs(45);

/// Who of our processes asked an engine.
fn caller(entry: &Entry) -> Caller {
    let agent = entry.header("user-agent");
    Caller::parse(agent).unwrap_or_else(|| panic!("an engine was asked by {agent:?}"))
}

/// Loads and unloads that were asked for by a process that did not hold the Lease; how many were judged.
fn without_lease(journal: &[Entry], audit: &mut AuditLog) -> (Vec<String>, usize) {
    let asked = Asked::all(journal);
    let bad = asked_without_lease(&asked, &history_of(audit.entries(), NAMESPACE, LEASE));
    (bad.into_iter().map(|it| format!("{it:?}")).collect(), asked.len())
}

/// What engines did, by pod.
fn effects(scene: &Scene, pods: &[IpAddr]) -> BTreeMap<IpAddr, Vec<Effect>> {
    let of =
        |pod: &IpAddr| scene.engines.journal.of(*pod).into_iter().filter_map(|entry| entry.effect).collect();
    pods.iter().map(|pod| (*pod, of(pod))).collect()
}

async fn leading(plane: &ControlPlane, within: Duration, manager: &Manager) {
    wait_all_held(&plane.client().await, NAMESPACE, within, &[LEASE], &[manager]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_that_is_killed_leaves_everything_as_it_is() {
    let plane = plane().await;
    let first = Manager::start(&plane, &ALONE).await;
    leading(&plane, SOON, &first).await;
    let second = Manager::start(&plane, &ALONE).await;
    second.wait_ready().await;
    let scene = Scene::new(&plane, "killed").await;
    let pods = scene.pods(["web-0", "web-1", "web-2", "web-3"]).await;
    let mut adapters: Vec<Value> = (0..12).map(|n| scene.single(&format!("one-{n}"))).collect();
    adapters.extend((0..3).map(|n| scene.adapter(&format!("all-{n}"))));
    for it in &adapters {
        scene.create(it).await;
    }
    let mut before = Vec::new();
    for it in &adapters {
        let seen = scene.until(it, SOON, "it runs", |seen| phase(seen) == "Running").await;
        before.push(instances(&seen));
    }
    let done = effects(&scene, &pods);
    assert_eq!(done.values().map(Vec::len).sum::<usize>(), 12 + 3 * 4, "each was loaded once");

    first.sigkill();
    leading(&plane, TAKE_OVER, &second).await;
    scene.engines.journal.clear();
    // The new leader looks at every pod, twice.
    for pod in &pods {
        scene.until_asked(*pod, Call::Models, 2, 2 * NEXT_LOOK).await;
    }
    let who: BTreeSet<_> =
        scene.engines.journal.entries().iter().map(|entry| caller(entry).identity).collect();
    assert!(who.len() == 1 && second.is(who.first().expect("somebody")), "{who:?}");
    let after = effects(&scene, &pods);
    assert!(after.values().all(Vec::is_empty), "nothing is loaded twice or unloaded: {after:?}");
    let asked = |call| pods.iter().map(|pod| scene.count(*pod, call)).sum::<usize>();
    assert_eq!((asked(Call::Load), asked(Call::Unload)), (0, 0), "nor asked for");
    for (it, before) in adapters.iter().zip(&before) {
        let seen = scene.get(it).await.expect("it is there");
        assert_eq!((phase(&seen).as_str(), &instances(&seen)), ("Running", before), "nothing moves");
    }
    // The new leader works.
    scene.run(&scene.adapter("new"), &["web-0", "web-1", "web-2", "web-3"]).await;
    who_wrote_without_lease(plane.audit().entries()).assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_that_was_frozen_neither_loads_nor_unloads() {
    let plane = plane().await;
    let managers = [Manager::start(&plane, &ALONE).await, Manager::start(&plane, &ALONE).await];
    for manager in &managers {
        manager.wait_ready().await;
    }
    let scene = Scene::new(&plane, "frozen").await;
    let failing = scene.pod("web-0").await;
    let slow = scene.pod("web-1").await;
    scene.engines.change(slow, |engine| engine.like.load_ms = 20_000);
    // Work that is due at any moment: retries each 10 s, loads under way, deletions.
    scene.refuse(failing, Call::Load, 500, "not now");
    for n in 0..10 {
        scene.create(&scene.adapter(&format!("a-{n}"))).await;
    }
    scene.until_asked(failing, Call::Load, 10, SOON).await;
    for round in 0..3 {
        let holder = eventually(TAKE_OVER, "somebody leads", async || {
            let all = crate::support::holders::holders(&scene.client, NAMESPACE).await;
            let all = all.map_err(|error| error.to_string())?;
            let holder = all.get(LEASE).cloned().unwrap_or_default();
            managers.iter().position(|it| it.is(&holder)).ok_or(holder)
        })
        .await;
        let (frozen, other) = (&managers[holder], &managers[1 - holder]);
        frozen.sigstop();
        // Changes that the frozen one has not seen, and that it would act on.
        scene.create(&scene.adapter(&format!("late-{round}"))).await;
        scene.delete(&scene.adapter(&format!("a-{round}"))).await;
        leading(&plane, TAKE_OVER, other).await;
        let asked = scene.count(failing, Call::Load);
        scene.until_asked(failing, Call::Load, asked + 1, SOON).await;
        frozen.sigcont();
        let mark = scene.count(failing, Call::Load);
        scene.until_asked(failing, Call::Load, mark + 10, SOON).await;
    }
    scene.accept(failing);
    let mut audit = plane.audit();
    let (bad, judged) = without_lease(&scene.engines.journal.entries(), &mut audit);
    assert!(judged > 30, "{judged} changes prove little");
    assert!(bad.is_empty(), "{} of {judged} without the Lease:\n{}", bad.len(), bad.join("\n"));
    // What was said stays true: nobody loads twice on one pod.
    let mut loaded: BTreeMap<String, i32> = BTreeMap::new();
    for effect in effects(&scene, &[slow]).remove(&slow).unwrap_or_default() {
        match effect {
            Effect::Loaded(name) => *loaded.entry(name).or_default() += 1,
            Effect::Unloaded(name) => *loaded.entry(name).or_default() -= 1,
        }
    }
    assert!(loaded.values().all(|count| (0..=1).contains(count)), "{loaded:?}");
    who_wrote_without_lease(audit.entries()).assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_that_stops_hands_over_and_ends_in_time() {
    let plane = plane().await;
    let first = Manager::start(&plane, &ALONE).await;
    leading(&plane, SOON, &first).await;
    let second = Manager::start(&plane, &ALONE).await;
    second.wait_ready().await;
    let scene = Scene::new(&plane, "stops").await;
    let [pod] = scene.pods(["web-0"]).await;
    scene.run(&scene.adapter("kept"), &["web-0"]).await;
    // A load is under way, another engine hangs.
    scene.engines.change(pod, |engine| engine.like.load_ms = 6000);
    scene.create(&scene.adapter("slow")).await;
    scene.until_asked(pod, Call::Load, 2, SOON).await;
    let from = crate::support::wait::instant();
    first.sigterm();
    assert_eq!(first.wait_exit(SOON).await, Some(0), "{}", first.log());
    assert!(from.elapsed() < Duration::from_secs(8), "it took {:?}", from.elapsed());
    leading(&plane, SOON, &second).await;
    scene.until_on(&scene.adapter("slow"), &["web-0"], Duration::from_mins(1)).await;
    let effects = &effects(&scene, &[pod])[&pod];
    let want = ["kept", "slow"].map(|name| Effect::Loaded(name.to_owned()));
    assert_eq!(*effects, want, "loaded once each, in spite of the change");
    let (bad, judged) = without_lease(&scene.engines.journal.entries(), &mut plane.audit());
    assert!(bad.is_empty() && judged >= 2, "{bad:?}");
}
