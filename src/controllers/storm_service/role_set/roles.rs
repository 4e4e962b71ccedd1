// SPDX-License-Identifier: Apache-2.0
//! A role as a pass sees it: which template, which hash, which bounds, which members. Pure.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube_loops::{
    k8s::names::is_dns1123_label,
    rollout::{
        int_or_percent::{Amount, QuotedIntegers},
        interleave::RoleProgress,
        limits::Limits,
        replica::Replica,
        template::hashes::name_hash,
    },
};
use serde_json::Value;

use crate::api::{
    keys::storm_service::ROLE_HASH_OF,
    orchestration::{RoleSet, RoleSpec},
};

use super::{
    super::{render, templates},
    judge::{Judgement, judge},
    member::Member,
    snapshot::Snapshot,
    steps::Notice,
};

/// How a role is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Interchangeable pods.
    Pool,
    /// Pods with an index.
    Slots,
    /// `PodSets` with an index.
    Sets,
}

/// A role.
#[derive(Debug, Clone)]
pub(super) struct Role<'a> {
    /// As it is stored.
    pub(super) spec: &'a RoleSpec,
    /// How it is kept.
    pub(super) kept: Kept,
    /// Replicas, and how far a rollout may go.
    pub(super) limits: Limits,
    /// Digest of its template.
    pub(super) digest: String,
    /// Hash of its template, for labels and names.
    pub(super) hash: String,
    /// Its members, those that are adopted in this pass as if they were.
    pub(super) members: Vec<Member>,
    /// Members that are adopted in this pass.
    pub(super) adopted: Vec<Member>,
    /// Members of the other kind, from before the group size changed.
    pub(super) strays: Vec<Member>,
    /// What the arithmetic knows of the members.
    pub(super) replicas: Vec<Replica>,
    /// Whether the hash is that of a member and not what the RoleSet remembers.
    pub(super) remembers: Option<String>,
}

/// The roles that can be worked on, and what is wrong with the others.
#[derive(Debug, Default)]
pub(super) struct Roles<'a> {
    /// In the order of the spec.
    pub(super) usable: Vec<Role<'a>>,
    /// What to tell people.
    pub(super) notices: Vec<Notice>,
    /// Names that cannot be used.
    pub(super) errors: Vec<String>,
    /// Whether a member could not be judged, so that its role does nothing in this pass.
    pub(super) unknown: bool,
}

/// Looks at all roles.
pub(super) fn roles_of(seen: &Snapshot) -> Roles<'_> {
    let mut roles = Roles::default();
    let specs = &seen.role_set.spec.roles;
    for (place, spec) in specs.iter().enumerate() {
        let earlier = specs.iter().take(place).any(|other| other.name == spec.name);
        if let Some(error) = unusable(&spec.name, earlier) {
            roles.notices.push(Notice::warning("InvalidRole", error.clone()));
            roles.errors.push(error);
            continue;
        }
        roles.add(seen, spec);
    }
    roles
}

fn unusable(name: &str, earlier: bool) -> Option<String> {
    let rule = "lower-case letters, digits and dashes, at most 63, with a letter or digit at both ends";
    if !is_dns1123_label(name) {
        return Some(format!("role {name:?} is left alone: its name is not {rule}"));
    }
    earlier.then(|| format!("role {name:?} is left alone: an earlier role has the same name"))
}

impl<'a> Roles<'a> {
    fn add(&mut self, seen: &'a Snapshot, spec: &'a RoleSpec) {
        let kept = match spec.pod_group_size {
            Some(size) if size > 1 => Kept::Sets,
            _ if spec.stateful => Kept::Slots,
            _ => Kept::Pool,
        };
        let template = spec.template.as_ref().unwrap_or(&Value::Null);
        let digest = templates::digest_of(template);
        let (members, adopted) = self.judged(seen, spec, kept, &digest);
        let hash = hash_of(&seen.role_set, spec, &digest, &members);
        let replicas = members.iter().map(|member| member.replica(&digest, spec)).collect();
        let strays = seen.members_of(&spec.name, kept != Kept::Sets).cloned().collect();
        let limits = self.limits(spec);
        self.usable.push(Role {
            spec,
            kept,
            limits,
            hash: hash.hash,
            remembers: hash.remember,
            digest,
            members,
            adopted,
            strays,
            replicas,
        });
    }

