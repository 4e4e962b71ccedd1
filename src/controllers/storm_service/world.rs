// SPDX-License-Identifier: Apache-2.0
//! A cluster in memory, for tests of many passes: plans are carried out on objects as JSON, and the test plays kubelet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube_fenced_election::clock::Timestamp;
use kube_loops::runtime::children::{Child, ChildRef};
use serde_json::{Value, json};

use crate::{
    api::{
        keys::storm_service::{IN_PLACE_READY, POD_SET_NAME},
        orchestration::{PodSet, RoleSet},
    },
    k8s::pod_facts::PodFacts,
};

use super::{
    pod_set::testing as groups,
    role_set::testing::{self as roles, Outcome},
};

/// Objects of one namespace, by kind and name.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) pods: BTreeMap<String, Value>,
    pub(super) sets: BTreeMap<String, Value>,
    pub(super) role_set: Value,
    /// Pods stay for a while when they are deleted, as those do that run on a node.
    pub(super) lingers: bool,
    serial: u64,
    seconds: i64,
    /// Uids of pods that were made, in order.
    pub(super) made: Vec<String>,
}

impl World {
    /// A RoleSet with these roles.
    pub(super) fn new(strategy: &str, roles: &[Value]) -> Self {
        let role_set = json!({
            "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RoleSet",
            "metadata": {"name": "set", "namespace": "ns", "uid": "role-set", "resourceVersion": "1", "generation": 1},
            "spec": {"updateStrategy": strategy, "roles": roles},
        });
        Self { role_set, seconds: 1_800_000_000, ..Self::default() }
    }

    /// Time goes on.
    pub(super) fn wait(&mut self, seconds: i64) {
        self.seconds += seconds;
    }

