// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use super::memory::Memory;
use kube_fenced_election::clock::Timestamp;
use kube_loops::runtime::reconciler::Key;

#[test]
fn a_loss_is_remembered_until_it_is_taken() {
    let (mut memory, key) = (Memory::default(), Key::new("ns", "m-router"));
    assert!(!memory.take_lost(&key));
    memory.lose(key.clone());
    assert!(memory.take_lost(&key));
    assert!(!memory.take_lost(&key));
    memory.lose(key.clone());
    memory.forget(&key);
    assert!(!memory.take_lost(&key));
}

#[test]
fn one_who_undoes_every_repair_makes_us_slow() {
    let (mut memory, key) = (Memory::default(), Key::new("ns", "m-router"));
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    // He answers each repair at once, for an hour.
    let mut at = Duration::ZERO;
    let mut repairs = Vec::new();
    while at < Duration::from_hours(1) {
        match memory.wait_to_repair(&key, start + at) {
            None => {
                memory.repaired(&key, start + at);
                repairs.push(at.as_secs());
            }
            Some(wait) => at += wait,
        }
    }
    assert_eq!(repairs[..6], [0, 1, 3, 7, 15, 31]);
    assert!(repairs.len() < 22, "{repairs:?}");
    // After a calm time the first repair comes at once.
    assert_eq!(memory.wait_to_repair(&key, start + Duration::from_hours(2)), None);
    // Another route is not slowed down.
    assert_eq!(memory.wait_to_repair(&Key::new("ns", "n-router"), start), None);
}

#[test]
fn a_repair_that_could_not_be_written_does_not_count() {
    let (mut memory, key) = (Memory::default(), Key::new("ns", "m-router"));
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    for attempt in 0..5 {
        let now = start + Duration::from_millis(10 * attempt);
        assert_eq!(memory.wait_to_repair(&key, now), None, "attempt {attempt}");
    }
    memory.repaired(&key, start);
    assert_eq!(memory.wait_to_repair(&key, start), Some(Duration::from_secs(1)));
}

#[test]
fn why_something_is_left_alone_is_told_once() {
    let (mut memory, key) = (Memory::default(), Key::new("ns", "m-router"));
    assert!(!memory.is_news(&key, None));
    assert!(memory.is_news(&key, Some("a")));
    assert!(!memory.is_news(&key, Some("a")));
    assert!(memory.is_news(&key, Some("b")));
    assert!(!memory.is_news(&key, None));
    assert!(memory.is_news(&key, Some("b")));
    assert!(memory.is_refusal_news(&key, Some("bad port")));
    assert!(!memory.is_refusal_news(&key, Some("bad port")));
    assert!(memory.is_refusal_news(&key, Some("bad path")));
    assert!(!memory.is_refusal_news(&key, None));
    assert!(memory.is_refusal_news(&key, Some("bad path")));
}
