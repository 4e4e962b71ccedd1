// SPDX-License-Identifier: Apache-2.0
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{sync::Mutex, time::sleep};

use crate::{
    controllers::model_adapter::{
        policies::Measured,
        settings::{EngineMetricsSettings, SchedulerPolicy},
        simulated::World,
    },
    k8s::pod_facts::PodFacts,
};
use kube_fenced_election::clock::SystemClock;
use kube_loops::runtime::{
    reconciler::Key,
    requests::runner::{Requests, SendRequest},
};

use super::scores::{Measurement, Scores};

/// Asks for one pod after the other, as a Prometheus server is asked: the number in the name of the pod is
/// its score.
#[derive(Default)]
struct OneByOne {
    turn: Mutex<()>,
    takes: Duration,
    asked: AtomicUsize,
}

impl SendRequest<Scores> for OneByOne {
    async fn send(&self, pod: &Arc<PodFacts>) -> Measurement {
        let _turn = self.turn.lock().await;
        self.asked.fetch_add(1, Ordering::Relaxed);
        sleep(self.takes).await;
        let number = pod.name.rsplit('-').next().and_then(|number| number.parse().ok());
        Measurement { measured: number.map_or(Measured::Missing, Measured::Score), last_error: None }
    }
}

fn settings(refresh_interval: Duration) -> EngineMetricsSettings {
    EngineMetricsSettings { refresh_interval, prometheus: None }
}

/// A pass each second, until a pod is chosen: after how many seconds, and which.
async fn placed(scores: &Requests<Scores>, world: &mut World) -> (u64, String) {
    let key = Key::new("ns", "sql");
    for second in 0..=15 {
        world.measured.clear();
        for pod in world.pods.clone() {
            let pod = Arc::new(pod);
            if let Some(measured) = scores.with(|scores, now| scores.ask(&key, &pod, now.instant)) {
                world.measured.insert(pod.name.to_string(), measured);
            }
        }
        world.pass("sql");
        if let Some((_, _, message)) = world.condition("sql", "Scheduled") {
            let pod = message.rsplit_once('[').unwrap().1.trim_end_matches(']');
            return (second, pod.to_owned());
        }
        sleep(Duration::from_secs(1)).await;
        world.sleep(1);
    }
    panic!("no pod was chosen within 15 seconds; measured: {}", world.measured.len());
}

// scenario: hardening 19
#[tokio::test(start_paused = true)]
async fn a_choice_among_five_hundred_pods_waits_ten_seconds_for_a_slow_source() {
    let mut world = World::with_policy(SchedulerPolicy::LeastThroughput);
    // The lowest scores come last in the order in which pods are asked for.
    let names: Vec<String> = (0..500).map(|number| format!("pod-{:03}", 999 - number)).collect();
    world.pods(&names.iter().map(String::as_str).collect::<Vec<_>>());
    world.adapter("sql", &json!({"replicas": 1}));
    let source = OneByOne { takes: Duration::from_millis(450), ..OneByOne::default() };
    let scores = Requests::new(Scores::new(&settings(Duration::from_secs(5))), Arc::new(SystemClock));
    let (seconds, pod) = tokio::select! {
        placed = placed(&scores, &mut world) => placed,
        () = scores.run(&source, |_| {}) => panic!("it runs until it is dropped"),
    };
    assert_eq!(seconds, 10);
    let known: Vec<f64> = world
        .measured
        .values()
        .map(|measured| match measured {
            Measured::Score(score) => *score,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(known.len(), 22, "all of 450 ms each that ended within 10 s");
    let lowest = known.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(pod, format!("pod-{lowest}"));
}

#[tokio::test(start_paused = true)]
async fn an_old_value_serves_while_a_newer_one_is_taken() {
    let mut world = World::new();
    world.pods(&["pod-7"]);
    let (key, pod) = (Key::new("ns", "sql"), Arc::new(world.pods[0].clone()));
    let source = OneByOne { takes: Duration::from_millis(100), ..OneByOne::default() };
    let scores = Requests::new(Scores::new(&settings(Duration::from_secs(1))), Arc::new(SystemClock));
    // When it is asked for, what is known, and how often the pod was asked since the start.
    let table = [
        (0, None, 1),
        (200, Some(Measured::Score(7.0)), 1),
        (1_000, Some(Measured::Score(7.0)), 1),
        (1_500, Some(Measured::Score(7.0)), 2),
        (2_000, Some(Measured::Score(7.0)), 2),
        // Too old to be worth anything.
        (400_000, None, 3),
    ];
    let asking = async {
        let mut now = 0;
        for (at, known, asked) in table {
            sleep(Duration::from_millis(at - now)).await;
            let seen = scores.with(|scores, now| scores.ask(&key, &pod, now.instant));
            assert_eq!(seen, known, "at {at} ms");
            sleep(Duration::from_millis(150)).await;
            assert_eq!(source.asked.load(Ordering::Relaxed), asked, "at {at} ms");
            now = at + 150;
        }
    };
    tokio::select! {
        () = asking => {}
        () = scores.run(&source, |_| {}) => panic!("it runs until it is dropped"),
    }
}
