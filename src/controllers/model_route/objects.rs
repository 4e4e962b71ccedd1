// SPDX-License-Identifier: Apache-2.0
//! The HTTPRoute and the ReferenceGrant that we want. Pure.

use std::time::Duration;

use gateway_api::{
    httproutes::{
        HttpRouteParentRefs, HttpRouteRules, HttpRouteRulesBackendRefs, HttpRouteRulesMatches,
        HttpRouteRulesMatchesHeaders, HttpRouteRulesMatchesHeadersType, HttpRouteRulesMatchesPath,
        HttpRouteRulesMatchesPathType, HttpRouteRulesTimeouts, HttpRouteSpec,
    },
    referencegrants::{ReferenceGrantFrom, ReferenceGrantSpec, ReferenceGrantTo},
};
use serde_json::{Map, Value, json};

use crate::{
    api::keys::{MANAGED_BY_LABEL, model_route},
    k8s::names::reference_grant_name_for,
};
use kube_loops::{rollout::template::hashes::sha256_prefix, runtime::watches::Stored};

use super::{
    GATEWAY_GROUP, HTTP_ROUTE, ModelRouteSettings, REFERENCE_GRANT,
    paths::{Paths, paths_for},
    routes::GrantFacts,
    sources::{Served, Source},
    status,
};

/// Longest time-out that a route can say: its number has at most five digits.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(99_999);
/// Hexadecimal digits of the hash in a marker.
const HASH_DIGITS: usize = 16;

/// The HTTPRoute of a model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    /// Name.
    pub(super) name: String,
    /// Namespace: the gateway's.
    pub(super) namespace: String,
    /// Namespace of the Service behind it.
    pub(super) backend_namespace: String,
    /// Its spec.
    pub(super) spec: Value,
    /// Whether it carries the label of the console.
    pub(super) console: bool,
    /// Annotations of the console that it carries, in the order of [`model_route::CONSOLE_ANNOTATIONS`].
    pub(super) console_annotations: [Option<String>; 2],
    /// Its marker: a hash of what it was made from, and the kind of the workload.
    pub(super) marker: String,
    /// Whose route it is.
    pub(super) owner: String,
    /// What is wrong with the workload's metadata, for people.
    pub(super) advice: Vec<String>,
}

impl Wanted {
    /// The route to `source`; `None`: it serves no model.
    pub(super) fn of(source: &Source, settings: &ModelRouteSettings) -> Option<Self> {
        let served = source.served()?;
        let namespace = source.facts.namespace();
        let paths = paths_for(&served.paths);
        let spec = build_spec(served, namespace, &paths, settings);
        let advice = status::advice(served, &paths);
        let mut hashed = spec.to_string();
        for part in served.console_annotations.iter().flatten().chain(&advice) {
            hashed.push('\n');
            hashed.push_str(part);
        }
        let marker = format!(
            "{}.{}",
            sha256_prefix(&format!("{hashed}\n{}", served.console), HASH_DIGITS),
            source.kind.kind().kind
        );
        Some(Self {
            name: served.route.clone(),
            namespace: settings.gateway_namespace.clone(),
            backend_namespace: namespace.to_owned(),
            spec,
            console: served.console,
            console_annotations: served.console_annotations.clone(),
            marker,
            owner: settings.owner.clone(),
            advice,
        })
    }

    /// The annotations that mark the route as ours.
    pub(super) fn marks(&self) -> [(&'static str, String); 2] {
        [(model_route::SPEC_HASH, self.marker.clone()), (model_route::OWNER, self.owner.clone())]
    }

    /// The object to create.
    pub(super) fn object(&self) -> Value {
        let mut metadata = json!({"name": self.name, "namespace": self.namespace});
        let mut annotations = Map::new();
        for (key, value) in model_route::CONSOLE_ANNOTATIONS.iter().zip(&self.console_annotations) {
            if let Some(value) = value {
                annotations.insert((*key).to_owned(), json!(value));
            }
        }
        annotations.extend(self.marks().map(|(key, value)| (key.to_owned(), json!(value))));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("annotations".to_owned(), Value::Object(annotations));
            if self.console {
                metadata.insert("labels".to_owned(), json!({MANAGED_BY_LABEL: model_route::CONSOLE}));
            }
        }
        let resource = HTTP_ROUTE.resource();
        json!({
            "apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": metadata, "spec": self.spec,
        })
    }
}

