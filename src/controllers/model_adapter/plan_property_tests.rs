// SPDX-License-Identifier: Apache-2.0
//! Whatever happens, in whatever order: the end is the same, and the end is quiet.

use jiff::SignedDuration;
use proptest::{prelude::*, test_runner::TestCaseError};
use serde_json::json;

use super::{load_retry::LoadFailure, plan::plan, settings::SchedulerPolicy, simulated::World, state::State};

/// What may happen.
#[derive(Debug, Clone)]
enum Happens {
    /// A pod becomes ready or stops being so.
    Readiness(usize, bool),
    /// A pod is being deleted, or is back.
    Leaving(usize, bool),
    /// A pod is selected or not.
    Label(usize, bool),
    /// An engine forgets everything.
    Restart(usize),
    /// An engine refuses, or does not.
    Refuses(usize, Option<bool>),
    /// An engine cannot be asked, or can.
    Unreachable(usize, bool),
    /// Loads on an engine do not come to an end, or do again.
    Slow(usize, bool),
    /// The loads that slow engines hold come to their end.
    Released,
    /// Statuses that are sent get no answer, or do again.
    Mute(bool),
    /// The spec asks for one or for all.
    Replicas(bool),
    /// Another artifact.
    Artifact(u8),
    /// Somebody else leads.
    TakeOver,
    /// One pass.
    Pass,
    /// Calls are made.
    Calls,
    /// Time passes.
    Sleep(u64),
}

const PODS: [&str; 4] = ["a", "b", "c", "d"];

fn happens() -> impl Strategy<Value = Happens> {
    let pod = 0..PODS.len();
    prop_oneof![
        (pod.clone(), any::<bool>()).prop_map(|(pod, is)| Happens::Readiness(pod, is)),
        (pod.clone(), any::<bool>()).prop_map(|(pod, is)| Happens::Leaving(pod, is)),
        (pod.clone(), any::<bool>()).prop_map(|(pod, is)| Happens::Label(pod, is)),
        pod.clone().prop_map(Happens::Restart),
        (pod.clone(), any::<Option<bool>>()).prop_map(|(pod, is)| Happens::Refuses(pod, is)),
        (pod.clone(), any::<bool>()).prop_map(|(pod, is)| Happens::Unreachable(pod, is)),
        (pod, any::<bool>()).prop_map(|(pod, is)| Happens::Slow(pod, is)),
        Just(Happens::Released),
        any::<bool>().prop_map(Happens::Mute),
        any::<bool>().prop_map(Happens::Replicas),
        any::<u8>().prop_map(Happens::Artifact),
        Just(Happens::TakeOver),
        Just(Happens::Pass),
        Just(Happens::Pass),
        Just(Happens::Calls),
        Just(Happens::Calls),
        (0_u64..30).prop_map(Happens::Sleep),
    ]
}

fn apply(world: &mut World, happens: &Happens) {
    let since = world.now();
    match happens {
        Happens::Readiness(pod, is) => {
            world.change_pod(PODS[*pod], |pod| pod.ready_since = is.then_some(since));
        }
        Happens::Leaving(pod, is) => world.change_pod(PODS[*pod], |pod| pod.leaving = *is),
        Happens::Label(pod, is) => world.change_pod(PODS[*pod], |pod| {
            let app = if *is { "base" } else { "other" };
            pod.labels.insert("app".into(), app.into());
        }),
        Happens::Restart(pod) => world.engine(PODS[*pod]).models.clear(),
        Happens::Refuses(pod, is) => {
            let kind = |lasting| if lasting { LoadFailure::Lasting } else { LoadFailure::Transient };
            world.engine(PODS[*pod]).refuses = is.map(|lasting| (kind(lasting), "no".into()));
        }
        Happens::Unreachable(pod, is) => world.engine(PODS[*pod]).unreachable = *is,
        Happens::Slow(pod, is) => world.engine(PODS[*pod]).slow = *is,
        Happens::Released => drop(world.release_held()),
        Happens::Mute(is) => world.mute = *is,
        Happens::Replicas(one) => world.edit("sql", |adapter| adapter.spec.replicas = one.then_some(1)),
        Happens::Artifact(number) => {
            world.edit("sql", |adapter| adapter.spec.artifact_url = format!("s3://loras/{number}"));
        }
        Happens::TakeOver => world.take_over(),
        Happens::Pass => drop(world.pass("sql")),
        Happens::Calls => drop(world.call_engines()),
        Happens::Sleep(seconds) => world.sleep(*seconds),
    }
}

fn world(policy: SchedulerPolicy) -> World {
    let mut world = World::with_policy(policy);
    world.pods(&PODS);
    world.adapter("sql", &json!({}));
    world
}

