// SPDX-License-Identifier: Apache-2.0
//! Leases, Deployments and the time become rows, and rows become text. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp, Unit};
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease};
use serde::Serialize;

use crate::api::keys::LEASE_CONTROLLER_LABEL;

use super::{
    controllers::{NAMES, default_lease, known},
    deployed::{self, Deployed},
    lease_ids::DEFAULT_LEGACY,
};

/// A claim of more than ten default lease durations is unusually long, in seconds.
const LONG_CLAIM: i64 = 150;
/// What stands for the controller of a Go manager's Lease.
const GUARD: &str = "(upgrade guard)";

/// One Lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Its controller; several between commas if the arguments of Deployments say so.
    pub controller: String,
    /// Its name.
    pub lease: String,
    /// Who holds it; `None`: nobody, or there is no such Lease.
    pub holder: Option<String>,
    /// Last renewal; `None`: never.
    pub renew_time: Option<Timestamp>,
    /// Seconds since the last renewal, by the clock of this machine.
    pub age_seconds: Option<i64>,
    /// How often the holder has changed.
    pub transitions: Option<i32>,
    /// What is wrong; empty: nothing.
    pub problems: Vec<String>,
}

/// A row for every Lease of a controller, for the Leases of Go managers, and for those that Deployments ask
/// for but that do not exist. In the order of the controllers, then by name.
pub(crate) fn rows(leases: &[Lease], deployments: &[Deployment], now: Timestamp) -> Vec<Row> {
    let deployed = deployed::read(deployments);
    let existing: BTreeMap<&str, &Lease> =
        leases.iter().filter_map(|lease| Some((lease.metadata.name.as_deref()?, lease))).collect();
    let defaults = NAMES.map(default_lease);

    let ours = existing.iter().filter(|(_, lease)| controller_label(lease).is_some()).map(|(name, _)| *name);
    let by_name = defaults
        .iter()
        .map(String::as_str)
        .chain([DEFAULT_LEGACY])
        .filter(|name| existing.contains_key(name));
    let guards =
        deployed.guards.iter().map(|guard| guard.lease.as_str()).filter(|name| existing.contains_key(name));
    let asked =
        deployed.assignments.iter().filter(|it| it.running || existing.contains_key(it.lease.as_str()));
    let asked = asked.map(|assignment| assignment.lease.as_str());
    let names: BTreeSet<&str> = ours.chain(by_name).chain(guards).chain(asked).collect();

    let mut rows: Vec<_> =
        names.into_iter().map(|name| row(name, existing.get(name).copied(), &deployed, now)).collect();
    rows.sort_by_key(|row| {
        let place = NAMES.iter().position(|name| row.controller.starts_with(name));
        (place.unwrap_or(NAMES.len()), row.lease.clone())
    });
    rows
}

/// The controller for which a manager made the Lease. (Common labels prove nothing: tools stamp their own onto Leases.)
fn controller_label(lease: &Lease) -> Option<&str> {
    lease.metadata.labels.as_ref()?.get(LEASE_CONTROLLER_LABEL).map(String::as_str)
}

fn row(name: &str, lease: Option<&Lease>, deployed: &Deployed, now: Timestamp) -> Row {
    let labelled = lease.and_then(controller_label);
    let mut assigned: Vec<&'static str> = Vec::new();
    for assignment in deployed.assignments.iter().filter(|it| it.lease == name) {
        if !assigned.contains(&assignment.controller) {
            assigned.push(assignment.controller);
        }
    }
    let by_default = NAMES.into_iter().find(|controller| default_lease(controller) == name);
    let controller = match (labelled, assigned.as_slice(), by_default) {
        (Some(label), _, _) => label.to_owned(),
        (None, [], Some(controller)) => controller.to_owned(),
        (None, [], None) => GUARD.to_owned(),
        (None, several, _) => several.join(","),
    };
    let spec = lease.and_then(|lease| lease.spec.as_ref());
    let renew_time = spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
    let mut row = Row {
        lease: name.to_owned(),
        holder: spec.and_then(|spec| spec.holder_identity.clone()).filter(|holder| !holder.is_empty()),
        renew_time,
        age_seconds: renew_time.map(|time| now.duration_since(time).as_secs().max(0)),
        transitions: spec.and_then(|spec| spec.lease_transitions),
        problems: Vec::new(),
        controller,
    };
    let duration = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
    row.problems.extend(holding_problem(&row, lease.is_some(), i64::from(duration)));
    row.problems.extend(long_claim(&row, i64::from(duration)));
    row.problems.extend(claim_problems(name, labelled, &assigned, deployed));
    row
}

