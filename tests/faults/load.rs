// SPDX-License-Identifier: Apache-2.0
//! Work for the controllers, for as long as a campaign runs.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use aibrix_controller_manager::testkit::fake_engine::{self, Engine, FakeEngine, Pods};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    adapters::{Adapters, Engines},
    support::{install::NAMESPACE, kubelet::Kubelet, objects, probes::PLAYED},
};

/// Autoscalers, whose metrics and limits change all the time.
const AUTOSCALERS: usize = 4;
/// Where the pods of their targets are scraped.
const PORT: u16 = 8000;
/// Children that each parent asks for.
pub(crate) const CHILDREN: usize = 3;

/// Turns of a second between two adapters.
const ADAPTER: usize = 2;

/// The work of one campaign.
pub(crate) struct Load {
    namespace: String,
    adapters: Adapters,
    /// What the pods of the autoscalers' targets report.
    metrics: Arc<Pods>,
    scraped: Vec<FakeEngine>,
}

impl Load {
    /// Creates what the work is about.
    pub(crate) async fn start(client: &Client, namespace: String) -> Self {
        let metrics: Arc<Pods> = Arc::default();
        let kubelet = Kubelet::new(client.clone(), &namespace);
        let mut scraped = Vec::new();
        for n in 0..AUTOSCALERS {
            let name = format!("web-{n}");
            objects::create(client, &objects::deployment(&namespace, &name, 1)).await;
            objects::create(client, &objects::pod(&namespace, &name)).await;
            let address: IpAddr = kubelet.ready(&name).await.parse().expect("an address");
            let place = SocketAddr::from((address, PORT));
            let engine = FakeEngine::start_with(place, Arc::clone(&metrics), false).await;
            scraped.push(engine.expect("start an engine"));
            let mut autoscaler = objects::pod_autoscaler(&namespace, &name, "APA");
            // It follows the metrics down as well.
            autoscaler["metadata"]["annotations"] =
                json!({"autoscaling.aibrix.ai/scale-down-cooldown-window": "0s"});
            objects::create(client, &autoscaler).await;
        }
        let adapters = Adapters::start(client, &namespace).await;
        Self { namespace, adapters, metrics, scraped }
    }

    /// What the engines of the adapters were asked.
    pub(crate) fn engines(&self) -> Engines {
        self.adapters.engines()
    }

    /// For ever: metrics and limits of the autoscalers that change, so that the pod autoscaler always has to scale,
    /// adapters that come and go on pods that die, and new parents, so that there are always children to make.
    pub(crate) async fn run(&self, client: &Client) {
        let ns = self.namespace.as_str();
        let kind = objects::api(client, "autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler", Some(ns));
        let autoscalers: Api<DynamicObject> = kind.await;
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
        for n in 0_usize.. {
            self.set_metrics(n);
            for name in (0..AUTOSCALERS).map(|n| format!("web-{n}")) {
                let patch = Patch::Merge(json!({"spec": {"minReplicas": 1 + n % 5}}));
                // Fails while the API server is down; the next one will not.
                drop(autoscalers.patch(&name, &PatchParams::default(), &patch).await);
            }
            let controller = PLAYED[n % PLAYED.len()];
            let parent = json!({
                "metadata": {"name": format!("parent-{n}"), "labels": {"probe/parent": controller}},
                "data": {"children": CHILDREN.to_string()},
            });
            let parent: ConfigMap = serde_json::from_value(parent).expect("a ConfigMap");
            drop(maps.create(&PostParams::default(), &parent).await);
            if n % ADAPTER == 0 {
                self.adapters.turn(n / ADAPTER).await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// From nothing to four times what one replica should have, and back.
    fn set_metrics(&self, n: usize) {
        let running = 10.0 * f64::from(u32::try_from(n % 5).unwrap_or_default());
        for pod in self.scraped.iter().map(|it| it.address().ip()) {
            let load = fake_engine::Load::of(Engine::Vllm).with("num_requests_running", running);
            self.metrics.load(Some(pod), &load);
        }
    }

    /// Whether the pod autoscaler has followed the last limits, and the adapters are where they should be.
    ///
    /// # Errors
    /// It has not, in words.
    pub(crate) async fn is_done(&self, client: &Client) -> Result<(), String> {
        for name in (0..AUTOSCALERS).map(|n| format!("web-{n}")) {
            let autoscaler = objects::pod_autoscaler(&self.namespace, &name, "APA");
            let deployment = objects::deployment(&self.namespace, &name, 1);
            let autoscaler = objects::get(client, &autoscaler).await.unwrap_or_default();
            let deployment = objects::get(client, &deployment).await.unwrap_or_default();
            let (least, has) =
                (autoscaler["spec"]["minReplicas"].as_u64(), deployment["spec"]["replicas"].as_u64());
            if least.is_none() || has < least {
                return Err(format!("{name} has {has:?} replicas, of at least {least:?}"));
            }
        }
        self.adapters.is_done().await
    }
}
