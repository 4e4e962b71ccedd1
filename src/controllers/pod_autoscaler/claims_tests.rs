// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    cases::pa,
    claims::{Claims, Settled},
    snapshot::Claim,
};
use crate::api::autoscaling::PodAutoscaler;
use kube_loops::runtime::reconciler::Key;

fn named(name: &str, created: i64, changes: Value) -> Arc<PodAutoscaler> {
    let mut pa = pa(changes);
    pa.metadata.name = Some(name.into());
    pa.metadata.creation_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(super::cases::at(created)));
    Arc::new(pa)
}

fn loser(name: &str, created: i64) -> Arc<PodAutoscaler> {
    let mut pa = Arc::unwrap_or_clone(named(name, created, json!({})));
    let condition = json!({
        "type": "MultiPodAutoscalerConflict", "status": "False", "reason": "X", "message": "",
        "lastTransitionTime": "2026-11-24T08:00:00Z",
    });
    pa.status = Some(serde_json::from_value(json!({"conditions": [condition]})).unwrap());
    Arc::new(pa)
}

fn key(name: &str) -> Key {
    Key::new("ns", name)
}

fn taken(target: &str, by: &str) -> Claim {
    Claim::Taken { target: target.into(), by: key(by) }
}

const WEB: &str = "apps/v1.Deployment/ns/web";

