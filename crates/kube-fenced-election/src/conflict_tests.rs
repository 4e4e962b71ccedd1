// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::{Clock, Instant, SystemClock};

use crate::testkit::names;

use super::{
    conflict::*,
    observation::{LeaseSnapshot, Observation, Source},
    registry::{Member, Members},
};

const KV: &str = "kv-cache-controller";
const ROUTE: &str = "model-route-controller";

/// Of `holder` under these labels, last written by `writer`: our annotation, if any.
fn labelled(holder: &str, labels: &Value, writer: Option<&str>, at: Instant) -> Observation {
    let annotations = writer.map(|writer| json!({ "leaders.example.com/holder": writer }));
    let lease = json!({
        "metadata": { "resourceVersion": "1", "labels": labels, "annotations": annotations },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-11-24T00:00:00.000000Z" },
    });
    let mut seen = Observation::new(at);
    seen.observe(LeaseSnapshot::Present(Box::new(serde_json::from_value(lease).unwrap())), Source::Watch, at);
    seen
}

/// A member that says that it contends for the Lease `kv` with `controller`.
fn member(identity: &str, controller: &str, at: Instant) -> Members {
    let member = Member {
        identity: identity.to_owned(),
        seen_since: at,
        leaving: false,
        contends_for: None,
        elections: [("kv".to_owned(), controller.to_owned())].into(),
        guards: None,
    };
    Members { known_since: Some(at), others: [("member".to_owned(), member)].into(), ..Members::default() }
}

#[test]
fn key_of_a_live_holder_tells_whose_lease_it_is() {
    let at = SystemClock.instant();
    let matched = |holder, controller: Option<&str>, writer, seconds| {
        let labels = controller.map(|controller| json!({ "leaders.example.com/controller": controller }));
        let seen = labelled(holder, &json!(labels), writer, at);
        let now = at + Duration::from_secs(seconds);
        component_match(&seen, stated_controller(&names(), &seen, "kv", &Members::default()), KV, "me", now)
    };
    let other = ComponentMatch::Other { controller: ROUTE.into(), holder: "b".into() };
    let unknown = |holder: &str| ComponentMatch::Unknown { holder: holder.into() };
    assert_eq!(matched("b", Some(ROUTE), None, 0), other);
    assert_eq!(matched("b", Some(ROUTE), Some("b"), 0), other);
    assert_eq!(matched("b", Some(ROUTE), None, 15), ComponentMatch::Same, "expired");
    assert_eq!(matched("", Some(ROUTE), None, 0), ComponentMatch::Same, "released");
    assert_eq!(matched("me", Some(ROUTE), None, 0), ComponentMatch::Same, "relabelled under our hands");
    assert_eq!(matched("b", Some(KV), Some("b"), 0), ComponentMatch::Same);
    assert_eq!(matched("go_1", None, None, 0), unknown("go_1"));
    assert_eq!(matched("go_1", Some(ROUTE), Some("b"), 0), unknown("go_1"), "left behind by b");
}

// scenario: hardening 9
#[test]
fn foreign_component_label_alone_is_no_conflict() {
    let at = SystemClock.instant();
    let matched = |labels: Value, members: &Members| {
        let seen = labelled("b", &labels, Some("b"), at);
        component_match(&seen, stated_controller(&names(), &seen, "kv", members), KV, "me", at)
    };
    let stamped =
        || json!({ "app.kubernetes.io/component": "platform", "app.kubernetes.io/managed-by": "x" });
    let unknown = ComponentMatch::Unknown { holder: "b".into() };
    assert_eq!(matched(stamped(), &Members::default()), unknown);
    let both = json!({ "app.kubernetes.io/component": "platform", "leaders.example.com/controller": KV });
    assert_eq!(matched(both, &Members::default()), ComponentMatch::Same);
    // Members of older versions set no key, and their presence says what they stand for.
    assert_eq!(matched(stamped(), &member("b", KV, at)), ComponentMatch::Same);
    let other = ComponentMatch::Other { controller: ROUTE.into(), holder: "b".into() };
    assert_eq!(matched(stamped(), &member("b", ROUTE, at)), other);
    assert_eq!(matched(stamped(), &member("c", ROUTE, at)), unknown);
}

#[test]
fn conflict_is_logged_each_half_minute_and_published_once() {
    let at = SystemClock.instant();
    let conflict = ComponentMatch::Other { controller: "other".into(), holder: "b".into() };
    let mut reports = ReportLimiter::default();
    let mut at_second = |component: &ComponentMatch, second| {
        let report = reports.report(component.other(), at + Duration::from_secs(second));
        (report.log, report.event)
    };
    assert_eq!(at_second(&conflict, 0), (true, true));
    assert_eq!(at_second(&conflict, 29), (false, false));
    assert_eq!(at_second(&conflict, 30), (true, false));
    assert_eq!(at_second(&ComponentMatch::Same, 31), (false, false));
    assert_eq!(at_second(&conflict, 32), (true, true), "a new conflict");
}
