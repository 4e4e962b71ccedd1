// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::{
    interleave::*,
    limits::Limits,
    order::{pool_rollout, pool_scale_in},
    pool::{Pace, Surplus, roll, scale},
    replica::{Counts, Life, Replica, Revision},
    replica_cases::{World, cases, replica},
};

fn limits(desired: usize, surge: usize, unavailable: usize) -> Limits {
    Limits { desired, surge, unavailable }
}

fn old(name: &str) -> Replica {
    Replica { revision: Revision::Current, ..replica(name, 1) }
}

fn unready(replica: Replica) -> Replica {
    Replica { ready: false, ..replica }
}

fn step(replicas: &[Replica], limits: Limits) -> usize {
    RoleProgress::of_pool(replicas, limits.desired).step(limits)
}

#[test]
fn role_that_has_not_begun_is_in_the_first_step() {
    assert_eq!(step(&[old("a"), old("b")], limits(2, 0, 1)), 1);
    assert_eq!(step(&[old("a"), unready(old("b"))], limits(2, 0, 1)), 1, "a broken old one blocks nothing");
    assert_eq!(step(&[old("a"), old("b")], limits(2, 1, 1)), 1);
    assert_eq!(step(&[], limits(4, 1, 1)), 2, "nothing outdated is left that the first step would wait for");
}

#[test]
fn next_step_begins_when_the_last_one_is_ready() {
    let limits = limits(4, 1, 1);
    let role = |updated: usize, ready: usize| -> Vec<Replica> {
        let updated = (0..updated).map(|at| Replica { ready: at < ready, ..replica(&format!("u{at}"), 2) });
        updated.chain((0..2).map(|at| old(&format!("o{at}")))).collect()
    };
    assert_eq!(step(&role(2, 1), limits), 1);
    assert_eq!(step(&role(2, 2), limits), 2, "two are ready, nothing is under way");
    assert_eq!(step(&role(3, 1), limits), 2, "the second step has begun already");
    let mut leaving = role(2, 2);
    leaving.push(Replica { life: Life::Terminating, ..old("leaving") });
    assert_eq!(step(&leaving, limits), 1, "an old one is still on its way out");
}

#[test]
fn role_is_all_ready_when_nothing_is_left_to_wait_for() {
    let ready = [replica("a", 1), replica("b", 1)];
    let indexed: Vec<_> =
        ready.iter().zip(0..).map(|(one, at)| Replica { index: Some(at), ..one.clone() }).collect();
    assert!(RoleProgress::of_pool(&ready, 2).all_ready);
    assert!(RoleProgress::of_slots(&indexed, 2).all_ready);
    assert!(!RoleProgress::of_slots(&ready, 2).all_ready, "they have no slot");
    for (change, why) in [
        (Replica { life: Life::Terminating, ..replica("c", 1) }, "one terminates"),
        (Replica { life: Life::Ended, ..replica("c", 1) }, "one has ended"),
        (unready(replica("c", 1)), "one is not ready"),
        (old("c"), "one is outdated"),
        (replica("c", 1), "one is too many"),
    ] {
        let more = [ready.to_vec(), vec![change.clone()]].concat();
        assert!(!RoleProgress::of_pool(&more, 2).all_ready, "{why}");
        let more = [indexed.clone(), vec![Replica { index: Some(1), ..change }]].concat();
        assert!(!RoleProgress::of_slots(&more, 2).all_ready, "{why}");
    }
    assert!(!RoleProgress::of_pool(&ready, 3).all_ready);
}

#[test]
fn slots_count_by_what_they_hold() {
    let at = |index, one: Replica| Replica { index: Some(index), ..one };
    let limits = limits(2, 1, 0);
    let surging = [at(0, old("a")), at(0, replica("a-new", 2)), at(1, old("b"))];
    assert_eq!(RoleProgress::of_slots(&surging, 2).step(limits), 1, "slot 0 holds something else, too");
    let half = [at(0, replica("a-new", 2)), at(1, old("b"))];
    assert_eq!(RoleProgress::of_slots(&half, 2).step(limits), 2);
}

