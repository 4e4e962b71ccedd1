// SPDX-License-Identifier: Apache-2.0
//! Probes, metrics and the debug page of the running process.

use super::faults::block_a_pass;
use crate::{
    election::{CONTROLLERS, PROBED, SOON, default_lease, default_leases, plane, wait_counting, wait_held},
    support::{
        eventually,
        manager::{Launch, Manager},
        objects,
    },
};

// scenario: manager-and-deployment 32
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_answer_as_go_managers_do() {
    let plane = plane().await;
    let manager = Manager::start(&plane, &["--probe-loops", "--disable-webhook"]).await;
    manager.wait_ready().await;
    let rows = [
        ("/healthz", 200, "ok"),
        ("/healthz/", 200, "ok"),
        ("/readyz", 200, "ok"),
        ("/healthz?verbose", 200, "[+]healthz ok\nhealthz check passed\n"),
        ("/readyz?verbose=1", 200, "[+]readyz ok\nhealthz check passed\n"),
        ("/readyz/readyz", 200, "ok"),
        ("/healthz/nope", 404, "404 page not found\n"),
        ("/readyz?exclude=readyz&verbose", 200, "[+]readyz excluded: ok\nhealthz check passed\n"),
        (
            "/healthz?exclude=other&verbose",
            200,
            "[+]healthz ok\nwarn: some health checks cannot be excluded: no matches for \"other\"\nhealthz \
             check passed\n",
        ),
    ];
    for (path, code, body) in rows {
        let answer = manager.get(path).await.expect("an answer");
        assert_eq!((answer.code, answer.body.as_str()), (code, body), "{path}");
    }
    // Not ready: from the signal on, while a pass still runs that keeps the process for seconds.
    let client = plane.client().await;
    wait_held(&client, SOON, &default_leases(), &[&manager]).await;
    wait_counting(&client, SOON, PROBED).await;
    block_a_pass(&client, &manager).await;
    manager.sigterm();
    let answer = eventually(SOON, "it is not ready any more", async || {
        let answer = manager.get("/readyz").await.map_err(|error| format!("{error:#}"))?;
        if answer.code == 200 { Err("ready".to_owned()) } else { Ok(answer) }
    })
    .await;
    let body = "[-]readyz failed: reason withheld\nhealthz check failed\n";
    assert_eq!((answer.code, answer.body.as_str()), (500, body));
    let alive = manager.get("/healthz").await.expect("an answer");
    assert_eq!((alive.code, alive.body.as_str()), (200, "ok"));
    assert_eq!(manager.exit_status(), None, "the pass keeps it");
}

