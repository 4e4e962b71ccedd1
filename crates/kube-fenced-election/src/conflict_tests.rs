// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use serde_json::json;

use crate::clock::{Clock, Instant, SystemClock};

use super::{
    conflict::*,
    observation::{Observation, Sight, Source},
};

fn held(holder: &str, component: Option<&str>, at: Instant) -> Observation {
    let labels = component.map(|component| json!({ "app.kubernetes.io/component": component }));
    let lease = json!({
        "metadata": { "resourceVersion": "1", "labels": labels },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-11-24T00:00:00.000000Z" },
    });
    let mut seen = Observation::new(at);
    seen.saw(Sight::Present(Box::new(serde_json::from_value(lease).unwrap())), Source::Watch, at);
    seen
}

#[test]
fn label_of_a_live_holder_tells_whose_lease_it_is() {
    let at = SystemClock.instant();
    let tenant = |holder, component, seconds| {
        tenant_of(
            &held(holder, component, at),
            "kv-cache-controller",
            "me",
            at + Duration::from_secs(seconds),
        )
    };
    let other =
        |holder: &str| Tenant::Other { controller: "model-route-controller".into(), holder: holder.into() };
    assert_eq!(tenant("b", Some("model-route-controller"), 0), other("b"));
    assert_eq!(tenant("b", Some("model-route-controller"), 15), Tenant::Same, "expired");
    assert_eq!(tenant("", Some("model-route-controller"), 0), Tenant::Same, "released");
    assert_eq!(tenant("me", Some("model-route-controller"), 0), Tenant::Same, "relabelled under our hands");
    assert_eq!(tenant("b", Some("kv-cache-controller"), 0), Tenant::Same);
    assert_eq!(tenant("go_1", None, 0), Tenant::Unlabelled { holder: "go_1".into() });
}

#[test]
fn conflict_is_logged_each_half_minute_and_published_once() {
    let at = SystemClock.instant();
    let conflict = Tenant::Other { controller: "other".into(), holder: "b".into() };
    let mut reports = Reports::default();
    let mut at_second = |tenant: &Tenant, second| {
        let report = reports.report(tenant.other(), at + Duration::from_secs(second));
        (report.log, report.event)
    };
    assert_eq!(at_second(&conflict, 0), (true, true));
    assert_eq!(at_second(&conflict, 29), (false, false));
    assert_eq!(at_second(&conflict, 30), (true, false));
    assert_eq!(at_second(&Tenant::Same, 31), (false, false));
    assert_eq!(at_second(&conflict, 32), (true, true), "a new conflict");
}
