// SPDX-License-Identifier: Apache-2.0
//! How a target is read and written: its replicas, its pods, and the smallest patch that scales it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::core::ApiResource;
use serde_json::{Value, json};

use crate::api::{autoscaling::PodAutoscaler, keys};
use kube_loops::k8s::{
    owner::group_of,
    selector::{Selector, SelectorError},
};

use super::contest;

/// A target that was read.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The object.
    pub(super) object: ScaleTarget,
    /// R, its current replicas.
    pub(super) replicas: Result<i32, TargetError>,
    /// Its pods.
    pub(super) pods: Result<PodSelection, TargetError>,
    /// How it is scaled.
    pub(super) write: ScaleWrite,
    /// What has to be there still when it is.
    pub(super) found: Found,
    /// The field manager besides us that wrote the replicas last, if it is known.
    pub(super) other_writer: Option<Arc<str>>,
}

/// What a decision to scale was made on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Uid of the object.
    pub(super) uid: String,
    /// Its `resourceVersion`.
    pub(super) version: String,
    /// What stands where the count is written; `None`: nothing.
    pub(super) count: Option<i32>,
}

/// Address of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScaleTarget {
    /// Its kind as served.
    pub(super) resource: ApiResource,
    /// Namespace.
    pub(super) namespace: String,
    /// Name.
    pub(super) name: String,
}

/// Which pods of the namespace belong to the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodSelection {
    selector: Selector,
    /// Of grouped pods only the first one serves: others are dropped.
    group_heads_only: bool,
}

/// Where the replicas of the target stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ScaleWrite {
    /// `spec.replicas`.
    Replicas,
    /// `spec.replicas` of the subresource `scale`, which knows where the kind keeps it.
    Scale,
    /// `spec.template.spec.roles[index].replicas` of a StormService.
    Role {
        /// Place in the list, guarded by a test on the name.
        index: usize,
        /// Name of the role.
        name: String,
        /// k, the copies of the whole service; each of them has the role.
        copies: i32,
    },
}

/// Why the replicas or the pods of a target cannot be told. The texts end in events and statuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TargetError {
    /// No `spec.replicas`.
    #[error("the 'replicas' field was not found in the scale object")]
    NoReplicas,
    /// The service has no such role.
    #[error("role {0} not found")]
    NoRole(String),
    /// The service has no `spec.template.spec`.
    #[error("StormService {0:?} has no spec.template.spec")]
    NoTemplate(String),
    /// No selector.
    #[error("scale object {0:?} is missing spec.selector")]
    NoSelector(String),
    /// A scale without a selector.
    #[error("the scale of {0:?} has no selector: see labelSelectorPath of its kind")]
    NoScaleSelector(String),
    /// Nothing that an unknown kind keeps where others do, and its scale may not be read.
    #[error(
        "{name:?} has neither status.selector nor spec.selector, and its scale is forbidden: grant get and patch on \
         {plural}/scale"
    )]
    ScaleForbidden {
        /// Name of the target.
        name: String,
        /// Its resource.
        plural: String,
    },
    /// A selector that would select every pod of the namespace.
    #[error("scale object {0:?} has an empty selector")]
    EmptySelector(String),
    /// A selector that cannot be read.
    #[error("scale object {name:?} has an invalid selector: {cause}")]
    BadSelector {
        /// Name of the target.
        name: String,
        /// Why.
        cause: SelectorError,
    },
}

impl PodSelection {
    /// Matches all pods of the target, and possibly others: filter by [`Self::matches`].
    pub(super) fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Whether a pod with these labels belongs to the target.
    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let grouped_behind = || labels.get(keys::POD_GROUP_INDEX_LABEL).is_some_and(|index| index != "0");
        self.selector.matches(labels) && !(self.group_heads_only && grouped_behind())
    }
}

/// The selector as the API server takes it. It does not tell group heads apart: filter by
/// [`PodSelection::matches`].
impl fmt::Display for PodSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.selector.fmt(f)
    }
}

impl ScaleWrite {
    /// The JSON patch that makes the target `replicas` large, if what was found is still there; it touches nothing
    /// else. A failed test of a role's name means: re-read, [`Self::relocated`], retry.
    pub(super) fn patch(&self, found: &Found, replicas: i32) -> Value {
        let test = |path: &str, value: Value| json!({"op": "test", "path": path, "value": value});
        let mut patch = vec![test("/metadata/uid", json!(found.uid))];
        if let Self::Role { index, name, .. } = self {
            patch.push(test(&format!("/spec/template/spec/roles/{index}/name"), json!(name)));
        }
        let place = self.place();
        patch.push(match found.count {
            Some(count) if count != 0 => test(&place, json!(count)),
            // What is absent, or may be stored as absent, cannot be tested.
            Some(_) | None => test("/metadata/resourceVersion", json!(found.version)),
        });
        // `add` sets a member of an object whether or not it exists.
        patch.push(json!({"op": "add", "path": place, "value": self.share_of(replicas)}));
        Value::Array(patch)
    }

