// SPDX-License-Identifier: Apache-2.0
//! Known answers. `testdata/pod_templates.json` holds templates as written, what Go's JSON makes of them
//! and the FNV-1a of their dump, all printed by a program in Go: types of `k8s.io/api` v0.36.3 less the
//! fields that the schemas of 1.31 do not know, go-spew as Kubernetes configures it for hashes;
//! `creationTimestamp: null` was put into each metadata, as releases of 1.31 write it.

use serde_json::{Value, json};

use super::{
    go_hash::{GoTemplateHash, go_dump, go_template_hash},
    go_json::{go_json, revision_data},
    hashes::{fnv1, revision_hash},
    layout::{Layout, POD_TEMPLATE},
};

const TEMPLATES: &str = include_str!("testdata/pod_templates.json");
const ROLE_SET_TYPES: &str = include_str!("testdata/role_set_types.txt");

fn templates() -> Vec<Value> {
    serde_json::from_str(TEMPLATES).unwrap()
}

#[test]
fn hash_of_a_pod_template_is_that_of_go() {
    for known in templates() {
        let hash = go_template_hash(&known["written"], &Layout::core()).unwrap();
        assert_eq!(hash.full, known["encoded"].as_str().unwrap(), "{}", known["written"]);
        assert!(hash.full.starts_with(&hash.short) && hash.short.len() == 6);
        assert!(hash.is(&hash.full) && hash.is(&hash.short) && !hash.is("000000"));
    }
}

#[test]
fn dump_names_fields_and_types_as_the_reference_describes_it() {
    let dump = go_dump(
        &json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 1}]}]}}),
        &Layout::core(),
    );
    let dump = dump.unwrap();
    for part in [
        "(v1.PodTemplateSpec){ObjectMeta:(v1.ObjectMeta){Name:(string) GenerateName:(string)",
        "CreationTimestamp:(v1.Time){Time:(time.Time){wall:(uint64)0 ext:(int64)0 loc:(*time.Location)<nil>",
        "Labels:(map[string]string)<nil>",
        "Spec:(v1.PodSpec){Volumes:([]v1.Volume)<nil>",
        "Ports:([]v1.ContainerPort)[{Name:(string) HostPort:(int32)0 ContainerPort:(int32)1 Protocol:(",
        "ImagePullPolicy:(v1.PullPolicy)",
    ] {
        assert!(dump.contains(part), "{part} in {dump}");
    }
}

#[test]
fn hash_depends_on_how_the_template_was_written_and_not_on_unknown_members() {
    let hash =
        |container: Value| go_template_hash(&json!({"spec": {"containers": [container]}}), &Layout::core());
    let cpu = |text: &str| hash(json!({"resources": {"limits": {"cpu": text}}}));
    assert_ne!(cpu("1"), cpu("1000m"));
    assert_ne!(hash(json!({})), hash(json!({"env": []})));
    assert_eq!(hash(json!({})), hash(json!({"stdin": false, "brandNew": {"a": 1}})));
    assert_eq!(hash(json!({"stdin": "yes"})), None, "Go could not have read it");
}

#[test]
fn template_is_written_as_go_writes_it() {
    for known in templates() {
        let mut written = known["written"].clone();
        // Go loses what it does not know, and this module keeps it.
        for (parent, unknown) in [("metadata", "unknownMember"), ("spec", "restartPolicyRules")] {
            if let Some(members) = written[parent].as_object_mut() {
                members.remove(unknown);
            }
        }
        written.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let text = go_json(&written, &Layout::core(), POD_TEMPLATE);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), known["go"], "{text}");
    }
}

/// Data and number are those that the reference gives as its example.
#[test]
fn revision_has_the_byte_form_and_the_hash_of_the_reference() {
    let written = json!({"metadata": {"labels": {"app": "demo"}}, "spec": {
        "updateStrategy": "Sequential",
        "roles": [{
            "name": "worker", "replicas": 1, "stateful": false, "updateStrategy": {"type": "Recreate"},
            "template": {"spec": {"containers": [{
                "name": "main", "image": "nginx:1", "args": ["a && b >/dev/null"], "env": [],
            }]}},
        }],
    }});
    let data = revision_data(&written, &Layout::core().with(ROLE_SET_TYPES), "aibrix.RoleSetTemplate");
    let expected = concat!(
        r#"{"spec":{"template":{"$patch":"replace","metadata":"#,
        r#"{"creationTimestamp":null,"labels":{"app":"demo"}},"#,
        r#""spec":{"roles":[{"disruptionTolerance":{},"name":"worker","replicas":1,"template":{"metadata":"#,
        r#"{"creationTimestamp":null},"spec":{"containers":[{"args":["a \u0026\u0026 b \u003e/dev/null"],"#,
        r#""image":"nginx:1","name":"main","resources":{}}]}},"updateStrategy":{"type":"Recreate"}}],"#,
        r#""updateStrategy":"Sequential"}}}}"#,
    );
    assert_eq!(data, expected);
    assert_eq!(fnv1(data.bytes().chain(*b"0").collect::<Vec<_>>().iter()), 117_674_653);
    assert_eq!(revision_hash(data.as_bytes(), 0), "55cbc8");
}

#[test]
fn unknown_members_are_written_as_they_stand() {
    let written = json!({"spec": {"containers": [], "zNew": {"b": "<", "a": null}}});
    assert_eq!(
        go_json(&written, &Layout::core(), POD_TEMPLATE),
        r#"{"metadata":{"creationTimestamp":null},"spec":{"containers":[],"zNew":{"a":null,"b":"\u003c"}}}"#,
    );
}

#[test]
fn six_characters_of_the_hash_are_its_first_six() {
    let hash = GoTemplateHash { short: "6f8686".to_owned(), full: "6f8686c995".to_owned() };
    assert_eq!(go_template_hash(&json!({"spec": {"containers": []}}), &Layout::core()), Some(hash));
}
