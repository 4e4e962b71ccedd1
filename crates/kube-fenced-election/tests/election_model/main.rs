// SPDX-License-Identifier: Apache-2.0
//! The decisions of the elections, explored in every order of events instead of tried in some.
//!
//! The model is the world around; the candidates in it are those of production: `ElectorState` decides, `Observation`
//! says when a claim ends, and `fence::Right` whether a change may be sent. What is modelled: the API server (one
//! Lease, compare-and-swap), the watch, the network, time, processes that are paused or killed, people who edit
//! Leases. Left out, and tried elsewhere: how an exchange becomes HTTP (`guard_tests`), tasks and timers
//! (`race_tests`), real processes (`make faults`).
//!
//! Bound: all runs up to a horizon of 3 to 13 steps of a second, with a lease of 3 s, a renew deadline of 2 s and
//! a retry period of 1 s, and with a budget for what is rare ([`world::Budget`]). `ELECTION_MODEL_MORE=2` moves
//! every horizon by two steps, for a deeper search: best with
//! `cargo test --release -p kube-fenced-election --test election_model`.
//! Wall clocks are left out because nothing in the model reads them; `guard_tests` shows that skew changes nothing.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "test code, which clippy recognises only inside of test functions"
)]

mod candidate;
mod server;
mod world;

use std::{collections::BTreeMap, time::Duration};

use kube_fenced_election::testkit::parts::Timing;
use stateright::{Checker, Model};

use world::{BELIEVED, Broken, Budget, LIVE, MOVED, SAFE, Step, World};

fn timing() -> Timing {
    let seconds = Duration::from_secs;
    Timing { lease_duration: seconds(3), renew_deadline: seconds(2), retry_period: seconds(1) }
}

/// Steps of time by which a search goes deeper than usual.
fn more() -> u32 {
    let given = std::env::var_os("ELECTION_MODEL_MORE").and_then(|it| it.into_string().ok()?.parse().ok());
    given.unwrap_or(0)
}

fn world(candidates: usize, steps: u32, budget: Budget) -> World {
    World {
        candidates,
        horizon: steps + more(),
        step: Duration::from_secs(1),
        timing: timing(),
        budget,
        faster: 0,
        calm: None,
        paused: false,
        broken: Broken::default(),
    }
}

/// Explores everything, and answers which of the properties had an example or a counterexample.
fn explore(what: &str, world: World) -> BTreeMap<&'static str, Vec<Step>> {
    let (candidates, steps) = (world.candidates, world.horizon);
    let checker = world.checker().threads(1).spawn_dfs().join();
    let count = checker.unique_state_count();
    eprintln!("election model: {count} states of {candidates} candidates up to step {steps}: {what}");
    checker.discoveries().into_iter().map(|(name, path)| (name, path.into_actions())).collect()
}

/// Explores everything; two may never write. Something must have happened where there is time for it.
fn assert_safe(what: &str, world: World) {
    let time = world.step * world.horizon > world.timing.lease_duration;
    let found = explore(what, world);
    assert_eq!(found.get(SAFE), None, "{what}: two may write");
    assert_eq!(found.get(LIVE), None, "{what}: nobody leads in the end");
    assert!(!time || found.contains_key(MOVED), "{what}: no Lease ever moved, so nothing was proved");
}

const NONE: Budget = Budget {
    frozen: 0,
    slow: 0,
    lagging: 0,
    lost: 0,
    unanswered: 0,
    twice: 0,
    broken: 0,
    killed: 0,
    deleted: 0,
    emptied: 0,
    labelled: 0,
    left: 0,
};

/// Every fault together with one frozen process, or with a restarted one where that is less.
#[test]
fn two_candidates_never_both_write_whatever_happens_to_one_while_another_is_frozen() {
    let frozen = Budget { frozen: 1, ..NONE };
    for (what, steps, budget) in [
        ("one frozen", 9, frozen),
        ("one frozen, a slow exchange", 4, Budget { slow: 1, ..frozen }),
        ("one frozen, a lagging watch", 3, Budget { lagging: 1, ..frozen }),
        ("one frozen, a lost request", 5, Budget { lost: 1, ..frozen }),
        ("one frozen, a lost answer of a write that was carried out", 5, Budget { unanswered: 1, ..frozen }),
        ("one frozen, a write that arrives twice", 4, Budget { twice: 1, ..frozen }),
        ("one frozen, a broken watch", 4, Budget { broken: 1, ..frozen }),
        ("one frozen, a killed process", 4, Budget { killed: 1, ..frozen }),
        ("one frozen, the Lease deleted", 5, Budget { deleted: 1, ..frozen }),
        ("one frozen, the Lease labelled", 5, Budget { labelled: 1, ..frozen }),
        ("one frozen, the Lease emptied", 5, Budget { emptied: 1, ..frozen }),
        ("one frozen, a controller that leaves", 5, Budget { left: 1, ..frozen }),
    ] {
        assert_safe(what, world(2, steps, budget));
    }
}

