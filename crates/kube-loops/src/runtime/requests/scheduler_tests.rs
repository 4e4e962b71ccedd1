// SPDX-License-Identifier: Apache-2.0
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::AbortHandle;
use kube_fenced_election::clock::{Clock as _, Instant, SystemClock};
use proptest::prelude::*;

use super::{Job, Lane, RequestScheduler, Slow};
use crate::runtime::reconciler::Key;

/// A host, and a number on it.
type Pod = (&'static str, usize);

const HOSTS: [&str; 3] = ["a", "b", "c"];
const LIMIT: Duration = Duration::from_secs(30);
const LANES: [Lane; 2] = [
    Lane { at_once: 2, per_host: 1, time_limit: LIMIT, slow: None },
    Lane { at_once: 3, per_host: 2, time_limit: LIMIT, slow: None },
];

fn scheduler() -> RequestScheduler<Pod> {
    RequestScheduler::new(&LANES, |(host, _)| host)
}

fn start() -> Instant {
    SystemClock.instant()
}

fn watcher(number: usize) -> Key {
    Key::new("ns", format!("watcher-{number}"))
}

fn all(scheduler: &mut RequestScheduler<Pod>, now: Instant) -> Vec<Job<Arc<Pod>>> {
    std::iter::from_fn(|| scheduler.next(now)).collect()
}

#[test]
fn a_job_is_registered_before_it_is_sent_and_says_nothing_after_an_abort() {
    let (mut scheduler, now) = (scheduler(), start());
    scheduler.schedule(("a", 0), 0, now);
    let job = scheduler.next(now).unwrap();
    assert_eq!((job.lane, job.deadline), (0, now + LIMIT));
    scheduler.abort(&("a", 0));
    assert!(job.aborted.handle().is_aborted());
    assert_eq!(scheduler.ended(&("a", 0), job.number), None);
    assert!(scheduler.is_empty());
}

#[test]
fn the_end_of_an_aborted_job_does_not_end_its_successor() {
    let (mut scheduler, now) = (scheduler(), start());
    scheduler.schedule(("a", 0), 0, now);
    let aborted = scheduler.next(now).unwrap();
    scheduler.abort(&("a", 0));
    scheduler.schedule(("a", 0), 0, now);
    let successor = scheduler.next(now).unwrap();
    assert_eq!(scheduler.ended(&("a", 0), aborted.number), None);
    assert_eq!(scheduler.ended(&("a", 0), successor.number), Some(now));
}

#[test]
fn while_a_request_is_under_way_the_next_one_for_the_same_key_waits_for_its_end() {
    let (mut scheduler, now) = (scheduler(), start());
    scheduler.schedule(("a", 0), 1, now);
    let job = scheduler.next(now).unwrap();
    scheduler.schedule(("a", 0), 1, now);
    assert!(scheduler.next(now).is_none());
    assert_eq!(scheduler.next_moment(), None);
    scheduler.ended(&("a", 0), job.number);
    assert!(scheduler.next(now).is_some());
}

#[test]
fn a_full_host_holds_up_no_other() {
    let (mut scheduler, now) = (scheduler(), start());
    for number in 0..100 {
        scheduler.schedule(("a", number), 0, now);
    }
    scheduler.schedule(("b", 0), 0, now);
    let sent: Vec<Pod> = all(&mut scheduler, now).into_iter().map(|job| *job.request).collect();
    assert_eq!(sent, [("a", 0), ("b", 0)]);
}

#[test]
fn a_key_that_nobody_watches_any_more_is_forgotten() {
    let (mut scheduler, now) = (scheduler(), start());
    scheduler.watch(&watcher(0), [Arc::new(("a", 0)), Arc::new(("b", 0))]);
    scheduler.also_watch(&watcher(1), ("b", 0));
    for pod in [("a", 0), ("b", 0)] {
        scheduler.schedule(pod, 0, now);
    }
    let left = scheduler.watch(&watcher(0), []);
    assert_eq!(left.len(), 2);
    assert!(!scheduler.is_watching(&watcher(0)));
    assert_eq!((scheduler.is_watched(&("a", 0)), scheduler.len()), (false, 1));
    let sent: Vec<Pod> = all(&mut scheduler, now).into_iter().map(|job| *job.request).collect();
    assert_eq!(sent, [("b", 0)]);
    assert_eq!(scheduler.unwatch_all(&("b", 0)), [watcher(1)]);
}

#[derive(Debug, Clone)]
enum Step {
    Schedule {
        pod: Pod,
        lane: usize,
        after: u64,
    },
    Withdraw(Pod),
    Abort(Pod),
    Watch(usize, Pod),
    Unwatch(usize, Pod),
    /// The job at this index of those under way ends.
    End(usize),
    Pass(u64),
}

fn pod() -> impl Strategy<Value = Pod> {
    (0..HOSTS.len(), 0..3_usize).prop_map(|(host, number)| (HOSTS[host], number))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (pod(), 0..2_usize, 0..4_u64).prop_map(|(pod, lane, after)| Step::Schedule { pod, lane, after }),
        1 => pod().prop_map(Step::Withdraw),
        1 => pod().prop_map(Step::Abort),
        2 => (0..2_usize, pod()).prop_map(|(watcher, pod)| Step::Watch(watcher, pod)),
        2 => (0..2_usize, pod()).prop_map(|(watcher, pod)| Step::Unwatch(watcher, pod)),
        3 => (0..8_usize).prop_map(Step::End),
        2 => (0..3_u64).prop_map(Step::Pass),
    ]
}

