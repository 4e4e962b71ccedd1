// SPDX-License-Identifier: Apache-2.0

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde_json::json;

use super::controller_ref::*;

const OWNER: Owner<'_> = Owner { uid: "u1", terminating: false };

fn reference(uid: &str, controller: Option<bool>) -> OwnerReference {
    OwnerReference { controller, ..controller_reference("g/v1", "Set", "set", uid) }
}

fn owned_by(references: Vec<OwnerReference>) -> ObjectMeta {
    ObjectMeta { owner_references: Some(references), ..ObjectMeta::default() }
}

#[test]
fn object_belongs_to_its_controller_by_uid() {
    let ours = owned_by(vec![reference("other", None), reference("u1", Some(true))]);
    assert_eq!(claim(&ours, OWNER, true), Claim::Ours);
    assert_eq!(claim(&ours, OWNER, false), Claim::SetAside);
    assert_eq!(claim(&ours, Owner { terminating: true, ..OWNER }, true), Claim::Ours);
    let namesake = Owner { uid: "u2", ..OWNER };
    assert_eq!(claim(&ours, namesake, true), Claim::Foreign(&reference("u1", Some(true))));
}

#[test]
fn object_of_another_controller_is_foreign_though_it_also_refers_to_us() {
    let meta = owned_by(vec![reference("u1", Some(false)), reference("u2", Some(true))]);
    assert_eq!(claim(&meta, OWNER, true), Claim::Foreign(&reference("u2", Some(true))));
}

#[test]
fn object_without_controller_is_adopted_only_if_it_matches_and_nothing_is_being_deleted() {
    let free = owned_by(vec![reference("u2", None)]);
    let leaving = ObjectMeta {
        deletion_timestamp: Some(Time("2026-01-01T00:00:00Z".parse().unwrap())),
        ..free.clone()
    };
    assert_eq!(claim(&free, OWNER, true), Claim::Adoptable);
    assert_eq!(claim(&ObjectMeta::default(), OWNER, true), Claim::Adoptable);
    assert_eq!(claim(&free, OWNER, false), Claim::Nobodys);
    assert_eq!(claim(&leaving, OWNER, true), Claim::Nobodys);
    assert_eq!(claim(&free, Owner { terminating: true, ..OWNER }, true), Claim::Nobodys);
}

#[test]
fn empty_uid_owns_and_adopts_nothing() {
    let nobody = Owner { uid: "", terminating: false };
    let empty = owned_by(vec![reference("", Some(true))]);
    assert!(matches!(claim(&empty, nobody, true), Claim::Foreign(_)));
    assert_eq!(claim(&ObjectMeta::default(), nobody, true), Claim::Nobodys);
}

#[test]
fn adoption_keeps_other_owners_and_fails_on_a_changed_object() {
    let mut meta = owned_by(vec![reference("u2", None), reference("u1", None)]);
    meta.uid = Some("object".to_owned());
    meta.resource_version = Some("7".to_owned());
    let other =
        json!({"apiVersion": "g/v1", "kind": "Set", "name": "set", "uid": "u2", "blockOwnerDeletion": true});
    let ours = json!({
        "apiVersion": "g/v1", "kind": "Set", "name": "set", "uid": "u1", "controller": true,
            "blockOwnerDeletion": true,
    });
    assert_eq!(
        adoption_patch(&meta, &reference("u1", Some(true))),
        json!({"metadata": {"uid": "object", "resourceVersion": "7", "ownerReferences": [other, ours]}}),
    );
}
