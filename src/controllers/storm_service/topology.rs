// SPDX-License-Identifier: Apache-2.0
//! The topology policy of a RoleSet as affinity of new pods. Pure.

use kube::ResourceExt;
use serde_json::{Value, json};

use crate::api::{
    keys::{ROLE_NAME_LABEL, STORM_SERVICE_NAME_LABEL, storm_service::ROLE_SET_NAME},
    orchestration::RoleSet,
};

use super::{
    json::{at, at_mut, list, put},
    render::service_of,
};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
/// Weight of a preferred term.
const WEIGHT: i32 = 100;

/// A term of affinity to other pods.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Term {
    list: &'static str,
    term: Value,
}

impl Term {
    /// What the policy asks of pods of this role; `None`: nothing.
    ///
    /// | scope | pods with the same |
    /// |---|---|
    /// | `StormService` | service; without one: RoleSet |
    /// | `RoleSet` | service, RoleSet; without a service: RoleSet |
    /// | `Role` | service, role; without a service: RoleSet, role |
    pub(super) fn of(role_set: &RoleSet, role: &str) -> Option<Self> {
        let policy = role_set.spec.topology_policy.as_ref().filter(|policy| !policy.key.is_empty())?;
        let (service, name) = (service_of(role_set.labels()), role_set.name_any());
        let mut labels = json!({});
        if service.is_empty() {
            put(&mut labels, &[ROLE_SET_NAME], name.as_str());
        } else {
            put(&mut labels, &[STORM_SERVICE_NAME_LABEL], service);
        }
        match policy.scope.as_str() {
            "StormService" => {}
            "RoleSet" => put(&mut labels, &[ROLE_SET_NAME], name),
            "Role" => put(&mut labels, &[ROLE_NAME_LABEL], role),
            _ => return None,
        }
        let term = json!({"topologyKey": policy.key, "labelSelector": {"matchLabels": labels}});
        Some(if policy.mode.as_deref() == Some("Required") {
            Self { list: REQUIRED, term }
        } else {
            Self { list: PREFERRED, term: json!({"weight": WEIGHT, "podAffinityTerm": term}) }
        })
    }

    /// Adds the term to the spec of a pod, unless it is there.
    pub(super) fn put(&self, spec: &mut Value) {
        if self.is_in(at(spec, &["affinity", "podAffinity"])) {
            return;
        }
        let terms = at_mut(spec, &["affinity", "podAffinity", self.list]);
        if let Some(terms) = terms.as_array_mut() {
            terms.push(self.term.clone());
        } else {
            *terms = json!([self.term]);
        }
    }

    /// Whether this affinity to other pods has the term.
    pub(super) fn is_in(&self, pod_affinity: &Value) -> bool {
        list(pod_affinity, &[self.list]).any(|term| *term == self.term)
    }
}