    /// Now.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_second(self.seconds).unwrap()
    }

    /// Somebody changes the roles.
    pub(super) fn edit(&mut self, roles: &[Value]) {
        self.role_set["spec"]["roles"] = json!(roles);
        let generation = self.role_set["metadata"]["generation"].as_i64().unwrap_or(0);
        self.role_set["metadata"]["generation"] = json!(generation + 1);
        self.touch();
    }

    fn touch(&mut self) {
        self.serial += 1;
        self.role_set["metadata"]["resourceVersion"] = json!(self.serial.to_string());
    }

    fn stamp(&mut self, mut object: Value) -> (String, Value) {
        self.serial += 1;
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        object["metadata"]["uid"] = json!(format!("uid-{}", self.serial));
        object["metadata"]["resourceVersion"] = json!(self.serial.to_string());
        object["metadata"]["creationTimestamp"] = json!(self.now().to_string());
        (name, object)
    }

    /// The pod is ready, and runs the image of its spec; or it is not.
    pub(super) fn say_ready(&mut self, name: &str, ready: bool) {
        self.serial += 1;
        let version = json!(self.serial.to_string());
        let pod = self.pods.get_mut(name).expect("the pod is there");
        pod["metadata"]["resourceVersion"] = version;
        let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
        let statuses: Vec<Value> = containers
            .iter()
            .map(|it| {
                json!({"name": it["name"], "ready": ready, "restartCount": 0, "imageID": format!("id of {}", it["image"])})
            })
            .collect();
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let has = |gate: &Value| {
            conditions.iter().any(|it| it["type"] == gate["conditionType"] && it["status"] == "True")
        };
        let open = pod["spec"]["readinessGates"].as_array().into_iter().flatten().all(has);
        let text = |holds: bool| if holds { "True" } else { "False" };
        let mut said = vec![
            json!({"type": "Ready", "status": text(ready && open)}),
            json!({"type": "ContainersReady", "status": text(ready)}),
        ];
        said.extend(
            conditions.into_iter().filter(|it| it["type"] != "Ready" && it["type"] != "ContainersReady"),
        );
        pod["status"] = json!({"phase": "Running", "containerStatuses": statuses, "conditions": said});
    }

    /// A condition of the pod is true, or false.
    pub(super) fn say(&mut self, name: &str, kind: &str, holds: bool) {
        self.serial += 1;
        let version = json!(self.serial.to_string());
        let pod = self.pods.get_mut(name).expect("the pod is there");
        pod["metadata"]["resourceVersion"] = version;
        let said = json!({"type": kind, "status": if holds { "True" } else { "False" }});
        let mut conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        match conditions.iter_mut().find(|it| it["type"] == kind) {
            Some(stored) => *stored = said,
            None => conditions.push(said),
        }
        pod["status"]["conditions"] = json!(conditions);
    }

    /// All pods that are not on their way out are ready.
    pub(super) fn all_ready(&mut self) {
        let names: Vec<String> = self.live_pods().map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.say_ready(name, true));
    }

    /// What lingered is gone.
    pub(super) fn reap(&mut self) {
        self.pods.retain(|_, pod| pod["metadata"]["deletionTimestamp"].is_null());
    }

    /// Pods that are not being deleted.
    pub(super) fn live_pods(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.pods.iter().filter(|(_, pod)| pod["metadata"]["deletionTimestamp"].is_null())
    }

    /// How many of them are ready.
    pub(super) fn ready(&self) -> usize {
        self.live_pods().filter(|(_, pod)| is_ready(pod)).count()
    }

    /// Images of the first containers of live pods, sorted.
    pub(super) fn images(&self) -> Vec<String> {
        let image = |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().unwrap_or("").to_owned();
        let mut images: Vec<String> = self.live_pods().map(|(_, pod)| image(pod)).collect();
        images.sort();
        images
    }

    fn delete_pod(&mut self, name: &str, uid: &str) {
        let now = json!(self.now().to_string());
        let Some(pod) = self.pods.get_mut(name).filter(|pod| pod["metadata"]["uid"] == uid) else { return };
        if self.lingers && pod["status"]["phase"] == "Running" {
            if pod["metadata"]["deletionTimestamp"].is_null() {
                pod["metadata"]["deletionTimestamp"] = now;
            }
        } else {
            self.pods.remove(name);
        }
    }

    fn patch(object: Option<&mut Value>, reference: &ChildRef, patch: &Value, version: u64) {
        let Some(object) = object.filter(|it| it["metadata"]["uid"] == reference.uid) else { return };
        json_patch::merge(object, patch);
        object["metadata"]["resourceVersion"] = json!(version.to_string());
    }

    /// Children that an object with this uid controls.
    pub(super) fn pods_of(&self, uid: &str) -> Vec<Child<PodFacts>> {
        let ours = self.pods.values().filter(|pod| pod["metadata"]["ownerReferences"][0]["uid"] == uid);
        ours.map(|pod| {
            let facts = Arc::new(PodFacts::for_test(pod));
            if facts.leaving { Child::Terminating(facts) } else { Child::Ours(facts) }
        })
        .collect()
    }

    /// PodSets of the RoleSet.
    pub(super) fn sets_of(&self) -> Vec<Child<PodSet>> {
        let read = |set: &Value| -> PodSet { serde_json::from_value(set.clone()).expect("a PodSet") };
        self.sets
            .values()
            .map(|set| {
                let read = Arc::new(read(set));
                let leaves = read.metadata.deletion_timestamp.is_some();
                if leaves { Child::Terminating(read) } else { Child::Ours(read) }
            })
            .collect()
    }

    /// The RoleSet as the loop reads it.
    pub(super) fn role_set(&self) -> Arc<RoleSet> {
        Arc::new(serde_json::from_value(self.role_set.clone()).expect("a RoleSet"))
    }

    /// Pods of PodSets.
    pub(super) fn grouped(&self) -> Vec<Arc<PodFacts>> {
        let of_set = |pod: &&Value| !pod["metadata"]["labels"][POD_SET_NAME].is_null();
        self.pods.values().filter(of_set).map(|pod| Arc::new(PodFacts::for_test(pod))).collect()
    }

    /// One pass of the RoleSet, and one of each PodSet. Answers with what was told, and whether anything was done.
    pub(super) fn pass(&mut self) -> (Vec<String>, bool) {
        let shown = self.clone();
        let Outcome { steps, told, status } = roles::pass(&shown, self.serial);
        let mut busy = !steps.is_empty();
        for step in steps {
            self.carry_out(step);
        }
        if let Some(status) = status
            && self.role_set["status"] != status
        {
            busy = true;
            self.role_set["status"] = status;
        }
        let sets: Vec<String> = self.sets.keys().cloned().collect();
        for name in sets {
            busy |= self.pass_of_group(&name);
        }
        (told, busy)
    }

    /// One pass of a PodSet. Answers with whether anything was done.
    pub(super) fn pass_of_group(&mut self, name: &str) -> bool {
        let Some(set) = self.sets.get(name) else { return false };
        let set: Arc<PodSet> = Arc::new(serde_json::from_value(set.clone()).expect("a PodSet"));
        let uid = set.metadata.uid.clone().unwrap_or_default();
        let done = groups::pass(&set, self.pods_of(&uid));
        let busy = !done.steps.is_empty();
        for step in done.steps {
            self.carry_out(step);
        }
        if done.finalized {
            self.sets.remove(name);
            return true;
        }
        let Some(stored) = self.sets.get_mut(name) else { return busy };
        let changed = stored["status"] != done.status;
        stored["status"] = done.status;
        busy || changed
    }

    /// Makes a change.
    pub(super) fn carry_out(&mut self, step: Change) {
        self.serial += 1;
        let version = self.serial;
        match step {
            Change::CreatePod(pod) => {
                let (name, pod) = self.stamp(pod);
                if !self.pods.contains_key(&name) {
                    self.made.push(pod["metadata"]["uid"].as_str().expect("a uid").to_owned());
                    self.pods.insert(name, pod);
                }
            }
            Change::CreateSet(set) => {
                let (name, set) = self.stamp(set);
                self.sets.entry(name).or_insert(set);
            }
            Change::DeletePod(pod) => self.delete_pod(&pod.name, &pod.uid),
            Change::DeleteSet(set) => {
                let now = json!(self.now().to_string());
                if let Some(stored) =
                    self.sets.get_mut(&set.name).filter(|it| it["metadata"]["uid"] == set.uid)
                {
                    stored["metadata"]["deletionTimestamp"] = now;
                }
            }
            Change::PatchPod(pod, patch) => Self::patch(self.pods.get_mut(&pod.name), &pod, &patch, version),
            Change::SetImages(pod, patch) => {
                let stored = self.pods.get_mut(&pod.name).filter(|it| it["metadata"]["uid"] == pod.uid);
                let Some(stored) = stored else { return };
                json_patch::merge(stored, &json!({"metadata": patch["metadata"]}));
                for wanted in patch["spec"]["containers"].as_array().into_iter().flatten() {
                    let containers = stored["spec"]["containers"].as_array_mut().into_iter().flatten();
                    for container in containers.filter(|it| it["name"] == wanted["name"]) {
                        container["image"] = wanted["image"].clone();
                    }
                }
                // Kubelet ends the old container.
                stored["metadata"]["resourceVersion"] = json!(version.to_string());
                self.say(&pod.name, "ContainersReady", false);
                self.say(&pod.name, "Ready", false);
            }
            Change::SetGate(pod, open) => {
                if self.pods.get(&pod.name).is_some_and(|it| it["metadata"]["uid"] == pod.uid) {
                    self.say(&pod.name, IN_PLACE_READY, open);
                }
            }
            Change::PatchSet(set, patch) => Self::patch(self.sets.get_mut(&set.name), &set, &patch, version),
            Change::PatchSelf(patch) => json_patch::merge(&mut self.role_set, &patch),
        }
    }

    /// Passes until nothing is done any more; pods become ready one after the other. Calls `look` at each state.
    ///
    /// # Panics
    /// When it does not come to rest.
    pub(super) fn settle(&mut self, mut look: impl FnMut(&Self)) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..400 {
            self.wait(1);
            let (more, busy) = self.pass();
            told.extend(more);
            look(self);
            self.reap();
            look(self);
            let waiting = self.live_pods().find(|(_, pod)| !is_ready(pod)).map(|(name, _)| name.clone());
            match waiting {
                Some(name) => self.say_ready(&name, true),
                None if !busy => return told,
                None => {}
            }
        }
        panic!("it does not come to rest: {:#?}", self.images());
    }

    /// Uids of live pods.
    pub(super) fn uids(&self) -> BTreeSet<String> {
        let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap_or("").to_owned();
        self.live_pods().map(|(_, pod)| uid(pod)).collect()
    }
}

/// Whether the pod is ready by its condition.
pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True")
}

/// A change, whichever loop makes it.
#[derive(Debug, Clone)]
pub(super) enum Change {
    CreatePod(Value),
    CreateSet(Value),
    DeletePod(ChildRef),
    DeleteSet(ChildRef),
    PatchPod(ChildRef, Value),
    SetImages(ChildRef, Value),
    SetGate(ChildRef, bool),
    PatchSet(ChildRef, Value),
    PatchSelf(Value),
}

/// A role of this name, number of replicas and image.
pub(super) fn role(name: &str, replicas: usize, image: &str, more: &Value) -> Value {
    let mut role = json!({
        "name": name, "replicas": replicas,
        "template": {"spec": {"containers": [{"name": "main", "image": image}]}},
    });
    json_patch::merge(&mut role, more);
    role
}
