// SPDX-License-Identifier: Apache-2.0

use crate::{
    layers::{check, check_known, check_loops},
    source::Source,
};

fn lines(found: &[crate::source::Violation]) -> Vec<usize> {
    found.iter().map(|violation| violation.line).collect()
}

#[test]
fn an_arrow_that_points_up_is_found_with_its_line() {
    let source = Source::new("src/gocompat/url.rs", "// licence\n\nuse crate::engine::http;\n");
    let found = check(&[source]);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].to_string(),
        "src/gocompat/url.rs:3: `gocompat` names `engine::http`: it may use nothing (arrows point down)"
    );
}

#[test]
fn arrows_that_point_sideways_or_up_are_found() {
    for (path, text) in [
        ("src/engine/http.rs", "use kube_loops::cluster::Writer;"),
        ("src/api/keys.rs", "use crate::gocompat::hash;"),
        ("src/api/keys.rs", "use kube_fenced_election::clock::Timestamp;"),
        ("src/validation/x.rs", "use kube_fenced_election::clock::Timestamp;"),
        ("crates/kube-loops/src/runtime/worker.rs", "use kube_fenced_election::Won;"),
        ("crates/kube-loops/src/cluster/writer.rs", "use crate::runtime::tasks;"),
        ("crates/kube-loops/src/k8s/owner.rs", "use crate::cluster::writer;"),
        ("src/controllers/a/plan.rs", "use kube_fenced_election::Won;"),
        ("src/controllers/a/plan.rs", "use crate::server::probes;"),
        ("src/server/probes.rs", "use crate::manager::State;"),
        ("src/manager/controller_runner.rs", "use crate::controllers::all;"),
        ("src/manager/controller_runner.rs", "use kube_loops::cluster::Writer;"),
        ("src/manager/controller_runner.rs", "fn f(x: crate::cli::Settings) {}"),
        ("crates/kube-loops/src/metrics/series.rs", "use super::super::cluster::Writer;"),
        ("src/testkit/mod.rs", "use crate::controllers::all;"),
    ] {
        assert_eq!(lines(&check(&[Source::new(path, text)])), [1], "{path}: {text}");
    }
}

#[test]
fn arrows_that_point_down_are_fine() {
    for (path, text) in [
        (
            "src/manager/kind_gate.rs",
            "use kube_loops::{cluster::discovery, runtime::controller::ControllerSpec};",
        ),
        ("src/manager/controller_runner.rs", "use kube_fenced_election::Won;"),
        (
            "crates/kube-loops/src/runtime/worker.rs",
            "use super::queue; use crate::{cluster::Writer, metrics};",
        ),
        ("crates/kube-loops/src/runtime/worker.rs", "use kube_fenced_election::{clock, fence::Fence};"),
        ("src/app.rs", "use crate::{cli, controllers, manager, server};"),
        ("src/main.rs", "use aibrix_controller_manager::app;"),
        ("src/k8s/names_tests.rs", "use crate::app;"),
    ] {
        assert_eq!(lines(&check(&[Source::new(path, text)])), Vec::<usize>::new(), "{path}: {text}");
    }
}

#[test]
fn a_loop_that_names_another_is_found() {
    let tree = [
        Source::new("src/controllers/storm/service/reconcile.rs", ""),
        Source::new("src/controllers/storm/role_set/reconcile.rs", ""),
        Source::new("src/controllers/storm/service/plan.rs", "use super::super::role_set::plan;"),
        Source::new("src/controllers/storm/mod.rs", "use self::{role_set::run, service::run as other};"),
        Source::new("src/controllers/cache/plan.rs", "\nuse crate::controllers::storm::x;"),
        Source::new("src/controllers/cache/mod.rs", "use crate::controllers::Deps;"),
        Source::new(
            "src/controllers/mod.rs",
            "use self::storm::Storm; use crate::controllers::cache::Cache;",
        ),
    ];
    let found: Vec<_> = check_loops(&tree).into_iter().map(|v| (v.path, v.line)).collect();
    let want = [("src/controllers/storm/service/plan.rs", 1), ("src/controllers/cache/plan.rs", 2)];
    assert_eq!(found, want.map(|(path, line)| (path.to_owned(), line)));
}

#[test]
fn a_module_outside_the_table_is_found() {
    let tree =
        [Source::new("src/lib.rs", ""), Source::new("src/extras/x.rs", ""), Source::new("src/app.rs", "")];
    let found: Vec<_> = check_known(&tree).into_iter().map(|v| v.path).collect();
    assert_eq!(found, ["src/extras/x.rs"]);
}
