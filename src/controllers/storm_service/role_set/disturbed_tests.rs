// SPDX-License-Identifier: Apache-2.0
//! Rollouts while leaders are killed, stores lag, quotas refuse, pods break down, end or linger, and templates are bad.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::world::{Change, World, role},
    testing::{pass_of, seen},
};

/// What happens before a pass, and how much of its plan is carried out.
type Tick = (u8, u8, Option<usize>);

/// A role whatever its template: replicas, `maxSurge`, `maxUnavailable`, kind, updates in place.
#[derive(Debug, Clone)]
struct Shape {
    replicas: usize,
    surge: Value,
    unavailable: Value,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Pool,
    InPlace,
    Slots,
    Groups,
}

impl Shape {
    fn role(&self, place: usize, image: &str) -> Value {
        let mut more =
            json!({"updateStrategy": {"maxSurge": self.surge, "maxUnavailable": self.unavailable}});
        match self.kind {
            Kind::Pool => {}
            Kind::InPlace => more["updateStrategy"]["type"] = json!("InPlaceIfPossible"),
            Kind::Slots => more["stateful"] = json!(true),
            Kind::Groups => more["podGroupSize"] = json!(2),
        }
        role(&format!("r{place}"), self.replicas, image, &more)
    }

    /// R + S and R − U.
    fn bounds(&self) -> (usize, usize) {
        let replicas = self.replicas;
        let of = |value: &Value, up: usize| match value.as_str() {
            Some(percent) => {
                let percent: usize = percent.trim_end_matches('%').parse().expect("a number");
                (percent * replicas + up) / 100
            }
            None => usize::try_from(value.as_u64().expect("a number")).expect("small"),
        };
        let (surge, unavailable) = (of(&self.surge, 99), of(&self.unavailable, 0));
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        (if replicas == 0 { 0 } else { replicas + surge }, replicas.saturating_sub(unavailable))
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    let amount = || {
        prop_oneof![
            (0..3_u8).prop_map(|count| json!(count)),
            prop::sample::select(vec!["0%", "25%", "40%", "100%"]).prop_map(|percent| json!(percent)),
        ]
    };
    let kind = prop::sample::select(vec![Kind::Pool, Kind::InPlace, Kind::Slots, Kind::Groups]);
    (0..=8_usize, amount(), amount(), kind).prop_map(|(replicas, surge, unavailable, kind)| Shape {
        // A group is two pods.
        replicas: if kind == Kind::Groups { replicas / 2 } else { replicas },
        surge,
        unavailable,
        kind,
    })
}

fn ticks() -> impl Strategy<Value = Vec<Tick>> {
    prop::collection::vec((0..12_u8, any::<u8>(), prop::option::weighted(0.3, 0..6_usize)), 0..20)
}

/// A cluster, and what the leader's store shows of it.
struct Storm {
    world: World,
    shown: World,
    shapes: Vec<Shape>,
    /// Something was written that the store does not show.
    unseen: bool,
    /// Roles that the leader remembers as refused.
    refused: BTreeSet<String>,
    /// Most pods that the namespace may have.
    quota: usize,
    draws: u64,
    /// Uids of what was deleted.
    deleted: BTreeSet<String>,
}

fn index_of(member: &Value) -> usize {
    let index =
        member["metadata"]["labels"]["stormservice.orchestration.aibrix.ai/role-replica-index"].as_str();
    index.and_then(|index| index.parse().ok()).unwrap_or(usize::MAX)
}

fn is_leaving(member: &Value) -> bool {
    !member["metadata"]["deletionTimestamp"].is_null()
}

fn has_ended(member: &Value) -> bool {
    member["status"]["phase"] == "Failed" && member["kind"] == "Pod"
}

fn is_ready(member: &Value) -> bool {
    let ready = member["status"]["phase"] == "Ready" || member["status"]["conditions"][0]["status"] == "True";
    ready && !is_leaving(member) && !has_ended(member)
}

impl Storm {
    fn new(how: &str, shapes: &[Shape], lingers: bool) -> Self {
        let roles: Vec<Value> = shapes.iter().enumerate().map(|(place, it)| it.role(place, "e:1")).collect();
        let mut world = World::new(how, &roles);
        world.settle(|_| {});
        world.lingers = lingers;
        Self {
            shown: world.clone(),
            world,
            shapes: shapes.to_vec(),
            unseen: false,
            refused: BTreeSet::new(),
            quota: usize::MAX,
            draws: 1_000_000,
            deleted: BTreeSet::new(),
        }
    }

