// SPDX-License-Identifier: Apache-2.0
//! The settings that all elections of a process share, pure: identity, namespace and the durations with
//! their rules.

use std::time::Duration;

use jiff::SignedDuration;
use uuid::Uuid;

use super::{flags, go_flags::Given, problems::Problem};
use crate::gocompat::duration::format_duration;
use kube_fenced_election::Settings;
use kube_loops::k8s::names::is_dns1123_label;

/// Longest identity in bytes: it is also the field manager of some Lease writers, which the API server limits.
const MAX_IDENTITY: usize = 128;
/// Namespace outside a cluster.
const DEFAULT_NAMESPACE: &str = "aibrix-system";

/// `<name>_<uuid>`, with the name cut so that the whole has at most 128 bytes.
pub(crate) fn identity(name: &str, uuid: Uuid) -> String {
    let uuid = uuid.to_string();
    let room = MAX_IDENTITY.saturating_sub(uuid.len() + 1);
    format!("{}_{uuid}", name.get(..name.floor_char_boundary(room)).unwrap_or(name))
}

/// The namespace of the Leases: the flag, else the pod's own, else `aibrix-system`.
pub(crate) fn namespace(given: &Given, pod_namespace: Option<&str>) -> String {
    choose_namespace(&given.get(&flags::LEADER_ELECTION_NAMESPACE), pod_namespace)
}

/// `asked` unless it is empty, else the pod's own namespace, else `aibrix-system`.
pub(crate) fn choose_namespace(asked: &str, pod_namespace: Option<&str>) -> String {
    let of_pod = pod_namespace.map(str::trim).filter(|namespace| !namespace.is_empty());
    if asked.is_empty() { of_pod.unwrap_or(DEFAULT_NAMESPACE).to_owned() } else { asked.to_owned() }
}

/// Shared settings of the elections. What is wrong with them is added to `problems`; rules between durations
/// only count while elections take place.
pub(crate) fn settings(
    given: &Given,
    elect: bool,
    (identity, namespace): (String, String),
    legacy_lease: Option<String>,
    problems: &mut Vec<Problem>,
) -> Settings {
    let lease = given.get(&flags::LEADER_ELECTION_LEASE_DURATION);
    let renew = given.get(&flags::LEADER_ELECTION_RENEW_DEADLINE);
    let retry = given.get(&flags::LEADER_ELECTION_RETRY_PERIOD);
    if elect {
        problems.extend(duration_problems(lease, renew, retry));
    }
    problems.extend(lock_problem(&given.get(&flags::LEADER_ELECTION_RESOURCE_LOCK)));
    if !is_dns1123_label(&namespace) {
        problems.push(Problem::Namespace(namespace.clone()));
    }
    Settings {
        identity,
        namespace,
        lease_duration: positive(lease),
        renew_deadline: positive(renew),
        retry_period: positive(retry),
        release_on_cancel: given.get(&flags::LEADER_ELECTION_RELEASE_ON_CANCEL),
        spread: given.get(&flags::LEADER_ELECTION_SPREAD),
        legacy_lease,
    }
}

fn duration_problems(lease: SignedDuration, renew: SignedDuration, retry: SignedDuration) -> Vec<Problem> {
    let mut problems = Vec::new();
    let whole = lease.subsec_nanos() == 0 && (1..=i64::from(i32::MAX)).contains(&lease.as_secs());
    if !whole {
        problems.push(Problem::LeaseDuration(format_duration(lease)));
    }
    if lease <= renew {
        problems
            .push(Problem::RenewDeadline { lease: format_duration(lease), renew: format_duration(renew) });
    }
    // In nanoseconds of 128 bits, since 1.2 has no exact double.
    if renew.as_nanos() * 5 <= retry.as_nanos() * 6 {
        problems.push(Problem::RetryPeriod { renew: format_duration(renew), retry: format_duration(retry) });
    }
    if retry <= SignedDuration::ZERO {
        problems.push(Problem::NoRetryPeriod(format_duration(retry)));
    }
    problems
}

fn lock_problem(lock: &str) -> Option<Problem> {
    match lock {
        "" | "leases" => None,
        "endpoints" | "configmaps" | "endpointsleases" | "configmapsleases" => {
            Some(Problem::RemovedLock(lock.to_owned()))
        }
        other => Some(Problem::UnknownLock(other.to_owned())),
    }
}

/// The duration without its sign's other half: negative is 0, and reported elsewhere.
pub(crate) fn positive(duration: SignedDuration) -> Duration {
    Duration::try_from(duration).unwrap_or(Duration::ZERO)
}