fn service(mode: Option<&str>, role: Option<&str>) -> impl Fn(&str) -> Arc<PodAutoscaler> {
    let reference =
        json!({"apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "StormService", "name": "s"});
    let selector = role.map_or(Value::Null, |role| json!({"roleName": role}));
    let annotations: Vec<_> = mode.map(|mode| ("storm-service-mode", mode.to_owned())).into_iter().collect();
    move |name| {
        let changes = json!({"scaleTargetRef": reference, "subTargetSelector": selector});
        let pa = Arc::unwrap_or_clone(named(name, 0, changes));
        let annotations: Vec<_> = annotations.iter().map(|(key, value)| (*key, value.as_str())).collect();
        Arc::new(super::cases::annotated(pa, &annotations))
    }
}

#[test]
fn second_autoscaler_on_a_target_reports_the_conflict() {
    let (a, b) = (named("a", 0, json!({})), named("b", 0, json!({})));
    let all = [Arc::clone(&a), Arc::clone(&b)];
    let mut claims = Claims::default();
    assert_eq!(claims.settle(&a, &all).claim, Claim::Held);
    assert_eq!(claims.settle(&b, &all).claim, taken(WEB, "a"));
    assert_eq!(claims.settle(&a, &all).claim, Claim::Held);
}

#[test]
fn the_holder_does_not_depend_on_whose_pass_runs_first() {
    let (a, b) = (named("a", 0, json!({})), named("b", 0, json!({})));
    let all = [Arc::clone(&b), Arc::clone(&a)];
    let mut claims = Claims::default();
    assert_eq!(claims.settle(&b, &all).claim, taken(WEB, "a"), "same age: by name");
    let old = named("z", -5, json!({}));
    let all = [b, a, old];
    let mut claims = Claims::default();
    assert_eq!(claims.settle(&all[1], &all).claim, taken(WEB, "z"), "the older one");
}

// scenario: pod-autoscaler 17
#[test]
fn a_restart_keeps_the_loser_a_loser() {
    let (a, b) = (loser("a", -5), named("b", 0, json!({})));
    let all = [Arc::clone(&a), Arc::clone(&b)];
    let mut claims = Claims::default();
    assert_eq!(claims.settle(&a, &all).claim, taken(WEB, "b"));
    assert_eq!(claims.settle(&b, &all).claim, Claim::Held);
}

#[test]
fn a_freed_target_wakes_who_waits_for_it() {
    let (a, b) = (named("a", 0, json!({})), named("b", 0, json!({})));
    let all = [Arc::clone(&a), Arc::clone(&b)];
    let mut claims = Claims::default();
    claims.settle(&a, &all);
    claims.settle(&b, &all);
    assert_eq!(claims.forget(&key("a")), [key("b")]);
    assert_eq!(claims.settle(&b, &all[1..]).claim, Claim::Held);
    assert_eq!(claims.forget(&key("b")), []);
}

#[test]
fn an_invalid_or_leaving_object_gives_its_target_up() {
    let (a, b) = (named("a", 0, json!({})), named("b", 0, json!({})));
    for gone in [
        named("a", 0, json!({"maxReplicas": 0})),
        Arc::new({
            let mut leaving = (*a).clone();
            leaving.metadata.deletion_timestamp = leaving.metadata.creation_timestamp.clone();
            leaving
        }),
    ] {
        let mut claims = Claims::default();
        claims.settle(&a, &[Arc::clone(&a), Arc::clone(&b)]);
        claims.settle(&b, &[Arc::clone(&a), Arc::clone(&b)]);
        let all = [Arc::clone(&gone), Arc::clone(&b)];
        assert_eq!(claims.settle(&gone, &all), Settled { claim: Claim::Unwanted, wake: vec![key("b")] });
        assert_eq!(claims.settle(&b, &all).claim, Claim::Held);
    }
}

// scenario: pod-autoscaler 16
#[test]
fn moving_onto_a_taken_target_gives_the_old_one_up() {
    let other = json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"}});
    let (a, b, c) = (named("a", 0, json!({})), named("b", 0, other.clone()), named("c", 0, json!({})));
    let mut claims = Claims::default();
    let all = [Arc::clone(&a), Arc::clone(&b), Arc::clone(&c)];
    all.iter().for_each(|pa| drop(claims.settle(pa, &all)));
    let moved = named("a", 0, other);
    let all = [Arc::clone(&moved), b, Arc::clone(&c)];
    let settled = claims.settle(&moved, &all);
    assert_eq!(settled, Settled { claim: taken("apps/v1.Deployment/ns/other", "b"), wake: vec![key("c")] });
    assert_eq!(claims.settle(&c, &all).claim, Claim::Held);
}

#[test]
fn versions_of_one_kind_are_one_target() {
    let beta = json!({"scaleTargetRef": {"apiVersion": "apps/v1beta1", "kind": "Deployment", "name": "web"}});
    let core = json!({"scaleTargetRef": {"apiVersion": "v1", "kind": "Deployment", "name": "web"}});
    let (a, b, c) = (named("a", 0, json!({})), named("b", 0, beta), named("c", 0, core));
    let all = [a, b, c];
    let mut claims = Claims::default();
    let got: Vec<_> = all.iter().map(|pa| claims.settle(pa, &all).claim).collect();
    assert_eq!(got, [Claim::Held, taken("apps/v1beta1.Deployment/ns/web", "a"), Claim::Held]);
}

// scenario: pod-autoscaler 15
#[test]
fn roles_of_a_service_exclude_each_other_by_name_and_the_whole_service_all_of_them() {
    let whole = "orchestration.aibrix.ai/v1alpha1.StormService/ns/s";
    for (first, second, conflict, why) in [
        ((None, Some("prefill")), (None, Some("prefill")), Some(format!("{whole}/prefill")), "same role"),
        ((None, Some("prefill")), (None, Some("decode")), None, "different roles"),
        ((None, None), (None, Some("decode")), Some(format!("{whole}/decode")), "service and role"),
        ((None, Some("decode")), (None, None), Some(whole.to_owned()), "role and service"),
        (
            (Some("replica"), Some("a")),
            (Some("replica"), Some("b")),
            Some(format!("{whole}/b")),
            "both scale whole copies",
        ),
        ((Some("replica"), Some("a")), (None, Some("b")), Some(format!("{whole}/b")), "copies and role"),
        ((Some("pool"), Some("a")), (None, Some("b")), None, "pool is the other mode"),
    ] {
        let all = [service(first.0, first.1)("a"), service(second.0, second.1)("b")];
        let mut claims = Claims::default();
        assert_eq!(claims.settle(&all[0], &all).claim, Claim::Held, "{why}");
        let want = conflict.map_or(Claim::Held, |target| taken(&target, "a"));
        assert_eq!(claims.settle(&all[1], &all).claim, want, "{why}");
    }
}

#[test]
fn a_better_rival_that_cannot_have_its_target_does_not_block_it() {
    let whole = Arc::unwrap_or_clone(service(None, None)("b"));
    let all = [service(None, Some("x"))("z"), Arc::new(whole), service(None, Some("y"))("c")];
    let mut claims = Claims::default();
    claims.settle(&all[0], &all[..1]);
    assert_eq!(claims.settle(&all[2], &all).claim, Claim::Held, "b would come first, but z holds a role");
}
