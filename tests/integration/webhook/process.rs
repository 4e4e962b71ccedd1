// SPDX-License-Identifier: Apache-2.0
//! The webhook server as part of the process: flags, readiness, stop.

use std::{path::PathBuf, time::Duration};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::world::SOON;
use crate::support::{
    ControlPlane, Options,
    authority::Authority,
    eventually,
    holders::wait_all_held,
    install::NAMESPACE,
    leases::history_of,
    manager::{Launch, Manager},
    probes::CONTROLLERS,
    reviews::{Reviewer, creation, hostile},
    usage,
    wait::{instant, throughout},
};

const PATHS: [(&str, &str, &str); 10] = [
    ("/mutate-apps-v1-deployment", "apps/v1", "Deployment"),
    ("/validate-apps-v1-deployment", "apps/v1", "Deployment"),
    ("/mutate-orchestration-aibrix-ai-v1alpha1-kvcache", "orchestration.aibrix.ai/v1alpha1", "KVCache"),
    ("/validate-orchestration-aibrix-ai-v1alpha1-kvcache", "orchestration.aibrix.ai/v1alpha1", "KVCache"),
    ("/mutate-model-aibrix-ai-v1alpha1-modeladapter", "model.aibrix.ai/v1alpha1", "ModelAdapter"),
    ("/validate-model-aibrix-ai-v1alpha1-modeladapter", "model.aibrix.ai/v1alpha1", "ModelAdapter"),
    (
        "/mutate-autoscaling-aibrix-ai-v1alpha1-podautoscaler",
        "autoscaling.aibrix.ai/v1alpha1",
        "PodAutoscaler",
    ),
    (
        "/validate-autoscaling-aibrix-ai-v1alpha1-podautoscaler",
        "autoscaling.aibrix.ai/v1alpha1",
        "PodAutoscaler",
    ),
    (
        "/mutate-orchestration-aibrix-ai-v1alpha1-stormservice",
        "orchestration.aibrix.ai/v1alpha1",
        "StormService",
    ),
    (
        "/validate-orchestration-aibrix-ai-v1alpha1-stormservice",
        "orchestration.aibrix.ai/v1alpha1",
        "StormService",
    ),
];

/// A control plane with the manager installed, and a folder with certificates.
struct Stage {
    plane: ControlPlane,
    authority: Authority,
    folder: PathBuf,
}

impl Stage {
    async fn new() -> Self {
        let plane = ControlPlane::start(Options::bare()).await;
        plane.install_without_storm_services().await;
        let (authority, folder) = (Authority::new(), plane.dir().join("webhook-certs"));
        authority.write_certificate(&folder);
        Self { plane, authority, folder }
    }

    async fn launch(&self, args: &[&str]) -> Launch {
        let folder = format!("--webhook-cert-dir={}", self.folder.display());
        let own = ["--manage-webhook-certs=false", &folder];
        let args: Vec<&str> = args.iter().copied().chain(own).collect();
        Launch::new(&self.plane, &args).await
    }

    fn reviewer(&self, manager: &Manager) -> Reviewer {
        Reviewer::new(self.authority.der(), manager.webhooks())
    }
}

fn object(api_version: &str, kind: &str) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "metadata": {"name": "it", "namespace": "ns"},
        "spec": {"notYetInvented": {"z": [1, null]}, "template": {"spec": {"containers": [{"name": "a"}]}}},
    })
}

// scenario: manager-and-deployment 38
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_ten_paths_answer_whichever_controllers_are_enabled() {
    let stage = Stage::new().await;
    let subsets = CONTROLLERS.iter().map(|&it| it.to_owned());
    let subsets = subsets.chain(["*".to_owned(), "-kv-cache-controller".to_owned()]);
    for subset in subsets.map(|subset| format!("--controllers={subset}")) {
        let manager = stage.launch(&[&subset]).await.start();
        manager.wait_ready().await;
        let reviewer = stage.reviewer(&manager);
        for (path, api_version, kind) in PATHS {
            let review = creation(&object(api_version, kind));
            let answer = reviewer.ask(path, &review).await.expect("an answer");
            assert_eq!(answer["uid"], review["request"]["uid"], "{subset} {path}");
            if kind == "Deployment" {
                assert_eq!(
                    (&answer["allowed"], answer.get("patch")),
                    (&json!(true), None),
                    "{subset} {path}"
                );
            } else {
                assert!(answer["status"]["code"] != json!(500), "{subset} {path}: {answer}");
            }
        }
    }

    let manager = stage.launch(&[]).await.start();
    manager.wait_ready().await;
    let reviewer = stage.reviewer(&manager);
    for (path, ..) in PATHS {
        let long = vec![b' '; (7 << 20) + 1];
        let answer = reviewer.post(path, "application/json", long).await.expect("an answer");
        assert_eq!(answer["response"]["status"]["code"], 413, "{path}: {answer}");
        let answer = reviewer.post(path, "text/plain", "{}").await.expect("an answer");
        assert_eq!(answer["response"]["status"]["code"], 400, "{path}: {answer}");
    }
    let series =
        "controller_runtime_webhook_requests_total{code=\"200\",webhook=\"/validate-apps-v1-deployment\"}";
    assert_eq!(manager.metric(series).await.expect("metrics"), Some(2.0));
}