    fn edit(&mut self, image: &str) {
        let roles: Vec<Value> =
            self.shapes.iter().enumerate().map(|(place, it)| it.role(place, image)).collect();
        self.world.edit(&roles);
    }

    /// The store shows what is so.
    fn catch_up(&mut self) {
        self.shown = self.world.clone();
        self.unseen = false;
    }

    /// The members of a role, by name.
    fn members(&self, world: &World, place: usize) -> Vec<(String, Value)> {
        let name = format!("r{place}");
        let objects = if self.shapes[place].kind == Kind::Groups { &world.sets } else { &world.pods };
        let of_role = |object: &&Value| object["metadata"]["labels"]["role-name"] == *name;
        objects.iter().filter(|(_, it)| of_role(it)).map(|(name, it)| (name.clone(), it.clone())).collect()
    }

    /// Of a role: ready replicas; of those with an index, indexes that have one.
    fn ready(&self, world: &World, place: usize, but: &BTreeSet<String>) -> usize {
        let members = self.members(world, place);
        let ready = members.iter().filter(|(name, it)| is_ready(it) && !but.contains(name));
        match self.shapes[place].kind {
            Kind::Pool | Kind::InPlace => ready.count(),
            Kind::Slots | Kind::Groups => {
                let indexes: BTreeSet<usize> = ready.map(|(_, it)| index_of(it)).collect();
                indexes.into_iter().filter(|index| *index < self.shapes[place].replicas).count()
            }
        }
    }

    fn place_of(role: &Value) -> usize {
        role.as_str().and_then(|role| role.strip_prefix('r')?.parse().ok()).expect("the name of a role")
    }

    /// One pass of the RoleSet, of which the first `most` changes are made, and one of each PodSet.
    fn pass(&mut self, most: usize) -> bool {
        self.draws += 1;
        self.world.wait(1);
        let mut seen = seen(&self.shown, self.draws);
        seen.caught_up = !self.unseen;
        seen.refused.clone_from(&self.refused);
        let outcome = pass_of(&seen, &self.world);
        let mut busy = !outcome.steps.is_empty();
        self.refused.clear();
        let mut given_up: Vec<BTreeSet<String>> = vec![BTreeSet::new(); self.shapes.len()];
        // Creations are sent before deletions.
        let mut steps = outcome.steps;
        steps.sort_by_key(|step| matches!(step, Change::DeletePod(_) | Change::DeleteSet(_)));
        for step in steps.into_iter().take(most) {
            self.unseen = true;
            if !self.check(&step, &mut given_up) {
                continue;
            }
            self.world.carry_out(step);
        }
        if let Some(status) = outcome.status
            && most == usize::MAX
            && self.world.role_set["status"] != status
        {
            busy = true;
            self.world.role_set["status"] = status;
        }
        let sets: Vec<String> = self.world.sets.keys().cloned().collect();
        for name in sets {
            busy |= self.world.pass_of_group(&name);
        }
        busy
    }

    /// Checks a change against what is so and what the store shows. `false`: it is refused.
    fn check(&mut self, step: &Change, given_up: &mut [BTreeSet<String>]) -> bool {
        match step {
            Change::CreatePod(object) | Change::CreateSet(object) => {
                let place = Self::place_of(&object["metadata"]["labels"]["role-name"]);
                let name = object["metadata"]["name"].as_str().expect("a name");
                let taken = self.world.pods.contains_key(name) || self.world.sets.contains_key(name);
                assert!(!taken, "{name} is made twice");
                if self.world.pods.len() >= self.quota {
                    self.refused.insert(format!("r{place}"));
                    return false;
                }
                let members = self.members(&self.world, place);
                let live = members.iter().filter(|(_, it)| !has_ended(it)).count();
                let (most, _) = self.shapes[place].bounds();
                assert!(live < most, "{name}: {live} of at most {most} there already");
            }
            Change::DeletePod(doomed) | Change::DeleteSet(doomed) | Change::SetImages(doomed, _) => {
                let gone = !matches!(step, Change::SetImages(..));
                assert!(!gone || self.deleted.insert(doomed.uid.clone()), "{} is deleted twice", doomed.name);
                let mut objects = self.shown.pods.values().chain(self.shown.sets.values());
                let member = objects.find(|it| it["metadata"]["uid"] == doomed.uid).expect("it is shown");
                let place = Self::place_of(&member["metadata"]["labels"]["role-name"]);
                let before = self.ready(&self.shown, place, &given_up[place]);
                given_up[place].insert(doomed.name.clone());
                let after = self.ready(&self.shown, place, &given_up[place]);
                let (_, least) = self.shapes[place].bounds();
                assert!(after == before || after >= least, "{}: {after} of at least {least}", doomed.name);
            }
            Change::PatchPod(..) | Change::PatchSet(..) | Change::PatchSelf(_) | Change::SetGate(..) => {}
        }
        true
    }

