// SPDX-License-Identifier: Apache-2.0
//! Stabilisation of recommendations, with the semantics of the Kubernetes autoscaler.
//!
//! `u` = least recommendation younger than the up window, `d` = greatest one younger than the down
//! window, both including the new one; from R: `x = R; if x < u: x = u; if x > d: x = d`.

use jiff::{SignedDuration, Timestamp};

use super::SHORTEST_GAP_SECONDS;

/// Recommendations of one object, as few as the windows need: of two, the older one is dropped if the
/// younger one is at least as extreme. So the size is bounded by the number of different counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in super::super) struct Recommendations {
    /// Falling counts, oldest first: the first one within a window is its greatest.
    highs: Vec<(Timestamp, i32)>,
    /// Rising counts, oldest first: the first one within a window is its least.
    lows: Vec<(Timestamp, i32)>,
    /// First and last recommendation since the last interruption.
    observed: Option<(Timestamp, Timestamp)>,
}

/// Lengths of the two windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct CooldownWindows {
    /// Scaling up waits until the recommendation held this long.
    pub(in super::super) up: SignedDuration,
    /// Scaling down waits until the recommendation held this long.
    pub(in super::super) down: SignedDuration,
}

impl Recommendations {
    /// Adds a recommendation and answers the stabilised count. `current`: R, with which the history
    /// starts at first sight and after an interruption.
    pub(in super::super) fn stabilise(
        &mut self,
        now: Timestamp,
        current: i32,
        recommended: i32,
        windows: CooldownWindows,
    ) -> i32 {
        let longest = windows.up.max(windows.down);
        let gap = longest.max(SignedDuration::from_secs(SHORTEST_GAP_SECONDS));
        match self.observed {
            Some((since, last)) if now.duration_since(last) <= gap => {
                self.observed = Some((since.min(now), now));
            }
            Some(_) | None => {
                *self = Self { observed: Some((now, now)), ..Self::default() };
                self.push(now, current);
            }
        }
        let is_young =
            |window: SignedDuration| move |(at, _): &&(Timestamp, i32)| now.duration_since(*at) < window;
        let least = self.lows.iter().find(is_young(windows.up)).map_or(recommended, |(_, count)| *count);
        let greatest =
            self.highs.iter().find(is_young(windows.down)).map_or(recommended, |(_, count)| *count);
        self.push(now, recommended);
        self.highs.retain(|entry| is_young(windows.down)(&entry));
        self.lows.retain(|entry| is_young(windows.up)(&entry));
        current.max(least.min(recommended)).min(greatest.max(recommended))
    }

    /// When the down window spans its full length; `None`: nothing was recommended yet.
    pub(in super::super) fn full_at(&self, down: SignedDuration) -> Option<Timestamp> {
        let (since, _) = self.observed?;
        since.checked_add(down).ok()
    }

    fn push(&mut self, now: Timestamp, count: i32) {
        while self.highs.pop_if(|(_, last)| *last <= count).is_some() {}
        self.highs.push((now, count));
        while self.lows.pop_if(|(_, last)| *last >= count).is_some() {}
        self.lows.push((now, count));
    }
}
