// SPDX-License-Identifier: Apache-2.0

use tracing::Level;

use super::filter::{Filter, Origin};

const OURS: &str = "aibrix_controller_manager::cluster::events";

fn shows(filter: &Filter, level: Level, target: &str) -> bool {
    let file = "src/cluster/events/mod.rs";
    filter.shows(Origin { level, target, module: target, file })
}

#[test]
fn debug_and_trace_need_verbosity_four_and_six() {
    let table = [
        (0, [true, true, true, false, false]),
        (3, [true, true, true, false, false]),
        (4, [true, true, true, true, false]),
        (5, [true, true, true, true, false]),
        (6, [true, true, true, true, true]),
    ];
    let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
    for (verbosity, want) in table {
        let filter = Filter::parse(verbosity, "").unwrap();
        let have = levels.map(|level| shows(&filter, level, OURS));
        assert_eq!(have, want, "-v={verbosity}");
    }
}

#[test]
fn libraries_are_quiet_below_warn_unless_very_verbose() {
    let low = Filter::parse(6, "").unwrap();
    let high = Filter::parse(8, "").unwrap();
    for target in ["kube_leader_election", "hyper::proto", "tower::buffer", "rustls::client", "kube_client"] {
        assert!(shows(&low, Level::WARN, target), "{target}");
        assert!(!shows(&low, Level::INFO, target), "{target}");
        assert!(shows(&high, Level::DEBUG, target), "{target}");
    }
}

#[test]
fn answers_printed_by_the_kube_client_are_never_shown() {
    let filter = Filter::parse(99, "").unwrap();
    assert!(!shows(&filter, Level::ERROR, "kube_client::client"));
    assert!(!shows(&filter, Level::WARN, "kube_client::client::builder"));
    assert!(shows(&filter, Level::WARN, "kube_client::client_other"));
}

#[test]
fn our_libraries_are_ours() {
    let filter = Filter::parse(0, "").unwrap();
    for ours in
        ["aibrix_controller_manager::app", "kube_fenced_election::elector", "kube_loops::runtime::worker"]
    {
        assert!(shows(&filter, Level::INFO, ours), "{ours}");
        assert!(!shows(&filter, Level::DEBUG, ours), "{ours}");
    }
    assert!(!shows(&filter, Level::INFO, "kube_client::config"));
}

#[test]
fn a_crate_whose_name_starts_like_ours_is_a_library() {
    let filter = Filter::parse(4, "").unwrap();
    assert!(!shows(&filter, Level::DEBUG, "aibrix_controller_manager_extras::x"));
}

#[test]
fn vmodule_matches_file_names_modules_and_paths() {
    let table = [
        ("events=4", true, "last part of the module of a mod.rs"),
        ("mod=4", true, "file name"),
        ("mod.rs=4", true, "file name with its ending"),
        ("ev*=4", true, "star"),
        ("event?=4", true, "question mark"),
        ("event=4", false, "no prefix match"),
        ("*::cluster::*=4", true, "module path"),
        ("src/cluster/*=4", true, "file path"),
        ("writer=4,events=4", true, "second rule"),
        ("events=3,ev*=9", false, "first match wins"),
        (" events=4 ,", true, "spaces and empty items"),
    ];
    for (vmodule, want, why) in table {
        let filter = Filter::parse(0, vmodule).unwrap();
        assert_eq!(shows(&filter, Level::DEBUG, OURS), want, "{why}: {vmodule}");
    }
}

#[test]
fn vmodule_can_silence_a_file_of_a_verbose_process() {
    let filter = Filter::parse(6, "events=0").unwrap();
    assert!(!shows(&filter, Level::DEBUG, OURS));
    assert!(shows(&filter, Level::INFO, OURS));
}

#[test]
fn malformed_vmodule_names_the_item() {
    for bad in ["events", "events=", "events=x", "=4", "events=-1", "a=1,b"] {
        let error = Filter::parse(0, bad).unwrap_err().to_string();
        let item = bad.rsplit(',').next().unwrap();
        assert!(error.contains(&format!("{item:?}")), "{bad}: {error}");
    }
}

#[test]
fn patterns_with_many_stars_end_quickly() {
    let filter = Filter::parse(0, &format!("{}b=4", "*a".repeat(40))).unwrap();
    let target = format!("aibrix_controller_manager::{}", "a".repeat(5_000));
    assert!(!shows(&filter, Level::DEBUG, &target));
}
