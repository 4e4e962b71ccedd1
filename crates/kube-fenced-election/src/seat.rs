// SPDX-License-Identifier: Apache-2.0
//! The controller's side of its election: what its supervisor holds.
//!
//! Protocol: [`Stance::stand`], then for each [`Seat::won`] exactly one [`Seat::left`] or
//! [`Seat::left_and_released`] when the controller's tasks have ended (or never will). In between the
//! supervisor watches the fence of the term and [`Seat::asked_to_leave`].

use tokio::sync::{mpsc, oneshot, watch};

use super::{Leaving, Won, status::LeaseStatus};

/// The controller has left, told to its elector.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) leaving: Leaving,
    /// Answered with whether the Lease was given away.
    pub(super) settled: oneshot::Sender<bool>,
}

/// The elector's ends of a [`Seat`].
#[derive(Debug)]
pub(super) struct SeatEnds {
    pub(super) won: mpsc::Sender<Won>,
    pub(super) left: mpsc::Receiver<Left>,
    pub(super) standing: watch::Receiver<bool>,
    pub(super) fit: watch::Receiver<bool>,
    pub(super) asked: watch::Sender<Option<&'static str>>,
    pub(super) status: watch::Sender<LeaseStatus>,
}

/// A controller's place in its election.
#[derive(Debug)]
pub struct Seat {
    won: mpsc::Receiver<Won>,
    left: mpsc::Sender<Left>,
    stance: Stance,
    asked: watch::Receiver<Option<&'static str>>,
    status: watch::Receiver<LeaseStatus>,
}

/// Whether a controller wants its Lease. At first it does not, and is thought fit.
#[derive(Debug, Clone)]
pub struct Stance {
    standing: watch::Sender<bool>,
    fit: watch::Sender<bool>,
}

impl Stance {
    /// The controller may run: contend for its Lease.
    pub fn stand(&self) {
        self.standing.send_replace(true);
    }

    /// The controller may not run (its kinds are missing): do not contend. A term that has begun goes
    /// on until it is left.
    pub fn stand_down(&self) {
        self.standing.send_replace(false);
    }

    /// Whether the controller could work if it led. While it could not, a Lease is left to the other members
    /// for a lease duration, and none of them offers one; without others it contends like any. A term that
    /// has begun goes on.
    pub fn fit(&self, fit: bool) {
        self.fit.send_if_modified(|known| std::mem::replace(known, fit) != fit);
    }

    /// What was last told to [`Self::fit`].
    pub fn is_fit(&self) -> bool {
        *self.fit.borrow()
    }
}

impl Seat {
    /// Both ends.
    pub(super) fn new(status: LeaseStatus) -> (Self, SeatEnds) {
        // Each term is won once and left once before the next: one place is enough.
        let (won_sender, won) = mpsc::channel(1);
        let (left, left_receiver) = mpsc::channel(1);
        let (standing, standing_receiver) = watch::channel(false);
        let (fit, fit_receiver) = watch::channel(true);
        let (asked_sender, asked) = watch::channel(None);
        let (status_sender, status) = watch::channel(status);
        let seat = Self { won, left, stance: Stance { standing, fit }, asked, status };
        let ends = SeatEnds {
            won: won_sender,
            left: left_receiver,
            standing: standing_receiver,
            fit: fit_receiver,
            asked: asked_sender,
            status: status_sender,
        };
        (seat, ends)
    }

    /// A handle for whoever knows whether the controller may run, and whether it could work.
    pub fn stance(&self) -> Stance {
        self.stance.clone()
    }

    /// The next term; `None` when there will be none: shutdown, or the elector has ended. Cancel-safe.
    ///
    /// A term whose fence is closed already has to be left like any other.
    pub async fn won(&mut self) -> Option<Won> {
        self.won.recv().await
    }

    /// Resolves, while leading, when the controller should finish by itself because another replica or
    /// an older manager is to take over; the value says why. Whoever does not follow within 5 s loses
    /// the fence. Cancel-safe.
    pub async fn asked_to_leave(&mut self) -> &'static str {
        let asked = self.asked.wait_for(Option::is_some).await.ok().and_then(|why| *why);
        match asked {
            Some(why) => why,
            // The elector is gone, and the fence with it.
            None => std::future::pending().await,
        }
    }

    /// The controller has left.
    pub fn left(&mut self, leaving: Leaving) {
        drop(self.tell(leaving));
    }

    /// The controller has left; resolves when its Lease has been given away (`true`), or when that is
    /// over, was not wanted or has failed (`false`).
    pub async fn left_and_released(&mut self, leaving: Leaving) -> bool {
        match self.tell(leaving) {
            Some(settled) => settled.await.unwrap_or(false),
            None => false,
        }
    }

    fn tell(&mut self, leaving: Leaving) -> Option<oneshot::Receiver<bool>> {
        let (settled, receiver) = oneshot::channel();
        // Full or closed: told already, or nobody is there to be told.
        self.left.try_send(Left { leaving, settled }).ok().map(|()| receiver)
    }

    /// Name of the controller.
    pub fn controller(&self) -> String {
        self.status.borrow().controller.clone()
    }

    /// How the election stands.
    pub fn status(&self) -> watch::Receiver<LeaseStatus> {
        self.status.clone()
    }
}
