// SPDX-License-Identifier: Apache-2.0
//! Histories of workloads, with a controller that may be restarted after every step, in a cluster in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Deref, DerefMut},
    sync::Arc,
};

use jiff::SignedDuration;
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    cases::{defaulted, of_kind, seen_grant, seen_route, settings, workload},
    plan::{Plan, Step, plan_route},
    reconcile::{conclude_round, plan_for},
    routes::RouteFacts,
    snapshot::{GrantSnapshot, RouteSnapshot, Snapshot, Subject},
    sources::{Source, SourceKind},
    state::{Losses, State},
    triggers::{grant_key, of_source},
};
use crate::k8s::names::route_name_for;
use kube_fenced_election::clock::Timestamp;
use kube_loops::{
    runtime::{
        conductor::{Conclusion, Round, Stages},
        reconciler::{Key, Outcome, Pass},
        steps::{StepError, StepReport},
        watches::{Change, Stored},
    },
    testkit::simulation::Simulation,
};

const GATEWAY: &str = "aibrix-system";
const NAMESPACES: [&str; 3] = ["a", "b", GATEWAY];
/// The second takes the name that the route of the first has.
const MODELS: [&str; 4] = ["/models/mock", "models-mock-46c4aacefda4", "m", "aibrix-reserved"];

#[derive(Debug, Clone)]
enum Act {
    /// A workload (place in a table of six) serves a model, or none.
    Serve { workload: usize, model: Option<usize>, bad: bool },
    /// Somebody edits a route: its port, or its marker.
    Edit { model: usize, marker: bool },
    /// Somebody deletes a route.
    Delete { model: usize },
    /// The kind of fleets comes into or out of sight.
    Sight(bool),
    /// The controller works for so many steps, then restarts.
    Work { steps: usize },
    /// The controller works until there is nothing to do.
    Settle,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..6_usize, proptest::option::of(0..MODELS.len()), any::<bool>())
            .prop_map(|(workload, model, bad)| Act::Serve { workload, model, bad }),
        1 => (0..MODELS.len(), any::<bool>()).prop_map(|(model, marker)| Act::Edit { model, marker }),
        1 => (0..MODELS.len()).prop_map(|model| Act::Delete { model }),
        1 => any::<bool>().prop_map(Act::Sight),
        2 => (0..4_usize).prop_map(|steps| Act::Work { steps }),
        1 => Just(Act::Settle),
    ]
}

/// A cluster in which the controller leads.
struct World {
    cluster: Cluster,
    passes: Simulation<Cluster, Simulated>,
    now: Timestamp,
}

#[derive(Debug, Default)]
struct Cluster {
    workloads: BTreeMap<usize, Source>,
    routes: BTreeMap<String, Value>,
    grants: BTreeSet<String>,
    fleets_hidden: bool,
    version: u64,
    /// What watches have seen, until the controller restarts.
    losses: Losses,
    writes: usize,
    /// Steps until the controller stops.
    steps: usize,
    reversed: bool,
}

/// The stages of the controller over that cluster.
struct Simulated(Arc<Mutex<Cluster>>);

impl Stages for Simulated {
    type Object = ();
    type Snapshot = Snapshot;
    type Plan = Plan;
    type Report = StepReport;
    type State = State;
    type Status = ();
    type Error = StepError;

    async fn prepare(&self, _: &Key, _: &Pass) -> Result<Option<()>, StepError> {
        Ok(Some(()))
    }

    async fn fetch(&self, key: &Key, (): (), _: &State, _: &Pass) -> Result<Snapshot, StepError> {
        Ok(self.0.lock().snapshot(key))
    }

    fn plan(&self, key: &Key, seen: &Snapshot, state: &State, pass: &Pass) -> Plan {
        plan_for(key, seen, state, &settings(), pass.now)
    }

    async fn apply(&self, _: &Key, _: &Snapshot, plan: &Plan, report: &mut StepReport, _: &Pass) {
        for step in &plan.steps {
            if !self.0.lock().carry_out(step) {
                std::future::pending::<()>().await;
            }
            report.note("take it", Ok(()));
        }
    }