    fn nth_live(&self, nth: u8, holds: impl Fn(&Value) -> bool) -> Option<String> {
        let live: Vec<&String> =
            self.world.live_pods().filter(|(_, pod)| holds(pod)).map(|(name, _)| name).collect();
        live.get(usize::from(nth) % live.len().max(1)).map(|name| (*name).clone())
    }

    /// The containers of a pod run, unless its image is bad.
    fn start_one(&mut self, nth: u8) {
        let waits =
            |pod: &Value| !is_ready(pod) && !has_ended(pod) && pod["spec"]["containers"][0]["image"] != "bad";
        if let Some(name) = self.nth_live(nth, waits) {
            self.world.say_ready(&name, true);
        }
    }

    fn disturb(&mut self, what: u8, nth: u8) {
        match what {
            0..=5 => self.start_one(nth),
            6 => self.world.reap(),
            7 => {
                if let Some(name) = self.nth_live(nth, is_ready) {
                    self.world.say_ready(&name, false);
                }
            }
            8 => {
                if let Some(name) = self.nth_live(nth, |_| true) {
                    self.world.pods.get_mut(&name).expect("it is there")["status"] =
                        json!({"phase": "Failed"});
                }
            }
            9 => {
                if let Some(name) = self.nth_live(nth, |_| true) {
                    self.world.pods.remove(&name);
                }
            }
            10 => self.quota = self.world.pods.len(),
            _ => self.quota = usize::MAX,
        }
    }

    fn run(&mut self, ticks: &[Tick]) {
        for (what, nth, killed_after) in ticks {
            self.disturb(*what, *nth);
            if nth % 3 != 0 {
                self.catch_up();
            }
            self.pass(killed_after.unwrap_or(usize::MAX));
            if killed_after.is_some() {
                // The next leader lists, and remembers nothing.
                self.catch_up();
                self.refused.clear();
            }
        }
    }

    /// Nothing more happens but that pods start and end.
    fn settle(&mut self) {
        self.quota = usize::MAX;
        for _ in 0..600 {
            self.catch_up();
            let busy = self.pass(usize::MAX);
            let ends = self.world.pods.values().any(is_leaving);
            self.world.reap();
            let waits = self.world.live_pods().any(|(_, pod)| !is_ready(pod));
            self.start_one(0);
            if !busy && !ends && !waits {
                return;
            }
        }
        panic!("it does not come to rest: {:#?}", self.world.images());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, failure_persistence: None, ..ProptestConfig::default() })]
    /// At every step: nothing is made or deleted twice, no more than R + S exist by it, and no ready replica is given up
    /// at or below R − U. When the disturbances end, so does the rollout, and a further pass does nothing.
    #[test]
    fn budgets_hold_whatever_happens_and_rollouts_end(
        how in prop::sample::select(vec!["Parallel", "Sequential", "Interleave"]),
        shapes in prop::collection::vec(shape(), 1..=4),
        scaled in prop::collection::vec(0..=4_usize, 4),
        lingers in any::<bool>(),
        bad in any::<bool>(),
        first in ticks(),
        then in ticks(),
    ) {
        let mut storm = Storm::new(how, &shapes, lingers);
        storm.edit(if bad { "bad" } else { "e:2" });
        storm.run(&first);
        for (shape, replicas) in storm.shapes.iter_mut().zip(&scaled) {
            shape.replicas = *replicas;
        }
        storm.edit("e:3");
        storm.run(&then);
        storm.settle();
        let images = storm.world.images();
        prop_assert!(images.iter().all(|image| image == "e:3"), "{images:?}");
        let pods = |shape: &Shape| if shape.kind == Kind::Groups { 2 * shape.replicas } else { shape.replicas };
        prop_assert_eq!(storm.world.pods.len(), storm.shapes.iter().map(pods).sum::<usize>());
        storm.catch_up();
        prop_assert!(!storm.pass(usize::MAX), "a further pass does something");
    }
}
