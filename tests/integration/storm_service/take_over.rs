// SPDX-License-Identifier: Apache-2.0
//! What AIBrix left behind, under AIBrix's own definition of StormServices.

use std::collections::BTreeSet;

use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::{
    ControlPlane, Options, eventually, history::History, install::NAMESPACE, kubelet::Kubelet, objects,
    tools::repository,
};

use super::{
    service_updates::{in_place, running},
    services::{COUNTS, service, sets, status},
    world::{API_VERSION, PREFIX, SOON, Scene, image, role, said, start},
};

/// A plane with AIBrix's definition of StormServices, which knows no drain, and without a manager.
async fn plane() -> ControlPlane {
    let plane = ControlPlane::start(Options::bare()).await;
    let client = plane.client().await;
    objects::create(&client, &objects::namespace(NAMESPACE)).await;
    plane.apply_crds(&repository().join("deploy/crds")).await;
    let stored = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "stormservices.orchestration.aibrix.ai"}});
    objects::delete(&client, &stored).await;
    eventually(SOON, "the definition is gone", async || {
        if objects::get(&client, &stored).await.is_none() { Ok(()) } else { Err("it is there".to_owned()) }
    })
    .await;
    plane.apply(&repository().join("tests/golden/storm_service_crd.yaml")).await;
    let overlay = "deploy/kustomize/overlays/standalone/stormservice-controller";
    plane.apply_kustomization(&repository().join(overlay)).await;
    plane
}

/// The template as AIBrix records it: of a newer version, with a drain and without the type of the strategy.
fn recorded_template(image: &str) -> Value {
    json!({
        "$patch": "replace", "metadata": {"creationTimestamp": null, "labels": {"app": "llm"}},
        "spec": {"updateStrategy": "Sequential", "roles": [{
            "disruptionTolerance": {}, "drain": {"timeoutSeconds": 5}, "name": "worker", "replicas": 1,
            "updateStrategy": {}, "template": {"metadata": {"creationTimestamp": null}, "spec": {"containers": [
                {"args": ["a && b"], "image": image, "name": "main", "resources": {"limits": {"cpu": "1"}}},
                {"image": "side:1", "name": "side", "resources": {}},
            ]}},
        }]},
    })
}

