// SPDX-License-Identifier: Apache-2.0
//! Objects as AIBrix left them. `testdata/aibrix.jsonl` is what the API server had stored of them, one a line: four
//! StormServices, one of which was rolled, one whose stateful role was rolled and one that was updated in place, a RoleSet
//! and a `PodSet` that users made, and all that AIBrix made of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::{ControlPlane, eventually, objects, passes::Passes};

use super::world::{PREFIX, SOON, plane, start};

const OBJECTS: &str = include_str!("testdata/aibrix.jsonl");
const NAMESPACE: &str = "team-a";

fn stored() -> Vec<Value> {
    OBJECTS.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

/// What etcd calls the kind.
fn resource(kind: &str) -> &'static str {
    match kind {
        "Pod" => "pods",
        "Service" => "services/specs",
        "ControllerRevision" => "controllerrevisions",
        "StormService" => "orchestration.aibrix.ai/stormservices",
        "RoleSet" => "orchestration.aibrix.ai/rolesets",
        "PodSet" => "orchestration.aibrix.ai/podsets",
        other => panic!("{other}"),
    }
}

fn name(object: &Value) -> String {
    format!(
        "{} {}",
        object["kind"].as_str().expect("a kind"),
        object["metadata"]["name"].as_str().expect("a name")
    )
}

/// All of them as they are now, by kind and name.
async fn now(plane: &ControlPlane) -> BTreeMap<String, Value> {
    let client = plane.client().await;
    let mut found = BTreeMap::new();
    let kinds: BTreeSet<(String, String)> = stored()
        .iter()
        .map(|it| {
            (
                it["apiVersion"].as_str().expect("a version").to_owned(),
                it["kind"].as_str().expect("a kind").to_owned(),
            )
        })
        .collect();
    for (version, kind) in kinds {
        let api = objects::api(&client, &version, &kind, Some(NAMESPACE)).await;
        for object in api.list(&kube::api::ListParams::default()).await.expect("list") {
            let mut object = serde_json::to_value(object).expect("JSON");
            (object["apiVersion"], object["kind"]) = (json!(version), json!(kind));
            found.insert(name(&object), object);
        }
    }
    found
}

/// Without what a write of the annotations changes, and without these.
fn bare(object: &Value) -> Value {
    let mut bare = object.clone();
    let metadata = bare["metadata"].as_object_mut().expect("metadata");
    metadata.remove("resourceVersion");
    metadata.remove("managedFields");
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        for key in ["role-template-digest", "pod-fingerprint", "accepted-pod-group-size"] {
            annotations.remove(&format!("{PREFIX}/{key}"));
        }
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    bare
}

fn has_digest(object: &Value) -> bool {
    !object["metadata"]["annotations"][format!("{PREFIX}/role-template-digest")].is_null()
}

// scenario: role-set-and-pod-set 52
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_aibrix_made_is_taken_over_as_it_is() {
    let plane = plane().await;
    let client = plane.client().await;
    objects::create(&client, &objects::namespace(NAMESPACE)).await;
    for object in stored() {
        plane.store(resource(object["kind"].as_str().expect("a kind")), &object).await;
    }
    let before = now(&plane).await;
    assert_eq!(before.len(), stored().len());

    let first = start(&plane).await;
    let adopted = |(_, object): &(&String, &Value)| {
        object["kind"] == "Pod"
            || object["kind"] == "PodSet" && !object["metadata"]["ownerReferences"].is_null()
    };
    eventually(SOON, "all are adopted", async || {
        let now = now(&plane).await;
        let left: Vec<_> =
            now.iter().filter(adopted).filter(|(_, it)| !has_digest(it)).map(|(name, _)| name).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    drop(first);
    // The next one looks at everything once, and has nothing to do.
    let second = start(&plane).await;
    let mark = plane.audit().mark();
    for object in before.values() {
        if ["StormService", "RoleSet", "PodSet"].map(Value::from).contains(&object["kind"]) {
            Passes::of(&second, NAMESPACE, object["metadata"]["name"].as_str().expect("a name"))
                .until(1)
                .await;
        }
    }
    let after = now(&plane).await;
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for (name, object) in &after {
        assert_eq!(bare(object), bare(&before[name]), "{name}");
    }
    let mut audit = plane.audit();
    let changed = |entry: &&crate::support::audit::Entry| {
        let of_team = entry.object.as_ref().is_some_and(|object| object.namespace == NAMESPACE);
        entry.caller.is_some() && entry.is_write() && entry.is_ok() && of_team
    };
    let what = |entry: &crate::support::audit::Entry| format!("{} {}", entry.verb, entry.uri);
    let writes: Vec<String> = audit.entries().iter().filter(changed).map(what).collect();
    let of_members = |uri: &&String| uri.contains("/pods/") || uri.contains("/podsets/");
    assert!(writes.iter().all(|it| it.starts_with("patch ") && of_members(&it)), "{writes:#?}");
    assert_eq!(writes.len(), after.iter().filter(adopted).count(), "{writes:#?}");
    let again: Vec<String> = audit.since(mark).iter().filter(changed).map(what).collect();
    assert!(again.is_empty(), "{again:#?}");

    // A change of a template rolls what it names, and nothing else.
    let service = &before["StormService in-place"];
    let mut template = service["spec"]["template"].clone();
    template["spec"]["roles"][0]["template"]["spec"]["containers"][0]["image"] =
        json!("registry.example/server:v3");
    objects::patch(&client, service, &json!({"spec": {"template": template}})).await;
    let is_new = |object: &Value| object["spec"]["containers"][0]["image"] == "registry.example/server:v3";
    let rolled = eventually(SOON, "the pods have the image", async || {
        let now = now(&plane).await;
        let target = format!("{PREFIX}/in-place-update-target-hash");
        let done = |object: &&Value| is_new(object) && object["metadata"]["annotations"][&target].is_null();
        let count = now.values().filter(done).count();
        if count == 2 { Ok(now) } else { Err(format!("{count} pods are updated")) }
    })
    .await;
    for (name, object) in rolled.iter().filter(|(_, object)| object["kind"] == "Pod" && !is_new(object)) {
        assert_eq!(object, &after[name], "{name}");
    }
    let uids = |objects: &BTreeMap<String, Value>| -> Vec<Value> {
        let pods = objects.values().filter(|it| it["kind"] == "Pod");
        pods.map(|pod| pod["metadata"]["uid"].clone()).collect()
    };
    assert_eq!(uids(&rolled), uids(&after));
}
