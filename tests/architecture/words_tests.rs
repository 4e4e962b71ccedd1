// SPDX-License-Identifier: Apache-2.0

use crate::{
    rules::LICENCE_LINE,
    source::{Source, Violation},
    words::{check_ambient, check_files, check_frame, check_homes, check_plans, check_purity, check_writes},
};

type Check = fn(&[Source]) -> Vec<Violation>;

fn assert_found(check: Check, cases: &[(&str, &str)]) {
    for (path, text) in cases {
        let found = check(&[Source::new(*path, text)]);
        assert!(!found.is_empty(), "not found in {path}: {text}");
        assert!(
            found.iter().all(|violation| violation.line == 1 && !violation.reason.is_empty()),
            "{found:?}"
        );
    }
}

fn assert_fine(check: Check, cases: &[(&str, &str)]) {
    for (path, text) in cases {
        assert_eq!(check(&[Source::new(*path, text)]), [], "{path}: {text}");
    }
}

#[test]
fn crates_outside_their_home_are_found() {
    assert_found(
        check_homes,
        &[
            ("crates/kube-loops/src/runtime/x.rs", "use kube_leader_election::LeaseLock;"),
            ("src/controllers/a/fetch.rs", "fn f(c: &reqwest::Client) {}"),
            ("src/manager/x.rs", "use axum;"),
            ("src/app.rs", "#[derive(clap::Parser)] struct A;"),
            ("crates/kube-loops/src/cluster/error.rs", "type R = anyhow::Result<()>;"),
            ("crates/kube-loops/src/runtime/metrics.rs", "use prometheus::Registry;"),
        ],
    );
    assert_fine(
        check_homes,
        &[
            ("crates/kube-fenced-election/src/elector.rs", "use kube_leader_election::LeaseLock;"),
            ("src/engine/http.rs", "use reqwest::Client;"),
            ("src/server/probes.rs", "use axum::Router;"),
            ("src/main.rs", "use anyhow::Result;"),
            ("crates/kube-loops/src/runtime/x_tests.rs", "use anyhow::Result;"),
            (
                "crates/kube-loops/src/runtime/x.rs",
                "let x = crate::telemetry::prometheus::encode(); // clap::Parser",
            ),
        ],
    );
}

#[test]
fn waiting_logging_and_sharing_in_pure_code_is_found() {
    assert_found(
        check_purity,
        &[
            ("src/api/keys.rs", "async fn f() {}"),
            ("src/gocompat/hash.rs", "use tokio::time::Instant;"),
            ("src/k8s/owner.rs", "fn f() { tracing::info!(\"x\"); }"),
            ("src/k8s/owner.rs", "use parking_lot::Mutex;"),
            ("src/k8s/owner.rs", "static A: std::sync::RwLock<u8> = x;"),
            ("src/validation/x.rs", "fn f() -> u8 { rand::random() }"),
            ("src/api/x.rs", "fn f(c: kube::Client) {}"),
            ("src/controllers/a/plan.rs", "use tracing::debug;"),
            ("src/controllers/a/algorithm/kpa.rs", "async fn f() {}"),
            ("src/controllers/a/objects/redis.rs", "fn f(c: kube::Api<Pod>) {}"),
            ("src/controllers/a/claims.rs", "fn f() { g().await }"),
        ],
    );
    assert_fine(
        check_purity,
        &[
            ("src/api/x.rs", "#[derive(kube::CustomResource)] struct A; // async tokio"),
            ("src/k8s/text.rs", "const A: &str = \"async\";"),
            ("src/controllers/a/fetch/pods.rs", "async fn f() { g().await }"),
            ("src/controllers/a/reconcile.rs", "async fn f() { tracing::info!(\"x\") }"),
            ("src/controllers/a/mod.rs", "fn f() { Box::pin(async move {}) }"),
            ("src/controllers/a/memory.rs", "use parking_lot::Mutex;"),
            ("src/controllers/a/plan_tests.rs", "use tokio::time;"),
            ("crates/kube-loops/src/runtime/worker.rs", "async fn f() {}"),
        ],
    );
}