// scenario: manager-and-deployment 39
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_have_the_names_labels_and_buckets_that_dashboards_use() {
    let plane = plane().await;
    let client = plane.client().await;
    let manager = Manager::start(&plane, &["--probe-loops"]).await;
    wait_held(&client, SOON, &default_leases(), &[&manager]).await;
    let text = manager.metrics().await.expect("metrics");
    for result in ["success", "error", "requeue", "requeue_after"] {
        let series = format!(
            "controller_runtime_reconcile_total{{controller=\"podautoscaler\",result=\"{result}\"}} "
        );
        assert!(text.contains(&series), "{series} is not in\n{text}");
    }
    for series in [
        "controller_runtime_reconcile_errors_total{controller=\"podautoscaler\"} ",
        "controller_runtime_terminal_reconcile_errors_total{controller=\"podautoscaler\"} ",
        "controller_runtime_reconcile_panics_total{controller=\"podautoscaler\"} ",
        "controller_runtime_max_concurrent_reconciles{controller=\"podautoscaler\"} ",
        "controller_runtime_active_workers{controller=\"podautoscaler\"} ",
        "controller_runtime_reconcile_time_seconds_bucket{controller=\"podautoscaler\",le=\"0.005\"} ",
        "controller_runtime_reconcile_time_seconds_bucket{controller=\"podautoscaler\",le=\"60\"} ",
        "workqueue_depth{controller=\"podautoscaler\",name=\"podautoscaler\"} ",
        "workqueue_adds_total{controller=\"podautoscaler\",name=\"podautoscaler\"} ",
        "workqueue_retries_total{controller=\"podautoscaler\",name=\"podautoscaler\"} ",
        "workqueue_unfinished_work_seconds{controller=\"podautoscaler\",name=\"podautoscaler\"} ",
        "workqueue_longest_running_processor_seconds{controller=\"podautoscaler\",name=\"podautoscaler\"} ",
        "workqueue_queue_duration_seconds_bucket{controller=\"podautoscaler\",name=\"podautoscaler\",le=\"",
        "workqueue_work_duration_seconds_count{controller=\"podautoscaler\",name=\"podautoscaler\"} ",
        "controller_runtime_webhook_requests_total{code=\"200\",webhook=\"/mutate-apps-v1-deployment\"} 0",
        "controller_runtime_webhook_requests_total{code=\"500\",webhook=\"/mutate-apps-v1-deployment\"} 0",
        "controller_runtime_webhook_requests_in_flight{webhook=\"/validate-apps-v1-deployment\"} 0",
        "controller_runtime_webhook_latency_seconds_bucket{webhook=\"/mutate-apps-v1-deployment\",le=\"0.005\"}",
        "controller_runtime_webhook_latency_seconds_bucket{webhook=\"/mutate-apps-v1-deployment\",le=\"10\"}",
        "controller_runtime_webhook_panics_total 0",
        "certwatcher_read_certificate_total ",
        "certwatcher_read_certificate_errors_total ",
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "process_virtual_memory_bytes ",
        "process_open_fds ",
        "process_max_fds ",
        "process_start_time_seconds ",
        "rest_client_requests_total{code=\"200\",host=\"127.0.0.1:",
    ] {
        assert!(text.contains(series), "{series} is not in\n{text}");
    }
    for controller in CONTROLLERS {
        let status = format!("leader_election_master_status{{name=\"{}\"}} 1", default_lease(controller));
        assert!(text.contains(&status), "{status} is not in\n{text}");
    }
    assert!(!text.contains("# EOF"), "OpenMetrics instead of text format 0.0.4");
}

/// A standby exports the same families with zeros, and leads nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_exports_the_loops_families_with_zeros_and_touches_nothing() {
    let plane = plane().await;
    let client = plane.client().await;
    let args = ["--probe-loops", "--disable-webhook", "--leader-election-spread=false"];
    let leader = Manager::start(&plane, &args).await;
    wait_held(&client, SOON, &default_leases(), &[&leader]).await;
    let standby = Launch::new(&plane, &args).await.start();
    standby.wait_ready().await;
    let mut log = plane.audit();
    let mark = log.mark();
    // Work that both see: the leader does it, ten times and more.
    let ns = plane.namespace("standby").await;
    objects::create(&client, &objects::pod_autoscaler(&ns, "seen", "HPA")).await;
    let passes = "controller_runtime_reconcile_time_seconds_count{controller=\"podautoscaler\"}";
    eventually(SOON, "the leader reconciles", async || {
        let count = leader.metric(passes).await.map_err(|error| format!("{error:#}"))?;
        if count > Some(0.0) { Ok(()) } else { Err(format!("{count:?}")) }
    })
    .await;
    for _ in 0..10 {
        wait_counting(&client, SOON, PROBED).await;
    }
    let text = standby.metrics().await.expect("metrics");
    let success = "controller_runtime_reconcile_total{controller=\"podautoscaler\",result=\"success\"}";
    for series in [passes, success] {
        assert!(text.contains(&format!("{series} 0\n")), "{series} is not 0 in\n{text}");
    }
    let name = standby.pod_name().to_owned();
    let wrote: Vec<_> = log
        .since(mark)
        .iter()
        .filter(|it| it.is_write() && it.caller.as_ref().is_some_and(|by| by.identity.starts_with(&name)))
        .filter(|it| !it.is_lease())
        .collect();
    assert!(wrote.is_empty(), "{wrote:?}");
}