    fn conclude(&self, key: &Key, round: Round<'_, Self>, pass: &Pass) -> Conclusion<(), State, StepError> {
        conclude_round(key, round, &self.0.lock().losses, pass)
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
    fn new() -> Self {
        let now = "2026-06-01T12:00:00Z".parse().unwrap();
        Self { cluster: Cluster::default(), passes: Simulation::new(Simulated), now }
    }

    /// Passes over everything; until nothing is done, or `steps` are.
    fn work(&mut self, steps: usize) {
        self.steps = steps;
        loop {
            let (before, mut waits) = (self.writes, false);
            let routes = self.route_names().into_iter().map(|name| Key::new(GATEWAY, name));
            let grants = NAMESPACES.iter().filter_map(|ns| grant_key(ns, GATEWAY));
            for key in routes.chain(grants).collect::<Vec<_>>() {
                match self.passes.pass(&mut self.cluster, &key, self.now) {
                    None => return,
                    Some(Ok(Outcome::RequeueAfter(delay))) => {
                        self.now += SignedDuration::try_from(delay).unwrap();
                        waits = true;
                    }
                    Some(ended) => assert!(matches!(ended, Ok(Outcome::Done)), "{ended:?}"),
                }
            }
            if self.writes == before && !waits {
                return;
            }
            assert!(self.writes < 10_000, "it never comes to rest");
        }
    }

    fn restart(&mut self) {
        self.losses = Losses::default();
        self.passes.take_over();
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Serve { workload: place, model, bad } => self.serve(*place, *model, *bad),
            Act::Edit { model, marker } => {
                let Some(route) = self.routes.get_mut(&route_name_for(MODELS[*model])) else { return };
                if *marker {
                    route["metadata"]["annotations"]["model.aibrix.ai/route-spec-hash"] =
                        json!("x.Deployment");
                } else {
                    route["spec"]["rules"][0]["backendRefs"][0]["port"] = json!(1);
                }
            }
            Act::Delete { model } => drop(self.routes.remove(&route_name_for(MODELS[*model]))),
            Act::Sight(seen) => self.fleets_hidden = !seen,
            Act::Work { steps } => {
                self.work(*steps);
                self.restart();
            }
            Act::Settle => self.work(usize::MAX),
        }
    }
}

impl Cluster {
    fn sources(&self) -> Vec<Source> {
        let seen = self.workloads.values().filter(|it| !(self.fleets_hidden && is_fleet(it)));
        let mut seen: Vec<Source> = seen.cloned().collect();
        if self.reversed {
            seen.reverse();
        }
        seen
    }

    fn ours_to(&self, ns: &str) -> Vec<String> {
        let routes = self.routes.values().map(seen_route);
        let ours = routes.filter(|it| it.marker().is_some() && it.backend().is_some_and(|(to, _)| to == ns));
        ours.map(|it| it.name().to_owned()).collect()
    }

    fn serves(&self, ns: &str) -> bool {
        self.sources().iter().any(|it| it.facts.namespace() == ns && it.served().is_some())
    }

    fn snapshot(&self, key: &Key) -> Snapshot {
        let loss = self.losses.of(key);
        let subject = if key.namespace == GATEWAY {
            Subject::Route(self.route_snapshot(&key.name, loss.is_some()))
        } else {
            Subject::Grant(self.grant_snapshot(&key.namespace, loss.is_some()))
        };
        Snapshot { subject, loss }
    }

