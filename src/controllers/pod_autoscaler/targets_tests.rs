// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    cases::{annotated, pa, resource},
    targets::{Form, ScaleWrite, Target, TargetError, read_target},
};
use crate::api::autoscaling::PodAutoscaler;

fn service(role: Option<Value>, mode: Option<&str>) -> PodAutoscaler {
    let reference =
        json!({"apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "StormService", "name": "s"});
    let pa = pa(json!({"scaleTargetRef": reference, "subTargetSelector": role.unwrap_or(Value::Null)}));
    let mode: Vec<_> = mode.map(|mode| ("storm-service-mode", mode)).into_iter().collect();
    annotated(pa, &mode)
}

fn read(pa: &PodAutoscaler, object: Value) -> Target {
    read_target(pa, resource("g", "Kind"), Form::Object, &object)
}

fn role(name: &str) -> Option<Value> {
    Some(json!({"roleName": name}))
}

fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn replicas_of_ordinary_kinds_stand_in_the_spec() {
    let pa = pa(json!({}));
    assert_eq!(read(&pa, json!({"spec": {"replicas": 3}})).replicas, Ok(3));
    let missing = read(&pa, json!({"spec": {}})).replicas.unwrap_err();
    assert_eq!(missing.to_string(), "the 'replicas' field was not found in the scale object");
}

#[test]
fn a_scale_tells_what_its_kind_keeps_elsewhere() {
    let read = |form, object: Value| read_target(&pa(json!({})), resource("g", "Kind"), form, &object);
    let scale = json!({"metadata": {"uid": "u", "resourceVersion": "7"}, "spec": {"replicas": 2},
        "status": {"selector": "leaderworkerset.sigs.k8s.io/name=x,leaderworkerset.sigs.k8s.io/worker-index=0"}});
    let target = read(Form::Scale, scale);
    assert_eq!((target.replicas, target.write, target.found.count), (Ok(2), ScaleWrite::Scale, Some(2)));
    let pods = target.pods.unwrap();
    let of = |index: u8| {
        labels(&format!(
            "leaderworkerset.sigs.k8s.io/name=x leaderworkerset.sigs.k8s.io/worker-index={index}"
        ))
    };
    assert!(pods.matches(&of(0)) && !pods.matches(&of(1)), "leaders only");
    // It leaves out a count of 0, which is then held on to by the version.
    let none = read(Form::Scale, json!({"metadata": {"uid": "u", "resourceVersion": "7"}, "spec": {}}));
    assert_eq!((&none.replicas, none.found.count), (&Ok(0), None));
    assert_eq!(none.pods, Err(TargetError::NoScaleSelector("web".to_owned())));
    let hidden = read(Form::ScaleForbidden, json!({"spec": {"replicas": 2}})).pods.unwrap_err().to_string();
    assert!(hidden.ends_with("grant get and patch on kinds/scale"), "{hidden}");
}

#[test]
fn a_count_is_written_only_over_the_one_that_was_read() {
    let stored = |replicas: Value| json!({"metadata": {"uid": "u", "resourceVersion": "7"}, "spec": {"replicas": replicas, "other": 1}});
    let scaled = |read: &Value, now: &Value| {
        let target = self::read(&pa(json!({})), read.clone());
        let patch: json_patch::Patch = serde_json::from_value(target.write.patch(&target.found, 4)).unwrap();
        let mut object = now.clone();
        json_patch::patch(&mut object, &patch).is_ok().then_some(object)
    };
    let edited = |mut object: Value, path: &str, value: Value| {
        *object.pointer_mut(path).unwrap() = value;
        object
    };
    let (three, zero, none) = (stored(json!(3)), stored(json!(0)), stored(Value::Null));
    for read in [&three, &zero, &none] {
        assert_eq!(scaled(read, read), Some(edited(read.clone(), "/spec/replicas", json!(4))));
        let namesake = edited(read.clone(), "/metadata/uid", json!("v"));
        let successor =
            edited(edited(read.clone(), "/spec/replicas", json!(9)), "/metadata/resourceVersion", json!("8"));
        assert_eq!((scaled(read, &namesake), scaled(read, &successor)), (None, None), "{read}");
    }
    // What does not concern the count may change beside it, unless there was nothing to hold on to.
    let elsewhere = |object: &Value| edited(object.clone(), "/metadata/resourceVersion", json!("8"));
    assert!(scaled(&three, &elsewhere(&three)).is_some());
    assert_eq!(scaled(&zero, &elsewhere(&zero)), None);
}

#[test]
fn replicas_of_a_role_count_over_all_copies() {
    let object = |replicas: Value, role: Value| {
        json!({
            "spec": {"replicas": replicas, "template": {"spec": {"roles": [{"name": "decode", "replicas": 9}, role]}}},
            "status": {"roleStatuses": [{"name": "prefill", "replicas": 7}]},
        })
    };
    let pa = service(role("prefill"), None);
    for (replicas, entry, want, why) in [
        (json!(null), json!({"name": "prefill", "replicas": 2}), 2, "one copy by default"),
        (json!(3), json!({"name": "prefill", "replicas": 2}), 6, "three copies"),
        (json!(0), json!({"name": "prefill", "replicas": 2}), 2, "at least one copy"),
        (json!(3), json!({"name": "prefill"}), 7, "as counted, where the spec is silent"),
        (json!(1), json!({"name": "other"}), 7, "gone from the spec"),
    ] {
        assert_eq!(read(&pa, object(replicas, entry)).replicas, Ok(want), "{why}");
    }
    let unset =
        read(&service(role("x"), None), json!({"spec": {"template": {"spec": {"roles": [{"name": "x"}]}}}}));
    assert_eq!(unset.replicas, Ok(0));
    let absent = read(&service(role("x"), None), json!({"spec": {"template": {"spec": {}}}}));
    assert_eq!(absent.replicas.unwrap_err().to_string(), "role x not found");
    let empty = read(&service(role("x"), None), json!({"spec": {}}));
    assert_eq!(empty.replicas, Err(TargetError::NoTemplate("s".into())));
}

// scenario: pod-autoscaler 42
#[test]
fn scaling_a_role_touches_nothing_but_its_count() {
    let pa = service(role("prefill"), None);
    let mut object = json!({
        "metadata": {"uid": "u", "resourceVersion": "7"},
        "spec": {"replicas": 2, "template": {"spec": {"roles": [
            {"name": "decode", "replicas": 5, "unknown": true}, {"name": "prefill"},
        ]}}},
    });
    let target = read(&pa, object.clone());
    let patch = target.write.patch(&target.found, 5);
    let role = "/spec/template/spec/roles/1";
    assert_eq!(
        patch,
        json!([
            {"op": "test", "path": "/metadata/uid", "value": "u"},
            {"op": "test", "path": format!("{role}/name"), "value": "prefill"},
            {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}, // no count is stored
            {"op": "add", "path": format!("{role}/replicas"), "value": 3}, // 5 over two copies
        ])
    );
    let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
    json_patch::patch(&mut object, &patch).unwrap();
    let roles =
        json!([{"name": "decode", "replicas": 5, "unknown": true}, {"name": "prefill", "replicas": 3}]);
    assert_eq!(object["spec"]["template"]["spec"]["roles"], roles);

    let mut moved = json!({
        "metadata": {"uid": "u", "resourceVersion": "7"},
        "spec": {"template": {"spec": {"roles": [{"name": "prefill"}, {"name": "decode"}]}}},
    });
    assert!(json_patch::patch(&mut moved, &patch).is_err(), "the test guards the place");
    let found = target.write.relocated(&moved).unwrap();
    assert_eq!(found, ScaleWrite::Role { index: 0, name: "prefill".into(), copies: 1 });
    let gone = target.write.relocated(&json!({"spec": {"template": {"spec": {"roles": []}}}}));
    assert_eq!(gone, Err(TargetError::NoRole("prefill".into())));
}

// scenario: pod-autoscaler 42
#[test]
fn replica_mode_scales_whole_copies() {
    for selector in [role("prefill"), Some(json!({}))] {
        let target = read(&service(selector, Some("replica")), json!({"spec": {}}));
        assert_eq!((target.replicas, target.write), (Ok(1), ScaleWrite::Replicas));
    }
    let whole = read(&service(None, Some("replica")), json!({"spec": {}}));
    assert_eq!(whole.replicas, Err(TargetError::NoReplicas), "no sub-target: an ordinary kind");
    let pool = read(&service(Some(json!({})), None), json!({"spec": {"replicas": 2}}));
    assert_eq!((pool.replicas, pool.write), (Ok(2), ScaleWrite::Replicas), "no role: the whole service");
}

// scenario: pod-autoscaler 43
#[test]
fn pods_of_a_service_are_its_serving_pods() {
    let index = "stormservice.orchestration.aibrix.ai/pod-group-index";
    let of_role = read(&service(role("prefill"), None), json!({})).pods.unwrap();
    let of_service = read(&service(None, None), json!({})).pods.unwrap();
    for (pod, in_role, in_service) in [
        ("storm-service-name=s role-name=prefill".to_owned(), true, true),
        (format!("storm-service-name=s role-name=prefill {index}=0"), true, true),
        (format!("storm-service-name=s role-name=prefill {index}=1"), false, false),
        ("storm-service-name=s role-name=decode".to_owned(), false, true),
        ("storm-service-name=t role-name=prefill".to_owned(), false, false),
    ] {
        let pod = labels(&pod);
        assert_eq!((of_role.matches(&pod), of_service.matches(&pod)), (in_role, in_service), "{pod:?}");
    }
}

// scenario: pod-autoscaler 43
#[test]
fn pods_of_other_kinds_are_those_of_their_selector() {
    let index = "stormservice.orchestration.aibrix.ai/pod-group-index";
    let fleet =
        json!({"apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet", "name": "f"});
    let selector = json!({"spec": {"selector": {"matchLabels": {"app": "web"}}}});
    let pods = read(&pa(json!({})), selector.clone()).pods.unwrap();
    assert!(pods.matches(&labels(&format!("app=web {index}=1"))), "no index filter");
    let heads = read(&pa(json!({"scaleTargetRef": fleet})), selector).pods.unwrap();
    assert!(heads.matches(&labels("app=web ray.io/node-type=head")));
    assert!(!heads.matches(&labels("app=web ray.io/node-type=worker")) && !heads.matches(&labels("app=web")));
    let printed =
        json!({"status": {"selector": "app in (a,b)"}, "spec": {"selector": {"matchLabels": {"x": "y"}}}});
    assert!(read(&pa(json!({})), printed).pods.unwrap().matches(&labels("app=b")));
    let blank = json!({"status": {"selector": " "}, "spec": {"selector": {"app": "plain"}}});
    assert!(read(&pa(json!({})), blank).pods.unwrap().matches(&labels("app=plain")));
}

#[test]
fn a_selector_that_selects_everything_or_nothing_is_an_error() {
    let error = |object: Value| read(&pa(json!({})), object).pods.unwrap_err().to_string();
    assert_eq!(error(json!({"spec": {}})), "scale object \"web\" is missing spec.selector");
    assert_eq!(error(json!({"spec": {"selector": null}})), "scale object \"web\" is missing spec.selector");
    assert_eq!(error(json!({"spec": {"selector": {}}})), "scale object \"web\" has an empty selector");
    assert!(
        error(json!({"spec": {"selector": 5}})).starts_with("scale object \"web\" has an invalid selector: ")
    );
    assert!(error(json!({"status": {"selector": "a b"}})).contains("unable to parse requirement"));
}

#[test]
fn objects_of_any_shape_are_read_without_panic() {
    for object in
        [json!(null), json!([]), json!({"spec": 3}), json!({"spec": {"template": {"spec": {"roles": 7}}}})]
    {
        for pa in [pa(json!({})), service(role("x"), None), service(None, None)] {
            read(&pa, object.clone()).replicas.unwrap_err();
        }
    }
    let huge = json!({"spec": {"replicas": 2_147_483_647, "template": {"spec": {"roles": [{"name": "x", "replicas": 2_147_483_647}]}}}});
    let target = read(&service(role("x"), None), huge);
    assert_eq!(target.replicas, Ok(i32::MAX));
    assert_eq!(target.write.share_of(i32::MAX), 1);
}
