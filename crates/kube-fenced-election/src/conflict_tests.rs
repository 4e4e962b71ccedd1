// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use serde_json::json;

use crate::clock::{Clock, Instant, SystemClock};

use super::{
    conflict::*,
    observation::{LeaseSnapshot, Observation, Source},
};

fn held(holder: &str, component: Option<&str>, at: Instant) -> Observation {
    let labels = component.map(|component| json!({ "app.kubernetes.io/component": component }));
    let lease = json!({
        "metadata": { "resourceVersion": "1", "labels": labels },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-11-24T00:00:00.000000Z" },
    });
    let mut seen = Observation::new(at);
    seen.observe(LeaseSnapshot::Present(Box::new(serde_json::from_value(lease).unwrap())), Source::Watch, at);
    seen
}

#[test]
fn label_of_a_live_holder_tells_whose_lease_it_is() {
    let at = SystemClock.instant();
    let component = |holder, component, seconds| {
        component_match(
            &held(holder, component, at),
            "kv-cache-controller",
            "me",
            at + Duration::from_secs(seconds),
        )
    };
    let other = |holder: &str| ComponentMatch::Other {
        controller: "model-route-controller".into(),
        holder: holder.into(),
    };
    assert_eq!(component("b", Some("model-route-controller"), 0), other("b"));
    assert_eq!(component("b", Some("model-route-controller"), 15), ComponentMatch::Same, "expired");
    assert_eq!(component("", Some("model-route-controller"), 0), ComponentMatch::Same, "released");
    assert_eq!(
        component("me", Some("model-route-controller"), 0),
        ComponentMatch::Same,
        "relabelled under our hands"
    );
    assert_eq!(component("b", Some("kv-cache-controller"), 0), ComponentMatch::Same);
    assert_eq!(component("go_1", None, 0), ComponentMatch::Unlabelled { holder: "go_1".into() });
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
