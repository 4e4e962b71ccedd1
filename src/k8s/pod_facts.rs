// SPDX-License-Identifier: Apache-2.0
//! What is kept of a pod: the union of what controllers read, so that one watch of all pods serves them all.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use kube::core::{ApiResource, Object};
use serde::Deserialize;

use kube_loops::runtime::watches::{ControllerRef, Index, Labelled, Owned, Stored, WatchSpec};

use crate::api::keys::{
    MODEL_NAME, MODEL_PORT_LABEL, STORM_SERVICE_NAME_LABEL,
    model_adapter::SIDECAR_CONTAINER,
    model_claim,
    storm_service::{POD_SET_NAME, ROLE_SET_NAME},
};

use super::member_facts::{ContainerStatus, MemberFacts};

/// Pods by uid.
pub(crate) const BY_UID: Index<PodFacts> = Index::new("uid", |pod| vec![Cow::Borrowed(&*pod.uid)]);
/// Labels that tell the pods of one workload from those of others: what selectors of pods ask for.
const INDEXED_LABELS: [&str; 7] = [
    MODEL_NAME,
    STORM_SERVICE_NAME_LABEL,
    ROLE_SET_NAME,
    POD_SET_NAME,
    "app",
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
];

/// A pod as it comes over the wire, without what is not read.
pub(crate) type WirePod = Object<WirePodSpec, WirePodStatus>;

/// The spec of a [`WirePod`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WirePodSpec {
    pub(super) containers: Vec<WireContainer>,
    pub(super) init_containers: Option<Vec<WireContainer>>,
    pub(super) readiness_gates: Option<Vec<WireGate>>,
    pub(super) affinity: Option<WireAffinity>,
}

/// A container of the spec.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireContainer {
    pub(super) name: Box<str>,
    pub(super) image: Box<str>,
    pub(super) env: Option<Vec<WireVariable>>,
}

/// A variable of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireVariable {
    pub(super) name: Box<str>,
    pub(super) value: Box<str>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WireGate {
    pub(super) condition_type: Box<str>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WireAffinity {
    pub(super) pod_affinity: Option<Box<serde_json::Value>>,
}

/// The status of a [`WirePod`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WirePodStatus {
    #[serde(default)]
    phase: String,
    #[serde(default, rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(default)]
    conditions: Option<Vec<WireCondition>>,
    #[serde(default)]
    container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCondition {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    last_transition_time: Option<Timestamp>,
}

/// How far a pod has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PodLife {
    /// It has not started yet, or nobody knows.
    Waiting,
    /// It has started.
    Running,
    /// It has ended and will never serve again.
    Finished,
}

impl PodLife {
    fn of(phase: &str) -> Self {
        match phase {
            "Running" => Self::Running,
            "Succeeded" | "Failed" => Self::Finished,
            _ => Self::Waiting,
        }
    }
}

/// What controllers read of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodFacts {
    /// Namespace.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
    /// Uid.
    pub uid: Box<str>,
    /// `resourceVersion`.
    pub version: Box<str>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The base model, where only an annotation names it; `None` beside a label that does.
    annotated_model: Option<Box<str>>,
    /// Served names of the model claims that are bound to the pod with a port.
    pub claimed_models: Vec<Box<str>>,
    /// How far it has come.
    pub life: PodLife,
    /// Being deleted.
    pub leaving: bool,
    /// Since when its condition `Ready` is true, the epoch where that is not told; `None`: it is not ready.
    pub ready_since: Option<Timestamp>,
    /// Its address; `None`: it has none yet.
    pub ip: Option<IpAddr>,
    /// Whether it has the container of the runtime sidecar.
    pub has_sidecar: bool,
    /// What else is kept of a member of a RoleSet or `PodSet`.
    pub member: Option<Box<MemberFacts>>,
}

/// The value of an annotation that binds a pod to a model claim.
#[derive(Deserialize)]
struct Binding {
    #[serde(default)]
    model: String,
    #[serde(default)]
    port: i64,
}

