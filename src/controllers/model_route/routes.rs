// SPDX-License-Identifier: Apache-2.0
//! What is read of an HTTPRoute or a ReferenceGrant. Pure.

use std::{borrow::Cow, collections::BTreeMap};

use kube::core::DynamicObject;
use serde_json::Value;

use crate::{
    api::keys::{MANAGED_BY_LABEL, model_route},
    k8s::names::{reference_grant_name_for, route_name_for},
};
use kube_loops::runtime::watches::{Index, Stored, interner::Interner};

use super::{ModelRouteSettings, sources::SourceKind};

/// What a store keeps of an HTTPRoute, whoever made it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RouteFacts {
    namespace: String,
    name: String,
    /// Version.
    pub(super) version: String,
    /// Whether a gateway has accepted it.
    pub(super) accepted: bool,
    /// All but the version and what gateways say about it.
    pub(super) content: Content,
}

/// A route of ours, or of another installation, in whatever namespace: metadata only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MadeRoute {
    /// Namespace.
    pub(super) namespace: String,
    /// Name.
    pub(super) name: String,
    version: String,
    /// Uid.
    pub(super) uid: String,
    /// What our marker on it says.
    marker: Option<Box<str>>,
    /// Which installation made it.
    pub(super) owner: Option<Box<str>>,
}

/// Those that carry our marker, by name.
pub(super) const BY_NAME: Index<MadeRoute> = Index::new("name of a route that we make", |route| {
    route.marker.is_some().then_some(Cow::Borrowed(route.name.as_str())).into_iter().collect()
});

impl MadeRoute {
    /// Reduces the metadata of an HTTPRoute.
    pub(super) fn keep(object: DynamicObject, _: &Interner) -> Self {
        let meta = object.metadata;
        let mut annotations = meta.annotations.unwrap_or_default();
        let mut text = |key: &str| annotations.remove(key).map(String::into_boxed_str);
        Self {
            namespace: meta.namespace.unwrap_or_default(),
            name: meta.name.unwrap_or_default(),
            version: meta.resource_version.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
            marker: text(model_route::SPEC_HASH),
            owner: text(model_route::OWNER),
        }
    }

    /// The kind of the workload that our marker names.
    pub(super) fn origin(&self) -> Option<SourceKind> {
        SourceKind::named(self.marker.as_deref()?.rsplit_once('.')?.1)
    }

    /// Whether this installation made it, for a gateway elsewhere than now.
    pub(super) fn is_left(&self, settings: &ModelRouteSettings) -> bool {
        let ours = self.marker.is_some() && self.owner.as_deref() == Some(&*settings.owner);
        ours && self.namespace != settings.gateway_namespace
            && !model_route::RESERVED_ROUTES.contains(&self.name.as_str())
    }
}

impl Stored for MadeRoute {
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

/// Our routes by the namespace that they lead to.
pub(super) const BY_BACKEND: Index<RouteFacts> = Index::new("namespace of the backend", |route| {
    let led_to = route.marker().and_then(|_| route.backend());
    led_to.map(|(namespace, _)| Cow::Borrowed(namespace)).into_iter().collect()
});

/// What passes read of an HTTPRoute.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Content {
    /// Uid.
    pub(super) uid: String,
    /// Whether it is being deleted.
    pub(super) leaving: bool,
    /// Its label [`MANAGED_BY_LABEL`].
    pub(super) managed_by: Option<String>,
    /// Its annotations.
    pub(super) annotations: BTreeMap<String, String>,
    /// Its spec, as stored.
    pub(super) spec: Value,
}

impl RouteFacts {
    /// Reduces an HTTPRoute.
    pub(super) fn keep(object: DynamicObject, _: &Interner) -> Self {
        let DynamicObject { metadata, mut data, .. } = object;
        Self {
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            version: metadata.resource_version.unwrap_or_default(),
            accepted: is_accepted(&data),
            content: Content {
                uid: metadata.uid.unwrap_or_default(),
                leaving: metadata.deletion_timestamp.is_some(),
                managed_by: metadata.labels.and_then(|mut labels| labels.remove(MANAGED_BY_LABEL)),
                annotations: metadata.annotations.unwrap_or_default(),
                spec: data.get_mut("spec").map(Value::take).unwrap_or_default(),
            },
        }
    }

    /// What our marker on it says; `None`: it carries none, so it is not ours. The routes of the installation
    /// never are.
    pub(super) fn marker(&self) -> Option<&str> {
        if model_route::RESERVED_ROUTES.contains(&self.name.as_str()) {
            return None;
        }
        self.content.annotations.get(model_route::SPEC_HASH).map(String::as_str)
    }

