// SPDX-License-Identifier: Apache-2.0
//! How the pods of a RoleSet or PodSet are scheduled together: at most one of three schedulers.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// At most one scheduler. Its fields are those of the scheduler's PodGroup, kept as they are written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("maxProperties" = 1))]
#[expect(clippy::struct_field_names, reason = "it is what the API calls them")]
pub(crate) struct SchedulingStrategy {
    /// A PodGroup of Godel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "godel_schema")]
    pub godel_scheduling_strategy: Option<Map<String, Value>>,
    /// A PodGroup of the coscheduling plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "coscheduling_schema")]
    pub coscheduling_scheduling_strategy: Option<Map<String, Value>>,
    /// A PodGroup of Volcano.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "volcano_schema")]
    pub volcano_scheduling_strategy: Option<Map<String, Value>>,
}

/// Whose PodGroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PodGroupKind {
    /// `scheduling.godel.kubewharf.io`.
    Godel,
    /// `scheduling.x-k8s.io`.
    Coscheduling,
    /// `scheduling.volcano.sh`.
    Volcano,
}

impl PodGroupKind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Godel, Self::Coscheduling, Self::Volcano];
}

impl SchedulingStrategy {
    /// The scheduler that is asked for, and the fields of its PodGroup. Of several, which the schema refuses, the
    /// first in the order of [`PodGroupKind::ALL`].
    pub(crate) fn chosen(&self) -> Option<(PodGroupKind, &Map<String, Value>)> {
        let members = [
            &self.godel_scheduling_strategy,
            &self.coscheduling_scheduling_strategy,
            &self.volcano_scheduling_strategy,
        ];
        PodGroupKind::ALL.into_iter().zip(members).find_map(|(kind, fields)| Some((kind, fields.as_ref()?)))
    }
}

fn integer() -> Value {
    json!({"type": "integer", "format": "int32"})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn amounts() -> Value {
    json!({
        "type": "object",
        "additionalProperties": {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$",
            "x-kubernetes-int-or-string": true,
        },
    })
}

fn object(properties: &Value, required: &[&str]) -> Value {
    if required.is_empty() {
        json!({"type": "object", "properties": properties})
    } else {
        json!({"type": "object", "properties": properties, "required": required})
    }
}

fn list_of(items: &Value) -> Value {
    json!({"type": "array", "items": items})
}

fn atomic_list_of(items: &Value) -> Value {
    json!({"type": "array", "items": items, "x-kubernetes-list-type": "atomic"})
}

fn coscheduling_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "minMember": {"type": "integer", "format": "int32", "minimum": 1},
            "minResources": amounts(),
            "scheduleTimeoutSeconds": integer(),
        },
    })
}

fn volcano_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "minMember": integer(),
            "minTaskMember": {"type": "object", "additionalProperties": integer()},
            "queue": text(),
            "priorityClassName": text(),
            "minResources": amounts(),
        },
    })
}

fn godel_schema(_: &mut SchemaGenerator) -> Schema {
    let terms = list_of(&object(&json!({"topologyKey": text()}), &[]));
    let rule =
        object(&json!({"resource": text(), "dimension": text(), "order": text()}), &["order", "resource"]);
    json_schema!({
        "type": "object",
        "properties": {
            "minMember": integer(),
            "priorityClassName": text(),
            "scheduleTimeoutSeconds": integer(),
            "application": text(),
            "affinity": object(&json!({
                "podGroupAffinity": object(&json!({
                    "required": terms, "preferred": terms,
                    "sortRules": list_of(&rule),
                    "nodeSelector": node_selector(),
                }), &[]),
                "podGroupAntiAffinity": object(&json!({"required": terms, "preferred": terms}), &[]),
            }), &[]),
        },
    })
}

fn node_selector() -> Value {
    let expression = object(
        &json!({"key": text(), "operator": text(), "values": atomic_list_of(&text())}),
        &["key", "operator"],
    );
    let expressions = atomic_list_of(&expression);
    let term = json!({
        "type": "object",
        "properties": {"matchExpressions": expressions, "matchFields": expressions},
        "x-kubernetes-map-type": "atomic",
    });
    json!({
        "type": "object",
        "properties": {"nodeSelectorTerms": atomic_list_of(&term)},
        "required": ["nodeSelectorTerms"],
        "x-kubernetes-map-type": "atomic",
    })
}
