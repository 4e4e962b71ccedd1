// SPDX-License-Identifier: Apache-2.0
//! From the stores to the snapshots of passes. Everything is read from memory.

use std::sync::Arc;

use kube::core::DynamicObject;

use crate::k8s::names::reference_grant_name_for;
use kube_loops::runtime::{
    loops::Sources,
    reconciler::Key,
    watches::{Store, Stored, WatchSpec},
};

use super::{
    HTTP_ROUTE, ModelRouteSettings, REFERENCE_GRANT,
    routes::{BY_BACKEND, BY_NAME, GrantFacts, MadeRoute, RouteFacts},
    snapshot::{GrantSnapshot, RouteSnapshot, Snapshot, Subject},
    sources::{BY_ROUTE, SERVING, SERVING_KEY, Source, SourceFacts, SourceKind},
    state::Losses,
    triggers::{self, grant_key, keys_of},
};

/// Everything that passes read.
#[derive(Debug, Clone)]
pub(super) struct Stores {
    /// Workloads by kind, in the order of [`SourceKind::ALL`]; metadata only.
    sources: Vec<(SourceKind, Store<SourceFacts>)>,
    /// The HTTPRoutes in the namespace of the gateway.
    routes: Store<RouteFacts>,
    /// The HTTPRoutes in all watched namespaces and in that of the gateway; metadata only.
    made: Store<MadeRoute>,
    /// Each ReferenceGrant.
    grants: Store<GrantFacts>,
    /// What watches have seen to go.
    pub(super) losses: Arc<Losses>,
    /// Namespace of the gateway.
    gateway: String,
    settings: ModelRouteSettings,
}

impl Stores {
    /// Opens the stores, and says which keys their changes queue.
    pub(super) fn open(sources: &mut Sources<'_>, settings: &ModelRouteSettings) -> Self {
        let (gateway, losses) = (settings.gateway_namespace.clone(), Arc::<Losses>::default());
        let all = |resource| WatchSpec::<DynamicObject>::all_of(resource).metadata_only();
        let of_routes = WatchSpec::<DynamicObject>::in_namespace_of(HTTP_ROUTE.resource(), &gateway)
            .keeping(RouteFacts::keep);
        let of_routes = of_routes.indexed(BY_BACKEND);
        let of_grants =
            WatchSpec::<DynamicObject>::all_of(REFERENCE_GRANT.resource()).keeping(GrantFacts::keep);
        let of_made = all(HTTP_ROUTE.resource()).also_in(&gateway);
        let of_made = of_made.keeping(MadeRoute::keep).indexed(BY_NAME);
        let owner = settings.clone();
        let made = sources.trigger(of_made, move |change| triggers::of_made_route(change, &owner));
        let (for_routes, for_grants) = (gateway.clone(), gateway.clone());
        let routes = sources.trigger(of_routes, move |change| triggers::of_route(change, &for_routes));
        let grants = sources.trigger(of_grants, move |change| triggers::of_grant(change, &for_grants));
        let workloads = SourceKind::ALL.map(|kind| {
            let spec = all(kind.kind().resource()).keeping(SourceFacts::keep);
            let spec = spec.indexed(BY_ROUTE).indexed(SERVING);
            let store = if kind.is_builtin() { sources.reads(spec) } else { sources.reads_if_served(spec) };
            let (gateway, losses, source) = (gateway.clone(), Arc::clone(&losses), store.clone());
            sources.triggered(&store, move |change| {
                let affected = triggers::of_source(change, &gateway);
                // Objects of a kind that is not served any more may still be there, out of sight.
                if source.is_served() {
                    affected.lost.into_iter().for_each(|key| losses.add(key));
                }
                affected.keys
            });
            let existing = routes.clone();
            sources.when_served(&store, move || ours(&existing, |route| route.origin() == Some(kind)));
            (kind, store)
        });
        let settings = settings.clone();
        let stores = Self { sources: workloads.into(), routes, made, grants, losses, gateway, settings };
        let (listed, existing) = (stores.clone(), stores.clone());
        sources.keyed(move || listed.keys(), move |key| existing.exists(key));
        stores
    }

    /// What a pass for the key looks at.
    pub(super) fn snapshot(&self, key: &Key) -> Snapshot {
        let loss = self.losses.of(key);
        let subject = if key.namespace == self.gateway {
            Subject::Route(self.route(&key.name, loss.is_some()))
        } else {
            Subject::Grant(self.grant(&key.namespace, loss.is_some()))
        };
        Snapshot { subject, loss }
    }