    fn route_snapshot(&self, name: &str, source_lost: bool) -> RouteSnapshot {
        let route = self.routes.get(name).map(seen_route);
        let last_use_of = route.as_ref().and_then(|route: &Arc<RouteFacts>| {
            let (ns, _) = route.backend()?;
            let others = self.ours_to(ns).iter().any(|it| it != name);
            let last = ns != GATEWAY && !others && !self.serves(ns) && self.grants.contains(ns);
            last.then(|| seen_grant(ns))
        });
        let fleet = route.as_ref().and_then(|it| it.origin()) == Some(SourceKind::RayClusterFleet);
        RouteSnapshot {
            sources: self.sources().into_iter().filter(|it| it.facts.route() == Some(name)).collect(),
            origin_in_sight: !(self.fleets_hidden && fleet),
            source_lost,
            left: Vec::new(),
            last_use_of,
            route,
        }
    }

    fn grant_snapshot(&self, ns: &str, source_lost: bool) -> GrantSnapshot {
        GrantSnapshot {
            namespace: ns.to_owned(),
            needed: self.serves(ns),
            used: !self.ours_to(ns).is_empty(),
            source_lost,
            grant: self.grants.contains(ns).then(|| seen_grant(ns)),
        }
    }

    fn route_names(&self) -> BTreeSet<String> {
        MODELS.iter().map(|model| route_name_for(model)).chain(self.routes.keys().cloned()).collect()
    }

    /// False: the controller stops before this step.
    fn carry_out(&mut self, step: &Step) -> bool {
        if self.steps == 0 {
            return false;
        }
        self.steps -= 1;
        self.writes += 1;
        self.version += 1;
        let version = json!(self.version.to_string());
        match step {
            Step::CreateRoute(object) => {
                let mut object = object.clone();
                let name = object["metadata"]["name"].as_str().unwrap().to_owned();
                object["metadata"]["uid"] = json!(format!("uid-{}", self.version));
                object["metadata"]["resourceVersion"] = version;
                defaulted(&mut object);
                assert!(self.routes.insert(name, object).is_none(), "it exists already");
            }
            Step::PatchRoute { name, version: of, patch } => {
                let route = self.routes.get_mut(name).unwrap();
                assert_eq!(route["metadata"]["resourceVersion"], json!(of));
                let before = route.clone();
                json_patch::merge(route, patch);
                defaulted(route);
                assert_ne!(*route, before, "a patch that changes nothing");
                route["metadata"]["resourceVersion"] = version;
            }
            Step::DeleteRoute { name, uid } => {
                let route = self.routes.remove(name).unwrap();
                assert_eq!(route["metadata"]["uid"], json!(uid));
            }
            Step::CreateGrant(grant) => {
                let ns = grant["metadata"]["namespace"].as_str().unwrap();
                assert!(ns != GATEWAY && self.grants.insert(ns.to_owned()));
            }
            Step::PatchGrant { .. } | Step::DeleteLeft { .. } => panic!("{step:?}"),
            Step::DeleteGrant { namespace, .. } => assert!(self.grants.remove(namespace)),
        }
        true
    }

    fn serve(&mut self, place: usize, model: Option<usize>, bad: bool) {
        let ns = NAMESPACES[place % NAMESPACES.len()];
        let kind = if place.is_multiple_of(2) { SourceKind::Deployment } else { SourceKind::RayClusterFleet };
        let old = self.workloads.remove(&place);
        let new = model.map(|model| {
            let age = u32::try_from(place * 7 % 5).unwrap();
            let mut object = workload(ns, &format!("w{place}"), MODELS[model], age);
            if bad {
                object["metadata"]["labels"]["model.aibrix.ai/port"] = json!("bad");
            }
            of_kind(kind, &object)
        });
        self.workloads.extend(new.clone().map(|new| (place, new)));
        if !(self.fleets_hidden && kind == SourceKind::RayClusterFleet) {
            let change = Change { old: old.map(|it| it.facts), new: new.map(|it| it.facts) };
            of_source(&change, GATEWAY).lost.into_iter().for_each(|key| self.losses.add(key));
        }
    }

