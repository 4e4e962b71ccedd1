// SPDX-License-Identifier: Apache-2.0
//! Whether the controllers of this process could work if they led.
//!
//! A controller that gave its Lease away because it could not work is *unfit* until a read is answered and its
//! watches are up: it would hold the Lease without working, and another replica may be able to. What kept it
//! from working may keep the others of the process from it, too, so as long as one is unfit the others look
//! after themselves before they stand. While all are fit nobody asks anything: a standby makes no requests.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use tokio::sync::watch;

use kube_fenced_election::Candidacy;
use kube_loops::runtime::{controller::Controller, health::could_work, watches::Read};

/// From one look at a controller that is unfit to the next.
const AGAIN: Duration = Duration::from_secs(5);
/// From one look at a controller that is fit to the next, while another of the process is not.
const WHILE_IN_DOUBT: Duration = Duration::from_secs(15);

/// Which controllers of the process are unfit. Shared by all lives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fitness {
    unfit: Arc<watch::Sender<BTreeSet<&'static str>>>,
}

impl Fitness {
    /// A controller could not work.
    pub(super) fn lost(&self, controller: &'static str) {
        self.unfit.send_if_modified(|unfit| unfit.insert(controller));
    }

    /// It can, or is about to show it.
    pub(super) fn regained(&self, controller: &'static str) {
        self.unfit.send_if_modified(|unfit| unfit.remove(controller));
    }

    fn is_in_doubt(&self) -> bool {
        !self.unfit.borrow().is_empty()
    }

    /// Resolves when some controller of the process is unfit.
    async fn in_doubt(&self) {
        // The sender is part of this, so it cannot go while this waits.
        drop(self.unfit.subscribe().wait_for(|unfit| !unfit.is_empty()).await);
    }
}

/// A standby and what tells whether it could work.
pub(super) struct Standby {
    pub(super) controller: Arc<dyn Controller>,
    pub(super) candidacy: Candidacy,
    pub(super) fitness: Fitness,
}

impl Standby {
    /// Tells the election, for as long as it is polled, whether the controller could work.
    pub(super) async fn look_after(self) -> Infallible {
        loop {
            self.fitness.in_doubt().await;
            // Nothing is taken on the strength of what was true before.
            self.candidacy.set_eligible(false);
            let reads = self.controller.reads();
            loop {
                self.recover(&reads).await;
                self.candidacy.set_eligible(true);
                self.fitness.regained(self.controller.spec().name);
                tokio::time::sleep(WHILE_IN_DOUBT).await;
                if !self.fitness.is_in_doubt() {
                    break;
                }
            }
        }
    }

    /// Resolves when the controller could work: at once, or after having said that it could not.
    async fn recover(&self, reads: &[Read]) {
        let controller = self.controller.spec().name;
        let Err(cause) = could_work(reads).await else { return };
        self.candidacy.set_eligible(false);
        tracing::warn!(
            controller,
            error = %cause,
            "controller could not work, leaving its lease to other replicas until a read is answered and its \
             watches are up"
        );
        loop {
            tokio::time::sleep(AGAIN).await;
            if could_work(reads).await.is_ok() {
                break;
            }
        }
        tracing::info!(controller, "controller could work again, standing for its lease");
    }
}