    /// Where the count stands.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Replicas | Self::Scale => "/spec/replicas".to_owned(),
            Self::Role { index, .. } => format!("/spec/template/spec/roles/{index}/replicas"),
        }
    }

    /// k, the copies that share the count.
    pub(super) fn copies(&self) -> i32 {
        match self {
            Self::Replicas | Self::Scale => 1,
            Self::Role { copies, .. } => (*copies).max(1),
        }
    }

    /// The count that is written for `replicas` in all: ⌈replicas / k⌉.
    pub(super) fn share_of(&self, replicas: i32) -> i32 {
        let copies = self.copies();
        replicas.div_euclid(copies) + i32::from(replicas.rem_euclid(copies) != 0)
    }

    /// The same write for `object`, the target as re-read after the test of the patch failed.
    ///
    /// # Errors
    /// [`TargetError::NoRole`] when the role is gone.
    pub(super) fn relocated(&self, object: &Value) -> Result<Self, TargetError> {
        match self {
            Self::Replicas | Self::Scale => Ok(self.clone()),
            Self::Role { name, .. } => {
                let index = role_index(object, name).ok_or_else(|| TargetError::NoRole(name.clone()))?;
                Ok(Self::Role { index, name: name.clone(), copies: copies_of(object) })
            }
        }
    }
}

/// Whether the PodAutoscaler scales one role within each copy of a StormService, and which.
pub(super) fn pooled_role(pa: &PodAutoscaler) -> Option<&str> {
    role_of(pa).filter(|_| is_storm_service(pa) && !is_replica_mode(pa))
}

/// The role that the PodAutoscaler names, if any.
pub(super) fn role_of(pa: &PodAutoscaler) -> Option<&str> {
    let role = pa.spec.sub_target_selector.as_ref().map(|selector| selector.role_name.as_str());
    role.filter(|role| !role.is_empty())
}

/// Whether the target is a StormService.
pub(super) fn is_storm_service(pa: &PodAutoscaler) -> bool {
    let target = &pa.spec.scale_target_ref;
    group_of(&target.api_version) == keys::ORCHESTRATION_GROUP && target.kind == "StormService"
}

/// Whether whole copies of a StormService are scaled although a role is named.
fn is_replica_mode(pa: &PodAutoscaler) -> bool {
    let annotations = pa.metadata.annotations.as_ref();
    annotations
        .and_then(|all| all.get(keys::pod_autoscaler::STORM_SERVICE_MODE))
        .is_some_and(|mode| mode == "replica")
}

/// What was read of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The object.
    Object,
    /// The object, because its scale may not be read.
    ScaleForbidden,
    /// Its subresource `scale`: it tells what the kind keeps at paths of its own.
    Scale,
}

/// Whether replicas and selector stand where [`read_target`] looks in the object: the scale of others tells more.
pub(super) fn is_known_kind(group: &str, kind: &str) -> bool {
    group == "apps"
        || (group == keys::ORCHESTRATION_GROUP && matches!(kind, "StormService" | "RayClusterFleet"))
}

/// Reads what a pass needs from the target's JSON. `resource`: the kind under which it was found.
pub(super) fn read_target(pa: &PodAutoscaler, resource: ApiResource, form: Form, object: &Value) -> Target {
    let namespace = pa.metadata.namespace.clone().unwrap_or_default();
    let name = pa.spec.scale_target_ref.name.clone();
    let (replicas, write) = match pooled_role(pa) {
        Some(role) => read_role(object, role, &name),
        None if is_storm_service(pa) && pa.spec.sub_target_selector.is_some() && is_replica_mode(pa) => {
            (Ok(copies_wanted(object).unwrap_or(1)), ScaleWrite::Replicas)
        }
        // A scale leaves out a count of 0.
        None if form == Form::Scale => (Ok(copies_wanted(object).unwrap_or(0)), ScaleWrite::Scale),
        None => (copies_wanted(object).ok_or(TargetError::NoReplicas), ScaleWrite::Replicas),
    };
    let pods = if is_storm_service(pa) {
        Ok(storm_service_pods(&name, role_of(pa)))
    } else {
        read_selector(pa, object, &name).map_err(|error| match (error, form) {
            (TargetError::NoSelector(name), Form::Scale) => TargetError::NoScaleSelector(name),
            (TargetError::NoSelector(name), Form::ScaleForbidden) => {
                TargetError::ScaleForbidden { name, plural: resource.plural.clone() }
            }
            (error, _) => error,
        })
    };
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let found = Found {
        uid: text("/metadata/uid"),
        version: text("/metadata/resourceVersion"),
        count: object.pointer(&write.place()).and_then(as_count),
    };
    Target {
        object: ScaleTarget { resource, namespace, name },
        replicas,
        pods,
        write,
        found,
        other_writer: None,
    }
}

