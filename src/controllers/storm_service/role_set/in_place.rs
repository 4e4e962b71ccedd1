// SPDX-License-Identifier: Apache-2.0
//! New images for running pods. Pure.
//!
//! A pod is heading for a hash from the patch that gives it new images until kubelet runs them: its label says the old
//! hash, an annotation the new one. Everything that an update needs is in the pod, so that it goes on under another
//! leader.
//!
//! | Complete when | else pending, because |
//! |---|---|
//! | the pod is ready; with our gate: its containers and all other gates are | `PodNotReady` |
//! | each container has a status | `ContainerStatusMissing` |
//! | each is ready | `ContainerNotReady` |
//! | each whose image changed runs another image, or anew | `ImageIDUnchanged` |

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube_loops::{
    cluster::events::EventText,
    rollout::{
        pool::{Pace, in_place_starts},
        replica::{Counts, Replica},
        slots::Slots,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    api::keys::storm_service::{
        IN_PLACE_READY, IN_PLACE_STATE, PENDING_REASON, POD_FINGERPRINT, ROLE_REPLICA_INDEX,
        ROLE_TEMPLATE_HASH, TARGET_HASH, TEMPLATE_DIGEST,
    },
    k8s::member_facts::{ContainerFacts, MemberFacts},
};

use super::{
    super::{
        json::{at, list, put},
        render::revision_labels,
        templates::first_difference_of,
    },
    member::Member,
    roles::{Kept, Role},
    snapshot::Snapshot,
    steps::{InPlace, Notice, Step},
};

/// What an update in place started from.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Started {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    last_container_statuses: BTreeMap<String, Running>,
}

/// What a container ran.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Running {
    #[serde(rename = "imageID", skip_serializing_if = "String::is_empty")]
    image_id: String,
    #[serde(rename = "containerID", skip_serializing_if = "String::is_empty")]
    container_id: String,
}

/// Whether a pod is being updated to the role's template.
pub(super) fn is_heading(role: &Role<'_>, member: &Member) -> bool {
    member.target() == Some(role.hash.as_str()) && member.digest() == Some(role.digest.as_str())
}

/// What pods of a role need whatever its turn: the end of an update that is complete, the reason of one that is not,
/// and the condition of the gate of one that is not updated at all.
pub(super) fn settle(seen: &Snapshot, role: &Role<'_>) -> Vec<Step> {
    if role.kept == Kept::Sets {
        return Vec::new();
    }
    let active =
        role.members.iter().filter(|member| member.life() == kube_loops::rollout::replica::Life::Active);
    active.filter_map(|member| settle_one(seen, role, member)).collect()
}

fn settle_one(seen: &Snapshot, role: &Role<'_>, member: &Member) -> Option<Step> {
    let facts = member.facts()?;
    let gate = facts.gates.iter().find(|(gate, _)| &**gate == IN_PLACE_READY);
    let closed = gate.is_some_and(|(_, holds)| *holds != Some(true));
    if member.target().is_none() {
        return closed.then(|| Step::OpenGate(member.reference()));
    }
    if !is_heading(role, member) {
        return None;
    }
    match pending(facts) {
        None => Some(complete(seen, role, member, closed)),
        Some(reason) if member.annotation(PENDING_REASON) != Some(reason) => {
            let patch = json!({"metadata": {"annotations": {PENDING_REASON: reason}}});
            Some(Step::PatchPod(member.reference(), patch))
        }
        Some(_) => None,
    }
}

/// Why an update is not complete; `None`: it is.
fn pending(facts: &MemberFacts) -> Option<&'static str> {
    let gated = facts.gates.iter().any(|(gate, _)| &**gate == IN_PLACE_READY);
    let others_open = facts
        .gates
        .iter()
        .filter(|(gate, _)| &**gate != IN_PLACE_READY)
        .all(|(_, holds)| *holds == Some(true));
    let ready = facts.ready == Some(true) || gated && facts.containers_ready == Some(true) && others_open;
    if !ready {
        return Some("PodNotReady");
    }
    let Some(statuses) = facts.containers.iter().map(|it| it.status.as_ref()).collect::<Option<Vec<_>>>()
    else {
        return Some("ContainerStatusMissing");
    };
    if statuses.iter().any(|status| !status.ready) {
        return Some("ContainerNotReady");
    }
    let started: Started =
        facts.annotation(IN_PLACE_STATE).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let same = |container: &ContainerFacts| {
        let Some(before) = started.last_container_statuses.get(&*container.name) else { return false };
        let Some(now) = &container.status else { return false };
        let same_image = !before.image_id.is_empty() && *before.image_id == *now.image_id;
        let known = !before.container_id.is_empty() && !now.container_id.is_empty();
        same_image && !(known && *before.container_id != *now.container_id)
    };
    facts.containers.iter().any(same).then_some("ImageIDUnchanged")
}