#[test]
fn target_of_a_step_is_at_most_the_role() {
    assert_eq!(pace_of_step(1, limits(4, 1, 1)), Pace::Step(2));
    assert_eq!(pace_of_step(9, limits(4, 1, 1)), Pace::Step(4));
}

fn role(desired: usize, started: usize, updated_ready: usize) -> SkewRole {
    let finished = updated_ready == desired;
    SkewRole { desired, started, updated_ready, outdated: started < desired, finished }
}

fn allowances(roles: &[SkewRole], skew: u8) -> Vec<usize> {
    skew_allowances(&roles.iter().copied().map(Some).collect::<Vec<_>>(), skew)
}

/// The example of the reference: prefill 4, decode 8, 20 %.
#[test]
fn roles_of_different_sizes_advance_by_their_shares() {
    assert_eq!(allowances(&[role(4, 0, 0), role(8, 0, 0)], 20), [0, 1]);
    assert_eq!(allowances(&[role(4, 0, 0), role(8, 1, 0)], 20), [0, 0], "nobody before it is ready");
    assert_eq!(allowances(&[role(4, 0, 0), role(8, 1, 1)], 20), [1, 0], "prefill is the slowest");
    assert_eq!(allowances(&[role(4, 1, 1), role(8, 1, 1)], 20), [0, 1], "up to ⌊0.325 · 8⌋");
}

#[test]
fn role_that_cannot_be_evaluated_holds_the_others_and_a_finished_one_does_not() {
    assert_eq!(skew_allowances(&[None, Some(role(4, 1, 1))], 20), [0, 0]);
    assert_eq!(skew_allowances(&[None, Some(role(4, 0, 0))], 0), [0, 1], "the slowest may move");
    assert_eq!(allowances(&[role(4, 4, 4), role(4, 1, 1)], 0), [0, 1]);
    assert_eq!(allowances(&[role(4, 4, 4)], 50), [0]);
    assert_eq!(allowances(&[role(2, 0, 0), role(2, 0, 0)], 0), [1, 0], "equal sizes go by order");
    assert_eq!(allowances(&[role(0, 0, 0), role(3, 0, 0)], 100), [0, 3]);
}

#[test]
fn replica_that_was_deleted_first_has_begun() {
    assert_eq!(started(4, 0, 3), 1);
    assert_eq!(started(4, 1, 4), 1);
    assert_eq!(started(4, 2, 0), 4);
    assert_eq!(started(4, 9, 0), 4);
}

/// A role that is wholly on the old template.
fn all_old(limits: Limits) -> World {
    World::new((0..limits.desired).map(|at| old(&format!("r{at}"))).collect())
}

/// Two roles rolled by skew: as often as something happens, one pass.
struct Pair {
    worlds: [World; 2],
    limits: [Limits; 2],
    skew: u8,
}

impl Pair {
    fn facts(&self, at: usize) -> SkewRole {
        let (replicas, desired) = (&self.worlds[at].replicas, self.limits[at].desired);
        let counts = Counts::of(replicas);
        SkewRole {
            desired,
            started: started(desired, counts.updated, counts.outdated()),
            updated_ready: counts.updated_ready,
            outdated: counts.outdated() > 0,
            finished: RoleProgress::of_pool(replicas, desired).all_ready,
        }
    }

    /// Whether something was done.
    fn pass(&mut self) -> bool {
        let mut scaled = false;
        for (world, limits) in self.worlds.iter_mut().zip(self.limits) {
            let before = world.replicas.clone();
            let step = scale(&before, limits, pool_scale_in, Surplus::Waits);
            scaled |= !step.is_empty();
            world.delete(&step.delete);
            world.create(step.create, Revision::Update);
        }
        scaled || self.roll()
    }

