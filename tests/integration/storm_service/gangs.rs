// SPDX-License-Identifier: Apache-2.0
//! `PodGroups` of three schedulers, of which only the kinds are there.

use serde_json::{Value, json};

use crate::support::{ControlPlane, manager::Manager, objects, passes::Passes};

use super::world::{Scene, plane, role, said, start, with};

/// A scheduler: member of the strategy, group and version of its `PodGroups`, key on pods, whether that is an annotation,
/// too, and a strategy. The `PodGroups` of Volcano have no status of their own, and a default for the queue.
struct Scheduler {
    name: &'static str,
    group: &'static str,
    version: &'static str,
    key: &'static str,
    annotated: bool,
    more: fn() -> Value,
}

const SCHEDULERS: [Scheduler; 3] = [
    Scheduler {
        name: "godel",
        group: "scheduling.godel.kubewharf.io",
        version: "v1alpha1",
        key: "godel.bytedance.com/pod-group-name",
        annotated: true,
        more: || json!({"application": "a", "affinity": {"podGroupAffinity": {"required": [{"topologyKey": "rack"}]}}}),
    },
    Scheduler {
        name: "coscheduling",
        group: "scheduling.x-k8s.io",
        version: "v1alpha1",
        key: "scheduling.x-k8s.io/pod-group",
        annotated: false,
        more: || json!({"minResources": {"cpu": "2"}, "scheduleTimeoutSeconds": 60}),
    },
    Scheduler {
        name: "volcano",
        group: "scheduling.volcano.sh",
        version: "v1beta1",
        key: "scheduling.k8s.io/group-name",
        annotated: true,
        more: || json!({"minTaskMember": {"worker": 1}}),
    },
];

impl Scheduler {
    fn crd(&self) -> Value {
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let mut spec = open.clone();
        let mut version = json!({"name": self.version, "served": true, "storage": true});
        if self.name == "volcano" {
            spec["properties"] = json!({"queue": {"type": "string", "default": "default"}});
        } else {
            version["subresources"] = json!({"status": {}});
        }
        let schema = json!({"type": "object", "properties": {"spec": spec, "status": open}});
        version["schema"] = json!({"openAPIV3Schema": schema});
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            // Approval that the API server wants for groups of its own domains.
            "metadata": {
                "name": format!("podgroups.{}", self.group),
                "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
            },
            "spec": {
                "group": self.group, "scope": "Namespaced", "names": {"kind": "PodGroup", "plural": "podgroups"},
                "versions": [version],
            },
        })
    }

    fn strategy(&self, members: u32) -> Value {
        let mut fields = (self.more)();
        fields["minMember"] = json!(members);
        json!({format!("{}SchedulingStrategy", self.name): fields})
    }

    /// A RoleSet of its name whose pods it schedules together.
    fn role_set(&self, scene: &Scene) -> Value {
        let mut it = scene.role_set(self.name, "Parallel", &[role("worker", 2, "engine:1")]);
        it["spec"]["schedulingStrategy"] = self.strategy(2);
        it
    }

    fn pod_group(&self, ns: &str, name: &str) -> Value {
        json!({
            "apiVersion": format!("{}/{}", self.group, self.version), "kind": "PodGroup",
            "metadata": {"name": name, "namespace": ns},
        })
    }

    /// Asserts that the pods bear the name of the group.
    async fn assert_marked(&self, scene: &Scene, role_set: &str, group: &str) {
        for (name, pod) in scene.pods("roleset-name", role_set).await {
            let has = |entries: &Option<std::collections::BTreeMap<String, String>>| {
                entries.as_ref().is_some_and(|it| it.get(self.key).is_some_and(|value| value == group))
            };
            let marked = (has(&pod.metadata.labels), has(&pod.metadata.annotations));
            assert_eq!(marked, (true, self.annotated), "{name}: {:?}", pod.metadata);
        }
    }

    /// What the scheduler itself, or somebody else, writes.
    async fn write_status(&self, scene: &Scene, group: &Value) {
        let status = json!({"status": {"phase": "Running"}});
        if self.name == "volcano" {
            scene.patch(group, &status).await;
            return;
        }
        let api = objects::api_of(&scene.client, group).await;
        let name = group["metadata"]["name"].as_str().expect("a name");
        let patch = kube::api::Patch::Merge(&status);
        api.patch_status(name, &kube::api::PatchParams::default(), &patch).await.expect("write the status");
    }
}

async fn install(plane: &ControlPlane, scheduler: &Scheduler) {
    let file = plane.new_path("crd.json");
    std::fs::write(&file, scheduler.crd().to_string()).expect("write the CRD");
    plane.apply_crds(&file).await;
}

/// Asserts that passes of the RoleSet leave the group alone.
async fn assert_idle(scene: &Scene, manager: &Manager, role_set: &Value, group: &Value) {
    let passes = Passes::of(manager, &scene.ns, role_set["metadata"]["name"].as_str().expect("a name"));
    for n in 0..3 {
        let before = passes.ended();
        scene.patch(role_set, &json!({"metadata": {"annotations": {"n": n.to_string()}}})).await;
        passes.until(before + 1).await;
    }
    let now = objects::get(&scene.client, group).await.expect("it is there");
    assert_eq!(now["metadata"]["resourceVersion"], group["metadata"]["resourceVersion"]);
}

