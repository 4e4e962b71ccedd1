// SPDX-License-Identifier: Apache-2.0
//! Taking over what AIBrix, or nobody, controls. Pure.
//!
//! A member that is judged to be of the current template gets the digest of it (a pod its fingerprint, too) and nothing
//! else: labels, names and variables keep AIBrix's hash, so that nothing restarts and the way back stays open.

use kube::ResourceExt;
use kube_loops::runtime::{children::ChildRef, watches::Stored};
use serde_json::{Value, json};

use crate::api::keys::storm_service::{ACCEPTED_GROUP_SIZE, POD_FINGERPRINT, ROLE_HASH_OF, TEMPLATE_DIGEST};

use super::{
    roles::{Kept, Role, Roles},
    snapshot::Snapshot,
    steps::{Notice, Step},
};

/// Nobody's pods and `PodSets` that name the RoleSet become its own.
pub(super) fn of_orphans(seen: &Snapshot) -> Vec<Step> {
    let pods = seen.orphan_pods.iter().map(|pod| Step::AdoptPod(ChildRef::to(&**pod)));
    pods.chain(seen.orphan_sets.iter().map(|set| Step::AdoptSet(ChildRef::to(&**set)))).collect()
}

/// The digests of members that were judged, and the hashes that new ones have to have.
pub(super) fn of_members(seen: &Snapshot, roles: &Roles<'_>, notices: &mut Vec<Notice>) -> Vec<Step> {
    let mut steps = Vec::new();
    for role in &roles.usable {
        for member in &role.adopted {
            if role.kept == Kept::Sets {
                steps.push(adopt_set(role, member));
            } else {
                let fingerprint = role.rendered(&seen.role_set).fingerprint(if role.kept == Kept::Slots {
                    member.index()
                } else {
                    None
                });
                let annotations = json!({TEMPLATE_DIGEST: role.digest, POD_FINGERPRINT: fingerprint});
                steps.push(Step::PatchPod(member.reference(), annotated(&annotations)));
            }
        }
        notices.extend(other_sizes(role));
    }
    // A write of the RoleSet's metadata moves the time that the judgement goes by.
    if steps.is_empty() && !roles.unknown {
        let pairs = roles.usable.iter().filter_map(|role| {
            Some((format!("{ROLE_HASH_OF}{}", role.spec.name), Value::from(role.remembers.clone()?)))
        });
        let pairs: serde_json::Map<String, Value> = pairs.collect();
        if !pairs.is_empty() {
            steps.push(Step::PatchSelf(annotated(&Value::Object(pairs))));
        }
    }
    steps
}

/// Its pods follow: the loop of `PodSets` gives them the digest.
fn adopt_set(role: &Role<'_>, member: &super::member::Member) -> Step {
    let size = role.spec.pod_group_size.unwrap_or(1).to_string();
    let annotations = json!({TEMPLATE_DIGEST: role.digest, ACCEPTED_GROUP_SIZE: size});
    Step::PatchSet(member.reference(), annotated(&annotations))
}

/// `PodSets` of another size than the role wants, from before they were adopted.
fn other_sizes(role: &Role<'_>) -> Option<Notice> {
    let wanted = role.spec.pod_group_size.filter(|_| role.kept == Kept::Sets)?;
    let differs = role
        .adopted
        .iter()
        .filter(|member| member.set().is_some_and(|set| set.spec.pod_group_size != wanted));
    let names: Vec<&str> = differs.map(super::member::Member::name).collect();
    (!names.is_empty()).then(|| {
        let message = format!(
            "role {}: PodSets of another size than {wanted} are kept as they are until the role's size or template \
             changes: {}",
            role.spec.name,
            names.join(", ")
        );
        Notice::warning("PodGroupSizeDiffers", message)
    })
}

/// Members of roles that the spec no longer has: ours go, those that AIBrix left stay until the RoleSet goes.
pub(super) fn of_removed_roles(seen: &Snapshot, notices: &mut Vec<Notice>) -> Vec<Step> {
    let has_role = |name: &str| seen.role_set.spec.roles.iter().any(|role| role.name == name);
    let removed = seen.members.iter().filter(|member| !has_role(member.role()) && !member.is_terminating());
    let (ours, left): (Vec<_>, Vec<_>) = removed.partition(|member| member.digest().is_some());
    if !left.is_empty() {
        let names: Vec<&str> = left.iter().map(|member| member.name()).collect();
        let message = format!(
            "AIBrix left replicas of roles that the spec no longer has; they stay until the RoleSet goes: {}",
            names.join(", ")
        );
        notices.push(Notice::warning("OrphanedRoleMembers", message));
    }
    ours.into_iter().map(super::scaling::delete_step).collect()
}

fn annotated(annotations: &Value) -> Value {
    json!({"metadata": {"annotations": annotations}})
}

/// Members that have to be read past the stores before they can be judged, or compared with what would be made now.
pub(super) fn unjudged(seen: &Snapshot) -> Vec<&super::member::Member> {
    let known = |name: &str| seen.role_set.spec.roles.iter().any(|role| role.name == name);
    let members = seen.members.iter().filter(|member| known(member.role()) && !member.is_terminating());
    let unmarked = |member: &&super::member::Member| {
        member.digest().is_none() || !member.is_set() && member.annotation(POD_FINGERPRINT).is_none()
    };
    members.filter(unmarked).collect()
}

/// Namespace and name of the RoleSet.
pub(super) fn identity(seen: &Snapshot) -> (String, String) {
    (Stored::namespace(&*seen.role_set).to_owned(), seen.role_set.name_any())
}
