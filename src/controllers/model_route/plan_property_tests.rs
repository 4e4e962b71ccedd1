// SPDX-License-Identifier: Apache-2.0
//! Histories of workloads, with a controller that may be restarted after every step, in a cluster in memory.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    cases::{defaulted, of_kind, seen_grant, seen_route, settings, workload},
    plan::{Step, plan_grant, plan_route},
    routes::RouteFacts,
    snapshot::{GrantSnapshot, RouteSnapshot},
    sources::{Source, SourceKind},
};
use crate::k8s::names::route_name_for;
use kube_loops::runtime::watches::Stored;

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

#[derive(Debug, Clone, Default)]
struct World {
    workloads: BTreeMap<usize, Source>,
    routes: BTreeMap<String, Value>,
    grants: BTreeSet<String>,
    fleets_hidden: bool,
    version: u64,
    /// What the controller remembers, until it restarts.
    lost: BTreeSet<String>,
    writes: usize,
    reversed: bool,
}

impl World {
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

    fn route_snapshot(&self, name: &str) -> RouteSnapshot {
        let route = self.routes.get(name).map(seen_route);
        let last_use_of = route.as_ref().and_then(|route: &std::sync::Arc<RouteFacts>| {
            let (ns, _) = route.backend()?;
            let others = self.ours_to(ns).iter().any(|it| it != name);
            let last = ns != GATEWAY && !others && !self.serves(ns) && self.grants.contains(ns);
            last.then(|| seen_grant(ns))
        });
        let fleet = route.as_ref().and_then(|it| it.origin()) == Some(SourceKind::RayClusterFleet);
        RouteSnapshot {
            sources: self.sources().into_iter().filter(|it| it.facts.route() == Some(name)).collect(),
            origin_in_sight: !(self.fleets_hidden && fleet),
            source_lost: self.lost.contains(name),
            last_use_of,
            route,
        }
    }

    fn grant_snapshot(&self, ns: &str) -> GrantSnapshot {
        GrantSnapshot {
            namespace: ns.to_owned(),
            needed: self.serves(ns),
            used: !self.ours_to(ns).is_empty(),
            source_lost: self.lost.contains(ns),
            grant: self.grants.contains(ns).then(|| seen_grant(ns)),
        }
    }

    fn route_names(&self) -> BTreeSet<String> {
        MODELS.iter().map(|model| route_name_for(model)).chain(self.routes.keys().cloned()).collect()
    }

    /// Passes over everything; false once nothing is done, or `steps` are.
    fn work(&mut self, mut steps: usize) {
        loop {
            let before = self.writes;
            for name in self.route_names() {
                let seen = self.route_snapshot(&name);
                let plan = plan_route(&name, &seen, &settings());
                for step in &plan.steps {
                    if steps == 0 {
                        return;
                    }
                    steps -= 1;
                    self.apply(step);
                }
                self.lost.remove(&name);
            }
            for ns in NAMESPACES.into_iter().filter(|ns| *ns != GATEWAY) {
                let seen = self.grant_snapshot(ns);
                for step in plan_grant(&seen, &settings()).steps {
                    if steps == 0 {
                        return;
                    }
                    steps -= 1;
                    self.apply(&step);
                }
                if seen.needed || !seen.used {
                    self.lost.remove(ns);
                }
            }
            if self.writes == before {
                return;
            }
            assert!(self.writes < 10_000, "it never comes to rest");
        }
    }

    fn restart(&mut self) {
        self.lost.clear();
    }

    fn apply(&mut self, step: &Step) {
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
            Step::DeleteGrant { namespace, .. } => assert!(self.grants.remove(namespace)),
        }
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

    fn serve(&mut self, place: usize, model: Option<usize>, bad: bool) {
        let ns = NAMESPACES[place % NAMESPACES.len()];
        let kind = if place.is_multiple_of(2) { SourceKind::Deployment } else { SourceKind::RayClusterFleet };
        let before = self.workloads.remove(&place);
        if let Some(model) = model {
            let age = u32::try_from(place * 7 % 5).unwrap();
            let mut object = workload(ns, &format!("w{place}"), MODELS[model], age);
            if bad {
                object["metadata"]["labels"]["model.aibrix.ai/port"] = json!("bad");
            }
            self.workloads.insert(place, of_kind(kind, &object));
        }
        let seen = |it: &Option<Source>| it.as_ref().is_some_and(|it| !(self.fleets_hidden && is_fleet(it)));
        if seen(&before) {
            self.lost.extend(before.and_then(|it| it.facts.route().map(str::to_owned)));
            self.lost.insert(ns.to_owned());
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
        let mut world = World::default();
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
        let mut world = World::default();
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