    /// The members of a role; those without a digest as they are judged.
    fn judged(
        &mut self,
        seen: &Snapshot,
        spec: &RoleSpec,
        kept: Kept,
        digest: &str,
    ) -> (Vec<Member>, Vec<Member>) {
        let (mut members, mut adopted, mut differ) = (Vec::new(), Vec::new(), Vec::new());
        for member in seen.members_of(&spec.name, kept == Kept::Sets) {
            if member.digest().is_some() || member.is_terminating() {
                members.push(member.clone());
                continue;
            }
            match judge(seen, spec, member) {
                Judgement::Current => {
                    adopted.push(member.clone());
                    members.push(member.clone().adopted(digest));
                }
                Judgement::Differs(path) => {
                    differ.push((member.name().to_owned(), path));
                    members.push(member.clone());
                }
                Judgement::Unknown => {
                    self.unknown = true;
                    members.push(member.clone());
                }
            }
        }
        if let Some((name, path)) = differ.first() {
            let message = format!(
                "role {}: {} replicas made by AIBrix are not of the current template and are replaced; the first \
                 difference of {name} is {path}",
                spec.name,
                differ.len()
            );
            let mut notice = Notice::warning("TemplateDiffers", message);
            notice.key = format!("TemplateDiffers/{}/{digest}", spec.name);
            notice.once = true;
            self.notices.push(notice);
        }
        (members, adopted)
    }

    fn limits(&mut self, spec: &RoleSpec) -> Limits {
        let desired = usize::try_from(spec.replicas.unwrap_or(0)).unwrap_or(0);
        let strategy = spec.update_strategy.as_ref();
        let mut amount = |field: &str, value: Option<&IntOrString>| {
            Amount::parse(value?, QuotedIntegers::Refuse)
                .inspect_err(|error| {
                    let message = format!("role {}: {field} is taken for unset: {error}", spec.name);
                    self.notices.push(Notice::warning("InvalidUpdateStrategy", message));
                })
                .ok()
        };
        let surge = amount("maxSurge", strategy.and_then(|it| it.max_surge.as_ref()));
        let unavailable = amount("maxUnavailable", strategy.and_then(|it| it.max_unavailable.as_ref()));
        if desired == 0 {
            return Limits { desired: 0, surge: 0, unavailable: 0 };
        }
        Limits::resolve(desired, surge, unavailable)
    }
}

/// The hash of a role's template.
struct RoleHash {
    hash: String,
    /// What to remember on the RoleSet; `None`: what is there is right.
    remember: Option<String>,
}

/// The hash that the oldest member of the template bears, so that names and labels stay as they are; else the one that
/// is remembered; else our own.
fn hash_of(role_set: &RoleSet, spec: &RoleSpec, digest: &str, members: &[Member]) -> RoleHash {
    let template = spec.template.as_ref().unwrap_or(&Value::Null);
    let own =
        templates::aibrix_hash_of(template).map_or_else(|| name_hash(template, None), |hash| hash.short);
    let remembered = role_set.annotations().get(&format!("{ROLE_HASH_OF}{}", spec.name));
    let of_member = members
        .iter()
        .filter(|member| !member.is_terminating() && member.digest() == Some(digest))
        .min_by(|a, b| a.age().cmp(&b.age()))
        .map(|member| member.target().unwrap_or_else(|| member.hash()).to_owned())
        .filter(|hash| !hash.is_empty());
    if let Some(hash) = of_member {
        let pair = format!("{digest}:{hash}");
        let remember = (hash != own && remembered != Some(&pair)).then_some(pair);
        RoleHash { hash, remember }
    } else {
        let hash = remembered.and_then(|pair| pair.strip_prefix(digest)?.strip_prefix(':'));
        RoleHash { hash: hash.map_or(own, str::to_owned), remember: None }
    }
}

impl Role<'_> {
    /// What a new replica is made from.
    pub(super) fn rendered<'b>(&'b self, role_set: &'b RoleSet) -> render::Replica<'b> {
        render::Replica { role_set, role: self.spec, hash: &self.hash, digest: &self.digest }
    }

    /// How far the role has come.
    pub(super) fn progress(&self) -> RoleProgress {
        match self.kept {
            Kept::Pool => RoleProgress::of_pool(&self.replicas, self.limits.desired),
            Kept::Slots | Kept::Sets => RoleProgress::of_slots(&self.replicas, self.limits.desired),
        }
    }

    /// The member of a replica.
    pub(super) fn member(&self, replica: &Replica) -> Option<&Member> {
        self.members.iter().find(|member| member.uid() == replica.uid)
    }

    /// Whether a running pod gets new images where nothing else changes.
    pub(super) fn is_updated_in_place(&self) -> bool {
        let strategy = self.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
        strategy == Some("InPlaceIfPossible")
    }
}
