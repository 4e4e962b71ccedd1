// SPDX-License-Identifier: Apache-2.0
//! Who controls an object, and whether it may be adopted.
//!
//! An object belongs to the one owner that its owner references mark as controller, by uid: names and
//! labels are used again, uids never. Objects without controller that match may be adopted, as Kubernetes'
//! own controllers do; unlike them nothing here releases an object that no longer matches, so that users
//! can set one aside by relabelling it and it still goes with its owner.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};

/// What an object is to a possible owner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Claim<'a> {
    /// Controlled by it, and it matches.
    Ours,
    /// Controlled by it, and it does not match (any more): not counted, not touched, goes with its owner.
    SetAside,
    /// Nobody controls it, it matches, and neither of them is being deleted: it may be adopted, once a live
    /// read has shown that the owner still has this uid and is not being deleted.
    Adoptable,
    /// Nobody controls it, and it is not to be adopted: it does not match, or one of the two is being
    /// deleted.
    Nobodys,
    /// Another object controls it: never counted, never touched, whatever its labels say.
    Foreign(&'a OwnerReference),
}

/// The possible owner, as it was read.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// Uid of the owner. An empty one owns nothing.
    pub uid: &'a str,
    /// Whether it is being deleted. It then adopts nothing.
    pub terminating: bool,
}

/// What an object is to `owner`. `matches`: whether the object is one that the owner looks for, by its
/// selector and whatever else its kind asks for; kinds that do not select their children say true.
pub fn claim<'a>(meta: &'a ObjectMeta, owner: Owner<'_>, matches: bool) -> Claim<'a> {
    match controller_of(meta) {
        Some(reference) if owner.uid.is_empty() || reference.uid != owner.uid => Claim::Foreign(reference),
        Some(_) if matches => Claim::Ours,
        Some(_) => Claim::SetAside,
        None => {
            let possible = matches && !owner.terminating && !owner.uid.is_empty();
            if possible && meta.deletion_timestamp.is_none() { Claim::Adoptable } else { Claim::Nobodys }
        }
    }
}

/// The reference to the controller of an object, if it has one. Of several, which the API server refuses,
/// the first.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|reference| reference.controller == Some(true))
}

/// A reference that makes the object with this kind, name and uid the controller.
pub fn controller_reference(api_version: &str, kind: &str, name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The merge patch that adopts an object: its other owner references stay, uid and resourceVersion make it
/// fail on an object that was replaced or changed since it was read. A reference to the same uid that does
/// not control is replaced, because the API server refuses two to one uid.
pub fn adoption_patch(meta: &ObjectMeta, reference: &OwnerReference) -> Value {
    let others = meta.owner_references.iter().flatten().filter(|other| other.uid != reference.uid);
    let references: Vec<_> = others.chain([reference]).collect();
    json!({"metadata": {
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "ownerReferences": references,
    }})
}