    /// Whether it is of an installation that works in other namespaces, and uses the same gateway. By the mark of its
    /// owner; where it has none, by where it leads.
    pub(super) fn is_anothers(&self, settings: &ModelRouteSettings) -> bool {
        if settings.watched.is_empty() || self.marker().is_none() {
            return false;
        }
        match self.content.annotations.get(model_route::OWNER) {
            Some(owner) => *owner != settings.owner,
            None => !self.backend().is_some_and(|(namespace, _)| settings.watched.contains(namespace)),
        }
    }

    /// The kind of the workload that our marker names; `None`: no marker, or it names none.
    pub(super) fn origin(&self) -> Option<SourceKind> {
        SourceKind::named(self.marker()?.rsplit_once('.')?.1)
    }

    /// Namespace and Service that its first rule leads to first.
    pub(super) fn backend(&self) -> Option<(&str, &str)> {
        let backend = self.content.spec.pointer("/rules/0/backendRefs/0")?;
        let namespace = backend.get("namespace").and_then(Value::as_str).unwrap_or(&self.namespace);
        Some((namespace, backend.get("name")?.as_str()?))
    }

    /// Whether it has the shape that AIBrix gives to routes of a model of this route's name: one rule, the
    /// model's header alone in every match, attached to the gateway alone. Such routes go with their last
    /// workload, by whomever they were made.
    pub(super) fn is_generated_shape(&self, settings: &ModelRouteSettings) -> bool {
        let spec = &self.content.spec;
        let single = |list: Option<&Value>| match list.and_then(Value::as_array).map(Vec::as_slice) {
            Some([one]) => Some(one.clone()),
            Some(_) | None => None,
        };
        let attached = single(spec.get("parentRefs")).is_some_and(|parent| {
            let namespace = parent.get("namespace").and_then(Value::as_str).unwrap_or(&self.namespace);
            parent.get("name").and_then(Value::as_str) == Some(&settings.gateway_name)
                && namespace == settings.gateway_namespace
        });
        let Some(rule) = single(spec.get("rules")) else { return false };
        let matches = rule.get("matches").and_then(Value::as_array).cloned().unwrap_or_default();
        let model = |it: &Value| {
            let header = single(it.get("headers"))?;
            let exact = header.get("type").is_none_or(|it| it == "Exact");
            let named = header.get("name").and_then(Value::as_str)?.eq_ignore_ascii_case("model");
            let value = header.get("value")?.as_str()?;
            (exact && named && route_name_for(value) == self.name).then(|| value.to_owned())
        };
        attached && !matches.is_empty() && matches.iter().all(|it| model(it).is_some())
    }
}

impl Stored for RouteFacts {
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

/// Whether any gateway says that it has accepted a route.
fn is_accepted(route: &Value) -> bool {
    let parents = route.pointer("/status/parents").and_then(Value::as_array).into_iter().flatten();
    let says = |condition: &Value, key, text| condition.get(key).is_some_and(|it| it == text);
    let conditions = parents.filter_map(|parent| parent.get("conditions")?.as_array()).flatten();
    let mut accepted = conditions.filter(|it| says(it, "type", "Accepted") && says(it, "status", "True"));
    accepted.next().is_some()
}

/// What a store keeps of a ReferenceGrant: of those that have the name of ours, also whom they admit where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GrantFacts {
    /// Namespace.
    pub(super) namespace: String,
    /// Name.
    pub(super) name: String,
    version: String,
    /// Uid.
    pub(super) uid: String,
    /// `spec.from`.
    pub(super) from: Vec<Value>,
    /// `spec.to`.
    pub(super) to: Vec<Value>,
}

impl GrantFacts {
    /// Reduces a ReferenceGrant.
    pub(super) fn keep(object: DynamicObject, _: &Interner) -> Self {
        let (meta, data) = (object.metadata, object.data);
        let mut kept = Self {
            namespace: meta.namespace.unwrap_or_default(),
            name: meta.name.unwrap_or_default(),
            version: meta.resource_version.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
            from: Vec::new(),
            to: Vec::new(),
        };
        if kept.has_our_name() {
            let list = |path| data.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
            (kept.from, kept.to) = (list("/spec/from"), list("/spec/to"));
        }
        kept
    }

    /// Whether it has the name of the one that we make in its namespace.
    pub(super) fn has_our_name(&self) -> bool {
        self.name == reference_grant_name_for(&self.namespace)
    }
}

impl Stored for GrantFacts {
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

#[cfg(test)]
impl RouteFacts {
    /// What is kept of this object.
    pub(super) fn for_test(object: &Value) -> std::sync::Arc<Self> {
        let object = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}"));
        std::sync::Arc::new(Self::keep(object, &Interner::new()))
    }
}

#[cfg(test)]
impl GrantFacts {
    /// What is kept of this object.
    pub(super) fn for_test(object: &Value) -> std::sync::Arc<Self> {
        let object = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}"));
        std::sync::Arc::new(Self::keep(object, &Interner::new()))
    }
}
