// SPDX-License-Identifier: Apache-2.0
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use proptest::prelude::*;

use super::{
    super::reconciler::Key,
    work_queue::{Take, WorkQueue},
};
use kube_fenced_election::clock::{Clock, Instant, SystemClock};

fn key(name: &str) -> Key {
    Key::new("ns", name)
}

fn start() -> Instant {
    SystemClock.instant()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn taken(work_queue: &mut WorkQueue, now: Instant) -> Option<String> {
    match work_queue.take(now) {
        Take::Key { key, .. } => Some(key.name),
        Take::Empty(_) | Take::ShutDown => None,
    }
}

#[test]
fn a_key_that_waits_is_not_added_twice() {
    let (mut work_queue, now) = (WorkQueue::default(), start());
    work_queue.add(key("a"), now);
    work_queue.add(key("a"), now);
    assert_eq!((work_queue.depth(), work_queue.adds()), (1, 1));
    assert_eq!(taken(&mut work_queue, now).as_deref(), Some("a"));
    assert_eq!(work_queue.take(now), Take::Empty(None));
}

#[test]
fn keys_come_in_the_order_in_which_they_were_added() {
    let (mut work_queue, now) = (WorkQueue::default(), start());
    for name in ["c", "a", "b", "a"] {
        work_queue.add(key(name), now);
    }
    let order: Vec<_> = std::iter::from_fn(|| taken(&mut work_queue, now)).collect();
    assert_eq!(order, ["c", "a", "b"]);
}

#[test]
fn a_key_added_while_worked_on_comes_again_after_and_not_before() {
    let (mut work_queue, now) = (WorkQueue::default(), start());
    work_queue.add(key("a"), now);
    assert_eq!(taken(&mut work_queue, now).as_deref(), Some("a"));
    work_queue.add(key("a"), now + seconds(1));
    work_queue.add(key("b"), now + seconds(2));
    assert_eq!(work_queue.depth(), 2, "it waits, though it may not be taken");
    assert_eq!(taken(&mut work_queue, now + seconds(3)).as_deref(), Some("b"));
    assert_eq!(taken(&mut work_queue, now + seconds(3)), None);
    assert_eq!(work_queue.done(&key("a"), now + seconds(4)), Some(seconds(4)));
    let again = work_queue.take(now + seconds(5));
    assert_eq!(again, Take::Key { key: key("a"), waited: seconds(4) }, "since it was added");
}

#[test]
fn a_key_that_was_not_added_again_rests_after_its_work() {
    let (mut work_queue, now) = (WorkQueue::default(), start());
    work_queue.add(key("a"), now);
    taken(&mut work_queue, now);
    work_queue.done(&key("a"), now);
    assert_eq!((work_queue.take(now), work_queue.held()), (Take::Empty(None), 0));
    assert_eq!(work_queue.done(&key("a"), now), None, "nobody has it");
}

#[test]
fn of_several_delays_the_earliest_counts() {
    let (mut work_queue, now) = (WorkQueue::default(), start());
    work_queue.add_at(key("a"), now + seconds(10), now);
    work_queue.add_at(key("a"), now + seconds(5), now);
    work_queue.add_at(key("a"), now + seconds(20), now);
    assert_eq!(work_queue.take(now), Take::Empty(Some(now + seconds(5))));
    assert_eq!(work_queue.depth(), 0, "delayed keys do not wait");
    assert_eq!(taken(&mut work_queue, now + seconds(5)).as_deref(), Some("a"));
    work_queue.done(&key("a"), now + seconds(5));
    assert_eq!(work_queue.take(now + seconds(30)), Take::Empty(None), "the later ones are gone");
}

#[test]
fn an_immediate_add_leaves_a_pending_delay_alone() {
    let (mut work_queue, now) = (WorkQueue::default(), start());
    work_queue.add_at(key("a"), now + seconds(10), now);
    work_queue.add(key("a"), now);
    assert_eq!(taken(&mut work_queue, now).as_deref(), Some("a"));
    work_queue.done(&key("a"), now);
    assert_eq!(taken(&mut work_queue, now + seconds(10)).as_deref(), Some("a"));
}

#[test]
fn a_due_delayed_key_stands_before_one_that_was_added_later() {
    let (mut work_queue, now) = (WorkQueue::default(), start());
    work_queue.add_at(key("delayed"), now + seconds(1), now);
    work_queue.add(key("later"), now + seconds(2));
    assert_eq!(taken(&mut work_queue, now + seconds(2)).as_deref(), Some("delayed"));
}

#[test]
fn a_delay_that_is_over_already_is_an_add() {
    let (mut work_queue, now) = (WorkQueue::default(), start());
    work_queue.add_at(key("a"), now, now);
    assert_eq!(taken(&mut work_queue, now).as_deref(), Some("a"));
}

#[test]
fn after_shut_down_nothing_goes_in_or_out() {
    let (mut work_queue, now) = (WorkQueue::default(), start());
    work_queue.add(key("a"), now);
    work_queue.add(key("b"), now);
    taken(&mut work_queue, now);
    work_queue.add_at(key("c"), now + seconds(1), now);
    work_queue.shut_down();
    work_queue.add(key("d"), now);
    work_queue.add_at(key("e"), now + seconds(1), now);
    assert_eq!(work_queue.take(now + seconds(9)), Take::ShutDown);
    assert_eq!(work_queue.done(&key("a"), now + seconds(9)), Some(seconds(9)), "work under way ends");
    assert_eq!(work_queue.held(), 0);
}

#[test]
fn unfinished_work_is_summed_and_the_longest_is_told() {
    let (mut work_queue, now) = (WorkQueue::default(), start());
    work_queue.add(key("a"), now);
    work_queue.add(key("b"), now);
    taken(&mut work_queue, now);
    taken(&mut work_queue, now + seconds(10));
    assert_eq!(work_queue.unfinished(now + seconds(12)), (seconds(14), seconds(12)));
}

#[derive(Debug, Clone)]
enum Step {
    Add(u8),
    AddAfter(u8, u64),
    Take,
    Done(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..6_u8).prop_map(Step::Add),
        2 => (0..6_u8, 0..50_u64).prop_map(|(key, after)| Step::AddAfter(key, after)),
        4 => Just(Step::Take),
        3 => (0..6_usize).prop_map(Step::Done),
        1 => (0..30_u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// No key is with two takers at once, none that is owed a pass is lost, none comes unasked.
    #[test]
    fn every_add_is_followed_by_a_pass_and_no_key_is_worked_on_twice_at_once(steps in steps()) {
        let mut work_queue = WorkQueue::default();
        let mut now = start();
        let mut working: Vec<Key> = Vec::new();
        // Keys that are owed a pass that begins at or after this moment.
        let mut owed: HashMap<Key, Vec<Instant>> = HashMap::new();
        for step in steps {
            match step {
                Step::Add(n) => {
                    work_queue.add(key(&n.to_string()), now);
                    owed.entry(key(&n.to_string())).or_default().push(now);
                }
                Step::AddAfter(n, after) => {
                    let due = now + seconds(after);
                    work_queue.add_at(key(&n.to_string()), due, now);
                    owed.entry(key(&n.to_string())).or_default().push(due);
                }
                Step::Take => match work_queue.take(now) {
                    Take::Key { key, .. } => {
                        prop_assert!(!working.contains(&key), "{key} is with two takers");
                        let due = owed.remove(&key);
                        prop_assert!(due.is_some(), "{} came unasked", key);
                        prop_assert!(due.iter().flatten().any(|due| *due <= now), "{} came early", key);
                        // Later delays may have been dropped for the earlier one that this pass is, but
                        // the queue must not hold any that nobody asked for.
                        if let Some(&(later, _)) = work_queue.delays.get(&key) {
                            prop_assert!(due.iter().flatten().any(|due| *due == later));
                            owed.insert(key.clone(), vec![later]);
                        }
                        working.push(key);
                    }
                    Take::Empty(due) => prop_assert!(due.is_none_or(|due| due > now)),
                    Take::ShutDown => prop_assert!(false, "nobody shut it down"),
                },
                Step::Done(place) => {
                    if !working.is_empty() {
                        let key = working.remove(place % working.len());
                        prop_assert!(work_queue.done(&key, now).is_some());
                    }
                }
                Step::Wait(n) => now += seconds(n),
            }
        }
        // Drain: everything that is still owed comes.
        now += seconds(1000);
        for key in working.drain(..) {
            work_queue.done(&key, now);
        }
        let mut came = HashSet::new();
        while let Take::Key { key, .. } = work_queue.take(now) {
            prop_assert!(came.insert(key.clone()), "{key} came twice without an add");
            work_queue.done(&key, now);
        }
        let owed: HashSet<Key> = owed.into_keys().collect();
        prop_assert_eq!(came, owed);
        prop_assert_eq!(work_queue.held(), 0);
    }
}
