// SPDX-License-Identifier: Apache-2.0
//! A StormService in a cluster in memory, for tests of many passes: the conductor and this loop's `plan` and `conclude`
//! over objects as JSON. The test plays the RoleSet loop.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube_fenced_election::clock::Timestamp;
use kube_loops::{
    cluster::{
        error::{ObjectRef, WriteError},
        status::same,
    },
    runtime::{
        children::{Child, ChildRef, Parent},
        conductor::{Conclusion, Round, Stages},
        reconciler::{Key, Outcome, Pass},
        watches::Owned,
    },
    testkit::simulation::Simulation,
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::orchestration::{StormService, StormServiceStatus};

use super::{
    apply::Report,
    plan::plan,
    reconcile::{Error, conclude_round},
    snapshot::{Record, Set, Snapshot},
    state::State,
    steps::{Plan, Step},
};

/// A world in which a controller leads.
pub(super) struct World {
    cluster: Cluster,
    passes: Simulation<Cluster, Simulated>,
    /// `reason: message` of all events.
    pub(super) told: Vec<String>,
}

/// All but what passes remember.
#[derive(Debug, Clone, Default)]
pub(super) struct Cluster {
    pub(super) service: Value,
    pub(super) sets: BTreeMap<String, Value>,
    pub(super) revisions: BTreeMap<String, Value>,
    pub(super) headless: Option<Value>,
    /// RoleSets stay for a while when they are deleted.
    pub(super) lingers: bool,
    /// What the API server says to creations of RoleSets.
    pub(super) refuses: Option<String>,
    /// So many writes succeed before the leader is gone.
    pub(super) writes_left: Option<usize>,
    /// RoleSets as a watch that hangs shows them, and whether one of our writes is not shown.
    stale: Option<(BTreeMap<String, Value>, bool)>,
    /// Generations that the RoleSet loop has passed over, by uid.
    passed: BTreeMap<String, i64>,
    /// Steps of the last pass.
    pub(super) steps: Vec<Step>,
    /// Names of RoleSets that were made, and deleted, in order.
    pub(super) made: Vec<String>,
    pub(super) deleted: Vec<String>,
    /// Statuses that were stored.
    pub(super) statuses: Vec<StormServiceStatus>,
    /// Called with the cluster and the RoleSet that is about to be deleted.
    pub(super) on_delete: Option<fn(&Cluster, &Value)>,
    serial: u64,
    seconds: i64,
}

/// The stages of the loop over that cluster.
pub(super) struct Simulated(Arc<Mutex<Cluster>>);

fn read<K: DeserializeOwned>(object: &Value) -> Arc<K> {
    Arc::new(serde_json::from_value(object.clone()).expect("an object of its kind"))
}

fn uid_of(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap_or("").to_owned()
}

pub(super) fn is_live(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_null()
}

/// Whether it is live, and ready by its status.
pub(super) fn is_ready(set: &Value) -> bool {
    is_live(set) && set["status"]["conditions"][0]["status"] == "True"
}

impl Cluster {
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_second(self.seconds).unwrap()
    }

    fn stamp(&mut self, object: &mut Value) {
        self.serial += 1;
        let meta = &mut object["metadata"];
        if meta["uid"].is_null() {
            meta["uid"] = json!(format!("uid-{}", self.serial));
            meta["generation"] = json!(1);
            meta["creationTimestamp"] = json!(self.now().to_string());
        }
        meta["resourceVersion"] = json!(self.serial.to_string());
    }

    /// Somebody merges this into the StormService.
    pub(super) fn edit(&mut self, patch: &Value) {
        let before = self.service["spec"].clone();
        let mut service = self.service.take();
        json_patch::merge(&mut service, patch);
        self.stamp(&mut service);
        if service["spec"] != before {
            service["metadata"]["generation"] =
                json!(service["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        self.service = service;
    }

    /// Somebody changes the image of the only role.
    pub(super) fn edit_image(&mut self, image: &str) {
        self.edit(&json!({"spec": {"template": {"spec": {"roles": [role("only", 1, image)]}}}}));
    }

    pub(super) fn scale(&mut self, replicas: usize) {
        self.edit(&json!({"spec": {"replicas": replicas}}));
    }

    /// The RoleSet loop passes over it, and its pods are ready or not.
    pub(super) fn say_ready(&mut self, name: &str, ready: bool) {
        let mut set = self.sets.remove(name).expect("the RoleSet is there");
        let count = |yes: bool, role: &Value| if yes { role["replicas"].clone() } else { json!(0) };
        let roles = set["spec"]["roles"].as_array().cloned().unwrap_or_default();
        let roles: Vec<Value> = roles
            .iter()
            .map(|it| {
                json!({
                    "name": it["name"], "replicas": count(true, it), "readyReplicas": count(ready, it),
                    "notReadyReplicas": count(!ready, it), "updatedReplicas": count(true, it),
                    "updatedReadyReplicas": count(ready, it),
                })
            })
            .collect();
        let holds = if ready { "True" } else { "False" };
        set["status"] = json!({"conditions": [{"type": "Ready", "status": holds}], "roles": roles});
        self.stamp(&mut set);
        self.passes_over(&set);
        self.sets.insert(name.to_owned(), set);
    }

    /// The RoleSet loop has passed over it, and has nothing to write.
    pub(super) fn passes_over(&mut self, set: &Value) {
        self.passed.insert(uid_of(set), set["metadata"]["generation"].as_i64().unwrap_or(0));
    }

    pub(super) fn all_ready(&mut self) {
        for name in self.names(is_live) {
            self.say_ready(&name, true);
        }
    }

    /// Names of RoleSets, by index.
    pub(super) fn names(&self, picked: impl Fn(&Value) -> bool) -> Vec<String> {
        let mut names: Vec<_> =
            self.sets.iter().filter(|(_, set)| picked(set)).map(|(name, set)| (index(set), name)).collect();
        names.sort();
        names.into_iter().map(|(_, name)| name.clone()).collect()
    }

    pub(super) fn count(&self, picked: impl Fn(&Value) -> bool) -> usize {
        self.sets.values().filter(|set| picked(set)).count()
    }

    /// Images and indexes of live RoleSets, sorted.
    pub(super) fn live(&self) -> Vec<String> {
        let brief = |set: &Value| format!("{} {}", image(set), index(set));
        let mut live: Vec<String> = self.sets.values().filter(|it| is_live(it)).map(brief).collect();
        live.sort();
        live
    }

    /// What lingered is gone.
    pub(super) fn reap(&mut self) {
        self.sets.retain(|_, set| is_live(set));
    }

    /// The watch of RoleSets hangs from now on; or it catches up.
    pub(super) fn freeze(&mut self, frozen: bool) {
        self.stale = frozen.then(|| (self.sets.clone(), false));
    }

    pub(super) fn status(&self) -> StormServiceStatus {
        serde_json::from_value(self.service["status"].clone()).unwrap_or_default()
    }

    pub(super) fn look(&self) -> Snapshot {
        let service = read::<StormService>(&self.service);
        let (sets, caught_up) = match &self.stale {
            Some((sets, behind)) => (sets, !behind),
            None => (&self.sets, true),
        };
        let set = |set: &Value| {
            let child = read(set);
            let child = if is_live(set) { Child::Ours(child) } else { Child::Terminating(child) };
            let generation = set["metadata"]["generation"].as_i64();
            Set::of(child, |_| self.passed.get(&uid_of(set)).copied() >= generation)
        };
        let parent = Parent::of(&*service);
        let headless = match &self.headless {
            None => Child::Absent,
            Some(found) => {
                let found = read::<k8s_openapi::api::core::v1::Service>(found);
                match found.controller().map(|owner| owner.uid == parent.uid) {
                    Some(true) => Child::Ours(found),
                    Some(false) => Child::Foreign(found),
                    None => Child::Orphan(found),
                }
            }
        };
        let ours = self.revisions.values().filter(|it| is_live(it) && owner_of(it) == uid_of(&self.service));
        Snapshot {
            sets: sets.values().filter_map(set).collect(),
            history: ours.map(|it| Record::of(read(it))).collect(),
            headless,
            caught_up,
            draw: self.serial,
            service,
        }
    }

    fn may_write(&mut self) -> bool {
        let left = self.writes_left;
        self.writes_left = left.map(|left| left.saturating_sub(1));
        left != Some(0)
    }

    fn patch(stored: Option<&mut Value>, reference: &ChildRef, patch: &Value) {
        let stored = stored.expect("it is there");
        assert_eq!(uid_of(stored), reference.uid);
        json_patch::merge(stored, patch);
    }

    fn create_set(&mut self, mut set: Value) -> Result<(), WriteError> {
        let name = set["metadata"]["name"].as_str().expect("a name").to_owned();
        if let Some(message) = &self.refuses {
            let object = ObjectRef { kind: "RoleSet".to_owned(), namespace: "ns".to_owned(), name };
            return Err(WriteError::Forbidden { object, verb: "create", message: message.clone() });
        }
        self.stamp(&mut set);
        assert!(!self.sets.contains_key(&name), "{name} is made twice");
        if let Some((shown, behind)) = &mut self.stale {
            // Our own writes are known, and that the store does not show them.
            shown.insert(name.clone(), set.clone());
            *behind = true;
        }
        self.sets.insert(name.clone(), set);
        self.made.push(name);
        Ok(())
    }

    fn delete_set(&mut self, wanted: &ChildRef) {
        let Some(set) = self.sets.get(&wanted.name).cloned() else { return };
        assert_eq!(uid_of(&set), wanted.uid);
        assert!(is_live(&set), "{} is deleted twice", wanted.name);
        if let Some(look) = self.on_delete {
            look(self, &set);
        }
        self.deleted.push(wanted.name.clone());
        let now = json!(self.now().to_string());
        if let Some((shown, behind)) = &mut self.stale {
            shown
                .entry(wanted.name.clone())
                .and_modify(|set| set["metadata"]["deletionTimestamp"] = now.clone());
            *behind = true;
        }
        if self.lingers {
            self.sets.entry(wanted.name.clone()).and_modify(|set| set["metadata"]["deletionTimestamp"] = now);
        } else {
            self.sets.remove(&wanted.name);
        }
    }

    fn carry_out(&mut self, step: &Step, report: &mut Report) {
        match step {
            Step::Record(revision) => {
                let mut object = json!(**revision);
                let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
                if self.revisions.contains_key(&name) {
                    report.collisions = Some(revision.next_collisions);
                    let kind = "ControllerRevision".to_owned();
                    let object = ObjectRef { kind, namespace: "ns".to_owned(), name };
                    report.steps.note("record", Err::<(), _>(WriteError::AlreadyExists { object }));
                    return;
                }
                report.collisions = Some(revision.collisions);
                self.stamp(&mut object);
                self.revisions.insert(name, object);
            }
            Step::Renumber(revision, number) => {
                let patch = json!({"revision": number});
                Self::patch(self.revisions.get_mut(&revision.name), revision, &patch);
            }
            Step::Forget(revision) => drop(self.revisions.remove(&revision.name)),
            Step::CreateHeadless(service, event) => {
                let mut service = service.clone();
                self.stamp(&mut service);
                self.headless = Some(service);
                report.events.push(event.clone());
            }
            Step::PatchHeadless(service, patch, event) => {
                Self::patch(self.headless.as_mut(), service, patch);
                report.events.push(event.clone());
            }
            Step::DeleteHeadless(_) => self.headless = None,
            Step::Create(set) => {
                let created = self.create_set(set.clone());
                let meta: ObjectMeta = serde_json::from_value(set["metadata"].clone()).expect("metadata");
                report.changed("create the RoleSet", created, &meta);
            }
            Step::Move(set, patch) => {
                let mut stored = self.sets.remove(&set.name).expect("the RoleSet is there");
                let before = stored["spec"].clone();
                Self::patch(Some(&mut stored), set, patch);
                self.stamp(&mut stored);
                let generation = stored["metadata"]["generation"].as_i64().unwrap_or(0);
                stored["metadata"]["generation"] = json!(generation + i64::from(stored["spec"] != before));
                if let Some((shown, behind)) = &mut self.stale {
                    shown.insert(set.name.clone(), stored.clone());
                    *behind = true;
                }
                self.sets.insert(set.name.clone(), stored);
            }
            Step::Delete(set) => self.delete_set(set),
        }
    }
}

impl Stages for Simulated {
    type Object = Arc<StormService>;
    type Snapshot = Snapshot;
    type Plan = Plan;
    type Report = Report;
    type State = State;
    type Status = StormServiceStatus;
    type Error = Error;

    fn uid(service: &Arc<StormService>) -> &str {
        service.meta().uid.as_deref().unwrap_or_default()
    }

    async fn prepare(&self, _: &Key, _: &Pass) -> Result<Option<Arc<StormService>>, Error> {
        let cluster = self.0.lock();
        Ok((!cluster.service.is_null()).then(|| read(&cluster.service)))
    }

    async fn fetch(&self, _: &Key, _: Arc<StormService>, _: &State, _: &Pass) -> Result<Snapshot, Error> {
        Ok(self.0.lock().look())
    }

    fn plan(&self, _: &Key, seen: &Snapshot, state: &State, pass: &Pass) -> Plan {
        plan(seen, state, pass.now)
    }

    async fn apply(&self, _: &Key, _: &Snapshot, plan: &Plan, report: &mut Report, _: &Pass) {
        let order = |step: &&Step| match step {
            Step::Create(_) => 1,
            Step::Move(..) => 2,
            Step::Delete(_) => 3,
            _ => 0,
        };
        let mut steps: Vec<&Step> = plan.steps.iter().collect();
        steps.sort_by_key(order);
        for step in steps {
            let alive = self.0.lock().may_write();
            if !alive {
                pending::<()>().await;
            }
            let mut cluster = self.0.lock();
            cluster.steps.push(step.clone());
            cluster.carry_out(step, report);
        }
        if plan.finalized {
            report.released = true;
            self.0.lock().service = Value::Null;
        }
    }

    fn conclude(
        &self,
        _: &Key,
        round: Round<'_, Self>,
        pass: &Pass,
    ) -> Conclusion<StormServiceStatus, State, Error> {
        conclude_round(round, pass.now)
    }

    async fn publish(
        &self,
        _: &Key,
        seen: &Snapshot,
        _: &Report,
        status: StormServiceStatus,
        _: &Pass,
    ) -> Result<(), Error> {
        if same(&seen.service.status.clone().unwrap_or_default(), &status) {
            return Ok(());
        }
        let alive = self.0.lock().may_write();
        if !alive {
            pending::<()>().await;
        }
        let mut cluster = self.0.lock();
        cluster.service["status"] = json!(status);
        cluster.statuses.push(status);
        Ok(())
    }
}

impl Deref for World {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }
}

impl World {
    /// A StormService `llm` with one role, and this merged into its spec.
    pub(super) fn new(replicas: usize, more: &Value) -> Self {
        let mut service = json!({
            "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "StormService",
            "metadata": {"name": "llm", "namespace": "ns", "uid": "service", "resourceVersion": "1", "generation": 1},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "llm"}},
                "template": {"metadata": {"labels": {"app": "llm"}}, "spec": {"roles": [role("only", 1, "e:1")]}},
            },
        });
        json_patch::merge(&mut service["spec"], more);
        let cluster = Cluster { service, seconds: 1_800_000_000, ..Cluster::default() };
        Self { cluster, passes: Simulation::new(Simulated), told: Vec::new() }
    }

    /// The same, as wanted and ready.
    pub(super) fn ready(replicas: usize, more: &Value) -> Self {
        let mut world = Self::new(replicas, more);
        world.settle(|_| {});
        world
    }

    /// One pass. `None`: the leader was gone before its end.
    pub(super) fn pass(&mut self) -> Option<Result<Outcome, Error>> {
        self.cluster.steps.clear();
        self.cluster.seconds += 1;
        let now = self.now();
        let ended = self.passes.pass(&mut self.cluster, &Key::new("ns", "llm"), now);
        let events = self.passes.events().into_iter();
        self.told.extend(events.map(|event| format!("{}: {}", event.reason, event.message)));
        ended
    }

    /// Another leader: its stores show what is so, and the RoleSet loop has passed over nothing yet.
    pub(super) fn take_over(&mut self) {
        self.passes.take_over();
        self.cluster.stale = None;
        self.cluster.passed.clear();
        self.cluster.writes_left = None;
    }

    /// The RoleSet loop passes over each RoleSet that it has not passed over yet; those that were edited are ready again.
    pub(super) fn look_after_sets(&mut self) {
        for (name, set) in self.cluster.sets.clone() {
            let generation = set["metadata"]["generation"].as_i64();
            if is_live(&set) && self.passed.get(&uid_of(&set)).copied() != generation {
                self.say_ready(&name, is_ready(&set));
            }
        }
    }

    /// Passes until nothing is done any more; RoleSets become ready one after the other. Calls `look` at each state.
    ///
    /// # Panics
    /// When it does not come to rest, ready.
    pub(super) fn settle(&mut self, look: impl Fn(&Cluster)) {
        for _ in 0..400 {
            let statuses = self.statuses.len();
            self.pass();
            let busy = !self.steps.is_empty() || self.statuses.len() != statuses;
            look(self);
            self.reap();
            look(self);
            self.look_after_sets();
            match self.names(|set| is_live(set) && !is_ready(set)).first() {
                Some(name) => self.say_ready(&name.clone(), true),
                None if !busy && self.condition("Ready") == "True/Ready" => return,
                None => {}
            }
        }
        panic!("it does not come to rest: {:?} {:?}", self.live(), self.status());
    }

    /// Status and reason of a condition of the StormService; empty: it is absent.
    pub(super) fn condition(&self, kind: &str) -> String {
        let status = self.status();
        let found = status.conditions.iter().find(|it| it.type_ == kind);
        found.map_or_else(String::new, |it| format!("{}/{}", it.status, it.reason))
    }
}