fn complete(seen: &Snapshot, role: &Role<'_>, member: &Member, gated: bool) -> Step {
    let mut labels = json!({ROLE_TEMPLATE_HASH: role.hash});
    for (label, value) in revision_labels(seen.role_set.annotations(), &role.spec.name) {
        put(&mut labels, &[label], value);
    }
    let mut annotations =
        json!({TARGET_HASH: null, IN_PLACE_STATE: null, PENDING_REASON: null, TEMPLATE_DIGEST: role.digest});
    if member.annotation(POD_FINGERPRINT).is_none() {
        let fingerprint = role.rendered(&seen.role_set).fingerprint(index_of(role, member));
        put(&mut annotations, &[POD_FINGERPRINT], fingerprint);
    }
    let message = format!("role {} pod {} in-place image update completed", role.spec.name, member.name());
    Step::Complete {
        pod: member.reference(),
        gated,
        patch: json!({"metadata": {"labels": labels, "annotations": annotations}}),
        event: EventText { warning: false, reason: "InPlaceUpdateCompleted", message },
    }
}

fn index_of(role: &Role<'_>, member: &Member) -> Option<usize> {
    if role.kept == Kept::Slots { member.index() } else { None }
}

/// How a role that may be updated in place goes on.
pub(super) enum Update {
    /// In place: what begins now.
    InPlace(Vec<Step>),
    /// By replacement: why, if there is anything to replace.
    Replace(Option<Notice>),
}

/// Begins updates in place, or says why the role is replaced. A pod that cannot be updated in place sends the whole
/// role down the other path.
pub(super) fn update(seen: &Snapshot, role: &Role<'_>, pace: Pace) -> Update {
    let fallback = |who: String, reason: &str| {
        let message = format!("{who} cannot be updated in place{reason}; falling back to recreate");
        let text = EventText { warning: false, reason: "InPlaceFallback", message };
        let key = format!("InPlaceFallback/{}/{}{reason}", role.spec.name, role.hash);
        Update::Replace(Some(Notice { key, text, once: true }))
    };
    let active_outdated = |replica: &&Replica| replica.is_active() && !replica.is_updated();
    if !role.replicas.iter().any(|replica| active_outdated(&replica)) {
        return Update::Replace(None);
    }
    if role.kept == Kept::Sets {
        return fallback(format!("role {} uses PodSet and", role.spec.name), "");
    }
    if role.limits.unavailable == 0 {
        return fallback(format!("role {}", role.spec.name), "");
    }
    let slots = Slots::of(&role.replicas, role.limits.desired);
    let alone = |replica: &Replica| {
        role.kept == Kept::Pool
            || slots.by_index.iter().any(|slot| matches!(slot.as_slice(), [one] if one.uid == replica.uid))
    };
    let outdated = role.replicas.iter().filter(active_outdated).filter(|replica| alone(replica));
    let (heading, others): (Vec<_>, Vec<_>) =
        outdated.partition(|replica| role.member(replica).is_some_and(|member| is_heading(role, member)));
    for replica in &others {
        let Some(member) = role.member(replica) else { continue };
        if let Some(reason) = ineligible(seen, role, member) {
            let pod = format!("role {} pod {}", role.spec.name, member.name());
            return fallback(pod, &format!(": {reason}"));
        }
    }
    let (candidates, expendable) = within(role, pace, &slots, &heading, others);
    let pending = heading.iter().filter(|replica| replica.ready).count();
    let starts = in_place_starts(candidates, expendable, pending);
    let steps = starts.into_iter().filter_map(|replica| start(role, role.member(replica)?));
    Update::InPlace(steps.collect())
}

