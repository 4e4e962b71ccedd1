// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use super::{
    backoff::{Backoff, Bucket},
    reconciler::Key,
};
use kube_fenced_election::clock::{Clock, Instant, SystemClock};

fn now() -> Instant {
    SystemClock.instant()
}

#[test]
fn delay_doubles_from_five_milliseconds_to_the_cap() {
    let mut backoff = Backoff::new(Duration::from_secs(1000));
    let key = Key::new("ns", "a");
    let delays: Vec<Duration> = (0..20).map(|_| backoff.fail(&key)).collect();
    for (n, delay) in delays.iter().enumerate() {
        let want = Duration::from_millis(5 * 2_u64.pow(u32::try_from(n).unwrap()));
        assert_eq!(*delay, want.min(Duration::from_secs(1000)), "failure {n}");
    }
}

#[test]
fn thousands_of_failures_stay_at_the_cap() {
    let mut backoff = Backoff::new(Duration::from_mins(1));
    let key = Key::new("ns", "a");
    let last = (0..5000).map(|_| backoff.fail(&key)).last();
    assert_eq!(last, Some(Duration::from_mins(1)));
}

#[test]
fn keys_do_not_share_their_failures_and_forgetting_starts_anew() {
    let mut backoff = Backoff::new(Duration::from_mins(1));
    let (a, b) = (Key::new("ns", "a"), Key::new("ns", "b"));
    backoff.fail(&a);
    backoff.fail(&a);
    assert_eq!(backoff.fail(&b), Duration::from_millis(5));
    backoff.forget(&a);
    assert_eq!(backoff.fail(&a), Duration::from_millis(5));
}

#[test]
fn bucket_lets_a_hundred_through_and_then_one_each_tenth_of_a_second() {
    let mut bucket = Bucket::default();
    let start = now();
    for n in 0..100 {
        assert_eq!(bucket.reserve(start), Duration::ZERO, "token {n}");
    }
    assert_eq!(bucket.reserve(start), Duration::from_millis(100));
    assert_eq!(bucket.reserve(start), Duration::from_millis(200));
}

#[test]
fn bucket_refills_while_nobody_takes_but_not_beyond_its_size() {
    let mut bucket = Bucket::default();
    let start = now();
    for _ in 0..100 {
        bucket.reserve(start);
    }
    let later = start + Duration::from_hours(1);
    for n in 0..100 {
        assert_eq!(bucket.reserve(later), Duration::ZERO, "token {n}");
    }
    assert_eq!(bucket.reserve(later), Duration::from_millis(100));
}
