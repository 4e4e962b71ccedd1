// SPDX-License-Identifier: Apache-2.0
//! What a pass does. Pure.
//!
//! A route carries our marker, or it is somebody else's. Ours is kept as we want it, and goes with the last
//! workload of its model. Somebody else's is adopted when it is what we would make, left alone when it is not,
//! and deleted only when its last workload is seen to go and it has the shape that AIBrix generates.
//!
//! Where only some namespaces are watched, a route may belong to another installation, which watches others: see
//! [`RouteFacts::is_anothers`].
//!
//! What cannot be seen is not gone: a kind of workloads that is not served at the moment takes no route with it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::api::keys::{MANAGED_BY_LABEL, model_route};
use kube_loops::{cluster::events::EventDraft, runtime::watches::Stored};

use super::{
    ModelRouteSettings,
    objects::{Wanted, build_grant, foreign_entries, grant_patch},
    owned_fields::{merge_owned, patch_between},
    routes::{GrantFacts, RouteFacts},
    snapshot::{GrantSnapshot, RouteSnapshot},
    sources::Source,
    status,
};

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// The whole HTTPRoute.
    CreateRoute(Value),
    /// A merge patch, for this version only.
    PatchRoute {
        /// Name.
        name: String,
        /// The version that the patch was computed for.
        version: String,
        /// The patch.
        patch: Value,
    },
    /// The object with this uid only.
    DeleteRoute {
        /// Name.
        name: String,
        /// Uid.
        uid: String,
    },
    /// An object in a namespace where the gateway is no more, with this uid only.
    DeleteLeft {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// Uid.
        uid: String,
    },
    /// The whole ReferenceGrant.
    CreateGrant(Value),
    /// A merge patch, for this version only.
    PatchGrant {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// The version that the patch was computed for.
        version: String,
        /// The patch.
        patch: Value,
    },
    /// The object with this uid only.
    DeleteGrant {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// Uid.
        uid: String,
    },
}

/// What a pass for a route does.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    /// Changes, in order; one that fails keeps the later ones from being tried.
    pub(super) steps: Vec<Step>,
    /// What to tell once all of them are made.
    pub(super) events: Vec<EventDraft>,
    /// The workload that the steps are for.
    pub(super) primary: Option<Source>,
    /// Whether the steps only undo what somebody else did to a route that we had made like this.
    pub(super) repair: bool,
    /// How long to wait before anything is done; `None`: nothing waits.
    pub(super) wait: Option<Duration>,
    /// Why nothing is done though something is wanted.
    pub(super) left_alone: Option<&'static str>,
}

/// Why a route that somebody else made is left alone.
pub(super) const FOREIGN: &str = "a route of this name that is not ours exists already and is left alone";
/// Why a route stays though none of its workloads is seen.
pub(super) const OUT_OF_SIGHT: &str =
    "the route stays as it is: the kind of workload that it was made for is not served at the moment";
/// Why the model gets no route.
pub(super) const RESERVED: &str = "the name of the model's route is reserved, so it gets none";

/// Same inputs, same plan; on a route that is as wanted, no steps. What was made for a gateway in another namespace goes
/// once its successor is accepted, or with the last workload.
pub(super) fn plan_route(name: &str, seen: &RouteSnapshot, settings: &ModelRouteSettings) -> Plan {
    let mut plan = plan_current(name, seen, settings);
    let follows =
        |route: &RouteFacts| route.marker().is_some() && route.accepted && !route.is_anothers(settings);
    if seen.sources.is_empty() || seen.route.as_deref().is_some_and(follows) {
        let left = seen.left.iter().map(|left| Step::DeleteLeft {
            namespace: left.namespace.clone(),
            name: left.name.clone(),
            uid: left.uid.clone(),
        });
        plan.steps.extend(left);
    }
    plan
}

fn plan_current(name: &str, seen: &RouteSnapshot, settings: &ModelRouteSettings) -> Plan {
    if model_route::RESERVED_ROUTES.contains(&name) {
        let left_alone = (!seen.sources.is_empty()).then_some(RESERVED);
        return Plan { left_alone, ..Plan::default() };
    }
    if seen.route.as_ref().is_some_and(|route| route.is_anothers(settings)) {
        let left_alone = (!seen.sources.is_empty()).then_some(FOREIGN);
        return Plan { left_alone, ..Plan::default() };
    }
    if seen.route.as_ref().is_some_and(|route| route.content.leaving) {
        return Plan::default(); // its end is a trigger
    }
    let Some(primary) = primary(seen) else { return without_sources(seen, settings) };
    let Some(want) = Wanted::of(primary, settings) else { return Plan::default() };
    let Some(route) = &seen.route else {
        return Plan { steps: vec![Step::CreateRoute(want.object())], ..told(primary, &want) };
    };
    if let Some(marker) = route.marker() {
        if !seen.origin_in_sight && !leads_to(route, primary) {
            return Plan { left_alone: Some(OUT_OF_SIGHT), ..Plan::default() };
        }
        let moves = route.backend().is_some_and(|(namespace, _)| namespace != want.backend_namespace);
        let left = if moves { last_use(seen, settings) } else { None };
        return kept_as_wanted(left, route, marker, primary, &want);
    }
    if patch_for(route, &want, false).is_none() {
        let marks: Map<String, Value> =
            want.marks().into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect();
        let patch = json!({"metadata": {"annotations": marks}});
        return Plan { steps: vec![patched(route, patch)], ..told(primary, &want) };
    }
    Plan { left_alone: Some(FOREIGN), ..Plan::default() }
}