/// The candidates that an ordered rollout may begin, and how many ready ones.
fn within<'a>(
    role: &Role<'_>,
    pace: Pace,
    slots: &Slots<'_>,
    heading: &[&Replica],
    mut others: Vec<&'a Replica>,
) -> (Vec<&'a Replica>, usize) {
    let limits = role.limits;
    let target = pace.target(limits.desired);
    let (ready, updated, outdated) = match role.kept {
        Kept::Pool => {
            let counts = Counts::of(&role.replicas);
            (counts.ready, counts.updated, counts.outdated())
        }
        Kept::Slots | Kept::Sets => {
            (slots.count(|replica| replica.ready), slots.count(Replica::is_updated), slots.outdated())
        }
    };
    let expendable = limits.expendable(ready);
    if pace == Pace::Free {
        return (others, expendable);
    }
    match role.kept {
        Kept::Pool => others.sort_by(|a, b| kube_loops::rollout::order::pool_rollout(a, b)),
        Kept::Slots | Kept::Sets => others.sort_by_key(|replica| replica.index),
    }
    let begun = match pace {
        Pace::Share(_) => updated + heading.len(),
        Pace::Step(_) | Pace::Free => updated,
    };
    others.truncate(target.saturating_sub(begun));
    (others, expendable.min(outdated.saturating_sub(limits.desired - target)))
}

/// Why a pod cannot be updated in place; `None`: it can.
fn ineligible(seen: &Snapshot, role: &Role<'_>, member: &Member) -> Option<String> {
    let facts = member.facts()?;
    let raw = member.annotation(ROLE_REPLICA_INDEX);
    if let Some(raw) = raw.filter(|_| member.index().is_none()) {
        return Some(format!("invalid role replica index {raw:?}"));
    }
    let template = role.spec.template.as_ref().unwrap_or(&Value::Null);
    let wanted_image = |part: &str, name: &str| {
        let mut named = list(template, &["spec", part]).filter(|it| at(it, &["name"]) == name);
        named.find_map(|it| at(it, &["image"]).as_str())
    };
    let init_differs = |(name, image): &(Box<str>, Box<str>)| {
        wanted_image("initContainers", name).is_some_and(|wanted| *wanted != **image)
    };
    if facts.init_images.iter().any(init_differs) {
        return Some("init container image changes require pod recreation".to_owned());
    }
    if member.target().is_some() || !is_else_as_wanted(seen, role, member) {
        return Some("non-image pod fields changed".to_owned());
    }
    let changes = |container: &ContainerFacts| {
        wanted_image("containers", &container.name).is_some_and(|wanted| *wanted != *container.image)
    };
    if facts.containers.iter().any(changes) {
        return None;
    }
    let updated = member.is_updated(&role.digest, role.spec);
    Some(if updated { "pod is already updated" } else { "no container image changes found" }.to_owned())
}

/// Whether nothing but images differs: by the fingerprint of the pod, or by what it says where it has none.
fn is_else_as_wanted(seen: &Snapshot, role: &Role<'_>, member: &Member) -> bool {
    if let Some(fingerprint) = member.annotation(POD_FINGERPRINT) {
        return role.rendered(&seen.role_set).fingerprint(index_of(role, member)) == fingerprint;
    }
    let template = role.spec.template.as_ref().unwrap_or(&Value::Null);
    let live = seen.live_member(member.uid());
    live.is_some_and(|live| first_difference_of(template, live, false).is_none())
}

fn start(role: &Role<'_>, member: &Member) -> Option<Step> {
    let facts = member.facts()?;
    let template = role.spec.template.as_ref()?;
    let wanted = |name: &str| {
        at(list(template, &["spec", "containers"]).find(|it| at(it, &["name"]) == name)?, &["image"]).as_str()
    };
    let mut started = Started::default();
    let mut containers = Vec::new();
    for container in &facts.containers {
        let Some(image) = wanted(&container.name).filter(|image| **image != *container.image) else {
            continue;
        };
        containers.push(json!({"name": container.name, "image": image}));
        if let Some(status) = &container.status {
            let running = Running {
                image_id: status.image_id.to_string(),
                container_id: status.container_id.to_string(),
            };
            started.last_container_statuses.insert(container.name.to_string(), running);
        }
    }
    let mut annotations = json!({TARGET_HASH: role.hash, TEMPLATE_DIGEST: role.digest});
    if member.annotation(IN_PLACE_STATE).is_none() {
        put(&mut annotations, &[IN_PLACE_STATE], serde_json::to_string(&started).ok()?);
    }
    let message = format!("role {} pod {} in-place image update started", role.spec.name, member.name());
    Some(Step::UpdateInPlace(InPlace {
        pod: member.reference(),
        gated: facts.gates.iter().any(|(gate, _)| &**gate == IN_PLACE_READY),
        patch: json!({"metadata": {"annotations": annotations}, "spec": {"containers": containers}}),
        event: EventText { warning: false, reason: "InPlaceUpdateStarted", message },
    }))
}