#[test]
fn ambient_state_outside_its_home_is_found() {
    assert_found(
        check_ambient,
        &[
            ("crates/kube-loops/src/runtime/x.rs", "let now = Timestamp::now();"),
            ("crates/kube-loops/src/runtime/x.rs", "let now = tokio::time::Instant::now();"),
            ("crates/kube-loops/src/runtime/worker.rs", "tokio::spawn(f());"),
            ("src/app.rs", "std::env::var(\"HOME\");"),
            ("src/main.rs", "std::process::exit(1);"),
            ("crates/kube-loops/src/runtime/x.rs", "let (keeper, fence) = Fence::new(clock, until);"),
            ("src/manager/x.rs", "fn f(keeper: FenceKeeper) {}"),
        ],
    );
    assert_fine(
        check_ambient,
        &[
            ("crates/kube-fenced-election/src/clock.rs", "Timestamp::now(); Instant::now();"),
            ("crates/kube-loops/src/runtime/tasks.rs", "tokio::spawn(f());"),
            ("src/cli/settings.rs", "std::env::var(\"HOME\");"),
            (
                "crates/kube-fenced-election/src/elector.rs",
                "let (keeper, fence): (FenceKeeper, Fence) = Fence::new(clock, until);",
            ),
            ("crates/kube-loops/src/runtime/x_tests.rs", "Instant::now();"),
        ],
    );
}

#[test]
fn kinds_and_controllers_in_the_frame_are_found() {
    assert_found(
        check_frame,
        &[
            ("crates/kube-loops/src/runtime/x.rs", "fn f(x: &PodAutoscaler) {}"),
            ("crates/kube-loops/src/cluster/x.rs", "type A = StormServiceSpec;"),
            ("crates/kube-fenced-election/src/x.rs", "const A: &str = \"kv-cache-controller\";"),
            ("src/manager/x.rs", "const A: &str = \"the ModelAdapter\";"),
        ],
    );
    assert_fine(
        check_frame,
        &[
            (
                "crates/kube-loops/src/runtime/x.rs",
                "/// such as `PodAutoscaler`\nconst A: &str = \"aibrix-controller-manager\";",
            ),
            ("crates/kube-loops/src/runtime/x_tests.rs", "const A: &str = \"kv-cache-controller\";"),
            ("src/controllers/a/mod.rs", "const A: &str = \"kv-cache-controller\";"),
        ],
    );
}

#[test]
fn writes_past_the_writer_are_found() {
    assert_found(
        check_writes,
        &[
            ("src/controllers/a/apply.rs", "use kube::api::PatchParams;"),
            ("src/certs/store.rs", "let p = kube::api::PostParams::default();"),
            (
                "src/controllers/a/apply.rs",
                "async fn f(api: Api<Pod>) { api.create(&Default::default(), &x).await; }",
            ),
            ("src/app.rs", "Api::<Pod>::all(c).delete(\"x\", &Default::default());"),
        ],
    );
    assert_fine(
        check_writes,
        &[
            ("crates/kube-loops/src/cluster/writer.rs", "use kube::api::PatchParams;"),
            ("crates/kube-fenced-election/src/legacy.rs", "use kube::api::PostParams;"),
            ("src/controllers/a/apply.rs", "writer.delete(x).await; text.replace(\"a\", \"b\");"),
            ("src/controllers/a/fetch.rs", "let api: Api<Pod> = x; api.get(\"a\").await;"),
        ],
    );
}

#[test]
fn files_without_licence_too_long_or_named_after_nothing_are_found() {
    let long = format!("{LICENCE_LINE}\n{}", "\n".repeat(600));
    let long_main = format!("{LICENCE_LINE}\n{}", "\n".repeat(40));
    let good = format!("{LICENCE_LINE}\n//! Page.\n");
    let found = |path: &str, text: &str| check_files(&[Source::new(path, text)]);
    assert_eq!(found("src/k8s/mod.rs", &good), []);
    assert_eq!(found("src/k8s/owner.rs", "//! Page.\n").len(), 1);
    assert_eq!(found("src/k8s/owner.rs", &long)[0].line, 601);
    assert_eq!(found("src/main.rs", &long_main)[0].line, 41);
    assert_eq!(found("src/k8s/mod.rs", LICENCE_LINE).len(), 1, "no page");
    for path in ["src/k8s/utils.rs", "src/common/x.rs", "tests/integration/helpers.rs"] {
        assert_eq!(found(path, &good).len(), 1, "{path}");
    }
}

#[test]
fn a_plan_without_tests_is_found() {
    let plan = Source::new("src/controllers/a/plan.rs", "");
    let tests = Source::new("src/controllers/a/plan_tests.rs", "");
    assert_eq!(check_plans(&[plan.clone(), tests]), []);
    assert_eq!(check_plans(&[plan]).len(), 1);
}