/// The workload that the route leads to: the one that it leads to already, else the oldest.
fn primary(seen: &RouteSnapshot) -> Option<&Source> {
    let led_to = |source: &&Source| seen.route.as_ref().is_some_and(|route| leads_to(route, source));
    let oldest_of = |one: &&Source, other: &&Source| one.age().cmp(&other.age());
    let stays = seen.sources.iter().filter(led_to).min_by(oldest_of);
    stays.or_else(|| seen.sources.iter().min_by(oldest_of))
}

fn leads_to(route: &RouteFacts, source: &Source) -> bool {
    source.backend().is_some() && route.backend() == source.backend()
}

/// Nobody that we see serves the model.
fn without_sources(seen: &RouteSnapshot, settings: &ModelRouteSettings) -> Plan {
    let Some(route) = &seen.route else { return Plan::default() };
    if route.marker().is_some() && !seen.origin_in_sight {
        return Plan { left_alone: Some(OUT_OF_SIGHT), ..Plan::default() };
    }
    let ours = route.marker().is_some() || (seen.source_lost && route.is_generated_shape(settings));
    if !ours {
        return Plan::default();
    }
    let delete = Step::DeleteRoute { name: route.name().to_owned(), uid: route.content.uid.clone() };
    // The route last: while it is there, a restart knows that there is something to tidy up.
    let steps = last_use(seen, settings).into_iter().chain([delete]).collect();
    Plan { steps, ..Plan::default() }
}

/// Our own route. `left`: what is to be done where it leads no more.
fn kept_as_wanted(
    left: Option<Step>,
    route: &RouteFacts,
    marker: &str,
    primary: &Source,
    want: &Wanted,
) -> Plan {
    let Some(patch) = patch_for(route, want, true) else { return Plan::default() };
    let steps = left.into_iter().chain([patched(route, patch)]).collect();
    if marker == want.marker {
        return Plan { steps, repair: true, primary: Some(primary.clone()), ..Plan::default() };
    }
    Plan { steps, ..told(primary, want) }
}

fn last_use(seen: &RouteSnapshot, settings: &ModelRouteSettings) -> Option<Step> {
    take_back(seen.last_use_of.as_ref()?, settings)
}

/// Our routes need a grant no more. Whom else it admits, it goes on to admit.
fn take_back(grant: &GrantFacts, settings: &ModelRouteSettings) -> Option<Step> {
    let others = foreign_entries(grant, settings);
    if others.is_empty() {
        let (namespace, name) = (grant.namespace.clone(), grant.name.clone());
        return Some(Step::DeleteGrant { namespace, name, uid: grant.uid.clone() });
    }
    (others.len() < grant.from.len()).then(|| patched_grant(grant, json!({"spec": {"from": others}})))
}

fn patched_grant(grant: &GrantFacts, patch: Value) -> Step {
    let (namespace, name) = (grant.namespace.clone(), grant.name.clone());
    Step::PatchGrant { namespace, name, version: grant.version().to_owned(), patch }
}

fn patched(route: &RouteFacts, patch: Value) -> Step {
    Step::PatchRoute { name: route.name().to_owned(), version: route.version.clone(), patch }
}

fn told(primary: &Source, want: &Wanted) -> Plan {
    let advice = Some(&want.advice).filter(|advice| !advice.is_empty());
    let events = advice.map(|advice| status::event(primary, advice)).into_iter().collect();
    Plan { events, primary: Some(primary.clone()), ..Plan::default() }
}

/// What of the route is not as wanted; `None`: nothing. `marked`: the marker counts, too.
fn patch_for(route: &RouteFacts, want: &Wanted, marked: bool) -> Option<Value> {
    let content = &route.content;
    let mut metadata = Map::new();
    let by_console = content.managed_by.as_deref() == Some(model_route::CONSOLE);
    if by_console != want.console {
        let value = if want.console { json!(model_route::CONSOLE) } else { Value::Null };
        metadata.insert("labels".to_owned(), json!({MANAGED_BY_LABEL: value}));
    }
    let mut annotations = Map::new();
    let console = model_route::CONSOLE_ANNOTATIONS.into_iter().zip(want.console_annotations.clone());
    let marks = want.marks().into_iter().filter(|_| marked).map(|(key, value)| (key, Some(value)));
    for (key, wanted) in console.chain(marks) {
        if content.annotations.get(key) != wanted.as_ref() {
            annotations.insert(key.to_owned(), json!(wanted));
        }
    }
    if !annotations.is_empty() {
        metadata.insert("annotations".to_owned(), Value::Object(annotations));
    }
    let mut patch = Map::new();
    if !metadata.is_empty() {
        patch.insert("metadata".to_owned(), Value::Object(metadata));
    }
    let merged = merge_owned(&content.spec, &want.spec);
    if merged != content.spec {
        patch.insert("spec".to_owned(), patch_between(&content.spec, &merged));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// What a pass for the ReferenceGrant of a namespace does. One that exists admits our routes and whomever else it
/// admits, and goes only when the last workload of the namespace is seen to go.
pub(super) fn plan_grant(seen: &GrantSnapshot, settings: &ModelRouteSettings) -> Plan {
    let step = match &seen.grant {
        None => seen.needed.then(|| Step::CreateGrant(build_grant(&seen.namespace, settings))),
        Some(grant) if seen.needed => grant_patch(grant, settings).map(|patch| patched_grant(grant, patch)),
        Some(grant) if !seen.used && seen.source_lost => take_back(grant, settings),
        Some(_) => None,
    };
    let repair = matches!(step, Some(Step::PatchGrant { .. })) && seen.needed;
    Plan { steps: step.into_iter().collect(), repair, ..Plan::default() }
}
