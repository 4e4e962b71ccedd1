// SPDX-License-Identifier: Apache-2.0

use std::{cmp::Ordering, collections::BTreeMap};

use proptest::prelude::*;

use super::{
    order::*,
    replica::{Life, Replica, Revision},
    replica_cases::{any_replicas, cases, replica},
};

type Order = fn(&Replica, &Replica) -> Ordering;
const ORDERS: [(&str, Order); 9] = [
    ("pool scale-in", pool_scale_in),
    ("pool rollout", pool_rollout),
    ("set scale-in", set_scale_in),
    ("set in class", set_in_class),
    ("set rollout", set_rollout),
    ("cluster scale-in", cluster_scale_in),
    ("group surplus", group_surplus),
    ("keep first", keep_first),
    ("lower index first", lower_index_first),
];

fn sorted(order: Order, replicas: &[Replica]) -> Vec<String> {
    let mut sorted = replicas.to_vec();
    sorted.sort_by(order);
    sorted.into_iter().map(|replica| replica.name).collect()
}

fn cost_of(value: &str) -> i32 {
    deletion_cost(Some(&BTreeMap::from([(DELETION_COST.to_owned(), value.to_owned())])))
}

#[test]
fn deletion_costs_are_read_as_kubernetes_reads_them() {
    let table = [
        ("10", 10),
        ("-10", -10),
        ("0", 0),
        ("-0", 0),
        ("2147483647", i32::MAX),
        ("-2147483648", i32::MIN),
        ("2147483648", 0),
        ("+3", 0),
        ("008", 0),
        ("abc", 0),
        ("", 0),
        (" 1", 0),
        ("1.5", 0),
        ("-", 0),
    ];
    for (text, cost) in table {
        assert_eq!(cost_of(text), cost, "{text:?}");
    }
    assert_eq!(deletion_cost(None), 0);
    assert_eq!(deletion_cost(Some(&BTreeMap::new())), 0);
}

#[test]
fn role_gives_up_draining_then_outdated_then_unready_then_cheap_then_new_replicas() {
    let replicas = [
        Replica { draining: true, deletion_cost: 9, ..replica("draining", 1) },
        Replica {
            revision: Revision::Other,
            deletion_cost: 9,
            ready: false,
            ..replica("outdated-unready", 1)
        },
        Replica { revision: Revision::Other, deletion_cost: -9, ..replica("outdated", 1) },
        Replica { ready: false, deletion_cost: 9, ..replica("unready", 1) },
        Replica { deletion_cost: -1, ..replica("cheap", 1) },
        replica("new-a", 8),
        replica("new-b", 8),
        replica("old", 2),
    ];
    assert_eq!(
        sorted(pool_scale_in, &replicas),
        ["draining", "outdated-unready", "outdated", "unready", "cheap", "new-a", "new-b", "old"],
    );
    assert_eq!(
        sorted(pool_rollout, &replicas),
        ["draining", "outdated-unready", "unready", "new-a", "new-b", "old", "cheap", "outdated"],
        "a rollout looks neither at costs nor at revisions",
    );
}

#[test]
fn set_with_the_highest_index_goes_first_and_one_without_index_last() {
    let replicas = [
        Replica { index: Some(1), ..replica("one", 1) },
        Replica { index: None, ..replica("none", 9) },
        Replica { index: Some(4), ..replica("four", 1) },
        Replica { index: Some(4), ..replica("four-newer", 2) },
        Replica { index: Some(0), deletion_cost: -1, ..replica("cheap", 1) },
        Replica { index: Some(0), ready: false, ..replica("unready", 1) },
        Replica { index: Some(0), revision: Revision::Current, ..replica("current", 1) },
    ];
    assert_eq!(
        sorted(set_scale_in, &replicas),
        ["current", "unready", "cheap", "four-newer", "four", "one", "none"],
    );
    assert_eq!(sorted(lower_index_first, &replicas)[0], "none");
}

#[test]
fn oldest_ray_cluster_goes_first_and_equal_age_is_decided_by_name() {
    let replicas = [
        replica("b", 1),
        replica("a", 1),
        replica("young", 5),
        Replica { deletion_cost: 100, ..replica("dear", 0) },
        Replica { deletion_cost: 1000, ready: false, ..replica("fresh", 9) },
    ];
    assert_eq!(sorted(cluster_scale_in, &replicas), ["fresh", "a", "b", "young", "dear"]);
}

#[test]
fn surplus_of_a_group_is_what_has_no_index_then_the_highest() {
    let replicas = [
        Replica { index: Some(2), ..replica("two", 1) },
        Replica { index: None, ..replica("none", 1) },
        Replica { index: Some(10), ..replica("ten", 1) },
    ];
    assert_eq!(sorted(group_surplus, &replicas), ["none", "ten", "two"]);
}

#[test]
fn ready_and_older_duplicate_is_kept() {
    let replicas = [
        Replica { ready: false, ..replica("unready", 0) },
        replica("newer", 5),
        replica("older", 1),
        Replica { created: None, ..replica("just-made", 0) },
    ];
    assert_eq!(sorted(keep_first, &replicas), ["older", "newer", "just-made", "unready"]);
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn orders_are_total_and_do_not_depend_on_the_list(replicas in any_replicas(7, Life::Active),
        shift in 0_usize..7) {
        let mut turned = replicas.clone();
        let middle = if turned.is_empty() { 0 } else { shift % turned.len() };
        turned.rotate_left(middle);
        for (label, order) in ORDERS {
            prop_assert_eq!(sorted(order, &replicas), sorted(order, &turned), "{}", label);
            for a in &replicas {
                for b in &replicas {
                    prop_assert_eq!(order(a, b), order(b, a).reverse(), "{}", label);
                    prop_assert_eq!(order(a, b) == Ordering::Equal, a.name == b.name, "{}", label);
                }
            }
        }
    }
}