/// The field manager besides us that wrote the replicas of this object last, wherever they stand.
pub(super) fn other_writer(fields: Option<&[ManagedFieldsEntry]>) -> Option<&str> {
    contest::other_writer(fields?, |entry| {
        let spec = entry.fields_v1.as_ref().and_then(|fields| fields.0.get("f:spec"));
        // Of a role they stand in a list that is owned as a whole.
        spec.is_some_and(|spec| {
            spec.get("f:replicas").is_some() || spec.pointer("/f:template/f:spec/f:roles").is_some()
        })
    })
}

/// R = replicas of the role in the spec · k. Unset in the spec: what the status counts, else 0.
fn read_role(object: &Value, role: &str, name: &str) -> (Result<i32, TargetError>, ScaleWrite) {
    let copies = copies_of(object);
    let counted = object
        .pointer("/status/roleStatuses")
        .and_then(Value::as_array)
        .and_then(|roles| roles.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some(role)))
        .map(|entry| entry.get("replicas").and_then(as_count).unwrap_or(0));
    let index = role_index(object, role);
    let write = ScaleWrite::Role { index: index.unwrap_or(0), name: role.to_owned(), copies };
    let entry = index.and_then(|index| roles(object)?.get(index));
    let replicas = match (entry, counted) {
        (Some(entry), counted) => match entry.get("replicas").and_then(as_count) {
            Some(replicas) => Ok(replicas.saturating_mul(copies)),
            None => Ok(counted.unwrap_or(0)),
        },
        (None, Some(counted)) => Ok(counted),
        (None, None) if object.pointer("/spec/template/spec").is_none_or(Value::is_null) => {
            Err(TargetError::NoTemplate(name.to_owned()))
        }
        (None, None) => Err(TargetError::NoRole(role.to_owned())),
    };
    (replicas, write)
}

fn roles(object: &Value) -> Option<&Vec<Value>> {
    object.pointer("/spec/template/spec/roles").and_then(Value::as_array)
}

fn role_index(object: &Value, role: &str) -> Option<usize> {
    roles(object)?.iter().position(|entry| entry.get("name").and_then(Value::as_str) == Some(role))
}

/// k = max(1, `spec.replicas` ?? 1).
fn copies_of(object: &Value) -> i32 {
    copies_wanted(object).unwrap_or(1).max(1)
}

fn copies_wanted(object: &Value) -> Option<i32> {
    object.pointer("/spec/replicas").and_then(as_count)
}

pub(super) fn as_count(value: &Value) -> Option<i32> {
    value.as_i64().and_then(|count| i32::try_from(count).ok())
}

/// Grouped roles mark their pods with an index; ungrouped ones do not, so one rule fits both.
fn storm_service_pods(name: &str, role: Option<&str>) -> PodSelection {
    let service = Selector::of_labels([(keys::STORM_SERVICE_NAME_LABEL, name)]);
    let selector = match role {
        Some(role) => service.and_label(keys::ROLE_NAME_LABEL, role),
        None => service,
    };
    PodSelection { selector, group_heads_only: true }
}

fn read_selector(pa: &PodAutoscaler, object: &Value, name: &str) -> Result<PodSelection, TargetError> {
    let bad = |cause| TargetError::BadSelector { name: name.to_owned(), cause };
    let printed = object.pointer("/status/selector").and_then(Value::as_str);
    let selector = if let Some(text) = printed.filter(|text| !text.trim().is_empty()) {
        Selector::parse(text)
    } else {
        let selector = object.pointer("/spec/selector").filter(|selector| !selector.is_null());
        Selector::of_json(selector.ok_or_else(|| TargetError::NoSelector(name.to_owned()))?)
    };
    let selector = selector.map_err(bad)?;
    if selector.is_empty() {
        return Err(TargetError::EmptySelector(name.to_owned()));
    }
    let target = &pa.spec.scale_target_ref;
    let is_fleet =
        group_of(&target.api_version) == keys::ORCHESTRATION_GROUP && target.kind == "RayClusterFleet";
    let selector = if is_fleet { selector.and_label(keys::RAY_NODE_TYPE_LABEL, "head") } else { selector };
    Ok(PodSelection { selector, group_heads_only: false })
}
