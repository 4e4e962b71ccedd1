// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::{
    cases::{deployment, settings, stored, workload},
    objects::Wanted,
    owned_fields::{merge_owned, patch_between},
};

fn want() -> Value {
    Wanted::of(&deployment(&workload("default", "d", "m", 0)), &settings()).unwrap().spec
}

fn have() -> Value {
    stored(&json!({"metadata": {"name": "m-router"}, "spec": want()}))["spec"].clone()
}

#[test]
fn defaults_of_the_api_server_are_no_difference() {
    let have = have();
    assert_ne!(have, want());
    assert_eq!(merge_owned(&have, &want()), have);
    assert_eq!(patch_between(&have, &have), json!({}));
}

#[test]
fn every_edit_of_a_known_field_is_undone() {
    let whole = have();
    for (place, value) in [
        ("/hostnames", json!(["evil.example"])),
        ("/parentRefs/0/name", json!("other")),
        ("/parentRefs/0/sectionName", json!("http")),
        ("/parentRefs/0/port", json!(80)),
        ("/parentRefs/0/kind", json!("Service")),
        ("/parentRefs/1", json!({"name": "second"})),
        ("/rules/0/name", json!("rule")),
        ("/rules/0/filters", json!([{"type": "URLRewrite", "urlRewrite": {"hostname": "x.example"}}])),
        ("/rules/0/matches/3/path/value", json!("/else")),
        ("/rules/0/matches/3/path/type", json!("Exact")),
        ("/rules/0/matches/3/method", json!("GET")),
        ("/rules/0/matches/3/queryParams", json!([{"name": "a", "value": "b"}])),
        ("/rules/0/matches/3/headers/0/value", json!("n")),
        ("/rules/0/matches/3/headers/1", json!({"name": "x", "value": "y"})),
        ("/rules/0/matches/11", json!({"path": {"type": "PathPrefix", "value": "/more"}})),
        ("/rules/0/backendRefs/0/name", json!("n")),
        ("/rules/0/backendRefs/0/port", json!(1)),
        ("/rules/0/backendRefs/0/weight", json!(0)),
        ("/rules/0/backendRefs/0/filters", json!([])),
        ("/rules/0/backendRefs/1", json!({"name": "second", "port": 1})),
        ("/rules/0/timeouts/request", json!("1s")),
        ("/rules/0/timeouts/backendRequest", json!("1s")),
        ("/rules/1", json!({"backendRefs": [{"name": "b"}]})),
    ] {
        let mut edited = whole.clone();
        put(&mut edited, place, value);
        assert_ne!(edited, whole, "{place}");
        let merged = merge_owned(&edited, &want());
        let mut after = edited.clone();
        json_patch::merge(&mut after, &patch_between(&edited, &merged));
        assert_eq!(after, merged, "{place}");
        // What was a default may be left out: the API server writes it again.
        let after = stored(&json!({"metadata": {"name": "m-router"}, "spec": after}))["spec"].clone();
        assert_eq!(after, whole, "{place}");
    }
    for place in ["/parentRefs", "/rules/0/matches", "/rules/0/backendRefs", "/rules/0/timeouts", "/rules"] {
        let mut edited = whole.clone();
        let (parent, key) = place.rsplit_once('/').unwrap();
        edited.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
        let after = merge_owned(&edited, &want());
        let after = stored(&json!({"metadata": {"name": "m-router"}, "spec": after}))["spec"].clone();
        assert_eq!(after, whole, "{place}");
    }
}

#[test]
fn fields_of_other_channels_survive_a_repair() {
    let mut edited = have();
    put(&mut edited, "/useDefaultGateways", json!("All"));
    put(&mut edited, "/rules/0/retry", json!({"attempts": 3}));
    put(&mut edited, "/rules/0/sessionPersistence", json!({"sessionName": "s"}));
    put(&mut edited, "/rules/0/matches/2/future", json!(true));
    put(&mut edited, "/rules/0/backendRefs/0/future", json!(1));
    put(&mut edited, "/rules/0/timeouts/future", json!("x"));
    assert_eq!(merge_owned(&edited, &want()), edited, "they alone are no difference");

    let mut moved = edited.clone();
    put(&mut moved, "/rules/0/backendRefs/0/port", json!(1));
    // The match with the unknown field is found by its path, wherever it stands.
    moved.pointer_mut("/rules/0/matches").unwrap().as_array_mut().unwrap().swap(0, 2);
    assert_eq!(merge_owned(&moved, &want()), edited);
}

#[test]
fn a_spec_that_is_no_object_is_replaced() {
    for broken in [json!(null), json!("x"), json!([]), json!({"rules": "x", "parentRefs": {}})] {
        assert_eq!(merge_owned(&broken, &want()), want());
    }
}

/// Sets or adds what stands at a place.
fn put(object: &mut Value, place: &str, value: Value) {
    let (parent, key) = place.rsplit_once('/').unwrap();
    match object.pointer_mut(parent).unwrap() {
        Value::Array(list) => {
            let at: usize = key.parse().unwrap();
            if at == list.len() { list.push(value) } else { list[at] = value }
        }
        parent => parent[key] = value,
    }
}
