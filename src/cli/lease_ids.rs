// SPDX-License-Identifier: Apache-2.0
//! A Lease for each controller, pure: reads the values of `--leader-election-id`, decides, and checks that
//! no two controllers meet on one Lease.
//!
//! That two controllers never share a Lease is the promise of this product, so it is kept here, before
//! anything contacts the cluster, and every violation is reported at once.

use std::collections::BTreeMap;

use super::{
    controllers::{NAMES, default_lease, known},
    notice::StartupNotice,
};
use kube_loops::k8s::names::is_dns1123_subdomain;

/// Lease of a Go manager that was started with defaults.
pub(crate) const DEFAULT_LEGACY: &str = "aibrix-controller-manager";

/// What the command line says about Leases.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// Enabled controllers, in the order of [`NAMES`].
    pub enabled: &'a [&'static str],
    /// Every value of `--leader-election-id`, in order.
    pub ids: &'a [String],
    /// Value of `--legacy-leader-election-id` if it was given.
    pub legacy: Option<&'a str>,
}

/// Who is elected on what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseIds {
    /// Lease of each of the seven controllers, enabled or not.
    pub by_controller: BTreeMap<&'static str, String>,
    /// Lease that guards an upgrade from a Go manager; `None`: no guard.
    pub legacy: Option<String>,
    /// Why the process may not start; empty: it may.
    pub problems: Vec<Problem>,
    /// What to log.
    pub notices: Vec<StartupNotice>,
}

/// Why a set of Lease names is refused: each says what is wrong and which flag cures it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// A pair names none of the seven.
    #[error("invalid controller specified: {}: --leader-election-id takes CONTROLLER=LEASE, with one of {}", .0, NAMES.join(", "))]
    UnknownController(String),
    /// A bare id without characters.
    #[error(
        "LeaderElectionID must be configured: --leader-election-id has an empty lease name; leave the flag out for the default ids"
    )]
    Empty,
    /// A pair without a Lease.
    #[error(
        "LeaderElectionID must be configured: {0} has an empty lease name; set --leader-election-id={0}=<lease name>"
    )]
    EmptyOf(&'static str),
    /// Not a name that the API server takes.
    #[error(
        "invalid lease name {lease:?} in --{flag}: a lowercase DNS-1123 subdomain of at most 253 characters is needed"
    )]
    Name {
        /// The name.
        lease: String,
        /// The flag that holds it.
        flag: &'static str,
    },
    /// Several electors of one process on one Lease would starve each other.
    #[error(
        "controllers {} have the same lease id {lease:?}: give each its own with {}",
        controllers.join(" and "),
        flags_with_defaults(controllers)
    )]
    Shared {
        /// The Lease.
        lease: String,
        /// At least two.
        controllers: Vec<&'static str>,
    },
    /// The guard would wait for a Lease that one of the controllers holds.
    #[error(
        "controller {controller} has the lease id {lease:?}, which is also the upgrade guard of all enabled controllers: \
         set --leader-election-id={controller}=<another lease name>, or --legacy-leader-election-id=<another or empty>"
    )]
    EqualsLegacy {
        /// The Lease.
        lease: String,
        /// Whose it is.
        controller: &'static str,
    },
}

/// Decides and checks. An answer with problems is still the best reading of the request.
pub(crate) fn resolve(request: &Request<'_>) -> LeaseIds {
    let mut read = read_ids(request.ids);
    let mut notices = Vec::new();
    let only = match request.enabled {
        [only] => Some(*only),
        _ => None,
    };
    let bare = read.bare.as_deref();
    let lease_of = |controller: &'static str| match (read.map.get(controller), bare, only) {
        (Some(lease), _, _) => lease.clone(),
        (None, Some(bare), Some(only)) if only == controller => bare.to_owned(),
        (None, _, _) => default_lease(controller),
    };
    let by_controller: BTreeMap<_, _> = NAMES.into_iter().map(|name| (name, lease_of(name))).collect();
    let legacy = guard(request, bare, only.and_then(|only| by_controller.get(only)));

    for (controller, lease) in &read.map {
        if !request.enabled.contains(controller) {
            let detail = format!("--leader-election-id={controller}={lease}");
            notices.push(StartupNotice::info("lease id given for a controller that is not enabled", detail));
        }
    }
    notices.extend(bare.and_then(|bare| bare_notice(request, bare, only, &read.map)));
    read.problems.extend(shared_leases(request.enabled, &by_controller, legacy.as_deref()));
    if let Some(lease) = request.legacy.filter(|lease| !lease.is_empty() && !is_dns1123_subdomain(lease)) {
        read.problems.push(Problem::Name { lease: lease.to_owned(), flag: "legacy-leader-election-id" });
    }
    LeaseIds { by_controller, legacy, problems: read.problems, notices }
}

