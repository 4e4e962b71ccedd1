// SPDX-License-Identifier: Apache-2.0
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Resource,
    core::{ObjectList, WatchEvent},
};

use super::deserialize_guard::DeserializeGuard;

const GOOD: &str = r#"{"metadata":{"name":"good","resourceVersion":"5"}}"#;
const BAD: &str = r#"{"metadata":{"namespace":"ns","name":"bad","uid":"u","resourceVersion":"6","labels":7},"spec":{"containers":"none"}}"#;

#[test]
fn a_malformed_object_says_who_it_is_and_what_is_wrong() {
    let guarded: DeserializeGuard<Pod> = serde_json::from_str(BAD).unwrap();
    let invalid = guarded.0.clone().unwrap_err();
    assert!(!invalid.error.is_empty());
    let meta = guarded.meta();
    assert_eq!(
        [&meta.namespace, &meta.name, &meta.uid, &meta.resource_version].map(|field| field.as_deref()),
        [Some("ns"), Some("bad"), Some("u"), Some("6")]
    );
}

#[test]
fn good_objects_of_a_list_survive_a_malformed_neighbour() {
    let text = format!(
        r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"9"}},"items":[{GOOD},{BAD},{GOOD}]}}"#
    );
    let list: ObjectList<DeserializeGuard<Pod>> = serde_json::from_str(&text).unwrap();
    let good: Vec<bool> = list.items.iter().map(|item| item.0.is_ok()).collect();
    assert_eq!(good, [true, false, true]);
}

#[test]
fn watch_events_are_parsed_as_the_api_server_writes_them() {
    let event: WatchEvent<DeserializeGuard<Pod>> =
        serde_json::from_str(&format!(r#"{{"type":"ADDED","object":{GOOD}}}"#)).unwrap();
    let WatchEvent::Added(object) = event else { panic!("not an addition") };
    assert_eq!(object.meta().name.as_deref(), Some("good"));
    let event: WatchEvent<DeserializeGuard<Pod>> =
        serde_json::from_str(&format!(r#"{{"type":"MODIFIED","object":{BAD}}}"#)).unwrap();
    let WatchEvent::Modified(object) = event else { panic!("not a change") };
    assert!(object.0.is_err());
}

#[test]
fn garbage_without_an_identity_is_still_no_error_of_its_list() {
    for garbage in ["7", "[]", "null", r#"{"metadata":"x"}"#] {
        let guarded: DeserializeGuard<Pod> = serde_json::from_str(garbage).unwrap();
        assert!(guarded.meta().name.is_none(), "{garbage}");
    }
}
