// SPDX-License-Identifier: Apache-2.0
//! What the upgrade guard allows, and until when. Pure.

use crate::{clock::Instant, fence::Validity};

use super::{super::observation::margin, Timing};

/// What the upgrade guard allows a controller: see [`super::super::legacy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permit {
    /// A Go manager leads, or it is not known yet whether one does: no controller starts, and those that run are
    /// asked to leave.
    Closed,
    /// Controllers may start, and may write until this moment: the end of the group's claim by this process's own
    /// last write of it. It may lie in the past while nothing of this process leads.
    Until(Validity),
    /// Nothing guards this controller.
    Unbounded,
}

/// All that was allowed so far, as far as it counts now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Permitted {
    /// Controllers may start.
    pub(super) open: bool,
    /// End of the right to write by the group's claim; `None`: not bounded by it.
    until: Option<Validity>,
    /// An attempt to acquire waits for a claim that lasts.
    pub(super) lacking: bool,
}

impl Permitted {
    pub(super) fn new(permit: Permit) -> Self {
        let mut permitted = Self { open: false, until: None, lacking: false };
        permitted.set(permit);
        permitted
    }

    /// A guard that closes takes nothing back of the claim, and adds nothing to it.
    pub(super) fn set(&mut self, permit: Permit) {
        self.open = permit != Permit::Closed;
        match permit {
            Permit::Closed => {}
            Permit::Until(until) => self.until = Some(until),
            Permit::Unbounded => self.until = None,
        }
    }

    /// The earlier of the end of the group's claim and this moment.
    pub(super) fn bound(&self, moment: Instant) -> Instant {
        self.until.map_or(moment, |claim| claim.until.min(moment))
    }

    /// What both allow: the group's claim and this right.
    pub(super) fn both(&self, own: Validity) -> Validity {
        self.until.map_or(own, |claim| claim.and(own))
    }

    /// Whether the claim lasts long enough to begin a term under it.
    pub(super) fn lasts(&self, now: Instant, timing: &Timing) -> bool {
        self.until.is_none_or(|claim| now + margin(timing.lease_duration) < claim.until)
    }

    /// Whether the claim has ended.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|claim| claim.until <= now)
    }
}