/// The values of `--leader-election-id` taken apart.
#[derive(Default)]
struct ParsedIds {
    map: BTreeMap<&'static str, String>,
    bare: Option<String>,
    problems: Vec<Problem>,
}

fn read_ids(ids: &[String]) -> ParsedIds {
    let mut read = ParsedIds::default();
    let mut bare = None;
    for item in ids.iter().flat_map(|value| value.split(',')).map(str::trim) {
        let Some((controller, lease)) = item.split_once('=') else {
            bare = Some(item);
            continue;
        };
        let (controller, lease) = (controller.trim(), lease.trim());
        match known(controller) {
            None => read.problems.push(Problem::UnknownController(controller.to_owned())),
            Some(controller) => {
                read.map.insert(controller, lease.to_owned());
            }
        }
    }
    // Only the values that count are judged: an earlier one may be meant to be overridden.
    for (controller, lease) in &read.map {
        if lease.is_empty() {
            read.problems.push(Problem::EmptyOf(controller));
        }
    }
    if bare == Some("") {
        read.problems.push(Problem::Empty);
    }
    read.bare = bare.map(str::to_owned);
    let named = read.map.values().chain(&read.bare).filter(|lease| !lease.is_empty());
    let wrong: Vec<_> = named.filter(|lease| !is_dns1123_subdomain(lease)).cloned().collect();
    read.problems.extend(wrong.into_iter().map(|lease| Problem::Name { lease, flag: "leader-election-id" }));
    read
}

/// The Lease of the Go manager. None when the only controller is elected on that very Lease: then the Lease
/// itself keeps the two apart.
fn guard(request: &Request<'_>, bare: Option<&str>, own: Option<&String>) -> Option<String> {
    let guard = request.legacy.or(bare).unwrap_or(DEFAULT_LEGACY);
    let needed = !guard.is_empty() && !request.enabled.is_empty() && own.is_none_or(|own| own != guard);
    needed.then(|| guard.to_owned())
}

fn bare_notice(
    request: &Request<'_>,
    bare: &str,
    only: Option<&'static str>,
    map: &BTreeMap<&'static str, String>,
) -> Option<StartupNotice> {
    let Some(only) = only else {
        return (!request.enabled.is_empty()).then(|| {
            let detail = format!(
                "{bare}: every controller keeps a lease of its own; write {}",
                flags_with_defaults(request.enabled)
            );
            StartupNotice::warning(
                "bare --leader-election-id with several controllers names only the upgrade guard",
                detail,
            )
        });
    };
    if bare == default_lease(only) || map.contains_key(only) {
        return None;
    }
    let detail = format!(
        "{bare}: {only} excludes only others with this id, not those with the default {}",
        default_lease(only)
    );
    Some(StartupNotice::warning("bare --leader-election-id differs from the controller's default", detail))
}

/// Enabled controllers that meet on one Lease, and those that meet the guard.
fn shared_leases(
    enabled: &[&'static str],
    ids: &BTreeMap<&'static str, String>,
    legacy: Option<&str>,
) -> Vec<Problem> {
    let mut by_lease: BTreeMap<&str, Vec<&'static str>> = BTreeMap::new();
    for controller in enabled {
        if let Some(lease) = ids.get(controller).filter(|lease| !lease.is_empty()) {
            by_lease.entry(lease).or_default().push(controller);
        }
    }
    let shared =
        by_lease.iter().filter(|(_, controllers)| controllers.len() > 1).map(|(lease, controllers)| {
            Problem::Shared { lease: (*lease).to_owned(), controllers: controllers.clone() }
        });
    let guarded = by_lease
        .iter()
        .filter(|(lease, _)| enabled.len() > 1 && Some(**lease) == legacy)
        .flat_map(|(lease, controllers)| controllers.iter().map(|controller| (*lease, *controller)))
        .map(|(lease, controller)| Problem::EqualsLegacy { lease: lease.to_owned(), controller });
    shared.chain(guarded).collect()
}

fn flags_with_defaults(controllers: &[&'static str]) -> String {
    let flag = |name: &&'static str| format!("--leader-election-id={name}={}", default_lease(name));
    controllers.iter().map(flag).collect::<Vec<_>>().join(" ")
}
