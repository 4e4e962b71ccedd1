// SPDX-License-Identifier: Apache-2.0
//! Says how many members a new topology policy has not reached: it moves nothing that runs. Pure.

use kube_loops::{cluster::events::EventText, rollout::replica::Life};
use serde_json::Value;

use super::{
    super::{json::at, topology::Term},
    roles::{Kept, Role},
    snapshot::Snapshot,
    steps::Notice,
};

/// What is told of the members that lack the wanted affinity; `None`: none does.
pub(super) fn of(seen: &Snapshot, roles: &[Role<'_>]) -> Option<Notice> {
    let (mut pods, mut sets) = (0, 0);
    for role in roles {
        let Some(term) = Term::of(&seen.role_set, &role.spec.name) else { continue };
        let lacks = |affinity: Option<&Value>| affinity.is_none_or(|affinity| !term.is_in(affinity));
        let active = role.members.iter().filter(|member| member.life() == Life::Active);
        if role.kept == Kept::Sets {
            let sets_of_role = active.filter_map(|member| member.set());
            let affinity = ["spec", "affinity", "podAffinity"];
            sets += sets_of_role.filter(|set| lacks(Some(at(&set.spec.template, &affinity)))).count();
        } else {
            let facts = active.filter_map(|member| member.facts());
            pods += facts.filter(|facts| lacks(facts.pod_affinity.as_deref())).count();
        }
        let grouped = seen.grouped.iter().filter(|pod| {
            !pod.leaving
                && !pod.is_finished()
                && pod.labels.get(crate::api::keys::ROLE_NAME_LABEL) == Some(&role.spec.name)
        });
        let facts = grouped.filter_map(|pod| pod.member.as_ref());
        pods += facts.filter(|facts| lacks(facts.pod_affinity.as_deref())).count();
    }
    let counted = |count: usize, one: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        many => Some(format!("{many} {one}s")),
    };
    let targets: Vec<String> =
        [counted(pods, "active Pod"), counted(sets, "PodSet template")].into_iter().flatten().collect();
    (!targets.is_empty()).then(|| {
        let message = format!(
            "TopologyPolicy changes do not update {}; they will use the new affinity after replacement or recreation.",
            targets.join(" and ")
        );
        let generation = seen.role_set.metadata.generation.unwrap_or_default();
        let text = EventText { warning: true, reason: "TopologyPolicyPendingPodReplacement", message };
        Notice { key: format!("{generation}/{}", text.message), text, once: false }
    })
}
