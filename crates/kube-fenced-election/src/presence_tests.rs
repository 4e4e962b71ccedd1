// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::json;

use crate::clock::{Clock, Instant, SystemClock};

use crate::testkit::names;

use super::presence::{Roster, presence_name};

fn presence(name: &str, version: u32) -> Lease {
    serde_json::from_value(json!({
        "metadata": { "name": name, "uid": "u", "resourceVersion": version.to_string(),
                      "annotations": { "leaders.example.com/contends-for": "a,b" } },
        "spec": { "holderIdentity": format!("{name}-identity"), "renewTime": format!("1999-01-01T00:00:00.{version:06}Z") },
    }))
    .unwrap()
}

fn second(start: Instant, second: u64) -> Instant {
    start + Duration::from_secs(second)
}

#[test]
fn names_differ_by_identity_and_are_stable() {
    assert_eq!(presence_name(&names(), "pod-1_x"), presence_name(&names(), "pod-1_x"));
    assert_ne!(presence_name(&names(), "pod-1_x"), presence_name(&names(), "pod-1_y"));
    assert!(presence_name(&names(), "pod-1_x").starts_with("example-controller-manager-"));
}

#[test]
fn members_are_present_while_they_renew_as_observed_from_here() {
    let at = SystemClock.instant();
    let mut roster = Roster::new(names(), "own".into());
    roster.listed(&[presence("own", 1), presence("other", 1)], at);
    let members = roster.members(second(at, 59));
    assert_eq!(members.others.keys().collect::<Vec<_>>(), ["other"]);
    assert_eq!(members.others["other"].identity, "other-identity");
    assert!(members.others["other"].contends_for.as_ref().is_some_and(|leases| leases.contains("b")));

    roster.observe(&presence("other", 1), second(at, 30));
    let mut labelled = presence("other", 1);
    labelled.metadata.resource_version = Some("9".to_owned());
    roster.observe(&labelled, second(at, 40));
    assert!(roster.members(second(at, 60)).others.is_empty(), "the same spec renews nothing");
    assert_eq!(roster.stale(second(at, 60)).len(), 1);
    roster.observe(&presence("other", 2), second(at, 70));
    let back = roster.members(second(at, 70));
    assert_eq!(back.others["other"].seen_since, second(at, 70), "seen anew");
}

#[test]
fn nobody_is_alone_before_the_others_had_time_to_show_themselves() {
    let at = SystemClock.instant();
    let mut roster = Roster::new(names(), "own".into());
    assert!(!roster.members(second(at, 100)).alone(second(at, 100)), "nothing known");
    roster.listed(&[presence("own", 1)], at);
    assert!(!roster.members(second(at, 29)).alone(second(at, 29)));
    assert!(roster.members(second(at, 30)).alone(second(at, 30)));
    roster.observe(&presence("other", 1), second(at, 31));
    assert!(!roster.members(second(at, 32)).alone(second(at, 32)));
}

#[test]
fn whoever_saw_the_last_other_go_is_alone_at_once() {
    let at = SystemClock.instant();
    let mut roster = Roster::new(names(), "own".into());
    roster.listed(&[presence("other", 1)], at);
    roster.remove("other");
    assert!(roster.members(second(at, 1)).alone(second(at, 1)));
    roster.observe(&presence("leaving", 1), second(at, 2));
    let mut leaving = presence("leaving", 2);
    leaving
        .metadata
        .annotations
        .as_mut()
        .unwrap()
        .insert("leaders.example.com/leaving".into(), "true".into());
    roster.observe(&leaving, second(at, 3));
    assert!(roster.members(second(at, 3)).alone(second(at, 3)), "whoever leaves takes nothing any more");
}
