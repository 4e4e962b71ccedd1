// SPDX-License-Identifier: Apache-2.0
//! The controller's side of its election: what its manager holds.
//!
//! Protocol: [`Candidacy::contend`], then for each [`ElectionHandle::acquired`] exactly one
//! [`ElectionHandle::stepped_down`] or [`ElectionHandle::stepped_down_and_released`] when the controller's tasks have
//! ended (or never will). In between the manager watches the fence of the term and
//! [`ElectionHandle::step_down_requested`].

use tokio::sync::{mpsc, oneshot, watch};

use super::{Leadership, TermEnd, status::LeaseStatus};

/// Report to the elector that the controller has stepped down.
#[derive(Debug)]
pub(super) struct SteppedDown {
    pub(super) end: TermEnd,
    /// Answered with whether the Lease was released.
    pub(super) concluded: oneshot::Sender<bool>,
}

/// The elector's ends of the channels of an [`ElectionHandle`].
#[derive(Debug)]
pub(super) struct ElectorChannels {
    pub(super) acquired: mpsc::Sender<Leadership>,
    pub(super) stepped_down: mpsc::Receiver<SteppedDown>,
    pub(super) contending: watch::Receiver<bool>,
    pub(super) eligible: watch::Receiver<bool>,
    pub(super) step_down: watch::Sender<Option<&'static str>>,
    pub(super) status: watch::Sender<LeaseStatus>,
}

/// A controller's handle on its election.
#[derive(Debug)]
pub struct ElectionHandle {
    acquired: mpsc::Receiver<Leadership>,
    stepped_down: mpsc::Sender<SteppedDown>,
    candidacy: Candidacy,
    step_down: watch::Receiver<Option<&'static str>>,
    status: watch::Receiver<LeaseStatus>,
}

/// Whether a controller wants its Lease. At first it does not contend, and counts as eligible. Clones speak for the
/// same controller.
#[derive(Debug, Clone)]
pub struct Candidacy {
    contending: watch::Sender<bool>,
    eligible: watch::Sender<bool>,
}

impl Candidacy {
    /// The controller may run: contend for its Lease.
    pub fn contend(&self) {
        self.contending.send_replace(true);
    }

    /// The controller may not run, for instance because a kind that it needs is not served: do not contend. A term
    /// that has begun goes on until the controller steps down.
    pub fn withdraw(&self) {
        self.contending.send_replace(false);
    }

    /// Whether the controller could work if it led. While it could not, it leaves a free Lease to the other members
    /// for a lease duration, and they offer it none of theirs; without other members it contends like any. A term that
    /// has begun goes on.
    pub fn set_eligible(&self, eligible: bool) {
        self.eligible.send_if_modified(|known| std::mem::replace(known, eligible) != eligible);
    }

    /// The last value of [`Self::set_eligible`].
    #[cfg(any(test, feature = "testkit"))]
    pub fn is_eligible(&self) -> bool {
        *self.eligible.borrow()
    }
}

impl ElectionHandle {
    /// A handle and its elector's ends of the channels.
    pub(super) fn new(status: LeaseStatus) -> (Self, ElectorChannels) {
        // Each term is acquired once and ends once before the next one: one place is enough.
        let (acquired_sender, acquired) = mpsc::channel(1);
        let (stepped_down, stepped_down_receiver) = mpsc::channel(1);
        let (contending, contending_receiver) = watch::channel(false);
        let (eligible, eligible_receiver) = watch::channel(true);
        let (step_down_sender, step_down) = watch::channel(None);
        let (status_sender, status) = watch::channel(status);
        let candidacy = Candidacy { contending, eligible };
        let handle = Self { acquired, stepped_down, candidacy, step_down, status };
        let channels = ElectorChannels {
            acquired: acquired_sender,
            stepped_down: stepped_down_receiver,
            contending: contending_receiver,
            eligible: eligible_receiver,
            step_down: step_down_sender,
            status: status_sender,
        };
        (handle, channels)
    }

    /// For whoever knows whether the controller may run, and whether it could work.
    pub fn candidacy(&self) -> Candidacy {
        self.candidacy.clone()
    }

    /// The next term; `None` when there will be none: the process shuts down, or the elector has ended. Cancel-safe.
    ///
    /// A term whose fence is closed already has to be concluded like any other.
    pub async fn acquired(&mut self) -> Option<Leadership> {
        self.acquired.recv().await
    }

    /// Resolves, while leading, when the controller should finish by itself because another replica or an older
    /// manager is to take over; the value says why. The fence of a controller that does not follow within 5 s is
    /// closed. Cancel-safe.
    pub async fn step_down_requested(&mut self) -> &'static str {
        let requested = self.step_down.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
        match requested {
            Some(reason) => reason,
            // The elector has ended, and the fence with it.
            None => std::future::pending().await,
        }
    }

    /// The term has ended this way.
    pub fn stepped_down(&mut self, end: TermEnd) {
        drop(self.send(end));
    }

    /// The term has ended this way; resolves when the Lease has been released (`true`), or when its release was not
    /// wanted, has failed or is no longer needed (`false`).
    pub async fn stepped_down_and_released(&mut self, end: TermEnd) -> bool {
        match self.send(end) {
            Some(concluded) => concluded.await.unwrap_or(false),
            None => false,
        }
    }

    fn send(&mut self, end: TermEnd) -> Option<oneshot::Receiver<bool>> {
        let (concluded, receiver) = oneshot::channel();
        // Full: the elector has a report already. Closed: the elector has ended.
        self.stepped_down.try_send(SteppedDown { end, concluded }).ok().map(|()| receiver)
    }

    /// Name of the controller.
    pub fn controller(&self) -> String {
        self.status.borrow().controller.clone()
    }

    /// State of the election, and each change of it.
    pub fn status(&self) -> watch::Receiver<LeaseStatus> {
        self.status.clone()
    }
}