/// Refuses RoleSets in a namespace. Whether it does is to be waited for.
fn refusal(ns: &str) -> [Value; 2] {
    let of = |kind: &str, spec: &Value| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "no-more-sets"},
            "spec": spec})
    };
    let rule = json!({"apiGroups": ["orchestration.aibrix.ai"], "apiVersions": ["v1alpha1"], "operations": ["CREATE"],
        "resources": ["rolesets"]});
    let policy = json!({"matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "no more sets today"}]});
    let here = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns}}});
    let binding =
        json!({"policyName": "no-more-sets", "validationActions": ["Deny"], "matchResources": here});
    [of("ValidatingAdmissionPolicy", &policy), of("ValidatingAdmissionPolicyBinding", &binding)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aibrix_s_own_definition_is_enough_for_updates_in_place_and_for_failures() {
    let plane = plane().await;
    let (client, ns) = (plane.client().await, plane.namespace("own").await);
    let kubelet = Kubelet::new(client.clone(), &ns);
    let scene = Scene { client, ns, kubelet };
    let manager = start(&plane).await;
    manager.wait_ready().await;
    let mut it = service(&scene, "llm", Some(3), &[in_place("engine:1", "a")]);
    it["spec"]["updateStrategy"] = json!({"type": "InPlaceUpdate"});
    it["spec"]["template"]["spec"]["updateStrategy"] = json!("Parallel");
    it["spec"]["template"]["metadata"]["labels"]["old"] = json!("1");
    scene.create(&it).await;
    let named = ("storm-service-name", "llm");
    let run = async |id: &str| {
        let pods = scene.until_pods(named, "three pods", |pods| pods.len() == 3).await;
        for name in pods.keys() {
            scene.kubelet.patch(name, &running(id)).await;
        }
    };
    run("sha:1").await;
    let settled = |seen: &Value| {
        status(seen, &COUNTS) == [3, 3, 0, 3, 3, 3]
            && said(seen, "Ready") == "True/Ready"
            && seen["status"]["observedGeneration"] == seen["metadata"]["generation"]
    };
    scene.until(&it, "it is ready", settled).await;
    let brief = async || {
        let sets = sets(&scene, "llm").await;
        let of = |set: &Value| {
            let meta = &set["metadata"];
            let index = meta["annotations"][format!("{PREFIX}/roleset-index")].clone();
            (meta["name"].to_string(), meta["uid"].to_string(), index.to_string())
        };
        sets.iter().map(of).collect::<BTreeSet<_>>()
    };
    let before = brief().await;
    for set in sets(&scene, "llm").await {
        scene.patch(&set, &json!({"metadata": {"annotations": {"example.com/foreign": "kept"}}})).await;
    }
    let own = History::of(objects::api_of(&scene.client, &it).await, "llm").await;
    let mark = own.mark().await;
    let metadata = json!({"labels": {"old": null, "new": "1"}});
    let template = json!({"metadata": metadata, "spec": {"roles": [in_place("engine:2", "a")]}});
    scene.patch(&it, &json!({"spec": {"template": template}})).await;
    let moved = |seen: &Value| seen["status"]["observedGeneration"] == seen["metadata"]["generation"];
    scene.until(&it, "the edit is told", moved).await;
    scene
        .until_pods(named, "one has the image", |pods| pods.values().any(|pod| image(pod) == "engine:2"))
        .await;
    let early = own.since(mark).await;
    assert!(early.iter().filter(|seen| moved(seen)).all(|seen| status(seen, &["updatedReplicas"]) == [0]));
    eventually(SOON, "all run the new image", async || {
        run("sha:2").await;
        let seen = objects::get(&scene.client, &it).await.ok_or("gone")?;
        if settled(&seen) { Ok(()) } else { Err(seen["status"].to_string()) }
    })
    .await;
    assert_eq!(brief().await, before);
    for set in sets(&scene, "llm").await {
        let (labels, annotations) = (&set["metadata"]["labels"], &set["metadata"]["annotations"]);
        assert_eq!((&labels["old"], &labels["new"]), (&Value::Null, &json!("1")));
        assert_eq!(annotations["example.com/foreign"], "kept");
    }

    let [policy, binding] = refusal(&scene.ns);
    scene.create(&policy).await;
    scene.create(&binding).await;
    eventually(SOON, "RoleSets are refused", async || {
        let probe = scene.role_set("probe", "Parallel", &[]);
        let refused = objects::try_create(&scene.client, &probe).await.is_err();
        objects::delete(&scene.client, &probe).await;
        if refused { Ok(()) } else { Err("it is taken".to_owned()) }
    })
    .await;
    scene.patch(&it, &json!({"spec": {"replicas": 4}})).await;
    let seen = scene.until(&it, "it is told", |seen| said(seen, "ReplicaFailure") == "True/Failure").await;
    assert!(seen["status"]["conditions"].to_string().contains("no more sets today"), "{}", seen["status"]);
    assert_eq!(status(&seen, &COUNTS), [3, 3, 0, 3, 3, 3]);
    objects::delete(&scene.client, &binding).await;
    eventually(SOON, "it is scaled", async || {
        for name in scene.pods(named.0, named.1).await.keys() {
            scene.kubelet.patch(name, &running("sha:2")).await;
        }
        let seen = objects::get(&scene.client, &it).await.ok_or("gone")?;
        let done = status(&seen, &COUNTS[..2]) == [4, 4] && said(&seen, "ReplicaFailure").is_empty();
        if done { Ok(()) } else { Err(seen["status"].to_string()) }
    })
    .await;
    let same = |one: &Value, other: &Value| one["status"] == other["status"] && one["spec"] == other["spec"];
    let versions = own.since(mark).await;
    assert!(!versions.windows(2).any(|pair| same(&pair[0], &pair[1])), "nothing is written without a change");
}

// scenario: storm-service 49
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_aibrix_recorded_and_made_is_left_as_it_is() {
    let plane = plane().await;
    let (client, ns) = (plane.client().await, plane.namespace("left").await);
    let kubelet = Kubelet::new(client.clone(), &ns);
    let scene = Scene { client, ns, kubelet };
    let mut roles = json!([{
        "name": "worker", "replicas": 1, "stateful": false, "updateStrategy": {},
        "template": {"spec": {"containers": [
            {"name": "main", "image": "engine:1", "args": ["a && b"], "resources": {"limits": {"cpu": "1000m"}}},
            {"name": "side", "image": "side:1"},
        ]}},
    }]);
    let template = json!({"metadata": {"labels": {"app": "llm"}}, "spec": {"roles": roles}});
    let selector = json!({"matchLabels": {"app": "llm"}});
    let it = scene.object(
        "StormService",
        "llm",
        &json!({"replicas": 2, "selector": selector, "template": template}),
    );
    let uid = scene.create(&it).await.uid();
    let owner = json!([{"apiVersion": API_VERSION, "kind": "StormService", "name": "llm", "uid": uid,
        "controller": true, "blockOwnerDeletion": true}]);
    let revision = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1,
        "data": {"spec": {"template": recorded_template("engine:1")}},
        "metadata": {"name": "llm-456789", "namespace": scene.ns, "ownerReferences": owner,
            "labels": {"name": "llm", "controller.kubernetes.io/hash": "456789"}},
    });
    scene.create(&revision).await;
    let mut before = Vec::new();
    for index in ["0", "1"] {
        let mut set = scene.role_set(&format!("llm-roleset-{index}"), "Sequential", &[]);
        set["spec"]["roles"] = roles.take();
        roles = set["spec"]["roles"].clone();
        set["metadata"]["ownerReferences"] = owner.clone();
        set["metadata"]["labels"] =
            json!({"app": "llm", "storm-service-name": "llm", "storm-service-revision": "llm-456789"});
        set["metadata"]["annotations"] = json!({format!("{PREFIX}/roleset-index"): index});
        before.push(json!(scene.create(&set).await));
    }
    let manager = start(&plane).await;
    manager.wait_ready().await;
    let seen = scene
        .ready_until(&it, "all are ready", |seen| {
            status(seen, &COUNTS) == [2, 2, 0, 2, 2, 2] && said(seen, "Ready") == "True/Ready"
        })
        .await;
    assert_eq!(seen["status"]["updateRevision"], "llm-456789");
    let mut after = sets(&scene, "llm").await;
    after.sort_by_key(|set| set["metadata"]["name"].to_string());
    for (before, after) in before.iter().zip(&after) {
        for field in ["uid", "generation", "labels", "annotations"] {
            assert_eq!(before["metadata"][field], after["metadata"][field], "{field}");
        }
    }
    let api = objects::api(&scene.client, "apps/v1", "ControllerRevision", Some(&scene.ns)).await;
    let recorded = async || api.list(&kube::api::ListParams::default()).await.expect("list").items.len();
    assert_eq!(recorded().await, 1);

    // What is changed now is a change.
    let image = json!([role("worker", 1, "engine:2")]);
    scene.patch(&it, &json!({"spec": {"template": {"spec": {"roles": image}}}})).await;
    scene
        .ready_until(&it, "it is rolled", |seen| {
            let rolled = seen["status"]["currentRevision"] != "llm-456789";
            rolled && said(seen, "Ready") == "True/Ready"
        })
        .await;
    assert_eq!(recorded().await, 2);
}
