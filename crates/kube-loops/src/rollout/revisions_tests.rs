// SPDX-License-Identifier: Apache-2.0

use jiff::Timestamp;
use proptest::prelude::*;

use super::replica_cases::cases;
use super::revisions::*;

fn recorded(name: &str, number: i64, second: i64) -> Recorded {
    let created = Some(Timestamp::from_second(second).unwrap());
    Recorded { name: name.to_owned(), uid: format!("uid-of-{name}"), number, created }
}

/// Unsorted on purpose.
fn three() -> Vec<Recorded> {
    vec![recorded("c", 3, 30), recorded("a", 1, 10), recorded("b", 2, 20)]
}

fn names(recorded: &[&Recorded]) -> Vec<String> {
    recorded.iter().map(|recorded| recorded.name.clone()).collect()
}

#[test]
fn live_template_is_the_newest_revision_an_older_one_or_a_new_one() {
    let history = three();
    assert_eq!(update_revision(&history, |one| one.name == "c"), UpdateRevision::Newest(&history[0]));
    assert_eq!(update_revision(&history, |one| one.name == "a"), UpdateRevision::Renumber(&history[1], 4));
    assert_eq!(update_revision(&history, |one| one.name != "c"), UpdateRevision::Renumber(&history[2], 4));
    assert_eq!(update_revision(&history, |_| true), UpdateRevision::Newest(&history[0]));
    assert_eq!(update_revision(&history, |_| false), UpdateRevision::Record(4));
    assert_eq!(update_revision(&[], |_| true), UpdateRevision::Record(1));
}

#[test]
fn equal_numbers_are_ordered_by_age_and_name() {
    let history = vec![recorded("y", 2, 10), recorded("x", 2, 10), recorded("z", 2, 5)];
    assert_eq!(update_revision(&history, |_| true), UpdateRevision::Newest(&history[0]));
    assert_eq!(names(&surplus(&history, Some(0), |_| false)), ["z", "x", "y"]);
}

#[test]
fn current_revision_is_the_one_that_the_status_names() {
    let history = three();
    assert_eq!(current_revision(&history, "b"), Some(&history[2]));
    assert_eq!(current_revision(&history, "gone"), None);
}

#[test]
fn part_is_unchanged_since_the_oldest_revision_of_an_unbroken_run() {
    let history = vec![
        recorded("a", 1, 1),
        recorded("b", 2, 2),
        recorded("c", 3, 3),
        recorded("d", 4, 4),
        recorded("e", 5, 5),
    ];
    let since = |same: &[&str]| {
        unchanged_since(&history, &history[3], |one| same.contains(&one.name.as_str())).name.clone()
    };
    assert_eq!(since(&["d", "c", "b"]), "b");
    assert_eq!(since(&["d", "c", "a"]), "c", "the run is broken by b");
    assert_eq!(since(&["a", "b"]), "d");
    assert_eq!(since(&["a", "b", "c", "d", "e"]), "a", "what came after the current one does not count");
}

#[test]
fn history_gives_up_the_oldest_that_are_not_in_use() {
    let history: Vec<_> =
        (1..=14).rev().map(|number| recorded(&format!("r{number:02}"), number, number)).collect();
    let live = |one: &Recorded| matches!(one.number, 1 | 14);
    assert_eq!(names(&surplus(&history, Some(10), live)), ["r02", "r03"]);
    assert_eq!(names(&surplus(&history, None, live)), ["r02", "r03"]);
    assert_eq!(surplus(&history, Some(0), live).len(), 12);
    assert_eq!(surplus(&history, Some(-1), live).len(), 12);
    assert!(surplus(&history, Some(12), live).is_empty());
}

#[test]
fn sets_in_use_are_spared_and_not_made_up_for() {
    let old = vec![recorded("d", 4, 4), recorded("a", 1, 1), recorded("b", 2, 2), recorded("c", 3, 3)];
    let in_use = |one: &Recorded| one.name == "b";
    assert_eq!(names(&surplus_sets(&old, Some(1), in_use)), ["a", "c"]);
    assert_eq!(names(&surplus_sets(&old, Some(2), in_use)), ["a"]);
    assert!(surplus_sets(&old, None, in_use).is_empty());
    assert!(surplus_sets(&old, Some(i32::MAX), in_use).is_empty());
    assert_eq!(names(&surplus_sets(&old, Some(-1), in_use)), ["a", "c", "d"]);
}

#[test]
fn rollback_without_a_number_goes_to_the_second_highest() {
    assert_eq!(last_but_one([1, 3, 2]), 2);
    assert_eq!(last_but_one([3, 1, 3]), 3, "a tie");
    assert_eq!(last_but_one([1]), 0);
    assert_eq!(last_but_one([]), 0);
}

#[test]
fn list_of_earlier_numbers_drops_its_oldest() {
    assert_eq!(append_number("", "1"), "1");
    assert_eq!(append_number("1,3", "4"), "1,3,4");
    let long = vec!["1234567"; 250].join(",");
    assert_eq!(long.len(), 1999);
    let appended = append_number(&long, "9");
    assert_eq!(appended, format!("{},9", vec!["1234567"; 249].join(",")));
    let unbreakable = "1".repeat(1999);
    assert_eq!(append_number(&unbreakable, "9"), unbreakable);
}

#[test]
fn name_is_cut_and_ends_in_the_hash_of_the_data() {
    let name = revision_name("web", 56, "test-data", 0);
    assert_eq!((name.name.as_str(), name.hash.as_str()), ("web-79d5fc", "79d5fc"));
    assert_eq!(revision_name(&"n".repeat(60), 56, "test-data", 0).name, format!("{}-79d5fc", "n".repeat(56)));
}

#[test]
fn next_name_after_a_collision_differs_though_many_counts_give_the_same() {
    let first = revision_name("web", 56, "test-data", 0);
    assert_eq!(revision_name("web", 56, "test-data", 1).hash, first.hash, "the quirk of six leading digits");
    let next = next_revision_name("web", 56, "test-data", &first).unwrap();
    assert_ne!(next.name, first.name);
    assert!(next.collision_count > first.collision_count);
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn names_differ_after_every_collision(data in ".{0,30}", start in 0_u32..1000) {
        let first = revision_name("web", 56, &data, start);
        let next = next_revision_name("web", 56, &data, &first).unwrap();
        prop_assert_ne!(&next.name, &first.name);
        prop_assert_eq!(revision_name("web", 56, &data, next.collision_count), next);
    }

    #[test]
    fn history_keeps_what_is_live_and_the_newest(numbers in prop::collection::vec(-3_i64..20, 0..12),
        limit in -1_i32..6) {
        let history: Vec<_> = numbers.iter().zip(0..).map(|(number, at)| recorded(&format!("r{at}"),
            *number, at)).collect();
        let live = |one: &Recorded| one.number % 3 == 0;
        let gone = surplus(&history, Some(limit), live);
        prop_assert!(gone.iter().all(|one| !live(one)));
        let kept: Vec<_> = history.iter().filter(|one| !live(one) && !gone.contains(one)).collect();
        prop_assert!(kept.len() <= usize::try_from(limit).unwrap_or(0));
        prop_assert!(gone.is_empty() || kept.len() == usize::try_from(limit).unwrap_or(0));
        prop_assert!(gone.iter().all(|gone| kept.iter().all(|kept| by_number(gone, kept).is_lt())));
    }
}