// scenario: manager-and-deployment 40
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_fails_at_once_at_sigterm_and_reviews_are_answered_for_a_while() {
    let stage = Stage::new().await;
    let manager = stage.launch(&["--controllers=pod-autoscaler-controller"]).await.start();
    manager.wait_ready().await;
    let review = creation(&object("apps/v1", "Deployment"));
    let old = stage.reviewer(&manager);
    old.ask(PATHS[0].0, &review).await.expect("an answer before the stop");
    manager.sigterm();
    let from = instant();
    // At once, and a moment for a busy machine: long before reviews are refused.
    eventually(Duration::from_millis(1500), "readiness fails", async || match manager.get("/readyz").await {
        Ok(answer) if answer.code == 500 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // Asked all the time, over connections that are kept and new ones.
    throughout(
        Duration::from_millis(2500).saturating_sub(from.elapsed()),
        "reviews are answered",
        async || {
            for reviewer in [&old, &stage.reviewer(&manager)] {
                let answer = reviewer.ask(PATHS[0].0, &review).await.map_err(|error| format!("{error:#}"))?;
                if answer["allowed"] != json!(true) {
                    return Err(answer.to_string());
                }
            }
            Ok(())
        },
    )
    .await;
    assert!(from.elapsed() >= Duration::from_secs(2));
    assert_eq!(manager.wait_exit(SOON).await, Some(0));
    assert!(from.elapsed() < Duration::from_secs(8), "{:?}", from.elapsed());
}

// scenario: hardening 16
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_long_reviews_of_small_values_at_once_take_little_memory_and_no_lease() {
    const LEASES: [&str; 3] = [
        "aibrix-pod-autoscaler-controller",
        "aibrix-model-adapter-controller",
        "aibrix-model-route-controller",
    ];
    let stage = Stage::new().await;
    let controllers = format!("--controllers={}", CONTROLLERS[..LEASES.len()].join(","));
    let manager = stage.launch(&[&controllers]).await.start();
    manager.wait_ready().await;
    let client = stage.plane.client().await;
    wait_all_held(&client, NAMESPACE, SOON, &LEASES, &[&manager]).await;
    let reviewer = stage.reviewer(&manager);
    let reviews = hostile();
    assert_eq!(reviews.len(), 16);
    let asked = reviews.into_iter().map(|(path, body)| reviewer.post(path, "application/json", body));
    for answer in futures::future::join_all(asked).await {
        let answer = answer.expect("an answer");
        assert!(answer["response"]["allowed"].is_boolean(), "{answer}");
    }
    let peak = usage::of(manager.pid()).expect("it runs").peak_bytes;
    assert!(peak < 200_000_000, "{peak} bytes");
    wait_all_held(&client, NAMESPACE, SOON, &LEASES, &[&manager]).await;
    for lease in LEASES {
        let changes = history_of(stage.plane.audit().entries(), NAMESPACE, lease);
        assert!(changes.iter().all(|it| manager.is(&it.holder) && it.transitions == 0), "{changes:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_says_what_is_missing_and_certificates_may_come_later() {
    let stage = Stage::new().await;
    let later = stage.plane.dir().join("later");
    let folder = format!("--webhook-cert-dir={}", later.display());
    let args = ["--manage-webhook-certs=false", &folder, "--controllers=-kv-cache-controller"];
    let manager = Manager::start(&stage.plane, &args).await;
    eventually(SOON, "it says that there are no certificates", async || {
        let answer = manager.get("/readyz/readyz").await.map_err(|error| format!("{error:#}"))?;
        let said = answer.body.starts_with("internal server error: webhook certificates are not ready");
        if answer.code == 500 && said { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    assert_eq!(manager.get("/healthz").await.expect("an answer").code, 200);
    stage.authority.write_certificate(&later);
    manager.wait_ready().await;
    let answer = stage.reviewer(&manager).ask(PATHS[1].0, &creation(&object("apps/v1", "Deployment"))).await;
    assert_eq!(answer.expect("an answer")["allowed"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn port_that_is_taken_ends_the_process_with_1() {
    let stage = Stage::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let port = taken.local_addr().expect("an address").port();
    let mut launch = stage.launch(&[]).await;
    launch.ports = Some(crate::support::manager::Ports {
        webhooks: port,
        metrics: crate::support::ports::free_port(),
        probes: crate::support::ports::free_port(),
    });
    let manager = launch.start();
    assert_eq!(manager.wait_exit(SOON).await, Some(1));
    assert!(manager.log().contains(&format!("error listening on 127.0.0.1:{port}")), "{}", manager.log());
}
