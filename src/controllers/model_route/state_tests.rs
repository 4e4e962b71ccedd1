// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use super::state::{Losses, State};
use kube_fenced_election::clock::Timestamp;
use kube_loops::runtime::reconciler::Key;

#[test]
fn a_loss_is_remembered_until_a_pass_that_saw_it_has_dealt_with_it() {
    let (losses, key) = (Losses::default(), Key::new("ns", "m-router"));
    assert_eq!(losses.of(&key), None);
    losses.add(key.clone());
    let seen = losses.of(&key);
    assert!(seen.is_some());
    losses.add(key.clone());
    losses.settle(&key, seen);
    assert!(losses.of(&key).is_some(), "the second came during the pass");
    losses.settle(&key, losses.of(&key));
    assert_eq!(losses.of(&key), None);
    losses.add(key.clone());
    losses.forget(&key);
    assert_eq!(losses.of(&key), None);
}

#[test]
fn one_who_undoes_every_repair_makes_us_slow() {
    let mut state = State::default();
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    // He answers each repair at once, for an hour.
    let mut at = Duration::ZERO;
    let mut repairs = Vec::new();
    while at < Duration::from_hours(1) {
        match state.wait_to_repair(start + at) {
            None => {
                state.repaired(start + at);
                repairs.push(at.as_secs());
            }
            Some(wait) => at += wait,
        }
    }
    assert_eq!(repairs[..6], [0, 1, 3, 7, 15, 31]);
    assert!(repairs.len() < 22, "{repairs:?}");
    // After a calm time the first repair comes at once.
    assert_eq!(state.wait_to_repair(start + Duration::from_hours(2)), None);
}

#[test]
fn a_repair_that_could_not_be_written_does_not_count() {
    let mut state = State::default();
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    for attempt in 0..5 {
        let now = start + Duration::from_millis(10 * attempt);
        assert_eq!(state.wait_to_repair(now), None, "attempt {attempt}");
    }
    state.repaired(start);
    assert_eq!(state.wait_to_repair(start), Some(Duration::from_secs(1)));
}
