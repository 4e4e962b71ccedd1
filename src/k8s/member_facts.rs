// SPDX-License-Identifier: Apache-2.0
//! What is kept of a pod beyond other pods if it is, or may become, a member of a RoleSet or `PodSet`: who controls it,
//! our annotations, its images, and how far its containers have come.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use super::pod_facts::{WireContainer, WirePodSpec};
use crate::api::keys::storm_service::{POD_SET_NAME, PREFIX, ROLE_SET_NAME};
use kube_loops::{
    k8s::owner::{controller_of, group_of},
    rollout::order::DELETION_COST,
    runtime::watches::ControllerRef,
};

/// A pod that is, or may become, a member of a RoleSet or `PodSet`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MemberFacts {
    owner: Option<OwnerFacts>,
    /// Creation time.
    pub created: Option<Timestamp>,
    /// Annotations of our prefix, and the deletion cost.
    pub annotations: BTreeMap<Box<str>, Box<str>>,
    /// Containers of the spec, in its order.
    pub containers: Vec<ContainerFacts>,
    /// Names and images of the init containers.
    pub init_images: Vec<(Box<str>, Box<str>)>,
    /// Readiness gates, and whether their conditions are true; `None`: nobody has set the condition.
    pub gates: Vec<(Box<str>, Option<bool>)>,
    /// The condition `Ready`; `None`: nobody has set it.
    pub ready: Option<bool>,
    /// The condition `ContainersReady`; `None`: nobody has set it.
    pub containers_ready: Option<bool>,
    /// The variable `POD_GROUP_SIZE` of the first container: the size of the group when the pod was made.
    pub group_size: Option<Box<str>>,
    /// Affinity to other pods, as it is stored; `None`: none.
    pub pod_affinity: Option<Box<Value>>,
}

/// A container and its status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ContainerFacts {
    /// Name.
    pub name: Box<str>,
    /// Image of the spec.
    pub image: Box<str>,
    /// What kubelet said; `None`: nothing yet.
    pub status: Option<ContainerStatus>,
}

/// What kubelet said of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerStatus {
    name: Box<str>,
    /// Whether it is ready.
    pub ready: bool,
    /// How often it was restarted.
    pub restart_count: i32,
    /// The image that runs; empty: not told.
    #[serde(rename = "imageID")]
    pub image_id: Box<str>,
    /// The container that runs; empty: not told.
    #[serde(rename = "containerID")]
    pub container_id: Box<str>,
}

/// The object that controls another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnerFacts {
    group: Box<str>,
    kind: Box<str>,
    name: Box<str>,
    uid: Box<str>,
}

impl OwnerFacts {
    /// What controls the object with this metadata.
    pub(crate) fn of(meta: &ObjectMeta) -> Option<Self> {
        let owner = controller_of(meta)?;
        Some(Self {
            group: group_of(&owner.api_version).into(),
            kind: owner.kind.as_str().into(),
            name: owner.name.as_str().into(),
            uid: owner.uid.as_str().into(),
        })
    }

    /// A reference to it.
    pub(crate) fn to_ref(&self) -> ControllerRef<'_> {
        let Self { group, kind, name, uid } = self;
        ControllerRef { group, kind, name, uid }
    }
}

impl MemberFacts {
    /// Whether facts of this pod are kept.
    pub(super) fn concern(meta: &ObjectMeta) -> bool {
        let labelled = |key: &str| meta.labels.as_ref().is_some_and(|labels| labels.contains_key(key));
        let owned = controller_of(meta).is_some_and(|owner| {
            group_of(&owner.api_version) == crate::api::keys::ORCHESTRATION_GROUP
                && matches!(&*owner.kind, "RoleSet" | "PodSet")
        });
        owned || labelled(ROLE_SET_NAME) || labelled(POD_SET_NAME)
    }

    /// What is kept. `conditions`: type and status.
    pub(super) fn of<'a>(
        meta: &ObjectMeta,
        spec: WirePodSpec,
        statuses: &[ContainerStatus],
        conditions: &(impl Iterator<Item = (&'a str, &'a str)> + Clone),
    ) -> Self {
        let holds =
            |kind: &str| conditions.clone().find(|(it, _)| *it == kind).map(|(_, status)| status == "True");
        let kept = |key: &&String| key.starts_with(PREFIX) || *key == DELETION_COST;
        let annotations = meta.annotations.iter().flatten().filter(|(key, _)| kept(key));
        let status_of = |name: &str| statuses.iter().find(|status| &*status.name == name).cloned();
        let variables = spec.containers.first().and_then(|first| first.env.as_deref()).unwrap_or_default();
        let group_size = variables.iter().find(|it| &*it.name == "POD_GROUP_SIZE").map(|it| it.value.clone());
        let container = |WireContainer { name, image, .. }| {
            let status = status_of(&name);
            ContainerFacts { name, image, status }
        };
        Self {
            owner: OwnerFacts::of(meta),
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            annotations: annotations
                .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
                .collect(),
            containers: spec.containers.into_iter().map(container).collect(),
            init_images: spec.init_containers.into_iter().flatten().map(|it| (it.name, it.image)).collect(),
            gates: spec
                .readiness_gates
                .into_iter()
                .flatten()
                .map(|gate| {
                    let holds = holds(&gate.condition_type);
                    (gate.condition_type, holds)
                })
                .collect(),
            ready: holds("Ready"),
            containers_ready: holds("ContainersReady"),
            group_size,
            pod_affinity: spec.affinity.and_then(|affinity| affinity.pod_affinity),
        }
    }

    /// The object that controls it.
    pub(super) fn controller(&self) -> Option<ControllerRef<'_>> {
        self.owner.as_ref().map(OwnerFacts::to_ref)
    }

    /// An annotation of ours.
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(|value| &**value)
    }
}
