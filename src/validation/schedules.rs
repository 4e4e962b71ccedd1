// SPDX-License-Identifier: Apache-2.0
//! Daily time windows: parsing and validation, the same for admission, conditions and decisions.

use jiff::{civil::Weekday, tz::TimeZone};

use crate::{
    api::autoscaling::{DEFAULT_MIN_REPLICAS, PodAutoscalerSpec, Schedule},
    gocompat::quote::quote,
};

/// The first thing that is wrong with the schedules, in words for users.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ScheduleError(String);

/// Schedules that were found to be valid.
#[derive(Debug, Clone)]
pub(crate) struct Timetable {
    /// The zone of all windows.
    pub zone: TimeZone,
    /// The windows in the order of the list; no two of them overlap.
    pub windows: Vec<Window>,
}

/// One daily time window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// Name, unique in the timetable.
    pub name: String,
    /// Its days, Monday first.
    pub days: [bool; 7],
    /// First minute of the day.
    pub start: u16,
    /// Minute of the day after the last one, later than `start`, at most 23:59.
    pub end: u16,
    /// Lower bound while active.
    pub min_replicas: Option<i32>,
    /// Upper bound while active.
    pub max_replicas: Option<i32>,
}

impl Window {
    /// Whether the window has this day of the week.
    pub(crate) fn has_day(&self, day: Weekday) -> bool {
        let place = usize::try_from(day.to_monday_zero_offset()).unwrap_or(0);
        self.days.get(place).copied().unwrap_or(false)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let share_a_day = self.days.iter().zip(other.days).any(|(a, b)| *a && b);
        share_a_day && self.start < other.end && other.start < self.end
    }
}

/// The timetable of a spec, `None` without schedules.
///
/// # Errors
/// The first error in the order of the list; overlaps last.
pub(crate) fn parse_schedules(spec: &PodAutoscalerSpec) -> Result<Option<Timetable>, ScheduleError> {
    let Some(schedules) = &spec.schedules else { return Ok(None) };
    let Some(first) = schedules.first() else {
        return Err(ScheduleError("schedules must not be empty".to_owned()));
    };
    let zone_name = zone_name_of(first);
    let mut zone = TimeZone::UTC;
    let mut windows: Vec<Window> = Vec::with_capacity(schedules.len());
    for (i, schedule) in schedules.iter().enumerate() {
        if zone_name_of(schedule) != zone_name {
            let message = format!("schedules[{i}].timezone: mixed timezone values are not supported");
            return Err(ScheduleError(message));
        }
        let at = |problem: String| ScheduleError(format!("schedules[{i}]: {problem}"));
        check_name(&schedule.name).map_err(|problem| at(problem.to_owned()))?;
        zone = parse_zone(zone_name).ok_or_else(|| at(format!("timezone: unknown time zone {zone_name}")))?;
        let window = parse_window(schedule).map_err(at)?;
        check_bounds(spec, schedule).map_err(|problem| at(problem.to_owned()))?;
        if windows.iter().any(|earlier| earlier.name == window.name) {
            return Err(ScheduleError(format!(
                "schedules[{i}].name: duplicate name {}",
                quote(&window.name)
            )));
        }
        windows.push(window);
    }
    for (i, window) in windows.iter().enumerate() {
        if let Some(earlier) = windows.iter().take(i).find(|earlier| earlier.overlaps(window)) {
            let earlier = quote(&earlier.name);
            return Err(ScheduleError(format!("schedules[{i}]: overlaps schedule {earlier}")));
        }
    }
    Ok(Some(Timetable { zone, windows }))
}

fn zone_name_of(schedule: &Schedule) -> &str {
    schedule.timezone.as_deref().filter(|zone| !zone.is_empty()).unwrap_or("UTC")
}

fn parse_zone(name: &str) -> Option<TimeZone> {
    match name {
        // COMPAT: Go knows `Local`; in a container that is UTC.
        "UTC" | "Local" => Some(TimeZone::UTC),
        name => TimeZone::get(name).ok(),
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("name is required");
    }
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if edge(name.chars().next()) && edge(name.chars().next_back()) && name.chars().all(inner) {
        return Ok(());
    }
    Err("name must use Kubernetes DNS label style")
}

fn parse_window(schedule: &Schedule) -> Result<Window, String> {
    let days = parse_days(schedule.days_of_week.as_deref())?;
    let start = parse_minute(&schedule.start_time).ok_or("startTime: must use HH:MM")?;
    let end = parse_minute(&schedule.end_time).ok_or("endTime: must use HH:MM")?;
    if start >= end {
        return Err("startTime must be earlier than endTime".to_owned());
    }
    Ok(Window {
        name: schedule.name.clone(),
        days,
        start,
        end,
        min_replicas: schedule.min_replicas,
        max_replicas: schedule.max_replicas,
    })
}

fn parse_days(names: Option<&[String]>) -> Result<[bool; 7], String> {
    const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let Some(names) = names else { return Ok([true; 7]) };
    if names.is_empty() {
        return Err("daysOfWeek must not be empty".to_owned());
    }
    let mut days = [false; 7];
    for name in names {
        let place = NAMES.iter().position(|known| name.eq_ignore_ascii_case(known));
        match place.and_then(|place| days.get_mut(place)) {
            Some(day) => *day = true,
            None => return Err(format!("daysOfWeek: unsupported weekday {}", quote(name))),
        }
    }
    Ok(days)
}

/// `HH:MM` with two digits each, as the minute of the day.
fn parse_minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str, limit: u16| {
        let two_digits = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|number| two_digits && *number < limit)
    };
    Some(number(hours, 24)? * 60 + number(minutes, 60)?)
}

fn check_bounds(spec: &PodAutoscalerSpec, schedule: &Schedule) -> Result<(), &'static str> {
    if schedule.min_replicas.is_none() && schedule.max_replicas.is_none() {
        return Err("at least one of minReplicas or maxReplicas must be set");
    }
    let min = schedule.min_replicas.or(spec.min_replicas).unwrap_or(DEFAULT_MIN_REPLICAS);
    let max = schedule.max_replicas.unwrap_or(spec.max_replicas);
    if min < 0 {
        return Err("effective minReplicas must be non-negative");
    }
    if max <= 0 {
        return Err("effective maxReplicas must be positive");
    }
    if min > max {
        return Err("effective minReplicas must not be greater than effective maxReplicas");
    }
    Ok(())
}