/// Lets this happen, heals the world, and checks that the adapter serves its spec, and that nothing more is
/// done.
fn serves_after(history: &[Happens], fills: bool) -> Result<(), TestCaseError> {
    let policy = if fills { SchedulerPolicy::BinPack } else { SchedulerPolicy::LeastAdapters };
    let mut world = world(policy);
    for happens in history {
        apply(&mut world, happens);
    }
    let since = world.now() - SignedDuration::from_secs(60);
    for pod in PODS {
        world.change_pod(pod, |pod| {
            (pod.ready_since, pod.leaving) = (Some(since), false);
            pod.labels.insert("app".into(), "base".into());
        });
        let engine = world.engine(pod);
        (engine.refuses, engine.unreachable, engine.slow) = (None, false, false);
    }
    world.mute = false;
    world.release_held();
    world.run(320);
    let status = world.status("sql");
    let one = world.adapters["sql"].adapter.spec.replicas.is_some();
    prop_assert_eq!(&status.phase, "Running");
    prop_assert_eq!(status.instances.len(), if one { 1 } else { 4 });
    let url = world.adapters["sql"].adapter.spec.artifact_url.clone();
    for pod in &status.instances {
        let loaded = world.engines[pod].models.get("sql").cloned();
        prop_assert!(loaded.is_some());
        if !world.untold.contains(pod) {
            prop_assert_eq!(loaded.as_ref(), Some(&url), "on {}", pod);
        }
    }
    let before = (world.writes, world.calls.len(), world.events.len());
    world.run(60);
    prop_assert_eq!((world.writes, world.calls.len(), world.events.len()), before);
    Ok(())
}

#[test]
fn no_version_is_recorded_while_another_one_may_be_loaded() {
    use Happens::{Artifact, Calls, Pass, Replicas, TakeOver};
    // While the first version was being loaded.
    let loading = vec![Pass, Calls, Pass, Artifact(0), Pass, Calls, TakeOver];
    // While the first version was loaded, about to be replaced, and what its engine lists was forgotten.
    let asked =
        [Pass, Calls, Pass, Calls, Artifact(0), TakeOver, Pass, Calls, Pass, Replicas(true), Pass, TakeOver];
    // While pods that have the first version, of which no status tells, are not ready or on their way out.
    let hidden = vec![
        Pass,
        Calls,
        Pass,
        Calls,
        Happens::Readiness(0, false),
        TakeOver,
        Artifact(0),
        Happens::Leaving(3, true),
        Pass,
        Calls,
        Pass,
    ];
    for history in [loading, asked.to_vec(), hidden] {
        serves_after(&history, false).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn when_the_world_heals_the_adapter_serves_and_nothing_more_is_done(
        history in proptest::collection::vec(happens(), 0..40),
        fills in any::<bool>(),
    ) {
        serves_after(&history, fills)?;
    }

    #[test]
    fn the_order_of_pods_does_not_matter(history in proptest::collection::vec(happens(), 0..20)) {
        let mut ahead = world(SchedulerPolicy::LeastAdapters);
        let mut back = world(SchedulerPolicy::LeastAdapters);
        back.pods.reverse();
        for happens in &history {
            apply(&mut ahead, happens);
            apply(&mut back, happens);
        }
        let (now, one, another) = (ahead.now(), ahead.look("sql"), back.look("sql"));
        let state = ahead.state("sql");
        prop_assert_eq!(plan(&one, &state, now), plan(&another, &state, now));
    }

    #[test]
    fn no_stored_status_confuses_a_plan(
        phase in "[A-Za-z]{0,8}",
        instances in proptest::collection::vec("[a-e]", 0..6),
        reason in prop_oneof!["[A-Z][a-z]{0,8}", Just("Scheduled".to_owned()), Just("Rescheduling".to_owned())],
        message in "[\\[\\]a-e]{0,6}",
        one in any::<bool>(),
    ) {
        let mut world = world(SchedulerPolicy::LeastAdapters);
        world.edit("sql", |adapter| {
            adapter.spec.replicas = one.then_some(1);
            let status = json!({"phase": phase, "instances": instances, "conditions": [
                {"type": "Scheduled", "status": "True", "reason": reason, "message": message,
                    "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
            adapter.status = Some(serde_json::from_value(status).unwrap());
        });
        let seen = world.look("sql");
        drop(plan(&seen, &State::default(), world.now()));
        world.run(20);
        let status = world.status("sql");
        prop_assert_eq!(status.phase.as_str(), "Running");
        prop_assert_eq!(status.instances.len(), if one { 1 } else { 4 });
    }
}
