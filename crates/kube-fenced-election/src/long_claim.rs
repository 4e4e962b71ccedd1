// SPDX-License-Identifier: Apache-2.0
//! A holder that may keep its Lease for unusually long without renewing it: says once until when.
//!
//! A Lease can store a duration of decades. Its candidates wait, and without a word nobody would know for what.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Unit};

use crate::clock::{Clock, Instant, Timestamp};

use super::{
    events::{EventRecorder, LeaseRef},
    observation::Observation,
};

/// A claim is unusually long when it lasts for more than so many of the candidate's own lease durations.
const USUAL: u32 = 10;

/// Says until when a holder has the Lease, once for each holder.
#[derive(Debug)]
pub(super) struct LongClaims {
    me: String,
    usual: Duration,
    known: Option<LongClaim>,
}

#[derive(Debug)]
struct LongClaim {
    holder: String,
    until: Instant,
    /// The same by the wall clock, as it was when the claim was seen.
    end: Timestamp,
}

impl LongClaims {
    /// For the candidate `me`, whose own claims last for `lease_duration`.
    pub(super) fn new(me: &str, lease_duration: Duration) -> Self {
        Self { me: me.to_owned(), usual: lease_duration * USUAL, known: None }
    }

    /// The end, by the wall clock, of a foreign claim that is unusually long; logs and publishes it when it is of
    /// another holder than before.
    pub(super) fn report(
        &mut self,
        seen: &Observation,
        lease: &LeaseRef,
        clock: &dyn Clock,
        events: &dyn EventRecorder,
    ) -> Option<Timestamp> {
        let (now, me) = (clock.instant(), self.me.as_str());
        let Some((holder, until)) = seen.claim_longer_than(self.usual, me, now) else {
            self.known = None;
            return None;
        };
        let known = self.known.take().filter(|known| known.holder == holder);
        if let Some(same) = &known
            && same.until == until
        {
            let end = same.end;
            self.known = known;
            return Some(end);
        }
        let wall = clock.now();
        let left = SignedDuration::try_from(until.saturating_duration_since(now)).unwrap_or_default();
        let end = wall.checked_add(left).and_then(|end| end.round(Unit::Second)).unwrap_or(wall);
        if known.is_none() {
            let stored = seen.stored_seconds().unwrap_or_default();
            tracing::warn!(
                lease = %lease,
                identity = me,
                holder,
                lease_duration_seconds = stored,
                until = %end,
                "lease is claimed for unusually long"
            );
            let message = format!(
                "{holder} claims Lease {lease} for {stored} s without a renewal: others wait until {end}, or until it \
                 is released"
            );
            events.long_claim(lease, me, &message);
        }
        self.known = Some(LongClaim { holder: holder.to_owned(), until, end });
        Some(end)
    }
}
