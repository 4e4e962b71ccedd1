// SPDX-License-Identifier: Apache-2.0
use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use prometheus::Registry;
use tokio::time::advance;

use super::{
    super::{
        controller::LoopSpec,
        metrics::RuntimeMetrics,
        progress::{LoopProgress, Progress},
        reconciler::Key,
    },
    Queue,
};
use kube_fenced_election::clock::{Clock, SharedClock, SystemClock};

const SPEC: LoopSpec = LoopSpec {
    label: "thing",
    event_source: "thing",
    workers: 1,
    period: None,
    deadline: None,
    backoff_cap: Duration::from_secs(1000),
    rules: &[],
};

fn key(name: &str) -> Key {
    Key::new("ns", name)
}

fn queue() -> (Queue, Arc<Progress>, LoopProgress, Registry) {
    let registry = Registry::new();
    let metrics = RuntimeMetrics::register(&registry).unwrap();
    let clock: SharedClock = Arc::new(SystemClock);
    let progress = Arc::new(Progress::new(Arc::clone(&clock)));
    let of_loop = progress.of_loop(SPEC.label, Duration::from_mins(2));
    let queue = Queue::new(&SPEC, clock, &metrics.of(&SPEC), of_loop.clone());
    (queue, progress, of_loop, registry)
}

fn sample(registry: &Registry, name: &str) -> String {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let metric = &family.get_metric()[0];
    let value = match name {
        "workqueue_adds_total" | "workqueue_retries_total" => metric.get_counter().get_value(),
        _ => metric.get_gauge().get_value(),
    };
    value.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_taker_wakes_for_an_add() {
    let (queue, ..) = queue();
    let (taken, ()) = tokio::join!(queue.take(), async {
        tokio::task::yield_now().await;
        queue.add(key("a"));
    });
    assert_eq!(taken.unwrap().key(), &key("a"));
}

#[tokio::test(start_paused = true)]
async fn a_taker_wakes_when_a_delay_is_over_and_for_a_shorter_one_added_meanwhile() {
    let (queue, ..) = queue();
    let clock = SystemClock;
    let start = clock.instant();
    queue.add_after(key("slow"), Duration::from_secs(100));
    let (taken, ()) = tokio::join!(queue.take(), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        queue.add_after(key("quick"), Duration::from_secs(2));
    });
    assert_eq!(taken.unwrap().key(), &key("quick"));
    assert_eq!(clock.instant() - start, Duration::from_secs(3));
    assert_eq!(queue.take().await.unwrap().key(), &key("slow"));
    assert_eq!(clock.instant() - start, Duration::from_secs(100));
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_holder_is_dropped_may_be_taken_again() {
    let (queue, ..) = queue();
    queue.add(key("a"));
    let held = queue.take().await.unwrap();
    queue.add(key("a"));
    assert!(queue.take().now_or_never().is_none(), "one at a time");
    drop(held);
    assert_eq!(queue.take().await.unwrap().key(), &key("a"));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_take_loses_no_key() {
    let (queue, ..) = queue();
    assert!(queue.take().now_or_never().is_none());
    queue.add(key("a"));
    assert!(queue.take().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn shut_down_wakes_takers_and_hands_out_nothing() {
    let (queue, ..) = queue();
    let (taken, ()) = tokio::join!(queue.take(), async {
        tokio::task::yield_now().await;
        queue.shut_down();
    });
    assert!(taken.is_none());
    queue.enqueue().add(key("a"));
    assert!(queue.take().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn failures_wait_for_the_longer_of_back_off_and_bucket() {
    let (queue, ..) = queue();
    let names: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    for name in &names {
        queue.add_rate_limited(key(name));
    }
    advance(Duration::from_millis(5)).await;
    for name in &names[..100] {
        assert_eq!(queue.take().await.unwrap().key(), &key(name));
    }
    assert!(queue.take().now_or_never().is_none(), "the bucket is empty");
    advance(Duration::from_millis(94)).await;
    assert!(queue.take().now_or_never().is_none());
    advance(Duration::from_millis(1)).await;
    assert_eq!(queue.take().await.unwrap().key(), &key("100"));
}

#[tokio::test(start_paused = true)]
async fn forgetting_starts_the_back_off_anew() {
    let (queue, ..) = queue();
    for _ in 0..10 {
        queue.add_rate_limited(key("a"));
        drop(queue.take().await);
    }
    queue.forget(&key("a"));
    queue.add_rate_limited(key("a"));
    advance(Duration::from_millis(5)).await;
    assert!(queue.take().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn metrics_show_what_waits_and_what_is_unfinished_at_the_moment_of_the_scrape() {
    let (queue, _, _, registry) = queue();
    queue.add(key("a"));
    queue.add(key("b"));
    queue.add_after(key("c"), Duration::from_secs(5));
    assert_eq!(sample(&registry, "workqueue_depth"), "2");
    let held = queue.take().await.unwrap();
    advance(Duration::from_secs(6)).await;
    assert_eq!(sample(&registry, "workqueue_depth"), "2", "one was taken, the delayed one became due");
    assert_eq!(sample(&registry, "workqueue_unfinished_work_seconds"), "6");
    assert_eq!(sample(&registry, "workqueue_longest_running_processor_seconds"), "6");
    assert_eq!(sample(&registry, "workqueue_adds_total"), "3");
    assert_eq!(sample(&registry, "workqueue_retries_total"), "1");
    drop(held);
    drop(queue);
    assert_eq!(sample(&registry, "workqueue_depth"), "0", "a term that is over has no queue");
    assert_eq!(sample(&registry, "workqueue_unfinished_work_seconds"), "0");
}

#[tokio::test(start_paused = true)]
async fn progress_knows_whether_the_queue_holds_keys() {
    let (queue, progress, of_loop, _) = queue();
    let patience = Duration::from_mins(1);
    queue.add(key("a"));
    let held = queue.take().await;
    advance(Duration::from_mins(3)).await;
    assert_eq!(progress.stuck(patience).map(|stuck| stuck.reason), Some("NoPassFinished"));
    drop(held);
    of_loop.pass_finished();
    advance(Duration::from_secs(1000)).await;
    assert_eq!(progress.stuck(patience), None);
}