    fn roll(&mut self) -> bool {
        let roles = [self.facts(0), self.facts(1)];
        let least = roles
            .iter()
            .filter(|role| !role.finished)
            .map(|role| role.updated_ready * 840 / role.desired)
            .min();
        let allowances = skew_allowances(&roles.map(Some), self.skew);
        let mut rolled = false;
        for at in 0..2 {
            if allowances[at] == 0 {
                continue;
            }
            let (limits, before) = (self.limits[at], self.worlds[at].replicas.clone());
            let step = roll(&before, limits, pool_rollout, pace_of_share(roles[at], allowances[at]));
            let ready = Counts::of(&before).ready;
            let lost = step.delete.iter().filter(|replica| replica.ready).count();
            assert!(lost == 0 || ready - lost >= limits.min_available());
            rolled |= !step.is_empty();
            self.worlds[at].delete(&step.delete);
            self.worlds[at].create(step.create, Revision::Update);
            let now = self.facts(at);
            if now.started > roles[at].started {
                // In parts of 840, which every R up to 8 divides; one replica more is allowed.
                let bound = least.unwrap() + usize::from(self.skew) * 840 / 100 + 840 / now.desired + 1;
                assert!(now.started * 840 / now.desired <= bound, "{now:?} beyond {least:?}");
            }
        }
        rolled
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn skew_holds_and_the_rollout_ends(
        first in 1_usize..=8, second in 1_usize..=8,
        skew in prop::sample::select(vec![0_u8, 10, 20, 50, 100]),
        (surge, unavailable) in prop::sample::select(vec![(0_usize, 1_usize), (1, 0), (1, 1), (2, 2), (0,
            8)]),
        chance in prop::collection::vec((0_usize..2, 0_u8..=255), 60),
    ) {
        let limits = [first, second].map(|desired| limits(desired, surge, unavailable.min(desired)));
        let worlds = limits.map(all_old);
        let mut pair = Pair { worlds, limits, skew };
        for (at, event) in chance {
            pair.pass();
            // Replicas become ready and terminating ones vanish, in any order.
            pair.worlds[at].happen(event & !7);
        }
        let mut passes = 0;
        while { pair.worlds.iter_mut().for_each(World::settle); pair.pass() } {
            passes += 1;
            prop_assert!(passes < 200, "no end");
        }
        for (world, limits) in pair.worlds.iter().zip(limits) {
            let counts = Counts::of(&world.replicas);
            prop_assert_eq!((counts.updated_ready, counts.active), (limits.desired, limits.desired));
        }
    }

    #[test]
    fn steps_end_and_no_role_runs_ahead(
        first in 1_usize..=6, second in 1_usize..=6,
        (surge, unavailable) in prop::sample::select(vec![(0_usize, 1_usize), (1, 0), (1, 1), (2, 2)]),
        broken in any::<bool>(),
    ) {
        let limits = [first, second].map(|desired| limits(desired, surge, unavailable.min(desired)));
        let mut worlds = limits.map(all_old);
        worlds[0].replicas[0].ready = !broken;
        for _ in 0..200 {
            let progress = [0, 1].map(|at| RoleProgress::of_pool(&worlds[at].replicas, limits[at].desired));
            if progress.iter().all(|progress| progress.all_ready) {
                break;
            }
            let mut scaled = false;
            for (world, limits) in worlds.iter_mut().zip(limits) {
                let before = world.replicas.clone();
                let step = scale(&before, limits, pool_scale_in, Surplus::Waits);
                scaled |= !step.is_empty();
                world.delete(&step.delete);
                world.create(step.create, Revision::Update);
            }
            let unfinished = (0..2).filter(|at| !progress[*at].all_ready);
            let lowest = unfinished.map(|at| progress[at].step(limits[at])).min().unwrap();
            let takes_part = |at: usize| !progress[at].all_ready && progress[at].step(limits[at]) <= lowest;
            for at in (0..2).filter(|at| !scaled && takes_part(*at)) {
                let before = worlds[at].replicas.clone();
                let step = roll(&before, limits[at], pool_rollout, pace_of_step(lowest, limits[at]));
                worlds[at].delete(&step.delete);
                worlds[at].create(step.create, Revision::Update);
                let updated = Counts::of(&worlds[at].replicas).updated;
                prop_assert!(updated <= limits[at].step_width() * lowest || step.create == 0);
            }
            worlds.iter_mut().for_each(World::settle);
        }
        for (world, limits) in worlds.iter().zip(limits) {
            prop_assert_eq!(Counts::of(&world.replicas).updated_ready, limits.desired);
        }
    }
}
