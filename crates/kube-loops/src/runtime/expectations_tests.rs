// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use super::expectations::{Child, Expectations, Seen};
use kube_fenced_election::clock::{Clock, Instant, SystemClock};

const TIMEOUT: Duration = Duration::from_secs(30);

fn child(name: &'static str, uid: &'static str, version: &'static str) -> Seen<'static> {
    Seen { name, uid, version, leaving: false }
}

fn of_owner(name: &'static str, uid: &'static str) -> Child<'static> {
    Child { owner: "owner", name, uid }
}

fn start() -> (Expectations, Instant) {
    (Expectations::new(TIMEOUT), SystemClock.instant())
}

#[test]
fn nothing_expected_is_caught_up() {
    let (mut expectations, now) = start();
    assert!(expectations.caught_up("owner", [], now));
}

#[test]
fn a_create_is_waited_for_until_it_is_seen() {
    let (mut expectations, now) = start();
    expectations.creating("owner", "web-0", now);
    assert!(!expectations.caught_up("owner", [], now));
    assert!(expectations.caught_up("other", [], now), "owners are apart");
    assert!(expectations.caught_up("owner", [child("web-0", "a", "5")], now));
    assert!(expectations.caught_up("owner", [], now), "seen once is enough");
}

#[test]
fn a_create_that_was_answered_is_not_satisfied_by_an_older_namesake() {
    let (mut expectations, now) = start();
    expectations.creating("owner", "web-0", now);
    expectations.created("owner", "web-0", "new", now);
    assert!(!expectations.caught_up("owner", [child("web-0", "old", "5")], now));
    assert!(expectations.caught_up("owner", [child("web-0", "new", "6")], now));
}

#[test]
fn a_refused_create_is_not_waited_for() {
    let (mut expectations, now) = start();
    expectations.creating("owner", "web-0", now);
    expectations.create_failed("owner", "web-0");
    assert!(expectations.caught_up("owner", [], now));
}

#[test]
fn a_delete_is_settled_by_leaving_or_by_absence() {
    let (mut expectations, now) = start();
    expectations.deleting("owner", "a", now);
    assert!(!expectations.caught_up("owner", [child("web-0", "a", "5")], now));
    let leaving = Seen { leaving: true, ..child("web-0", "a", "6") };
    assert!(expectations.caught_up("owner", [leaving], now));

    expectations.deleting("owner", "b", now);
    assert!(expectations.caught_up("owner", [], now));

    expectations.deleting("owner", "c", now);
    expectations.delete_failed("owner", "c");
    assert!(expectations.caught_up("owner", [child("web-1", "c", "5")], now));
}

#[test]
fn a_write_is_settled_by_its_version_or_a_later_one() {
    let (mut expectations, now) = start();
    expectations.wrote("owner", "a", "100", now);
    assert!(!expectations.caught_up("owner", [child("web-0", "a", "99")], now));
    assert!(expectations.caught_up("owner", [child("web-0", "a", "100")], now));
    expectations.wrote("owner", "a", "100", now);
    assert!(expectations.caught_up("owner", [child("web-0", "a", "1000")], now));
}

#[test]
fn a_child_that_came_and_went_is_not_waited_for() {
    let (mut expectations, now) = start();
    expectations.creating("owner", "web-0", now);
    expectations.created("owner", "web-0", "a", now);
    expectations.changed(Some(of_owner("web-0", "a")), None, now);
    assert!(expectations.caught_up("owner", [], now));
}

#[test]
fn after_the_time_out_the_cache_is_believed() {
    let (mut expectations, now) = start();
    expectations.creating("owner", "web-0", now);
    expectations.deleting("owner", "b", now + Duration::from_secs(10));
    let seen = [child("web-1", "b", "5")];
    assert!(!expectations.caught_up("owner", seen, now + TIMEOUT));
    assert!(expectations.caught_up("owner", seen, now + TIMEOUT + Duration::from_secs(10)));
}

#[test]
fn a_child_that_came_and_went_before_its_create_was_answered_is_not_waited_for() {
    let (mut expectations, now) = start();
    expectations.creating("owner", "web-0", now);
    expectations.changed(None, Some(of_owner("web-0", "a")), now);
    expectations.changed(Some(of_owner("web-0", "a")), None, now);
    expectations.created("owner", "web-0", "a", now);
    assert!(expectations.caught_up("owner", [], now));
    // An older namesake that goes at that moment is not it.
    expectations.creating("owner", "web-0", now);
    expectations.changed(Some(of_owner("web-0", "old")), None, now);
    expectations.created("owner", "web-0", "new", now);
    assert!(!expectations.caught_up("owner", [], now));
}

#[test]
fn owners_that_are_gone_are_dropped_in_time() {
    let (mut expectations, now) = start();
    for number in 0..10_000_u32 {
        let now = now + Duration::from_millis(u64::from(number) * 100);
        expectations.creating(&number.to_string(), "web-0", now);
    }
    assert!(expectations.owners() < 2000, "{}", expectations.owners());
}
