// SPDX-License-Identifier: Apache-2.0
//! The test plays kubelet: it says when a pod runs, is ready and has an address.
//!
//! For control planes without kwok, and for pods with the annotation `dev.aibrix.ai/kubelet: by-hand`, which
//! kwok leaves alone.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::wait::now;

/// The upper half of 10.244.0.0/16, which kwok does not reach.
static ADDRESSES: AtomicU16 = AtomicU16::new(0);

/// Sets the status of pods of one namespace.
#[derive(Debug, Clone)]
pub(crate) struct Kubelet {
    pods: Api<Pod>,
}

impl Kubelet {
    /// A kubelet for the namespace `ns`.
    pub(crate) fn new(client: Client, ns: &str) -> Self {
        Self { pods: Api::namespaced(client, ns) }
    }

    /// A pod address that no other pod has: the sandbox answers on it.
    pub(crate) fn next_address() -> String {
        let n = ADDRESSES.fetch_add(1, Ordering::Relaxed);
        format!("10.244.{}.{}", 128 + n / 250, 1 + n % 250)
    }

    /// The pod runs and is ready, at its present address or a new one, which is returned.
    pub(crate) async fn ready(&self, name: &str) -> String {
        self.set(name, true).await
    }

    /// The pod runs and is not ready.
    pub(crate) async fn not_ready(&self, name: &str) -> String {
        self.set(name, false).await
    }

    /// All pods of the namespace that are not on their way out run and are ready. Returns how many.
    pub(crate) async fn ready_all(&self) -> usize {
        let pods = self.pods.list(&ListParams::default()).await.expect("list pods");
        let staying: Vec<_> = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
        for pod in &staying {
            // Who else is at work may delete it meanwhile.
            drop(self.try_set(&pod.name_any(), true).await);
        }
        staying.len()
    }

    /// The pod has failed: its phase is `Failed`, for the given reason.
    pub(crate) async fn failed(&self, name: &str, reason: &str) {
        let status =
            json!({"phase": "Failed", "reason": reason, "conditions": conditions(false, Duration::ZERO)});
        self.patch(name, &status).await;
    }

    /// The pod's containers have ended: a pod that is being deleted is gone.
    pub(crate) async fn gone(&self, name: &str) {
        match self.pods.delete(name, &DeleteParams::default().grace_period(0)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("remove the pod {name}: {error}"),
        }
    }

    /// Sets the pod's status by a merge patch, for states that have no method here.
    pub(crate) async fn patch(&self, name: &str, status: &Value) {
        self.try_patch(name, status)
            .await
            .unwrap_or_else(|error| panic!("set the status of pod {name}: {error}"));
    }

    async fn try_patch(&self, name: &str, status: &Value) -> kube::Result<()> {
        let patch = Patch::Merge(json!({"status": status}));
        self.pods.patch_status(name, &PatchParams::default(), &patch).await.map(drop)
    }

    async fn set(&self, name: &str, ready: bool) -> String {
        self.try_set(name, ready)
            .await
            .unwrap_or_else(|error| panic!("set the status of pod {name}: {error}"))
    }

    async fn try_set(&self, name: &str, ready: bool) -> kube::Result<String> {
        let pod = self.pods.get(name).await?;
        let known = pod.status.and_then(|status| status.pod_ip);
        let address = known.unwrap_or_else(Self::next_address);
        let containers = pod.spec.map(|spec| spec.containers).unwrap_or_default();
        let containers: Vec<_> = containers
            .iter()
            .map(|it| {
                json!({"name": it.name, "image": it.image, "imageID": "", "ready": ready, "started": true,
                       "restartCount": 0, "state": {"running": {"startedAt": stamp(Duration::ZERO)}}})
            })
            .collect();
        let status = json!({
            "phase": "Running",
            "startTime": stamp(Duration::ZERO),
            "hostIP": "127.0.0.1",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": conditions(ready, Duration::ZERO),
            "containerStatuses": containers,
        });
        self.try_patch(name, &status).await?;
        Ok(address)
    }
}

/// The status of a pod that runs and has been ready for that long.
pub(crate) fn running(address: IpAddr, since: Duration) -> Value {
    json!({
        "phase": "Running", "podIP": address.to_string(), "podIPs": [{"ip": address.to_string()}],
        "hostIP": "127.0.0.1", "startTime": stamp(since), "conditions": conditions(true, since),
    })
}

/// The conditions of a pod that has been ready, or not, for that long.
pub(crate) fn conditions(ready: bool, since: Duration) -> Value {
    let said = |kind: &str, holds: bool| {
        let status = if holds { "True" } else { "False" };
        json!({"type": kind, "status": status, "lastTransitionTime": stamp(since)})
    };
    json!([
        said("PodScheduled", true),
        said("Initialized", true),
        said("ContainersReady", ready),
        said("Ready", ready),
    ])
}

/// That long ago, in whole seconds as Kubernetes writes it.
fn stamp(ago: Duration) -> String {
    (now() - ago).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
