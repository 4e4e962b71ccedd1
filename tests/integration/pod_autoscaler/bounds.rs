// SPDX-License-Identifier: Apache-2.0
//! Strategies APA and KPA where metrics do not matter: missing targets, bounds, schedules.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    scene::{Scene, all_day, condition, said},
    world::{SOON, SYNC, bare},
};
use crate::support::wait::now;

// scenario: pod-autoscaler 26
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_target_is_reported_once_until_it_appears() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "missing").await;
    scene.say("web", 10);
    let it = scene.by_endpoint("web", "APA", "10");
    scene.create(&it).await;
    let seen = scene.until_said(&it, "AbleToScale", "False/FailedGetScale", SOON).await;
    let able = condition(&seen, "AbleToScale").expect("said");
    let message = able["message"].as_str().expect("text");
    assert!(
        message.starts_with("unable to get target scaleObj: failed to query scale subresource: "),
        "{message}"
    );
    assert_eq!(said(&seen, "ValidSpec"), "True/AsExpected");
    let event = scene.until_event("web", "Warning FailedGetScale: failed to query scale subresource: ").await;
    scene.stays(&it, &scene.passes(&world.manager, "web"), 4).await;
    assert_eq!(scene.events("web").await.expect("read"), [event], "no event for each retry");
    scene.deployment("web", 1).await;
    scene.until_said(&it, "AbleToScale", "True/SucceededGetScale", SYNC).await;
}

// scenario: pod-autoscaler 27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_brought_within_the_bounds_without_any_metric() {
    let scene = Scene::new(&bare().await.plane, "bounds").await;
    for (name, min, max, from, to, reason) in [
        ("large", 1, 5, 8, 5, "current replicas exceed maximum"),
        ("small", 3, 5, 1, 3, "current replicas below minimum"),
    ] {
        scene.deployment(name, from).await;
        let mut it = scene.autoscaler(name, "KPA", "10");
        it["spec"]["minReplicas"] = json!(min);
        it["spec"]["maxReplicas"] = json!(max);
        scene.create(&it).await;
        scene.until_replicas(name, to, SOON).await;
        scene.until_event(name, &format!("Normal SuccessfulRescale: New size: {to}; reason: {reason}")).await;
        let seen =
            scene.until(&it, SOON, "a history", |seen| seen["status"]["scalingHistory"][0].is_object()).await;
        let mut entry = seen["status"]["scalingHistory"][0].clone();
        let at = entry.as_object_mut().expect("an entry").remove("timestamp");
        assert_eq!(entry, json!({"previousScale": from, "newScale": to, "reason": reason, "success": true}));
        assert_eq!(Some(&seen["status"]["lastScaleTime"]), at.as_ref());
    }
}

// scenario: pod-autoscaler 28
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zero_stays_zero_unless_a_schedule_asks_for_more() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "zero").await;
    let schedules = [
        ("plain", None),
        ("woken", Some(all_day(&json!({"minReplicas": 4})))),
        ("capped", Some(all_day(&json!({"maxReplicas": 4})))),
    ];
    for (name, schedule) in schedules {
        scene.deployment(name, 0).await;
        // What is woken stays where its schedule wakes it; the others would go up if they were woken.
        scene.say(name, if name == "woken" { 10 } else { 1000 });
        let mut it = scene.by_endpoint(name, "KPA", "10");
        if let Some(schedule) = schedule {
            it["spec"]["schedules"] = json!([schedule]);
        }
        scene.create(&it).await;
    }
    scene.until_replicas("woken", 4, SOON).await;
    for name in ["plain", "capped"] {
        let gauge = crate::support::eventually(SOON, "a decision is shown", async || {
            let gauge = scene.gauge(&world.manager, name).await;
            if gauge.is_empty() { Err("none".to_owned()) } else { Ok(gauge) }
        })
        .await;
        assert_eq!(gauge.len(), 1, "{gauge:?}");
        assert!(gauge[0].contains("algorithm=\"boundary-check\""), "{gauge:?}");
        assert!(gauge[0].contains("reason=\"scaling disabled: current replicas is 0\"} 0"), "{gauge:?}");
        scene.keeps_replicas(name, 0, &scene.passes(&world.manager, name), 2).await;
    }
}

/// The next minute and the one after it as `HH:MM`, at least 20 s ahead, in a zone in which neither is
/// tomorrow.
async fn next_minutes() -> (String, String, String) {
    while now().as_second().rem_euclid(60) > 40 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let zone = if now().strftime("%H").to_string() == "23" { "Etc/GMT+12" } else { "UTC" };
    let local = now().in_tz(zone).expect("a zone");
    let minute = |n: i64| {
        let at =
            local.checked_add(Duration::from_secs(60 * u64::try_from(n).expect("small"))).expect("a time");
        at.strftime("%H:%M").to_string()
    };
    (zone.to_owned(), minute(1), minute(2))
}

// scenario: pod-autoscaler 48
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_raises_the_replicas_at_its_start_and_hands_the_bounds_back_at_its_end() {
    let scene = Scene::new(&bare().await.plane, "window").await;
    scene.deployment("web", 2).await;
    scene.say("web", 10);
    let (zone, start, end) = next_minutes().await;
    let mut it = scene.by_endpoint("web", "APA", "10");
    it["spec"]["schedules"] = json!([{"name": "peak", "timezone": zone, "startTime": start, "endTime": end, "minReplicas": 6, "maxReplicas": 20}]);
    scene.create(&it).await;
    let base = json!({"effectiveMinReplicas": 1, "effectiveMaxReplicas": 10});
    let bounds = |want: Value| move |seen: &Value| seen["status"]["scheduledBounds"] == want;
    scene.until(&it, SOON, "the base bounds", bounds(base.clone())).await;
    assert_eq!(scene.replicas("web").await, Ok(2));
    let peak = json!({"activeSchedule": "peak", "effectiveMinReplicas": 6, "effectiveMaxReplicas": 20});
    let minute = Duration::from_secs(62);
    scene.until(&it, minute + SYNC, "the bounds of the window", bounds(peak)).await;
    let late: u64 = now().strftime("%S").to_string().parse().expect("seconds");
    assert!(late <= SYNC.as_secs(), "{late} s after the minute");
    scene.until_replicas("web", 6, SYNC).await;
    scene.until(&it, minute + SYNC, "the base bounds again", bounds(base)).await;
}
