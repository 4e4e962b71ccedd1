// SPDX-License-Identifier: Apache-2.0
//! Keeps a controller that cannot work from acquiring its Lease.
//!
//! A controller that stepped down because it made no progress is *unhealthy* until a read is answered and its
//! watches are up: it would hold the Lease without working, and another replica may be able to work. The cause may
//! concern the other controllers of the process, too, so while one is unhealthy the others are checked before they
//! contend. While all are healthy nothing is checked: a standby makes no requests.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use tokio::sync::watch;

use kube_fenced_election::Candidacy;
use kube_loops::runtime::{controller::Controller, health::eligible, watches::Read};

/// How often an unhealthy controller is checked.
const UNHEALTHY_CHECK_PERIOD: Duration = Duration::from_secs(5);
/// How often a healthy controller is checked while another one of the process is unhealthy.
const HEALTHY_CHECK_PERIOD: Duration = Duration::from_secs(15);

/// Which controllers of the process are unhealthy. Shared by all runners.
#[derive(Debug, Clone, Default)]
pub(crate) struct HealthGate {
    unhealthy: Arc<watch::Sender<BTreeSet<&'static str>>>,
}

impl HealthGate {
    /// A controller made no progress.
    pub(super) fn set_unhealthy(&self, controller: &'static str) {
        self.unhealthy.send_if_modified(|unhealthy| unhealthy.insert(controller));
    }

    /// A controller can work again, or begins a new term.
    pub(super) fn set_healthy(&self, controller: &'static str) {
        self.unhealthy.send_if_modified(|unhealthy| unhealthy.remove(controller));
    }

    fn any_unhealthy(&self) -> bool {
        !self.unhealthy.borrow().is_empty()
    }

    /// Resolves when some controller of the process is unhealthy.
    async fn until_any_unhealthy(&self) {
        // The sender is part of this, so it cannot go while this waits.
        drop(self.unhealthy.subscribe().wait_for(|unhealthy| !unhealthy.is_empty()).await);
    }
}

/// Checks a standby and tells its elector whether it may acquire the Lease.
pub(super) struct EligibilityCheck {
    pub(super) controller: Arc<dyn Controller>,
    pub(super) candidacy: Candidacy,
    pub(super) health_gate: HealthGate,
}

impl EligibilityCheck {
    /// Sets whether the controller is eligible, for as long as it is polled.
    pub(super) async fn run(self) -> Infallible {
        loop {
            self.health_gate.until_any_unhealthy().await;
            // An earlier check does not count any more.
            self.candidacy.set_eligible(false);
            let reads = self.controller.reads();
            loop {
                self.until_eligible(&reads).await;
                self.candidacy.set_eligible(true);
                self.health_gate.set_healthy(self.controller.spec().name);
                tokio::time::sleep(HEALTHY_CHECK_PERIOD).await;
                if !self.health_gate.any_unhealthy() {
                    break;
                }
            }
        }
    }

    /// Resolves when the controller can work; until then it is not eligible, which is logged.
    async fn until_eligible(&self, reads: &[Read]) {
        let controller = self.controller.spec().name;
        let Err(cause) = eligible(reads).await else { return };
        self.candidacy.set_eligible(false);
        tracing::warn!(
            controller,
            error = %cause,
            "controller could not work, leaving its lease to other replicas until a read is answered and its \
             watches are up"
        );
        loop {
            tokio::time::sleep(UNHEALTHY_CHECK_PERIOD).await;
            if eligible(reads).await.is_ok() {
                break;
            }
        }
        tracing::info!(controller, "controller could work again, standing for its lease");
    }
}
