// SPDX-License-Identifier: Apache-2.0
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::owner::{controller_of, group_of};

fn owned(uid: &str, controller: Option<bool>) -> ObjectMeta {
    let owner = OwnerReference { uid: uid.into(), controller, ..Default::default() };
    ObjectMeta { owner_references: Some(vec![owner]), ..Default::default() }
}

#[test]
fn only_the_controller_counts_as_owner() {
    assert_eq!(controller_of(&owned("a", Some(true))).map(|it| it.uid.as_str()), Some("a"));
    assert_eq!(controller_of(&owned("a", Some(false))), None);
    assert_eq!(controller_of(&owned("a", None)), None);
    assert_eq!(controller_of(&ObjectMeta::default()), None);
}

#[test]
fn the_core_group_is_empty() {
    for (api_version, group) in [("v1", ""), ("apps/v1", "apps"), ("", ""), ("a.b/v1alpha1", "a.b")] {
        assert_eq!(group_of(api_version), group);
    }
}