/// The same rules over lists, without an index.
#[derive(Default)]
struct Naive {
    /// Pod, lane, when due; in the order in which they were scheduled.
    waiting: Vec<(Pod, usize, Instant)>,
    under_way: Vec<(Pod, usize, u64)>,
    watching: BTreeSet<(usize, Pod)>,
    aborted: Vec<(Pod, u64, AbortHandle)>,
}

impl Naive {
    fn may_start(&self, pod: Pod, lane: usize) -> bool {
        let in_lane: Vec<_> = self.under_way.iter().filter(|it| it.1 == lane).collect();
        in_lane.len() < LANES[lane].at_once
            && in_lane.iter().filter(|it| it.0.0 == pod.0).count() < LANES[lane].per_host
            && self.under_way.iter().all(|it| it.0 != pod)
    }

    fn startable(&self, lane: usize) -> Option<(Pod, usize, Instant)> {
        let startable = self.waiting.iter().filter(|it| it.1 == lane && self.may_start(it.0, lane));
        startable.min_by_key(|it| it.2).copied()
    }

    fn next(&mut self, now: Instant) -> Option<(Pod, usize)> {
        let due = |lane| self.startable(lane).filter(|it| it.2 <= now);
        let (pod, lane, _) = due(0).or_else(|| due(1))?;
        self.waiting.retain(|it| it.0 != pod);
        Some((pod, lane))
    }
}