    /// What must be so once everything is in sight and nothing is left to do.
    fn check(&self) {
        let sources = self.sources();
        let reserved = route_name_for("aibrix-reserved");
        let wanted: BTreeSet<&str> =
            sources.iter().filter_map(|it| it.facts.route()).filter(|it| *it != reserved).collect();
        let have: BTreeSet<&str> = self.routes.keys().map(String::as_str).collect();
        assert_eq!(have, wanted);
        for (name, route) in &self.routes {
            let route = seen_route(route);
            let of_it = sources.iter().filter(|it| it.facts.route() == Some(name));
            assert!(of_it.clone().any(|it| it.backend() == route.backend()), "{route:?}");
            let models: BTreeSet<&str> = of_it.filter_map(|it| Some(it.served()?.model.as_str())).collect();
            let header = route.content.spec.pointer("/rules/0/matches/0/headers/0/value").unwrap();
            assert!(models.contains(header.as_str().unwrap()), "{header} {models:?}");
        }
        for ns in NAMESPACES {
            assert!(!self.serves(ns) || ns == GATEWAY || self.grants.contains(ns), "{ns} lacks its grant");
        }
    }
}

fn is_fleet(source: &Source) -> bool {
    source.kind == SourceKind::RayClusterFleet
}

proptest! {
    #[test]
    fn every_history_ends_as_wanted_and_at_rest(acts in proptest::collection::vec(act(), 1..40)) {
        let mut world = World::new();
        for act in &acts {
            let hidden: Vec<(String, Value)> = if matches!(act, Act::Settle | Act::Work { .. }) && world.fleets_hidden {
                let fleet = |it: &Value| seen_route(it).origin() == Some(SourceKind::RayClusterFleet);
                world.routes.iter().filter(|(_, it)| fleet(it)).map(|(k, v)| (k.clone(), v.clone())).collect()
            } else {
                Vec::new()
            };
            world.act(act);
            for (name, _) in hidden {
                prop_assert!(world.routes.contains_key(&name), "{} went out of sight", name);
            }
        }
        world.fleets_hidden = false;
        world.work(usize::MAX);
        world.check();
        // At rest, also after a restart, and whatever the order in which things are seen.
        let writes = world.writes;
        world.restart();
        world.reversed = true;
        world.work(usize::MAX);
        prop_assert_eq!(world.writes, writes);
    }

    #[test]
    fn without_a_restart_no_grant_outlives_its_workloads(acts in proptest::collection::vec(act(), 1..40)) {
        let mut world = World::new();
        for act in acts.iter().filter(|it| !matches!(it, Act::Work { .. } | Act::Sight(_) | Act::Edit { marker: true, .. })) {
            world.act(act);
        }
        world.work(usize::MAX);
        let needed: BTreeSet<String> =
            NAMESPACES.iter().filter(|ns| **ns != GATEWAY && world.serves(ns)).map(|ns| (*ns).to_owned()).collect();
        prop_assert_eq!(&world.grants, &needed);
    }

    #[test]
    fn no_metadata_makes_a_pass_fall(
        model in ".*", port in ".{0,8}", paths in ".{0,80}", service in ".{0,20}", spec in ".{0,20}"
    ) {
        let mut object = workload("a", "w", &model, 0);
        object["metadata"]["labels"]["model.aibrix.ai/port"] = json!(port);
        object["metadata"]["annotations"]["model.aibrix.ai/model-router-custom-paths"] = json!(paths);
        object["metadata"]["annotations"]["model.aibrix.ai/service-name"] = json!(service);
        let source = of_kind(SourceKind::Deployment, &object);
        let name = route_name_for(&model);
        let route = json!({
            "metadata": {"name": name, "namespace": GATEWAY, "resourceVersion": "1", "uid": "u",
                "annotations": {"model.aibrix.ai/route-spec-hash": spec}},
            "spec": {"rules": [spec], "parentRefs": spec},
        });
        for sources in [vec![], vec![source]] {
            for route in [None, Some(&route)] {
                let seen = super::cases::seen(&sources, route);
                drop(plan_route(&name, &RouteSnapshot { source_lost: true, ..seen }, &settings()));
            }
        }
    }
}