impl PodFacts {
    /// What is kept of `pod`.
    pub(crate) fn of(pod: WirePod) -> Self {
        let WirePod { metadata, spec, status, .. } = pod;
        let WirePodStatus { phase, pod_ip, conditions, container_statuses } = status.unwrap_or_default();
        let has_sidecar = spec.containers.iter().any(|container| &*container.name == SIDECAR_CONTAINER);
        let conditions = conditions.unwrap_or_default();
        let member = MemberFacts::concern(&metadata).then(|| {
            let conditions = conditions.iter().map(|it| (it.kind.as_str(), it.status.as_str()));
            let statuses = container_statuses.unwrap_or_default();
            Box::new(MemberFacts::of(&metadata, spec, &statuses, &conditions))
        });
        let leaving = metadata.deletion_timestamp.is_some();
        let labels = metadata.labels.unwrap_or_default();
        let annotations = metadata.annotations.unwrap_or_default();
        let labelled = labels.get(MODEL_NAME).is_some_and(|model| !model.is_empty());
        let annotated = annotations.get(MODEL_NAME).filter(|model| !labelled && !model.is_empty());
        let claimed = annotations.iter().filter(|(key, _)| key.starts_with(model_claim::BINDING_PREFIX));
        let ready = conditions.into_iter().find(|it| it.kind == "Ready" && it.status == "True");
        Self {
            namespace: metadata.namespace.unwrap_or_default().into(),
            name: metadata.name.unwrap_or_default().into(),
            uid: metadata.uid.unwrap_or_default().into(),
            version: metadata.resource_version.unwrap_or_default().into(),
            annotated_model: annotated.map(|model| model.as_str().into()),
            claimed_models: claimed.filter_map(|(_, binding)| bound_model(binding)).collect(),
            labels,
            life: PodLife::of(&phase),
            leaving,
            ready_since: ready.map(|ready| ready.last_transition_time.unwrap_or(Timestamp::UNIX_EPOCH)),
            ip: pod_ip.and_then(|ip| ip.parse().ok()),
            has_sidecar,
            member,
        }
    }

    /// Whether it has started and is not being deleted.
    pub(crate) fn is_running(&self) -> bool {
        self.life == PodLife::Running && !self.leaving
    }

    /// Whether it has ended and will never serve again.
    pub(crate) fn is_finished(&self) -> bool {
        self.life == PodLife::Finished
    }

    /// The base model: the label if it says something, else the annotation; `None`: the pod names none.
    pub(crate) fn base_model(&self) -> Option<&str> {
        let label = self.labels.get(MODEL_NAME).map(String::as_str).filter(|model| !model.is_empty());
        label.or(self.annotated_model.as_deref())
    }

    /// The port of the engine that the label names; `None`: no label, or one that is no port.
    pub(crate) fn engine_port(&self) -> Option<u16> {
        self.port_label(MODEL_PORT_LABEL)
    }

    /// The port that this label names; `None`: no label, or one that is no port.
    pub(crate) fn port_label(&self, label: &str) -> Option<u16> {
        self.labels.get(label)?.parse::<u16>().ok().filter(|port| *port > 0)
    }
}

#[cfg(test)]
impl PodFacts {
    /// What is kept of this pod.
    pub(crate) fn for_test(pod: &serde_json::Value) -> Self {
        Self::of(serde_json::from_value(pod.clone()).unwrap_or_else(|e| panic!("{e}")))
    }
}

fn bound_model(binding: &str) -> Option<Box<str>> {
    let Binding { model, port } = serde_json::from_str(binding).ok()?;
    (port > 0 && !model.is_empty()).then(|| model.into())
}

impl Stored for PodFacts {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> &str {
        &self.version
    }
}

impl Owned for PodFacts {
    fn uid(&self) -> &str {
        &self.uid
    }

    fn is_terminating(&self) -> bool {
        self.leaving
    }

    /// Of members of RoleSets and `PodSets`; nobody reads who controls other pods.
    fn controller(&self) -> Option<ControllerRef<'_>> {
        self.member.as_ref()?.controller()
    }
}

impl Labelled for PodFacts {
    fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }
}

/// The one watch of all pods, reduced, shared by every loop that reads pods: a second one with other facts would cost
/// as much memory again.
pub(crate) fn watch() -> WatchSpec<WirePod, PodFacts> {
    let resource = ApiResource {
        group: String::new(),
        version: "v1".to_owned(),
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        plural: "pods".to_owned(),
    };
    let spec = WatchSpec::<WirePod>::all_of(resource).keeping(|pod, _| PodFacts::of(pod)).indexed(BY_UID);
    INDEXED_LABELS.into_iter().fold(spec, |spec, label| spec.indexed(Index::label(label)))
}