    /// What a pass for the route `name` looks at. `source_lost`: see the snapshot.
    fn route(&self, name: &str, source_lost: bool) -> RouteSnapshot {
        let sources = self.sources.iter().flat_map(|(kind, store)| {
            store.by_index(&BY_ROUTE, name).into_iter().map(|facts| Source { kind: *kind, facts })
        });
        let route = self.routes.get(&self.gateway, name);
        RouteSnapshot {
            sources: sources.collect(),
            origin_in_sight: route.as_ref().is_none_or(|route| self.in_sight(route.origin())),
            last_use_of: route.as_ref().and_then(|route| self.last_use_of(route)),
            source_lost,
            left: self.left(name).into_iter().filter(|route| self.in_sight(route.origin())).collect(),
            route,
        }
    }

    /// The routes of this name that this installation made for a gateway in another namespace.
    fn left(&self, name: &str) -> Vec<Arc<MadeRoute>> {
        let mut left = self.made.by_index(&BY_NAME, name);
        left.retain(|route| route.is_left(&self.settings));
        left
    }

    /// What a pass for the grant of a namespace looks at.
    fn grant(&self, namespace: &str, source_lost: bool) -> GrantSnapshot {
        GrantSnapshot {
            namespace: namespace.to_owned(),
            needed: self.serves_a_model(namespace),
            used: !self.ours_to(namespace).is_empty(),
            source_lost,
            grant: self.grants.get(namespace, &reference_grant_name_for(namespace)),
        }
    }

    /// All keys: of the workloads there are, and of the routes that carry our marker.
    fn keys(&self) -> Vec<Key> {
        let sources = self.sources.iter().flat_map(|(_, store)| store.by_index(&SERVING, SERVING_KEY));
        let of_sources = sources.flat_map(|source| keys_of(Some(&source), &self.gateway));
        let left = self.made.list_where(|route| route.is_left(&self.settings)).into_iter();
        let of_left = left.map(|route| Key::new(&self.gateway, &route.name));
        of_sources.chain(ours(&self.routes, |_| true)).chain(of_left).collect()
    }

    /// Whether anything stands behind the key.
    fn exists(&self, key: &Key) -> bool {
        if key.namespace == self.gateway {
            let serve = |store: &Store<SourceFacts>| !store.by_index(&BY_ROUTE, &key.name).is_empty();
            let is_left = || !self.left(&key.name).is_empty();
            return self.routes.contains(key)
                || is_left()
                || self.sources.iter().any(|(_, store)| serve(store));
        }
        self.grants.contains(key) || self.serves_a_model(&key.namespace)
    }

    fn in_sight(&self, origin: Option<SourceKind>) -> bool {
        let Some(origin) = origin else { return true };
        let store = self.sources.iter().find(|(kind, _)| *kind == origin).map(|(_, store)| store);
        store.is_none_or(|store| store.is_served() && store.has_synced())
    }

    fn serves_a_model(&self, namespace: &str) -> bool {
        let serve =
            |store: &Store<SourceFacts>| !store.by_index_in(namespace, &SERVING, SERVING_KEY).is_empty();
        self.sources.iter().any(|(_, store)| serve(store))
    }

    /// The grant that nothing but this route needs where it leads.
    fn last_use_of(&self, route: &RouteFacts) -> Option<Arc<GrantFacts>> {
        let (namespace, _) = route.backend()?;
        let key = grant_key(namespace, &self.gateway)?;
        let others = self.ours_to(namespace).iter().any(|it| it.name() != route.name());
        if others || self.serves_a_model(namespace) { None } else { self.grants.get_key(&key) }
    }

    /// Our routes that lead to a namespace.
    fn ours_to(&self, namespace: &str) -> Vec<Arc<RouteFacts>> {
        self.routes.by_index(&BY_BACKEND, namespace)
    }
}

/// Keys of the routes of ours that `pick` takes.
fn ours(routes: &Store<RouteFacts>, pick: impl Fn(&RouteFacts) -> bool) -> Vec<Key> {
    let ours = routes.list_where(|route| route.marker().is_some() && pick(route));
    ours.into_iter().map(|route| Key::new(route.namespace(), route.name())).collect()
}
