// SPDX-License-Identifier: Apache-2.0
//! What is read of a workload: metadata only, whatever its kind. Pure.

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;

use crate::{
    api::keys::{DEFAULT_ENGINE_PORT, MANAGED_BY_LABEL, model_route},
    k8s::{
        names::route_name_for,
        served_model::{InvalidPort, backend_service_of, model_name_of, port_label_of},
    },
};
use kube_fenced_election::clock::Timestamp;
use kube_loops::runtime::{
    controller::Kind,
    watches::{Index, Stored, interner::Interner},
};

/// Kinds of workloads whose models get a route, in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum SourceKind {
    /// Every cluster has it.
    Deployment,
    /// Of another project.
    LeaderWorkerSet,
    /// A LoRA.
    ModelAdapter,
    /// A model on Ray clusters.
    RayClusterFleet,
}

impl SourceKind {
    /// All of them.
    pub(super) const ALL: [Self; 4] =
        [Self::Deployment, Self::LeaderWorkerSet, Self::ModelAdapter, Self::RayClusterFleet];

    /// How it is named and served.
    pub(super) fn kind(self) -> Kind {
        let kind = |group, version, kind, plural| Kind { group, version, kind, plural };
        match self {
            Self::Deployment => kind("apps", "v1", "Deployment", "deployments"),
            Self::LeaderWorkerSet => {
                kind("leaderworkerset.x-k8s.io", "v1", "LeaderWorkerSet", "leaderworkersets")
            }
            Self::ModelAdapter => kind("model.aibrix.ai", "v1alpha1", "ModelAdapter", "modeladapters"),
            Self::RayClusterFleet => {
                kind("orchestration.aibrix.ai", "v1alpha1", "RayClusterFleet", "rayclusterfleets")
            }
        }
    }

    /// The kind of this name; `None`: none of these.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.kind().kind == name)
    }

    /// Whether every cluster serves it.
    pub(super) fn is_builtin(self) -> bool {
        self == Self::Deployment
    }
}

/// What a store keeps of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceFacts {
    namespace: Box<str>,
    name: Box<str>,
    version: Box<str>,
    /// What it serves; `None`: no model, so that nothing else of it matters.
    pub(super) served: Option<Box<Served>>,
}

/// Workloads by the route of their model.
pub(super) const BY_ROUTE: Index<SourceFacts> =
    Index::new("route", |source| source.route().map(Cow::Borrowed).into_iter().collect());
/// Workloads that serve a model, under [`SERVING_KEY`].
pub(super) const SERVING: Index<SourceFacts> =
    Index::new("serving", |source| source.served.iter().map(|_| Cow::Borrowed(SERVING_KEY)).collect());
/// The only key of [`SERVING`].
pub(super) const SERVING_KEY: &str = "";

/// What a workload says about its model, and which workload it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Served {
    /// Name of the model, as requests name it.
    pub(super) model: String,
    /// Name of the model's HTTPRoute.
    pub(super) route: String,
    /// Service behind the route.
    pub(super) service: String,
    /// Port of the Service.
    pub(super) port: u16,
    /// What the label of the port says instead of a port; `None`: nothing is wrong with it.
    pub(super) bad_port: Option<InvalidPort>,
    /// The annotation with further paths, as it is; empty when absent.
    pub(super) paths: String,
    /// Made by AIBrix's console.
    pub(super) console: bool,
    /// Annotations of the console, in the order of [`model_route::CONSOLE_ANNOTATIONS`].
    pub(super) console_annotations: [Option<String>; 2],
    /// Uid of the workload.
    pub(super) uid: String,
    /// When it was created.
    pub(super) created: Option<Timestamp>,
}

impl SourceFacts {
    /// Reduces the metadata of a workload.
    pub(super) fn keep(object: DynamicObject, _: &Interner) -> Self {
        let meta = object.metadata;
        let served = served_by(&meta).map(Box::new);
        Self {
            namespace: meta.namespace.unwrap_or_default().into(),
            name: meta.name.unwrap_or_default().into(),
            version: meta.resource_version.unwrap_or_default().into(),
            served,
        }
    }

    /// Name of its model's route; `None`: it serves no model.
    pub(super) fn route(&self) -> Option<&str> {
        self.served.as_ref().map(|served| served.route.as_str())
    }
}

impl Stored for SourceFacts {
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

fn served_by(meta: &ObjectMeta) -> Option<Served> {
    let model = model_name_of(meta)?;
    let annotation = |key: &str| meta.annotations.as_ref()?.get(key).filter(|it| !it.is_empty()).cloned();
    let port = port_label_of(meta);
    let managed_by = meta.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY_LABEL));
    Some(Served {
        model: model.to_owned(),
        route: route_name_for(model),
        service: backend_service_of(meta, model).to_owned(),
        port: port.as_ref().ok().copied().flatten().unwrap_or(DEFAULT_ENGINE_PORT),
        bad_port: port.err(),
        paths: annotation(model_route::CUSTOM_PATHS).unwrap_or_default(),
        console: managed_by.is_some_and(|it| it == model_route::CONSOLE),
        console_annotations: model_route::CONSOLE_ANNOTATIONS.map(annotation),
        uid: meta.uid.clone().unwrap_or_default(),
        created: meta.creation_timestamp.as_ref().map(|time| time.0),
    })
}

/// A workload that serves a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// Its kind.
    pub(super) kind: SourceKind,
    /// What is known of it.
    pub(super) facts: Arc<SourceFacts>,
}

impl Source {
    /// What it serves.
    pub(super) fn served(&self) -> Option<&Served> {
        self.facts.served.as_deref()
    }

    /// Namespace and Service behind its route.
    pub(super) fn backend(&self) -> Option<(&str, &str)> {
        Some((self.facts.namespace(), &self.served()?.service))
    }

    /// Sorts the oldest first; those of one age by kind, namespace and name.
    pub(super) fn age(&self) -> impl Ord + '_ {
        let created = self.served().and_then(|served| served.created);
        (created.is_none(), created, self.kind, self.facts.namespace(), self.facts.name())
    }
}

#[cfg(test)]
impl SourceFacts {
    /// What is kept of this object.
    pub(super) fn for_test(object: &serde_json::Value) -> Arc<Self> {
        let object = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}"));
        Arc::new(Self::keep(object, &Interner::new()))
    }
}