/// What of a ReferenceGrant has to change for our routes to lead to its namespace; `None`: nothing. What others
/// wrote into it stays.
pub(super) fn grant_patch(grant: &GrantFacts, settings: &ModelRouteSettings) -> Option<Value> {
    let want = build_grant(&grant.namespace, settings);
    let mut patch = Map::new();
    for (field, have) in [("from", &grant.from), ("to", &grant.to)] {
        let wanted = want.pointer(&format!("/spec/{field}")).and_then(Value::as_array).into_iter().flatten();
        let missing: Vec<&Value> = wanted.filter(|entry| !have.contains(entry)).collect();
        if !missing.is_empty() {
            patch.insert(field.to_owned(), json!(have.iter().chain(missing).collect::<Vec<_>>()));
        }
    }
    (!patch.is_empty()).then(|| json!({ "spec": patch }))
}

/// The entries of a ReferenceGrant that admit others than our routes.
pub(super) fn foreign_entries(grant: &GrantFacts, settings: &ModelRouteSettings) -> Vec<Value> {
    let ours = build_grant(&grant.namespace, settings);
    let ours = ours.pointer("/spec/from").and_then(Value::as_array);
    let is_ours = |entry: &Value| ours.is_some_and(|ours| ours.contains(entry));
    grant.from.iter().filter(|entry| !is_ours(entry)).cloned().collect()
}

/// The ReferenceGrant of a namespace.
pub(super) fn build_grant(namespace: &str, settings: &ModelRouteSettings) -> Value {
    let spec = ReferenceGrantSpec {
        from: vec![ReferenceGrantFrom {
            group: GATEWAY_GROUP.to_owned(),
            kind: "HTTPRoute".to_owned(),
            namespace: settings.gateway_namespace.clone(),
        }],
        to: vec![ReferenceGrantTo { group: String::new(), kind: "Service".to_owned(), name: None }],
    };
    let resource = REFERENCE_GRANT.resource();
    json!({
        "apiVersion": resource.api_version, "kind": resource.kind,
        "metadata": {"name": reference_grant_name_for(namespace), "namespace": namespace},
        "spec": spec,
    })
}

fn build_spec(served: &Served, namespace: &str, paths: &Paths, settings: &ModelRouteSettings) -> Value {
    let timeout = settings.request_timeout.min(LONGEST_TIMEOUT).as_secs();
    let rule = HttpRouteRules {
        matches: Some(paths.matched.iter().map(|path| build_match(path, &served.model)).collect()),
        backend_refs: Some(vec![HttpRouteRulesBackendRefs {
            name: served.service.clone(),
            namespace: Some(namespace.to_owned()),
            port: Some(i32::from(served.port)),
            ..HttpRouteRulesBackendRefs::default()
        }]),
        timeouts: Some(HttpRouteRulesTimeouts {
            request: Some(format!("{timeout}s")),
            ..HttpRouteRulesTimeouts::default()
        }),
        ..HttpRouteRules::default()
    };
    let spec = HttpRouteSpec {
        parent_refs: Some(vec![HttpRouteParentRefs {
            name: settings.gateway_name.clone(),
            namespace: Some(settings.gateway_namespace.clone()),
            ..HttpRouteParentRefs::default()
        }]),
        rules: Some(vec![rule]),
        ..HttpRouteSpec::default()
    };
    json!(spec)
}

fn build_match(path: &str, model: &str) -> HttpRouteRulesMatches {
    HttpRouteRulesMatches {
        path: Some(HttpRouteRulesMatchesPath {
            r#type: Some(HttpRouteRulesMatchesPathType::PathPrefix),
            value: Some(path.to_owned()),
        }),
        headers: Some(vec![HttpRouteRulesMatchesHeaders {
            r#type: Some(HttpRouteRulesMatchesHeadersType::Exact),
            name: "model".to_owned(),
            value: model.to_owned(),
        }]),
        ..HttpRouteRulesMatches::default()
    }
}
