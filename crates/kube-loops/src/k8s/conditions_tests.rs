// SPDX-License-Identifier: Apache-2.0
use super::conditions::{Stated, find, remove, upsert};

fn stated(kind: &'static str, holds: bool, reason: &'static str) -> Stated {
    Stated { kind, holds, reason, message: format!("because {reason}") }
}

fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).unwrap()
}

#[test]
fn transition_time_moves_only_with_the_status() {
    let mut list = Vec::new();
    upsert(&mut list, stated("Ready", true, "A"), Some(1), at(1));
    upsert(&mut list, stated("Ready", true, "B"), Some(2), at(2));
    assert_eq!((list[0].last_transition_time.0, list[0].reason.as_str()), (at(1), "B"));
    assert_eq!((list[0].message.as_str(), list[0].observed_generation), ("because B", Some(2)));
    upsert(&mut list, stated("Ready", false, "B"), Some(2), at(3));
    assert_eq!((list[0].last_transition_time.0, list[0].status.as_str()), (at(3), "False"));
}

#[test]
fn order_of_first_appearance_stays() {
    let mut list = Vec::new();
    for kind in ["B", "A", "C"] {
        upsert(&mut list, stated(kind, true, "X"), None, at(1));
    }
    upsert(&mut list, stated("B", false, "Y"), None, at(2));
    remove(&mut list, "A");
    assert_eq!(list.iter().map(|condition| condition.type_.as_str()).collect::<Vec<_>>(), ["B", "C"]);
    assert!(find(&list, "A").is_none() && find(&list, "C").is_some());
}

#[test]
fn a_message_never_exceeds_what_the_api_server_takes() {
    let mut list = Vec::new();
    upsert(&mut list, Stated { message: "é".repeat(40_000), ..stated("A", true, "X") }, None, at(1));
    assert!(list[0].message.len() <= 32768);
}
