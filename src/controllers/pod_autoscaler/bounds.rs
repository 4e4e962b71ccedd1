// SPDX-License-Identifier: Apache-2.0
//! Bounds in force at a moment, and when they change next.
//!
//! Times of a schedule are wall-clock times of its zone: on a day on which the clock is changed, a window
//! starts when the clock shows its start.

use std::time::Duration;

use jiff::{ToSpan, civil, tz::TimeZone};

use crate::{
    api::autoscaling::{DEFAULT_MIN_REPLICAS, PodAutoscaler, ScheduledBounds},
    validation::schedules::{Timetable, parse_schedules},
};
use kube_fenced_election::clock::Timestamp;

/// Bounds in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Lower bound.
    pub(super) min: i32,
    /// Upper bound.
    pub(super) max: i32,
    /// Name of the active schedule.
    pub(super) active: Option<String>,
    /// Whether the active schedule itself sets the lower bound: it then also wakes a target from 0.
    pub(super) has_explicit_min: bool,
}

impl Bounds {
    /// As the status shows them.
    pub(super) fn as_status(&self) -> ScheduledBounds {
        ScheduledBounds {
            active_schedule: self.active.clone(),
            effective_min_replicas: self.min,
            effective_max_replicas: self.max,
        }
    }
}

/// The bounds at `now`, and how long they stay; `None`: there are no schedules. Invalid schedules count
/// as none.
pub(super) fn resolve(pa: &PodAutoscaler, now: Timestamp) -> (Bounds, Option<Duration>) {
    let spec = &pa.spec;
    let base = Bounds {
        min: spec.min_replicas.unwrap_or(DEFAULT_MIN_REPLICAS),
        max: spec.max_replicas,
        active: None,
        has_explicit_min: false,
    };
    let Ok(Some(timetable)) = parse_schedules(pa) else { return (base, None) };
    (active_bounds(&timetable, base, now), next_transition(&timetable, now))
}

fn active_bounds(timetable: &Timetable, base: Bounds, now: Timestamp) -> Bounds {
    let local = timetable.zone.to_datetime(now);
    let minute = minute_of(local.time());
    match timetable.windows.iter().find(|window| window.has(local.weekday(), minute)) {
        None => base,
        Some(window) => Bounds {
            min: window.min_replicas.unwrap_or(base.min),
            max: window.max_replicas.unwrap_or(base.max),
            active: Some(window.name.clone()),
            has_explicit_min: window.min_replicas.is_some(),
        },
    }
}

fn minute_of(time: civil::Time) -> u16 {
    let minutes = i16::from(time.hour()) * 60 + i16::from(time.minute());
    u16::try_from(minutes).unwrap_or(0)
}

/// From `now` to the earliest start or end after it, within a week from today.
fn next_transition(timetable: &Timetable, now: Timestamp) -> Option<Duration> {
    let today = timetable.zone.to_datetime(now).date();
    let mut next: Option<Timestamp> = None;
    for offset in 0..=7_i64 {
        let Ok(day) = today.checked_add(offset.days()) else { continue };
        let spans = timetable.windows.iter().flat_map(|window| &window.spans);
        let spans = spans.filter(|span| span.is_on(day.weekday()));
        for minute in spans.flat_map(|span| [span.start, span.end]) {
            let moment = moment_of(&timetable.zone, day, minute);
            next = match (next, moment.filter(|moment| *moment > now)) {
                (Some(next), Some(moment)) => Some(next.min(moment)),
                (next, moment) => next.or(moment),
            };
        }
        // Later days only have later moments, but for the day that the clock is changed.
        if next.is_some() && offset > 0 {
            break;
        }
    }
    Duration::try_from(next?.duration_since(now)).ok()
}

/// When the clock of the zone shows this minute: the first time if it does twice, the end of the gap if
/// it never does. 24:00 is the beginning of the next day.
fn moment_of(zone: &TimeZone, day: civil::Date, minute: u16) -> Option<Timestamp> {
    const DAY: u16 = 24 * 60;
    let day = day.checked_add(i64::from(minute / DAY).days()).ok()?;
    let minute = minute % DAY;
    let (hour, minute) = (i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?);
    let local = civil::Time::new(hour, minute, 0, 0).ok()?.on(day.year(), day.month(), day.day());
    zone.to_ambiguous_timestamp(local).compatible().ok()
}
