// SPDX-License-Identifier: Apache-2.0
use kube::core::DynamicObject;
use kube_loops::runtime::{
    children::Child,
    watches::{Owned, Stored, interner::Interner},
};
use serde_json::{Value, json};

use super::{GroupFacts, Seen, plan::*};
use crate::api::orchestration::{PodGroupKind, SchedulingStrategy};

const LABEL: &str = "roleset-name";

fn owner() -> GroupOwner<'static> {
    let reference = json!({"kind": "RoleSet", "name": "llm", "uid": "u-1", "controller": true});
    GroupOwner { namespace: "ns", name: "llm", reference, label: LABEL }
}

fn volcano(fields: &Value) -> SchedulingStrategy {
    serde_json::from_value(json!({"volcanoSchedulingStrategy": fields})).unwrap()
}

fn seen(served: bool, group: Child<GroupFacts>) -> Vec<Seen> {
    vec![Seen { kind: PodGroupKind::Volcano, served, group }]
}

/// The group as it is stored after its creation, with what others added.
fn stored(mut object: Value, more: &Value) -> std::sync::Arc<GroupFacts> {
    object["metadata"]["uid"] = json!("g-1");
    object["metadata"]["resourceVersion"] = json!("7");
    for (field, value) in more.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    std::sync::Arc::new(GroupFacts::keep(object, &Interner::default()))
}

fn created(fields: &Value) -> Value {
    match plan(&owner(), Some(&volcano(fields)), &seen(true, Child::Absent)).steps.pop() {
        Some(GroupStep::Create(PodGroupKind::Volcano, object)) => object,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_group_is_made_with_label_owner_and_the_fields_that_are_set() {
    let object = created(&json!({"minMember": 3, "queue": "", "minResources": {}}));
    assert_eq!(object["apiVersion"], "scheduling.volcano.sh/v1beta1");
    assert_eq!(object["metadata"]["name"], "llm");
    assert_eq!(object["metadata"]["labels"], json!({LABEL: "llm"}));
    assert_eq!(object["metadata"]["ownerReferences"], json!([owner().reference]));
    assert_eq!(object["spec"], json!({"minMember": 3}), "AIBrix leaves zero values out");
}

#[test]
fn what_schedulers_fill_in_is_left_alone_and_what_users_take_away_goes() {
    let group =
        stored(created(&json!({"minMember": 3, "queue": "a"})), &json!({"minResources": {"cpu": "4"}}));
    assert_eq!((group.name(), Owned::uid(&*group)), ("llm", "g-1"));
    let ours = || seen(true, Child::Ours(std::sync::Arc::clone(&group)));
    let same = plan(&owner(), Some(&volcano(&json!({"minMember": 3, "queue": "a"}))), &ours());
    assert_eq!(same, GroupPlan::default());
    let less = plan(&owner(), Some(&volcano(&json!({"minMember": 2}))), &ours());
    let [GroupStep::Patch(_, to, patch)] = &less.steps[..] else { panic!("{less:?}") };
    assert_eq!((&*to.uid, &*to.version), ("g-1", "7"));
    assert_eq!(patch["spec"], json!({"minMember": 2, "queue": null, "minResources": null}));
    assert_eq!(less.events.len(), 1);
}

#[test]
fn without_a_strategy_or_with_another_one_ours_goes_and_a_foreign_one_stays() {
    let group = stored(created(&json!({"minMember": 3})), &json!({}));
    for strategy in [None, serde_json::from_value(json!({"godelSchedulingStrategy": {"minMember": 1}})).ok()]
    {
        let ours = seen(true, Child::Ours(std::sync::Arc::clone(&group)));
        let steps = plan(&owner(), strategy.as_ref(), &ours).steps;
        assert!(matches!(&steps[..], [GroupStep::Delete(PodGroupKind::Volcano, _)]), "{steps:?}");
        assert_eq!(plan_none(&ours).len(), 1);
        let foreign = seen(true, Child::Foreign(std::sync::Arc::clone(&group)));
        assert_eq!(plan(&owner(), strategy.as_ref(), &foreign).steps, []);
        assert_eq!(plan_none(&foreign), []);
    }
}

#[test]
fn a_scheduler_that_is_not_installed_and_a_name_that_is_taken_are_told() {
    let strategy = volcano(&json!({"minMember": 3}));
    let missing = plan(&owner(), Some(&strategy), &seen(false, Child::Absent));
    assert_eq!((missing.steps.len(), missing.trouble.map(|it| it.reason)), (0, Some("PodGroupKindMissing")));
    let group = stored(created(&json!({"minMember": 9})), &json!({}));
    let taken = plan(&owner(), Some(&strategy), &seen(true, Child::Foreign(std::sync::Arc::clone(&group))));
    assert_eq!((taken.steps.len(), taken.trouble.map(|it| it.reason)), (0, Some("PodGroupConflict")));
    // A backup restored it without its owner: its label says whose it is.
    let orphan = plan(&owner(), Some(&strategy), &seen(true, Child::Orphan(group)));
    let [GroupStep::Patch(_, _, patch)] = &orphan.steps[..] else { panic!("{orphan:?}") };
    assert_eq!(patch["metadata"]["ownerReferences"], json!([owner().reference]));
    assert_eq!(patch["spec"]["minMember"], 3);
}