#[test]
fn three_candidates_never_both_write() {
    for (what, steps, budget) in [
        ("a slow exchange", 4, Budget { slow: 1, ..NONE }),
        ("a lost answer", 7, Budget { unanswered: 1, ..NONE }),
        ("a killed process", 6, Budget { killed: 1, ..NONE }),
        ("a controller that leaves", 6, Budget { left: 1, ..NONE }),
        ("one frozen", 3, Budget { frozen: 1, ..NONE }),
    ] {
        assert_safe(what, world(3, steps, budget));
    }
}

/// A pause that no clock of the machine shows. What is left out is what it sends before it hears anything new.
#[test]
fn leader_on_a_machine_that_was_paused_writes_nothing_once_it_has_heard_of_it() {
    for (what, steps, budget) in [
        ("one paused", 8, Budget { frozen: 1, ..NONE }),
        ("one paused, a lost request", 5, Budget { frozen: 1, lost: 1, ..NONE }),
        ("one paused, a slow exchange", 4, Budget { frozen: 1, slow: 1, ..NONE }),
    ] {
        assert_safe(what, World { paused: true, ..world(2, steps, budget) });
    }
}

#[test]
fn frozen_leader_may_still_believe_that_it_leads_and_yet_may_not_write() {
    let found = explore("one frozen", world(2, 6, Budget { frozen: 1, ..NONE }));
    assert!(found.contains_key(BELIEVED), "no run in which two believe that they lead");
    assert_eq!(found.get(SAFE), None);
}

/// With a lease of 3 s the right to write ends 0.3 s before the claim does: a ninth of 2.7 s.
#[test]
fn clocks_that_run_a_tenth_faster_than_others_do_no_harm_and_a_third_does() {
    let faster = |faster| World {
        faster,
        step: Duration::from_millis(100),
        horizon: 45,
        ..world(2, 0, Budget { frozen: 1, ..NONE })
    };
    assert_safe("clocks that differ by 11 %", faster(11));
    let found = explore("clocks that differ by 33 %", faster(33));
    assert!(found.contains_key(SAFE), "the search does not see that claims end early by a fast clock");
}

/// A lease of 3 s, a retry period for whoever has to look, one for whoever has to try again, and a step.
const CALM: u32 = 6;

#[test]
fn somebody_leads_again_soon_after_a_leader_is_killed_or_a_request_lost() {
    for (what, budget) in [
        ("lively, a killed process", Budget { killed: 1, ..NONE }),
        ("lively, a killed process, the Lease labelled", Budget { killed: 1, labelled: 1, ..NONE }),
        ("lively, two lost requests", Budget { lost: 2, ..NONE }),
        ("lively, a lost answer", Budget { unanswered: 1, ..NONE }),
        ("lively, a controller that leaves", Budget { left: 1, ..NONE }),
        ("lively, the Lease deleted", Budget { deleted: 1, ..NONE }),
    ] {
        let concluded = World { calm: Some(CALM), ..world(2, 13, budget) };
        assert_safe(what, concluded);
    }
}

/// A search that finds nothing proves something only if it finds what is broken.
#[test]
fn broken_rules_are_found() {
    let broken = |steps, broken, budget| World { broken, ..world(2, steps, budget) };
    let (frozen, killed) = (Budget { frozen: 1, ..NONE }, Budget { killed: 1, ..NONE });
    let rules = [
        ("writes without compare-and-swap", 7, Broken { no_swap: true, ..Broken::default() }, killed),
        (
            "expiry by the holder's clock, read on a clock that is ahead",
            7,
            Broken { remote_time: Some(3), ..Broken::default() },
            NONE,
        ),
        (
            "a right to write that counts from the answer",
            4,
            Broken { late: true, ..Broken::default() },
            Budget { slow: 1, lost: 1, ..frozen },
        ),
    ];
    for (what, steps, rule, budget) in rules {
        let found = explore(what, broken(steps, rule, budget));
        assert!(found.contains_key(SAFE), "the search does not find {what}");
    }
    let stops = Broken { clock_stops: true, ..Broken::default() };
    for paused in [false, true] {
        let found = explore("clock stops while frozen", World { paused, ..broken(8, stops, frozen) });
        assert!(found.contains_key(SAFE), "the search does not find a clock that stops while frozen");
    }
}
