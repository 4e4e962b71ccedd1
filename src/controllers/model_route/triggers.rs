// SPDX-License-Identifier: Apache-2.0
//! Which changes are worth a pass, and whose. Pure.
//!
//! A key is an HTTPRoute in the namespace of the gateway, which stands for its model (a model has one route, and
//! the name of the model alone gives the name of the route), or the ReferenceGrant of another namespace.

use crate::k8s::names::reference_grant_name_for;
use kube_loops::runtime::{
    reconciler::Key,
    watches::{Change, Stored},
};

use super::{
    ModelRouteSettings,
    routes::{GrantFacts, MadeRoute, RouteFacts},
    sources::SourceFacts,
};

/// What a change of a workload affects.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Affected {
    /// Keys to look at.
    pub(super) keys: Vec<Key>,
    /// Those of them that have lost a workload.
    pub(super) lost: Vec<Key>,
}

/// The route and the grant of a change of a workload, before and after. `gateway`: namespace of the routes.
pub(super) fn of_source(change: &Change<SourceFacts>, gateway: &str) -> Affected {
    let (old, new) = (change.old.as_deref(), change.new.as_deref());
    if old.map(|it| &it.served) == new.map(|it| &it.served) {
        return Affected::default(); // its status, say
    }
    let (before, after) = (keys_of(old, gateway), keys_of(new, gateway));
    let lost: Vec<Key> = before.iter().filter(|key| !after.contains(key)).cloned().collect();
    let kept = before.into_iter().filter(|key| after.contains(key));
    let keys = kept.chain(lost.iter().cloned()).collect::<Vec<_>>();
    let fresh: Vec<Key> = after.into_iter().filter(|key| !keys.contains(key)).collect();
    Affected { keys: keys.into_iter().chain(fresh).collect(), lost }
}

/// The keys of a workload: of its route, and of the grant of its namespace.
pub(super) fn keys_of(source: Option<&SourceFacts>, gateway: &str) -> Vec<Key> {
    let Some((source, route)) = source.and_then(|it| Some((it, it.route()?))) else { return Vec::new() };
    let route = Key::new(gateway, route);
    [Some(route), grant_key(source.namespace(), gateway)].into_iter().flatten().collect()
}

/// The key of the grant of a namespace; `None`: routes need none to lead there.
pub(super) fn grant_key(namespace: &str, gateway: &str) -> Option<Key> {
    (namespace != gateway).then(|| Key::new(namespace, reference_grant_name_for(namespace)))
}

/// A change of an HTTPRoute: itself, and the grant of the namespace that a route of ours leads to no longer.
pub(super) fn of_route(change: &Change<RouteFacts>, gateway: &str) -> Vec<Key> {
    let (old, new) = (change.old.as_deref(), change.new.as_deref());
    if old.map(|it| (&it.content, it.accepted)) == new.map(|it| (&it.content, it.accepted)) {
        return Vec::new(); // what the gateway says about it
    }
    let led_to = |route: Option<&RouteFacts>| {
        let route = route.filter(|route| route.marker().is_some())?;
        route.backend().map(|(namespace, _)| namespace.to_owned())
    };
    let (before, after) = (led_to(old), led_to(new));
    let left = before.filter(|before| after.as_ref() != Some(before));
    let grant = left.and_then(|namespace| grant_key(&namespace, gateway));
    [change.key()].into_iter().chain(grant).collect()
}

/// A change of an HTTPRoute anywhere: the route that follows one that we made for a gateway in another namespace.
pub(super) fn of_made_route(change: &Change<MadeRoute>, settings: &ModelRouteSettings) -> Vec<Key> {
    let left = change.new.as_deref().filter(|route| route.is_left(settings));
    left.map(|route| Key::new(&settings.gateway_namespace, &route.name)).into_iter().collect()
}

/// A change of a ReferenceGrant: that of our name counts, and whom it admits where.
pub(super) fn of_grant(change: &Change<GrantFacts>, gateway: &str) -> Vec<Key> {
    let content = |grant: &GrantFacts| (grant.uid.clone(), grant.from.clone(), grant.to.clone());
    let worth = change.old.as_deref().map(content) != change.new.as_deref().map(content);
    let ours = change.object().is_some_and(|grant| grant.has_our_name() && grant.namespace != gateway);
    if worth && ours { vec![change.key()] } else { Vec::new() }
}
