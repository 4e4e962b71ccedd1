// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use proptest::prelude::*;

use super::{
    cache::{AfterInit, Cache, Change, Item, Stored},
    deserialize_guard::Malformed,
    version,
};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Thing {
    name: String,
    version: String,
}

impl Stored for Thing {
    fn namespace(&self) -> &'static str {
        "ns"
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> &str {
        &self.version
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the good half of an item")]
fn good(name: &str, version: u64) -> Item<Thing> {
    Ok(Thing { name: name.to_owned(), version: version.to_string() })
}

fn bad(name: &str, version: u64) -> Item<Thing> {
    Err(Box::new(Malformed {
        api_version: Arc::from("v1"),
        kind: Arc::from("Thing"),
        namespace: "ns".to_owned(),
        name: name.to_owned(),
        uid: String::new(),
        version: version.to_string(),
        error: "bad".to_owned(),
    }))
}

/// A change as `name: old → new`, with `-` for nothing.
fn said(change: &Change<Thing>) -> String {
    let version =
        |object: &Option<Arc<Thing>>| object.as_ref().map_or_else(|| "-".to_owned(), |o| o.version.clone());
    format!("{}: {} → {}", change.key().name, version(&change.old), version(&change.new))
}

fn all(changes: &[Change<Thing>]) -> Vec<String> {
    changes.iter().map(said).collect()
}

fn held(cache: &Cache<Thing>) -> Vec<String> {
    cache.iter().map(|object| format!("{}@{}", object.name, object.version)).collect()
}

/// Cache after a first list.
fn listed(objects: &[(&str, u64)]) -> Cache<Thing> {
    let mut cache = Cache::new();
    cache.begin();
    for (name, version) in objects {
        cache.init_apply(good(name, *version));
    }
    assert_eq!(cache.init_done().1, AfterInit::Watch);
    cache
}

#[test]
fn a_first_list_and_the_events_after_it_are_shown_in_order_of_name() {
    let mut cache = listed(&[("b", 2), ("a", 1)]);
    assert_eq!(held(&cache), ["a@1", "b@2"]);
    assert_eq!(said(&cache.apply(good("c", 3)).unwrap()), "c: - → 3");
    assert_eq!(said(&cache.apply(good("a", 4)).unwrap()), "a: 1 → 4");
    assert_eq!(said(&cache.delete(&good("b", 5)).unwrap()), "b: 2 → -");
    assert_eq!((held(&cache), cache.len()), (vec!["a@4".to_owned(), "c@3".to_owned()], 2));
    assert_eq!(cache.observed(), Some("5"));
}

#[test]
fn a_later_list_reports_only_differences_deletions_included() {
    let mut cache = listed(&[("same", 1), ("changed", 2), ("gone", 3)]);
    cache.begin();
    assert!(cache.init_apply(good("same", 1)).is_none());
    assert_eq!(said(&cache.init_apply(good("changed", 9)).unwrap()), "changed: 2 → 9");
    assert_eq!(said(&cache.init_apply(good("new", 8)).unwrap()), "new: - → 8");
    let (changes, after) = cache.init_done();
    assert_eq!((all(&changes), after), (vec!["gone: 3 → -".to_owned()], AfterInit::Watch));
}

#[test]
fn a_list_that_begins_again_half_way_forgets_its_first_half() {
    let mut cache = listed(&[("a", 1), ("b", 2)]);
    cache.begin();
    cache.init_apply(good("a", 1));
    cache.begin(); // the stream broke; a was deleted meanwhile
    cache.init_apply(good("b", 2));
    assert_eq!(all(&cache.init_done().0), ["a: 1 → -"]);
}

#[test]
fn no_object_goes_back_to_an_earlier_version() {
    let mut cache = listed(&[("a", 10)]);
    assert!(cache.apply(good("a", 9)).is_none());
    assert!(cache.delete(&good("a", 9)).is_none(), "that was the namesake before it");
    assert_eq!(held(&cache), ["a@10"]);
    assert!(cache.delete(&good("a", 10)).is_some());
}

#[test]
fn events_older_than_a_full_list_are_old_news() {
    let mut cache = listed(&[("a", 1), ("b", 2)]);
    cache.relist_begin();
    assert_eq!(said(&cache.relist_apply(good("b", 12)).unwrap()), "b: 2 → 12");
    assert_eq!(said(&cache.relist_apply(good("c", 15)).unwrap()), "c: - → 15");
    assert_eq!(all(&cache.relist_done("20")), ["a: 1 → -"]);
    // The lagging watch now delivers what has happened up to the list.
    for event in [good("b", 12), good("a", 11), good("c", 15)] {
        assert!(cache.apply(event).is_none());
    }
    assert!(cache.delete(&good("a", 13)).is_none());
    assert_eq!(held(&cache), ["b@12", "c@15"]);
    assert_eq!(said(&cache.apply(good("a", 21)).unwrap()), "a: - → 21");
}

#[test]
fn a_full_list_keeps_what_the_watch_has_seen_come_after_it() {
    let mut cache = listed(&[("a", 1)]);
    cache.relist_begin();
    cache.apply(good("new", 30));
    cache.relist_apply(good("a", 1));
    assert!(cache.relist_done("20").is_empty());
    assert_eq!(held(&cache), ["a@1", "new@30"]);
}

#[test]
fn a_full_list_does_not_bring_back_what_the_watch_has_seen_go_meanwhile() {
    let mut cache = listed(&[("a", 1)]);
    cache.relist_begin();
    cache.delete(&good("a", 25));
    assert!(cache.relist_apply(good("a", 1)).is_none());
    cache.relist_done("20");
    assert!(held(&cache).is_empty());
}

#[test]
fn a_full_list_that_crosses_a_list_of_the_watch_asks_for_another_one() {
    let mut cache = listed(&[("a", 1)]);
    cache.begin();
    cache.relist_begin();
    cache.relist_apply(good("b", 15));
    assert_eq!(all(&cache.relist_done("20")), ["a: 1 → -"]);
    assert!(cache.init_apply(good("a", 1)).is_none(), "deleted before the full list");
    let (changes, after) = cache.init_done();
    assert_eq!((changes.len(), after), (0, AfterInit::Restart), "b stays, though the watch's list lacks it");
    assert_eq!(held(&cache), ["b@15"]);
    cache.begin();
    cache.init_apply(good("b", 15));
    assert_eq!(cache.init_done().1, AfterInit::Watch);
}

#[test]
fn a_failed_full_list_removes_nothing() {
    let mut cache = listed(&[("a", 1), ("b", 2)]);
    cache.relist_begin();
    cache.relist_apply(good("a", 12));
    cache.relist_failed();
    assert_eq!(held(&cache), ["a@12", "b@2"]);
    assert!(cache.apply(good("b", 5)).is_some(), "and makes no event old news");
}

#[test]
fn the_last_good_version_of_a_malformed_object_stays_until_it_is_deleted() {
    let mut cache = listed(&[("a", 1), ("b", 2)]);
    assert!(cache.apply(bad("a", 5)).is_none());
    assert_eq!(held(&cache), ["a@1", "b@2"]);
    assert_eq!(cache.version_of("ns", "a"), Some("5"), "what has arrived has arrived");
    assert_eq!(cache.malformed().count(), 1);
    cache.begin();
    cache.init_apply(bad("a", 5));
    assert_eq!(all(&cache.init_done().0), ["b: 2 → -"], "a is listed, so it is not gone");
    assert_eq!(said(&cache.apply(good("a", 6)).unwrap()), "a: 1 → 6");
    assert_eq!(cache.malformed().count(), 0);
    cache.apply(bad("a", 7));
    assert_eq!(said(&cache.delete(&bad("a", 8)).unwrap()), "a: 6 → -");
    assert_eq!(cache.malformed().count(), 0);
}

#[test]
fn an_object_that_was_never_good_is_not_shown() {
    let mut cache = listed(&[]);
    assert!(cache.apply(bad("a", 5)).is_none());
    assert_eq!(cache.len(), 0);
    assert!(cache.get("ns", "a").is_none());
    assert!(cache.delete(&bad("a", 6)).is_none());
}

#[test]
fn clearing_reports_every_object_as_gone() {
    let mut cache = listed(&[("a", 1), ("b", 2)]);
    assert_eq!(all(&cache.clear()), ["a: 1 → -", "b: 2 → -"]);
    assert_eq!(cache.len(), 0);
}

#[derive(Debug, Clone)]
enum Write {
    Put(u8),
    Delete(u8),
    Relist,
}

proptest! {
    /// A watch that lags by any number of events, with full lists in between, never takes an object back
    /// and ends with the truth; the changes that were told add up to what is held.
    #[test]
    fn a_lagging_watch_with_full_lists_in_between_ends_with_the_truth(
        writes in proptest::collection::vec(
            prop_oneof![
                4 => (0..5_u8).prop_map(Write::Put),
                2 => (0..5_u8).prop_map(Write::Delete),
                1 => Just(Write::Relist),
            ],
            0..80,
        ),
        lag in 0..10_usize,
    ) {
        let mut cache = listed(&[]);
        let mut told: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
        let mut truth: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
        let mut pending: std::collections::VecDeque<(bool, Item<Thing>)> = std::collections::VecDeque::new();
        let mut now = 0_u64;
        let tell = |told: &mut std::collections::BTreeMap<String, u64>, changes: Vec<Change<Thing>>| {
            for change in changes {
                let name = change.key().name;
                let before = told.get(&name).copied();
                let old = change.old.as_ref().map(|old| old.version.parse().unwrap());
                assert_eq!(before, old, "the old side of a change is what was told before");
                match &change.new {
                    Some(new) => {
                        assert!(change.old.as_ref().is_none_or(|old| version::before(&old.version, &new.version)));
                        told.insert(name, new.version.parse().unwrap());
                    }
                    None => drop(told.remove(&name)),
                }
            }
        };
        for write in writes {
            now += 1;
            match write {
                Write::Put(n) => {
                    truth.insert(n.to_string(), now);
                    pending.push_back((true, good(&n.to_string(), now)));
                }
                Write::Delete(n) => {
                    if truth.remove(&n.to_string()).is_some() {
                        pending.push_back((false, good(&n.to_string(), now)));
                    }
                }
                Write::Relist => {
                    cache.relist_begin();
                    for (name, version) in &truth {
                        tell(&mut told, cache.relist_apply(good(name, *version)).into_iter().collect());
                    }
                    tell(&mut told, cache.relist_done(&now.to_string()));
                    let seen: Vec<String> = truth.iter().map(|(name, v)| format!("{name}@{v}")).collect();
                    prop_assert_eq!(held(&cache), seen, "after a full list the truth is held");
                }
            }
            while pending.len() > lag {
                let (put, item) = pending.pop_front().unwrap();
                let change = if put { cache.apply(item) } else { cache.delete(&item) };
                tell(&mut told, change.into_iter().collect());
            }
        }
        for (put, item) in pending {
            let change = if put { cache.apply(item) } else { cache.delete(&item) };
            tell(&mut told, change.into_iter().collect());
        }
        let seen: Vec<String> = truth.iter().map(|(name, v)| format!("{name}@{v}")).collect();
        prop_assert_eq!(held(&cache), seen);
        prop_assert_eq!(&told, &truth);
        prop_assert_eq!(cache.len(), truth.len());
    }
}

#[test]
fn list_after_a_restore_counts_although_it_is_older_and_so_do_the_events_that_follow() {
    let mut cache = Cache::new();
    cache.begin();
    for item in [good("a", 10), good("b", 11)] {
        cache.init_apply(item);
    }
    cache.init_done();
    cache.apply(good("a", 900));
    cache.apply(good("c", 901));
    // A catch-up raises what counts as old.
    cache.relist_begin();
    for item in [good("a", 900), good("b", 11), good("c", 901)] {
        cache.relist_apply(item);
    }
    cache.relist_done("950");
    // The storage is restored to a state in which `a` had an earlier version, `c` did not exist, and `d` did still.
    cache.begin();
    let mut changes: Vec<Change<Thing>> = Vec::new();
    for item in [good("a", 10), good("b", 11), good("d", 12)] {
        changes.extend(cache.init_apply(item));
    }
    assert!(cache.is_rewritten());
    let (swept, after) = cache.init_done();
    changes.extend(swept);
    assert_eq!(after, AfterInit::Watch);
    assert_eq!(all(&changes), ["a: 900 → 10", "d: - → 12", "c: 901 → -"]);
    // Its next versions are lower than what was delivered before.
    assert_eq!(cache.apply(good("b", 13)).map(|change| said(&change)).as_deref(), Some("b: 11 → 13"));
    // The next list shows no more than that.
    cache.begin();
    for item in [good("a", 10), good("b", 13), good("d", 12)] {
        assert!(cache.init_apply(item).is_none());
    }
    assert!(!cache.is_rewritten());
    assert!(cache.init_done().0.is_empty());
}

#[test]
fn full_list_after_a_restore_takes_the_place_of_what_is_held() {
    let mut cache = Cache::new();
    cache.begin();
    for item in [good("a", 10), good("b", 900), good("c", 901)] {
        cache.init_apply(item);
    }
    cache.init_done();
    assert_eq!(cache.newest(), Some("901"));
    cache.rewritten();
    cache.relist_begin();
    let mut changes: Vec<Change<Thing>> = Vec::new();
    for item in [good("a", 10), good("b", 20), good("d", 30)] {
        changes.extend(cache.relist_apply(item));
    }
    assert_eq!(held(&cache), ["a@10", "b@20", "c@901", "d@30"], "nobody sees an empty store meanwhile");
    changes.extend(cache.relist_done("600"));
    assert_eq!(all(&changes), ["b: 900 → 20", "d: - → 30", "c: 901 → -"]);
    assert!(!cache.is_rewritten());
    assert_eq!(cache.apply(good("b", 601)).map(|change| said(&change)).as_deref(), Some("b: 20 → 601"));
}