fn owner_of(object: &Value) -> String {
    object["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or("").to_owned()
}

/// The image of the first role.
pub(super) fn image(set: &Value) -> &str {
    set["spec"]["roles"][0]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or("")
}

/// The index; none is a dash.
pub(super) fn index(set: &Value) -> &str {
    set["metadata"]["annotations"]["stormservice.orchestration.aibrix.ai/roleset-index"]
        .as_str()
        .unwrap_or("-")
}

/// The indexes of live RoleSets of a revision, which have to be different.
pub(super) fn indexes(cluster: &Cluster, revision: &str) -> BTreeSet<String> {
    let of = |set: &&Value| is_live(set) && set["metadata"]["labels"]["storm-service-revision"] == revision;
    let all: Vec<String> = cluster.sets.values().filter(of).map(|set| index(set).to_owned()).collect();
    let unique: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(unique.len(), all.len(), "{all:?}");
    unique
}

/// A role.
pub(super) fn role(name: &str, replicas: usize, image: &str) -> Value {
    json!({
        "name": name, "replicas": replicas,
        "template": {"spec": {"containers": [{"name": "main", "image": image}]}},
    })
}

/// An update strategy, as part of a spec.
pub(super) fn strategy(kind: &str, surge: &Value, unavailable: &Value) -> Value {
    json!({"updateStrategy": {"type": kind, "maxSurge": surge, "maxUnavailable": unavailable}})
}
