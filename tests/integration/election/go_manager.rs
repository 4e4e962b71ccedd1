// SPDX-License-Identifier: Apache-2.0
//! A Go manager as others see it: it holds the Lease of older managers and renews it.

use std::time::Duration;

use kube::{Client, api::PostParams};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};

use crate::support::wait::now;

use super::{edit_lease, leases_of};

/// The Lease of older managers.
pub(super) const LEGACY: &str = "aibrix-controller-manager";
/// Who it is.
pub(super) const GO_MANAGER: &str = "old-pod_x";

/// How long its Lease lasts, unless the test says otherwise.
const DURATION: Duration = Duration::from_secs(15);
const PERIOD: Duration = Duration::from_secs(2);

/// It renews its Lease every 2 s, by the true clock. Dropping it kills it.
pub(super) struct GoManager {
    period: watch::Sender<Duration>,
    /// Ends with this.
    _renewing: JoinSet<()>,
}

impl GoManager {
    /// Starts one with a Lease of 15 s.
    pub(super) async fn start(client: &Client) -> Self {
        Self::start_with(client, DURATION).await
    }

    /// Starts one whose Lease lasts as long.
    pub(super) async fn start_with(client: &Client, duration: Duration) -> Self {
        let time = format!("{:.6}", now());
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEGACY},
            "spec": {"holderIdentity": GO_MANAGER, "leaseDurationSeconds": duration.as_secs(),
                     "leaseTransitions": 0, "acquireTime": time, "renewTime": time},
        });
        let lease = serde_json::from_value(lease).expect("a Lease");
        leases_of(client).create(&PostParams::default(), &lease).await.expect("create the Lease");
        let (period, mut periods) = watch::channel(PERIOD);
        let client = client.clone();
        let mut renewing = JoinSet::new();
        renewing.spawn(async move {
            loop {
                let period = *periods.borrow_and_update();
                tokio::time::sleep(period).await;
                edit_lease(&client, LEGACY, &json!({"spec": {"renewTime": format!("{:.6}", now())}})).await;
            }
        });
        Self { period, _renewing: renewing }
    }

    /// Pauses for this long between two renewals, after the one that is due.
    pub(super) fn renew_every(&self, period: Duration) {
        self.period.send_replace(period);
    }
}
