// SPDX-License-Identifier: Apache-2.0
//! Whatever happens to a StormService: budgets hold, nothing is done twice, and it ends.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::{Cluster, World, image, indexes, is_live, is_ready, strategy};

/// What happens between passes.
#[derive(Debug, Clone)]
enum Happens {
    Pass,
    /// The first RoleSet that is not ready becomes ready.
    Ready,
    /// What terminates is gone.
    Gone,
    /// The watch of RoleSets hangs.
    Hangs,
    /// The leader is gone after so many more writes, and another one begins.
    Killed(usize),
    Image(u8),
    Replicas(usize),
    Paused(bool),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => Just(Happens::Pass),
        6 => Just(Happens::Ready),
        4 => Just(Happens::Gone),
        2 => Just(Happens::Hangs),
        2 => (0..5_usize).prop_map(Happens::Killed),
        2 => (0..4_u8).prop_map(Happens::Image),
        1 => (0..7_usize).prop_map(Happens::Replicas),
        1 => any::<bool>().prop_map(Happens::Paused),
    ]
}

fn amount() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        (0..4_usize).prop_map(|it| json!(it)),
        (0..11_usize).prop_map(|it| json!(format!("{}%", 10 * it))),
    ]
}

/// S and U as AIBrix resolves them.
fn limits(cluster: &Cluster) -> (usize, usize, usize) {
    let spec = &cluster.service["spec"];
    let desired = usize::try_from(spec["replicas"].as_u64().unwrap_or(1)).unwrap();
    let share = |value: &Value, up: bool| match value {
        Value::String(text) => {
            let percent: usize = text.trim_end_matches('%').parse().unwrap();
            let product = percent * desired;
            if up { product.div_ceil(100) } else { product / 100 }
        }
        value => usize::try_from(value.as_u64().unwrap_or(0)).unwrap(),
    };
    let strategy = &spec["updateStrategy"];
    let (surge, unavailable) =
        (share(&strategy["maxSurge"], true), share(&strategy["maxUnavailable"], false));
    let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
    (desired, surge, unavailable.min(desired))
}

/// A ready one is given up only while enough others are ready, but in the arithmetic of a pause, which has no budgets.
fn on_delete(cluster: &Cluster, set: &Value) {
    let spec = &cluster.service["spec"];
    let in_place = spec["updateStrategy"]["type"] == "InPlaceUpdate";
    if is_ready(set) && !in_place && spec["paused"] != true {
        let (desired, _, unavailable) = limits(cluster);
        let ready = cluster.count(is_ready);
        assert!(ready > desired - unavailable, "{ready} of {desired} - {unavailable}: {:?}", cluster.live());
    }
}

/// One pass, after which no more exist than before or than may.
fn pass(world: &mut World) -> bool {
    let before = world.sets.len();
    let made = world.made.len();
    let ended = world.pass().is_some();
    let (desired, surge, _) = limits(world);
    let in_place = world.service["spec"]["updateStrategy"]["type"] == "InPlaceUpdate";
    let most = if in_place { desired } else { desired + surge };
    let paused = world.service["spec"]["paused"] == true;
    let active = world.count(is_live);
    // The arithmetic of a pause does not look at those that terminate.
    let exist = if paused { active } else { before + world.made.len() - made };
    assert!(world.made.len() == made || exist <= most, "{exist} of {most}: {:?}", world.live());
    for revision in world.revisions.keys() {
        indexes(world, revision);
    }
    ended
}

proptest! {
    #[test]
    fn budgets_hold_nothing_is_done_twice_and_it_ends(
        kind in prop::sample::select(vec!["RollingUpdate", "InPlaceUpdate"]),
        replicas in 0..7_usize,
        surge in amount(),
        unavailable in amount(),
        lingers in any::<bool>(),
        story in prop::collection::vec(happens(), 1..60),
    ) {
        let mut world = World::ready(replicas, &strategy(kind, &surge, &unavailable));
        world.lingers = lingers;
        world.on_delete = Some(on_delete);
        let mut hangs = false;
        for it in story {
            match it {
                Happens::Pass => prop_assert!(pass(&mut world)),
                // What is ready is a fact that a watch that hangs does not show.
                Happens::Ready if !hangs => {
                    world.look_after_sets();
                    if let Some(name) = world.names(|set| is_live(set) && !is_ready(set)).first() {
                        world.say_ready(&name.clone(), true);
                    }
                }
                Happens::Ready => {
                    world.freeze(false);
                    hangs = false;
                }
                Happens::Gone => world.reap(),
                Happens::Hangs => {
                    if !hangs {
                        world.freeze(true);
                    }
                    hangs = true;
                }
                Happens::Killed(writes) => {
                    world.writes_left = Some(writes);
                    while world.writes_left != Some(0) && pass(&mut world) && !world.steps.is_empty() {}
                    world.take_over();
                    hangs = false;
                }
                Happens::Image(n) => world.edit_image(&format!("e:{n}")),
                Happens::Replicas(n) => world.scale(n),
                Happens::Paused(paused) => world.edit(&json!({"spec": {"paused": paused}})),
            }
        }
        world.freeze(false);
        world.edit(&json!({"spec": {"paused": false}}));
        world.edit_image("e:last");
        world.settle(|_| {});
        let (desired, ..) = limits(&world);
        prop_assert_eq!(world.sets.len(), desired);
        prop_assert!(world.sets.values().all(|set| image(set) == "e:last"));
        if kind == "RollingUpdate" {
            let wanted: Vec<String> = (0..desired).map(|index| format!("e:last {index}")).collect();
            prop_assert_eq!(world.live(), wanted);
        }
        let statuses = world.statuses.len();
        world.pass();
        prop_assert!(world.steps.is_empty() && world.statuses.len() == statuses);
    }
}