// scenario: role-set-and-pod-set 46-48
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_scheduled_together() {
    let plane = plane().await;
    let manager = start(&plane).await;
    manager.wait_ready().await;
    let scene = Scene::on(&plane, "gangs").await;
    for scheduler in &SCHEDULERS {
        let it = scheduler.role_set(&scene);
        scene.create(&it).await;
        // Without the kind all works, and people are told.
        scene.ready_until(&it, "it is ready", |seen| said(seen, "Ready").starts_with("True")).await;
        scheduler.assert_marked(&scene, scheduler.name, scheduler.name).await;
        scene.until_event(scheduler.name, "Warning PodGroupKindMissing: ").await;
    }
    for scheduler in &SCHEDULERS {
        install(&plane, scheduler).await;
    }
    for scheduler in &SCHEDULERS {
        let it = scheduler.role_set(&scene);
        let group = scheduler.pod_group(&scene.ns, scheduler.name);
        let made = scene.until(&group, "the group is made", |_| true).await;
        let wanted = |members: u32| {
            let mut fields = (scheduler.more)();
            fields["minMember"] = json!(members);
            if scheduler.name == "volcano" {
                fields["queue"] = json!("default");
            }
            fields
        };
        assert_eq!(made["spec"], wanted(2));
        assert_eq!(made["metadata"]["labels"], json!({"roleset-name": scheduler.name}));
        let owner = &made["metadata"]["ownerReferences"][0];
        assert_eq!((&owner["kind"], &owner["controller"]), (&json!("RoleSet"), &json!(true)));
        let synced = format!("Normal PodGroupSynced: pod group {} synced", scheduler.name);
        scene.until_event(scheduler.name, &synced).await;
        assert_idle(&scene, &manager, &it, &made).await;
        let events = scene.events(scheduler.name).await;
        assert_eq!(events.iter().filter(|event| **event == synced).count(), 1, "{events:#?}");

        // What others write stays.
        scene
            .patch(
                &group,
                &json!({"metadata": {"labels": {"team": "a"}, "finalizers": ["example.com/keep"]}}),
            )
            .await;
        scheduler.write_status(&scene, &group).await;
        scene.patch(&it, &json!({"spec": {"schedulingStrategy": scheduler.strategy(3)}})).await;
        let changed = scene.until(&group, "it is changed", |seen| seen["spec"]["minMember"] == 3).await;
        assert_eq!(changed["spec"], wanted(3));
        assert_eq!(changed["status"], json!({"phase": "Running"}));
        assert_eq!(changed["metadata"]["labels"]["team"], "a");
        assert_eq!(changed["metadata"]["finalizers"], json!(["example.com/keep"]));
        scene.patch(&group, &json!({"metadata": {"finalizers": null}})).await;

        // Somebody else's deed is repaired; of itself nothing is written again.
        scene.patch(&group, &json!({"spec": {"minMember": 1}})).await;
        let repaired = scene.until(&group, "it is repaired", |seen| seen["spec"]["minMember"] == 3).await;
        assert_idle(&scene, &manager, &it, &repaired).await;

        scene.patch(&it, &json!({"spec": {"schedulingStrategy": null}})).await;
        scene.until_gone(&group).await;
    }

    // A group of pods of its own for each PodSet.
    for scheduler in &SCHEDULERS {
        let name = format!("{}-sets", scheduler.name);
        let of = |members: u32| {
            let more = json!({"podGroupSize": 2, "schedulingStrategy": scheduler.strategy(members)});
            with(role("worker", 1, "engine:1"), &more)
        };
        let it = scene.role_set(&name, "Parallel", &[of(2)]);
        scene.create(&it).await;
        scene.ready_until(&it, "it is ready", |seen| said(seen, "Ready").starts_with("True")).await;
        let key = format!("{}/podset-name", super::world::PREFIX);
        let pods = scene.pods("roleset-name", &name).await;
        let set = super::world::label(pods.values().next().expect("a pod"), &key);
        scheduler.assert_marked(&scene, &name, &set).await;
        let group = scheduler.pod_group(&scene.ns, &set);
        let made = scene.until(&group, "the group is made", |_| true).await;
        assert_eq!(made["metadata"]["ownerReferences"][0]["kind"], "PodSet");
        assert_eq!(made["metadata"]["labels"], json!({key.as_str(): set}));
        // What the role says later reaches it, and what it does not say any more goes.
        let mut less = of(1);
        let fields = &mut less["schedulingStrategy"][format!("{}SchedulingStrategy", scheduler.name)];
        *fields = json!({"minMember": 1});
        scene.patch(&it, &json!({"spec": {"roles": [less]}})).await;
        let only = |seen: &Value| {
            let mut spec = seen["spec"].clone();
            spec.as_object_mut().expect("a spec").remove("queue");
            spec == json!({"minMember": 1})
        };
        scene.until(&group, "it is changed", only).await;
        assert_eq!(
            scene.pods("roleset-name", &name).await.keys().collect::<Vec<_>>(),
            pods.keys().collect::<Vec<_>>()
        );
        objects::delete(&scene.client, &it).await;
        scene.until_gone(&it).await;
        scene.until_gone(&group).await;
    }
}
