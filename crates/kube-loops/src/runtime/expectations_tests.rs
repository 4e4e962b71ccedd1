// SPDX-License-Identifier: Apache-2.0
use std::{sync::Arc, time::Duration};

use super::{
    expectations::Expectations,
    watches::{Change, ControllerRef, Owned, Stored},
};
use kube_fenced_election::clock::{Clock, Instant, SystemClock};

const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Eq)]
struct TestChild {
    name: &'static str,
    uid: &'static str,
    version: &'static str,
    terminating: bool,
}

impl Stored for TestChild {
    fn namespace(&self) -> &'static str {
        "ns"
    }

    fn name(&self) -> &str {
        self.name
    }

    fn version(&self) -> &str {
        self.version
    }
}

impl Owned for TestChild {
    fn uid(&self) -> &str {
        self.uid
    }

    fn is_terminating(&self) -> bool {
        self.terminating
    }

    fn controller(&self) -> Option<ControllerRef<'_>> {
        Some(ControllerRef { group: "", kind: "Owner", name: "owner", uid: "owner" })
    }
}

fn child(name: &'static str, uid: &'static str, version: &'static str) -> Arc<TestChild> {
    Arc::new(TestChild { name, uid, version, terminating: false })
}

fn start() -> (Expectations<TestChild>, Instant) {
    (Expectations::new(TIMEOUT), SystemClock.instant())
}

/// Whether the owner has caught up with a store that has these.
fn caught_up(expectations: &mut Expectations<TestChild>, shown: &[Arc<TestChild>], now: Instant) -> bool {
    expectations.caught_up("owner", |name| shown.iter().find(|child| child.name == name).cloned(), now)
}

fn gone(child: &Arc<TestChild>) -> Change<TestChild> {
    Change { old: Some(Arc::clone(child)), new: None }
}

#[test]
fn nothing_expected_is_caught_up() {
    let (mut expectations, now) = start();
    assert!(caught_up(&mut expectations, &[], now));
}

#[test]
fn a_create_is_waited_for_until_it_is_seen() {
    let (mut expectations, now) = start();
    expectations.creating("owner", "web-0", now);
    assert!(!caught_up(&mut expectations, &[], now));
    assert!(expectations.caught_up("other", |_| None, now), "owners are apart");
    assert!(caught_up(&mut expectations, &[child("web-0", "a", "5")], now));
    assert!(caught_up(&mut expectations, &[], now), "seen once is enough");
}

#[test]
fn a_create_that_was_answered_is_not_satisfied_by_an_older_namesake() {
    let (mut expectations, now) = start();
    expectations.creating("owner", "web-0", now);
    expectations.created("owner", &child("web-0", "new", "6"), now);
    assert!(!caught_up(&mut expectations, &[child("web-0", "old", "5")], now));
    assert!(caught_up(&mut expectations, &[child("web-0", "new", "6")], now));

    expectations.created("owner", &child("web-0", "new", "6"), now);
    assert!(caught_up(&mut expectations, &[child("web-0", "later", "9")], now), "it took the place of ours");
}

#[test]
fn a_refused_create_is_not_waited_for() {
    let (mut expectations, now) = start();
    expectations.creating("owner", "web-0", now);
    expectations.create_failed("owner", "web-0");
    assert!(caught_up(&mut expectations, &[], now));
}

#[test]
fn a_delete_is_settled_by_leaving_or_by_absence() {
    let (mut expectations, now) = start();
    expectations.deleting("owner", "web-0", "a", now);
    assert!(!caught_up(&mut expectations, &[child("web-0", "a", "5")], now));
    assert!(expectations.is_deleting("owner", "a"));
    let leaving = TestChild { terminating: true, ..(*child("web-0", "a", "6")).clone() };
    assert!(caught_up(&mut expectations, &[Arc::new(leaving)], now));

    expectations.deleting("owner", "web-0", "b", now);
    assert!(caught_up(&mut expectations, &[], now));

    expectations.deleting("owner", "web-1", "c", now);
    expectations.delete_failed("owner", "c");
    assert!(caught_up(&mut expectations, &[child("web-1", "c", "5")], now));
}

#[test]
fn a_write_is_settled_by_its_version_or_a_later_one() {
    let (mut expectations, now) = start();
    expectations.wrote("owner", &child("web-0", "a", "100"), now);
    assert!(!caught_up(&mut expectations, &[child("web-0", "a", "99")], now));
    assert!(caught_up(&mut expectations, &[child("web-0", "a", "100")], now));
    expectations.wrote("owner", &child("web-0", "a", "100"), now);
    assert!(caught_up(&mut expectations, &[child("web-0", "a", "1000")], now));
    expectations.wrote("owner", &child("web-0", "a", "100"), now);
    assert!(caught_up(&mut expectations, &[], now), "it was deleted");
}

