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
                      "labels": { "leaders.example.com/member": "true" },
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
    let mut restored = presence("other", 9);
    restored.metadata.resource_version = Some("9".to_owned());
    roster.observe(&restored, second(at, 61));
    let back = roster.members(second(at, 61)).others;
    assert!(back.contains_key("other"), "a version that is used again with another spec is a renewal");
    roster.observe(&presence("other", 8), second(at, 62));
    assert!(roster.members(second(at, 122)).others.is_empty());
    roster.observe(&presence("other", 2), second(at, 170));
    let back = roster.members(second(at, 170));
    assert_eq!(back.others["other"].seen_since, second(at, 170), "seen anew");
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

// scenario: hardening 9
#[test]
fn members_are_known_by_our_key_or_by_name_and_holder_whatever_the_common_labels_say() {
    let at = SystemClock.instant();
    let lease = |name: &str, labels: serde_json::Value, holder: &str| -> Lease {
        let metadata = json!({ "name": name, "labels": labels });
        serde_json::from_value(json!({ "metadata": metadata, "spec": { "holderIdentity": holder } })).unwrap()
    };
    let (name, component) = (presence_name(&names(), "pod_x"), "app.kubernetes.io/component");
    let manager = "app.kubernetes.io/managed-by";
    for (name, labels, holder, present) in [
        ("any", json!({ "leaders.example.com/member": "true", (component): "platform" }), "pod_x", true),
        (
            name.as_str(),
            json!({ (component): "member", (manager): "example-controller-manager" }),
            "pod_x",
            true,
        ),
        (name.as_str(), json!({ (component): "platform", (manager): "platform" }), "pod_x", true),
        (name.as_str(), json!({}), "", false),
        (name.as_str(), json!({ "leaders.example.com/controller": "kv" }), "pod_x", false),
        ("example-controller-manager", json!({}), "example-controller-manager-group", false),
        ("example-controller-manager-leader", json!({}), "pod_x", false),
        ("any", json!({ (component): "member", (manager): "example-controller-manager" }), "pod_x", false),
    ] {
        let mut roster = Roster::new(names(), "own".into());
        roster.listed(&[lease(name, labels.clone(), holder)], at);
        let members = roster.members(at).others;
        assert_eq!(members.contains_key(name), present, "{name} of {holder:?} under {labels}");
    }
}

// scenario: hardening 9
#[test]
fn member_has_expired_only_after_it_was_seen_and_has_not_renewed_for_a_minute() {
    let at = SystemClock.instant();
    let mut roster = Roster::new(names(), "own".into());
    let expired = |roster: &mut Roster, seconds| roster.members(second(at, seconds)).has_expired("other");
    roster.listed(&[], at);
    assert!(!expired(&mut roster, 600), "never seen");
    let last = 600;
    roster.observe(&presence("other", 1), second(at, last));
    roster.remove("other");
    assert!(roster.members(second(at, last + 1)).others.is_empty(), "deleted");
    assert!(!expired(&mut roster, last + 59), "its Lease may have been deleted by hand");
    assert!(expired(&mut roster, last + 60));
    roster.observe(&presence("other", 2), second(at, last + 70));
    assert!(!expired(&mut roster, last + 70), "it has come back");
    assert!(expired(&mut roster, last + 130), "not deleted");
    assert_eq!(roster.stale(second(at, last + 130)).len(), 1);
}
