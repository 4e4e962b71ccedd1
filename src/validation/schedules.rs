// SPDX-License-Identifier: Apache-2.0
//! Daily time windows: parsing and validation, the same for admission, conditions and decisions.

use jiff::{civil::Weekday, tz::TimeZone};

use crate::{
    api::{
        autoscaling::{DEFAULT_MIN_REPLICAS, PodAutoscaler, PodAutoscalerSpec, Schedule},
        keys::pod_autoscaler::OVERNIGHT_SCHEDULES,
    },
    gocompat::quote::quote,
};

/// Most schedules of one PodAutoscaler.
pub(crate) const MOST_SCHEDULES: usize = 64;
/// Minutes of a day: its end, which no text can name.
const DAY: u16 = 24 * 60;
/// How alike two names of zones are, from 0 to 1, of which one is meant when the other is written.
const ALIKE: f64 = 0.7;

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
    /// Its parts, none of which reaches beyond a day.
    pub spans: Vec<Span>,
    /// Lower bound while active.
    pub min_replicas: Option<i32>,
    /// Upper bound while active.
    pub max_replicas: Option<i32>,
}

/// A part of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// Day of the week, from Monday at 0.
    pub day: u8,
    /// First minute.
    pub start: u16,
    /// Minute after the last one, up to 24:00.
    pub end: u16,
}

impl Window {
    /// Whether the window has this minute of that day of the week.
    pub(crate) fn has(&self, day: Weekday, minute: u16) -> bool {
        self.spans.iter().any(|span| span.is_on(day) && (span.start..span.end).contains(&minute))
    }
}

impl Span {
    /// Whether it is on this day of the week.
    pub(crate) fn is_on(self, day: Weekday) -> bool {
        u8::try_from(day.to_monday_zero_offset()) == Ok(self.day)
    }
}

/// The timetable of an object, `None` without schedules.
///
/// # Errors
/// The first error in the order of the list; overlaps last.
pub(crate) fn parse_schedules(pa: &PodAutoscaler) -> Result<Option<Timetable>, ScheduleError> {
    let spec = &pa.spec;
    let overnight = pa.metadata.annotations.as_ref().and_then(|all| all.get(OVERNIGHT_SCHEDULES));
    let overnight = overnight.is_some_and(|value| value == "true");
    let Some(schedules) = &spec.schedules else { return Ok(None) };
    if schedules.len() > MOST_SCHEDULES {
        let message = format!("schedules: {} are too many, at most {MOST_SCHEDULES}", schedules.len());
        return Err(ScheduleError(message));
    }
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
        zone = parse_zone(zone_name).map_err(|problem| at(format!("timezone: {problem}")))?;
        let window = parse_window(schedule, overnight).map_err(at)?;
        check_bounds(spec, schedule).map_err(|problem| at(problem.to_owned()))?;
        if windows.iter().any(|earlier| earlier.name == window.name) {
            return Err(ScheduleError(format!(
                "schedules[{i}].name: duplicate name {}",
                quote(&window.name)
            )));
        }
        windows.push(window);
    }
    if let Some((i, earlier)) = first_overlap(&windows) {
        let earlier = quote(windows.get(earlier).map_or("", |window| &window.name));
        return Err(ScheduleError(format!("schedules[{i}]: overlaps schedule {earlier}")));
    }
    Ok(Some(Timetable { zone, windows }))
}

fn zone_name_of(schedule: &Schedule) -> &str {
    schedule.timezone.as_deref().filter(|zone| !zone.is_empty()).unwrap_or("UTC")
}

/// Of the windows that overlap an earlier one, the first, and the first that it overlaps.
fn first_overlap(windows: &[Window]) -> Option<(usize, usize)> {
    let spans =
        windows.iter().enumerate().flat_map(|(i, window)| window.spans.iter().map(move |span| (*span, i)));
    let mut spans: Vec<(Span, usize)> = spans.collect();
    spans.sort_unstable();
    let mut found: Option<(usize, usize)> = None;
    // Those that have not ended where a span begins.
    let mut open: Vec<(Span, usize)> = Vec::new();
    for (span, i) in spans {
        open.retain(|(earlier, _)| earlier.day == span.day && earlier.end > span.start);
        for (_, other) in open.iter().filter(|(_, other)| *other != i) {
            let pair = (i.max(*other), i.min(*other));
            found = Some(found.map_or(pair, |found| found.min(pair)));
        }
        open.push((span, i));
    }
    found
}

/// Exactly as the database writes it: other writings of a name are other names to Linux.
fn parse_zone(name: &str) -> Result<TimeZone, String> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    if let Ok(zone) = TimeZone::get(name)
        && zone.iana_name() == Some(name)
    {
        return Ok(zone);
    }
    Err(match nearest_zone(name) {
        Some(nearest) => format!("unknown time zone {name}, is {nearest} meant?"),
        None => format!("unknown time zone {name}"),
    })
}

fn nearest_zone(name: &str) -> Option<String> {
    // Go's name for the zone of the machine, which is UTC in a container.
    if name.eq_ignore_ascii_case("local") {
        return Some("UTC".to_owned());
    }
    let wanted = name.to_ascii_lowercase();
    let alike = |zone: &str| strsim::normalized_damerau_levenshtein(&wanted, &zone.to_ascii_lowercase());
    let zones = jiff::tz::db().available().map(|zone| zone.as_str().to_owned());
    let nearest = zones.map(|zone| (alike(&zone), zone)).max_by(|(a, _), (b, _)| a.total_cmp(b));
    nearest.filter(|(alike, _)| *alike >= ALIKE).map(|(_, zone)| zone)
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

fn parse_window(schedule: &Schedule, overnight: bool) -> Result<Window, String> {
    let days = parse_days(schedule.days_of_week.as_deref())?;
    let start = parse_minute(&schedule.start_time).ok_or("startTime: must use HH:MM")?;
    let end = parse_minute(&schedule.end_time).ok_or("endTime: must use HH:MM")?;
    // COMPAT: the pattern of the CRD has no 24:00, and a hole of a minute is not what anybody wants.
    let end = if end == DAY - 1 { DAY } else { end };
    if start >= end && !overnight {
        return Err("startTime must be earlier than endTime".to_owned());
    }
    let mut spans = Vec::new();
    for day in (0..7_u8).filter(|day| days.get(usize::from(*day)) == Some(&true)) {
        if start < end {
            spans.push(Span { day, start, end });
            continue;
        }
        // It belongs to the day on which it starts.
        spans.push(Span { day, start, end: DAY });
        spans.extend((end > 0).then_some(Span { day: (day + 1) % 7, start: 0, end }));
    }
    Ok(Window {
        name: schedule.name.clone(),
        spans,
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