proptest! {
    #[test]
    fn requests_are_bounded_fair_and_prompt(steps in prop::collection::vec(step(), 1..80)) {
        let (mut scheduler, mut naive, mut now) = (scheduler(), Naive::default(), start());
        let mut handles: Vec<(u64, AbortHandle)> = Vec::new();
        for step in steps {
            match step {
                Step::Schedule { pod, lane, after } => {
                    let due = now + Duration::from_secs(after);
                    scheduler.schedule(pod, lane, due);
                    naive.waiting.retain(|it| it.0 != pod);
                    naive.waiting.push((pod, lane, due));
                }
                Step::Withdraw(pod) => {
                    scheduler.withdraw(&pod);
                    naive.waiting.retain(|it| it.0 != pod);
                }
                Step::Abort(pod) => {
                    scheduler.abort(&pod);
                    naive.waiting.retain(|it| it.0 != pod);
                    let aborted = naive.under_way.iter().filter(|it| it.0 == pod);
                    naive.aborted.extend(aborted.map(|it| {
                        (pod, it.2, handles.iter().find(|(number, _)| *number == it.2).unwrap().1.clone())
                    }));
                    naive.under_way.retain(|it| it.0 != pod);
                }
                Step::Watch(number, pod) => {
                    scheduler.also_watch(&watcher(number), pod);
                    naive.watching.insert((number, pod));
                }
                Step::Unwatch(number, pod) => {
                    scheduler.unwatch(&watcher(number), &pod);
                    if naive.watching.remove(&(number, pod)) && naive.watching.iter().all(|it| it.1 != pod) {
                        naive.waiting.retain(|it| it.0 != pod);
                    }
                }
                Step::End(at) if at < naive.under_way.len() => {
                    let (pod, _, number) = naive.under_way.remove(at);
                    prop_assert!(scheduler.ended(&pod, number).is_some());
                    prop_assert_eq!(scheduler.ended(&pod, number), None);
                }
                Step::End(_) => {}
                Step::Pass(seconds) => now += Duration::from_secs(seconds),
            }
            while let Some(job) = scheduler.next(now) {
                prop_assert_eq!(naive.next(now), Some((*job.request, job.lane)));
                handles.push((job.number, job.aborted.handle()));
                naive.under_way.push((*job.request, job.lane, job.number));
            }
            prop_assert_eq!(naive.next(now), None, "something is due, there is room, and it is not sent");
            for (lane, bounds) in LANES.iter().enumerate() {
                let hosts: Vec<_> = naive.under_way.iter().filter(|it| it.1 == lane).map(|it| it.0.0).collect();
                prop_assert!(hosts.len() <= bounds.at_once);
                for host in HOSTS {
                    prop_assert!(hosts.iter().filter(|it| **it == host).count() <= bounds.per_host);
                }
            }
            let moment = (0..2).filter_map(|lane| naive.startable(lane)).map(|it| it.2).min();
            prop_assert_eq!(scheduler.next_moment(), moment);
            let pods = naive.waiting.iter().map(|it| it.0).chain(naive.under_way.iter().map(|it| it.0));
            let known: BTreeSet<Pod> = pods.chain(naive.watching.iter().map(|it| it.1)).collect();
            prop_assert_eq!(scheduler.len(), known.len());
            for (pod, number, handle) in &naive.aborted {
                prop_assert!(handle.is_aborted());
                prop_assert_eq!(scheduler.ended(pod, *number), None);
            }
        }
    }

    #[test]
    fn nobody_starves_behind_others_that_are_due_again_and_again(
        pods in prop::collection::btree_set(pod(), 1..9),
        lane in 0..2_usize,
    ) {
        let (mut scheduler, mut now) = (scheduler(), start());
        for pod in &pods {
            scheduler.schedule(*pod, lane, now);
        }
        let mut sent: BTreeSet<Pod> = BTreeSet::new();
        // As many rounds as there are pods: each round sends one at least, and those that were sent queue again.
        for _ in 0..pods.len() {
            for job in all(&mut scheduler, now) {
                sent.insert(*job.request);
                scheduler.ended(&job.request, job.number);
                scheduler.schedule(job.request, lane, now + Duration::from_millis(1));
            }
            now += Duration::from_secs(1);
        }
        prop_assert_eq!(sent, pods);
    }
}

#[test]
fn a_request_that_takes_long_makes_room_in_its_lane() {
    const AFTER: Duration = Duration::from_secs(1);
    let lane = |at_once, slow| Lane { at_once, per_host: usize::MAX, time_limit: LIMIT, slow };
    let slow = Some(Slow { after: AFTER, lane: 1 });
    let mut scheduler: RequestScheduler<Pod> =
        RequestScheduler::new(&[lane(2, slow), lane(1, None)], |(host, _)| host);
    let now = start();
    for number in 0..4 {
        scheduler.schedule(("a", number), 0, now);
    }
    let first = all(&mut scheduler, now);
    assert_eq!(first.len(), 2, "the lane is full");
    assert_eq!(scheduler.next_moment(), Some(now + AFTER));
    let later = now + AFTER;
    let second = all(&mut scheduler, later);
    assert_eq!(second.len(), 1, "the other lane has room for one");
    assert_eq!(scheduler.next_moment(), None);
    // Whoever leaves the other lane makes room for the next.
    assert_eq!(scheduler.ended(&first[0].request, first[0].number), Some(now));
    assert_eq!(scheduler.next_moment(), Some(now + AFTER));
    assert_eq!(all(&mut scheduler, later).len(), 1);
    for job in first.iter().chain(&second).skip(1) {
        assert!(scheduler.ended(&job.request, job.number).is_some());
    }
}