#[test]
fn a_child_that_came_and_went_is_not_waited_for() {
    let (mut expectations, now) = start();
    expectations.creating("owner", "web-0", now);
    expectations.created("owner", &child("web-0", "a", "5"), now);
    expectations.changed(&gone(&child("web-0", "a", "5")), now);
    assert!(caught_up(&mut expectations, &[], now));
    assert_eq!(expectations.newest("owner", "web-0", None, now), None);
}

#[test]
fn after_the_time_out_the_cache_is_believed() {
    let (mut expectations, now) = start();
    expectations.created("owner", &child("web-0", "a", "5"), now);
    expectations.deleting("owner", "web-1", "b", now + Duration::from_secs(10));
    let shown = [child("web-1", "b", "5")];
    assert!(expectations.newest("owner", "web-0", None, now).is_some());
    assert_eq!(expectations.newest("owner", "web-0", None, now + TIMEOUT), None);
    assert!(!caught_up(&mut expectations, &shown, now + TIMEOUT));
    assert!(caught_up(&mut expectations, &shown, now + TIMEOUT + Duration::from_secs(10)));
}

#[test]
fn a_child_that_came_and_went_before_its_create_was_answered_is_not_waited_for() {
    let (mut expectations, now) = start();
    expectations.creating("owner", "web-0", now);
    expectations.changed(&Change { old: None, new: Some(child("web-0", "a", "5")) }, now);
    expectations.changed(&gone(&child("web-0", "a", "5")), now);
    expectations.created("owner", &child("web-0", "a", "5"), now);
    assert!(caught_up(&mut expectations, &[], now));
    // An older namesake that goes at that moment is not it.
    expectations.creating("owner", "web-0", now);
    expectations.changed(&gone(&child("web-0", "old", "4")), now);
    expectations.created("owner", &child("web-0", "new", "6"), now);
    assert!(!caught_up(&mut expectations, &[], now));
}

#[test]
fn what_was_answered_counts_until_the_store_shows_it() {
    let (mut expectations, now) = start();
    let newest = |expectations: &Expectations<TestChild>, shown: Option<Arc<TestChild>>| {
        expectations.newest("owner", "web-0", shown, now).map(|child| (child.uid, child.version))
    };
    expectations.created("owner", &child("web-0", "new", "6"), now);
    assert_eq!(newest(&expectations, None), Some(("new", "6")));
    assert_eq!(newest(&expectations, Some(child("web-0", "old", "5"))), Some(("new", "6")));
    expectations.wrote("owner", &child("web-0", "new", "8"), now);
    assert_eq!(newest(&expectations, None), Some(("new", "8")));
    assert_eq!(newest(&expectations, Some(child("web-0", "new", "6"))), Some(("new", "8")));
    assert_eq!(newest(&expectations, Some(child("web-0", "new", "9"))), Some(("new", "9")));
    // Shown as it was created, it still lacks the write; deleted meanwhile, it is on its way out.
    expectations.deleting("owner", "web-0", "new", now);
    assert!(!caught_up(&mut expectations, &[], now));
    assert!(expectations.is_deleting("owner", "new"));
    assert!(!caught_up(&mut expectations, &[child("web-0", "new", "6")], now));
    assert_eq!(newest(&expectations, Some(child("web-0", "new", "6"))), Some(("new", "8")));
    expectations.changed(&gone(&child("web-0", "new", "6")), now);
    assert!(caught_up(&mut expectations, &[], now));
    assert_eq!(newest(&expectations, None), None);
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

#[test]
fn what_was_answered_can_be_waited_for_longer_than_what_was_not() {
    let (mut expectations, now) = start();
    expectations.wait_for_answered(10 * TIMEOUT);
    expectations.creating("owner", "lost", now);
    expectations.creating("owner", "made", now);
    let made = child("made", "uid", "5");
    expectations.created("owner", &made, now);
    let old = child("old", "uid-of-old", "1");
    expectations.deleting("owner", "old", "uid-of-old", now);
    let shown = [Arc::clone(&old)];
    let later = now + 9 * TIMEOUT;
    assert!(!caught_up(&mut expectations, &shown, later));
    assert!(expectations.is_deleting("owner", "uid-of-old"));
    assert_eq!(expectations.newest("owner", "made", None, later), Some(made));
    assert!(caught_up(&mut expectations, &shown, now + 10 * TIMEOUT));
}
