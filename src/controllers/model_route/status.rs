// SPDX-License-Identifier: Apache-2.0
//! What is said to people about a workload whose route is not what they may expect. Pure.

use k8s_openapi::api::core::v1::ObjectReference;

use crate::api::keys::{DEFAULT_ENGINE_PORT, model_route};
use kube_loops::{
    cluster::events::{EventDraft, Severity},
    k8s::{names::is_service_name, text},
    runtime::watches::Stored,
};

use super::{
    paths::{MAX_PATHS, Paths},
    sources::{Served, Source},
};

/// Reason of the event on a workload whose labels or annotations cannot be followed.
const INVALID_ROUTE_CONFIG: &str = "InvalidRouteConfig";
/// Refused paths that a message names.
const NAMED_PATHS: usize = 5;
/// Longest part of a message that repeats what the API server says, in bytes.
const REFUSAL_BYTES: usize = 512;
/// Longest part of a message that repeats what a user wrote, in bytes.
const QUOTED_BYTES: usize = 64;

/// What is wrong with a workload's metadata, one sentence each.
pub(super) fn advice(served: &Served, paths: &Paths) -> Vec<String> {
    let mut advice = Vec::new();
    if let Some(bad) = &served.bad_port {
        let bad = text::cut(&bad.to_string(), 2 * QUOTED_BYTES);
        advice.push(format!("{bad}; the route leads to port {DEFAULT_ENGINE_PORT}"));
    }
    if !paths.refused.is_empty() {
        let quoted = |path: &String| format!("{:?}", text::cut(path, QUOTED_BYTES));
        let named: Vec<String> = paths.refused.iter().take(NAMED_PATHS).map(quoted).collect();
        let more = paths.refused.len().saturating_sub(named.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        advice.push(format!(
            "annotation {} names paths that a route cannot match, or more than the {MAX_PATHS} that fit; left \
             out: {}{more}",
            model_route::CUSTOM_PATHS,
            named.join(", ")
        ));
    }
    if !is_service_name(&served.service) {
        advice.push(format!(
            "{:?} is no name of a Service, so the route leads nowhere; name the Service in annotation {}",
            text::cut(&served.service, QUOTED_BYTES),
            model_route::SERVICE_NAME
        ));
    }
    advice
}

/// What is wrong with a workload whose route the API server does not take as it is.
pub(super) fn refusal(message: &str) -> String {
    format!("the API server refuses the route: {}", text::cut(message, REFUSAL_BYTES))
}

/// The event with this advice, on the workload.
pub(super) fn event(source: &Source, advice: &[String]) -> EventDraft {
    let kind = source.kind.kind();
    let regarding = ObjectReference {
        api_version: Some(format!("{}/{}", kind.group, kind.version)),
        kind: Some(kind.kind.to_owned()),
        namespace: Some(source.facts.namespace().to_owned()),
        name: Some(source.facts.name().to_owned()),
        uid: source.served().map(|served| served.uid.clone()),
        resource_version: Some(source.facts.version().to_owned()),
        field_path: None,
    };
    EventDraft {
        severity: Severity::Warning,
        reason: INVALID_ROUTE_CONFIG.to_owned(),
        message: advice.join("; "),
        regarding,
    }
}