/// Whether somebody holds it. A Go manager's Lease may be free or stale: then nothing is waited for.
fn holding_problem(row: &Row, exists: bool, duration: i64) -> Option<String> {
    if row.controller == GUARD {
        return None;
    }
    match (&row.holder, row.age_seconds) {
        _ if !exists => Some("no such Lease".to_owned()),
        (None, _) => Some("unheld".to_owned()),
        (Some(_), None) => Some("expired: never renewed".to_owned()),
        (Some(_), Some(age)) if age > duration => Some(format!("expired: lasts {duration}s")),
        (Some(_), Some(_)) => None,
    }
}

/// Until when somebody has it who need not renew it for unusually long: others wait so long.
fn long_claim(row: &Row, duration: i64) -> Option<String> {
    let renewed = row.renew_time.filter(|_| row.holder.is_some() && duration > LONG_CLAIM)?;
    let still = row.age_seconds.is_some_and(|age| age <= duration);
    let until = renewed.checked_add(SignedDuration::from_secs(duration)).ok().filter(|_| still)?;
    let until = until.round(Unit::Second).unwrap_or(until);
    Some(format!("claimed until {until} unless renewed or released: lasts {duration}s"))
}

/// Whether everybody agrees on whose Lease it is.
fn claim_problems(
    name: &str,
    labelled: Option<&str>,
    assigned: &[&'static str],
    deployed: &Deployed,
) -> Vec<String> {
    let mut problems = Vec::new();
    let users = |of: &str| {
        let users: BTreeSet<_> = deployed
            .assignments
            .iter()
            .filter(|it| it.lease == name && it.controller == of)
            .map(|it| it.deployment.as_str())
            .collect();
        users.into_iter().collect::<Vec<_>>().join(", ")
    };
    let claims = |controller: &&'static str| format!("{controller} (Deployment {})", users(controller));
    if let Some(label) = labelled {
        let others: Vec<_> = assigned.iter().filter(|controller| **controller != label).map(claims).collect();
        if !others.is_empty() {
            problems.push(format!("conflict: labelled for {label}, used by {}", others.join(" and ")));
        }
        if known(label).is_none() {
            problems.push(format!("labelled for {label}, which is no controller"));
        }
    }
    if assigned.len() > 1 {
        let claims: Vec<_> = assigned.iter().map(claims).collect();
        problems.push(format!("several controllers with one id: {}", claims.join(" and ")));
    }
    for guard in deployed.guards.iter().filter(|guard| guard.lease == name && !assigned.is_empty()) {
        problems.push(format!("also the upgrade guard of Deployment {}", guard.deployment));
    }
    for other in
        deployed.assignments.iter().filter(|it| it.lease != name && assigned.contains(&it.controller))
    {
        let (deployment, controller, lease) = (&other.deployment, other.controller, &other.lease);
        problems.push(format!("{controller} is elected on {lease} in Deployment {deployment}: both may run"));
    }
    problems
}

/// The rows as kubectl prints columns: as wide as the widest cell, three spaces between them.
pub(crate) fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "No Leases of controllers found.\n".to_owned();
    }
    let header = ["CONTROLLER", "LEASE", "HOLDER", "RENEWED", "TRANSITIONS", "PROBLEMS"].map(str::to_owned);
    let none = || "<none>".to_owned();
    let cells = rows.iter().map(|row| {
        [
            row.controller.clone(),
            row.lease.clone(),
            row.holder.clone().unwrap_or_else(none),
            row.age_seconds.map_or_else(none, |age| format!("{} ago", human_duration(age))),
            row.transitions.map_or_else(none, |transitions| transitions.to_string()),
            if row.problems.is_empty() { none() } else { row.problems.join("; ") },
        ]
    });
    let lines: Vec<[String; 6]> = std::iter::once(header).chain(cells).collect();
    let mut widths = [0; 6];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<_> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(padded.join("   ").trim_end());
        text.push('\n');
    }
    text
}

/// The rows as an array.
pub(crate) fn json(rows: &[Row]) -> String {
    // Strings and numbers only: encoding cannot fail.
    serde_json::to_string_pretty(rows).unwrap_or_default() + "\n"
}

/// Seconds as kubectl prints ages: two units at most, the smaller ones dropped as they lose weight.
fn human_duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let pair = |large: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{small_unit}") }
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => pair(days, "d", hours % 24, "h"),
        () => format!("{days}d"),
    }
}
