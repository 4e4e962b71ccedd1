// SPDX-License-Identifier: Apache-2.0
//! From the stores to the snapshots of passes. Everything is read from memory, but for the served definition where a
//! template seems to be a new one.

use std::sync::Arc;

use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::Service},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, ResourceExt};
use kube_loops::cluster::error::{ObjectRef, ReadError};
use kube_loops::runtime::{
    children::{Child, Children, Parent},
    controller::Kind,
    loops::Sources,
    own_objects::OwnObjects,
    watches::{Owned, Store, WatchSpec},
};

use serde_json::{Value, json};

use crate::api::{
    keys::ORCHESTRATION_GROUP,
    orchestration::{RoleSet, StormService, VERSION},
};

use super::{
    super::passes::Passes,
    KIND,
    revisions::revisions_of,
    served,
    snapshot::{Record, Set, Snapshot},
};

/// How the kind is served.
pub(in crate::controllers::storm_service) const STORM_SERVICE: Kind =
    Kind { group: ORCHESTRATION_GROUP, version: VERSION, kind: KIND, plural: "stormservices" };

/// The stores of the loop.
pub(crate) struct Stores {
    services: Store<StormService>,
    sets: Children<RoleSet>,
    revisions: Children<ControllerRevision>,
    headless: Children<Service>,
}

impl Stores {
    /// Opens the stores, and says which keys their changes queue.
    pub(super) fn open(sources: &mut Sources<'_>) -> Self {
        let worth_a_pass = |old: &StormService, new: &StormService| {
            let parts = |it: &StormService| {
                let meta = &it.metadata;
                (
                    meta.generation,
                    meta.deletion_timestamp.clone(),
                    meta.annotations.clone(),
                    meta.labels.clone(),
                    meta.finalizers.clone(),
                )
            };
            parts(old) != parts(new)
        };
        Self {
            services: sources.primary_when(WatchSpec::<StormService>::all(), worth_a_pass),
            sets: sources.owns(WatchSpec::<RoleSet>::all(), ORCHESTRATION_GROUP, KIND),
            revisions: sources.owns(WatchSpec::<ControllerRevision>::all(), ORCHESTRATION_GROUP, KIND),
            headless: sources.owns(WatchSpec::<Service>::all(), ORCHESTRATION_GROUP, KIND),
        }
    }
}

/// What passes read.
pub(super) struct Reads {
    pub(super) own: OwnObjects<StormService>,
    pub(super) sets: Children<RoleSet>,
    pub(super) revisions: Children<ControllerRevision>,
    pub(super) headless: Children<Service>,
    passes: Arc<Passes>,
    client: Client,
}

impl Reads {
    /// Reads for a term.
    pub(super) fn new(stores: Stores, passes: Arc<Passes>, client: Client) -> Self {
        let Stores { services, sets, revisions, headless } = stores;
        Self { own: OwnObjects::new(services), sets, revisions, headless, passes, client }
    }

    /// What a pass looks at.
    pub(super) async fn observe(
        &self,
        service: &Arc<StormService>,
        draw: u64,
    ) -> Result<Snapshot, ReadError> {
        let mut seen = self.stored(service, draw);
        let lives = seen.service.metadata.deletion_timestamp.is_none();
        if lives && !seen.history.is_empty() && revisions_of(&seen).is_err() {
            let schema = self.template_schema().await?;
            for record in seen.history.iter_mut().filter(|_| !schema.is_null()) {
                served::prune(&mut record.template, &schema);
            }
        }
        Ok(seen)
    }

    /// The schema of templates as it is served; null: there is none, or we may not know.
    async fn template_schema(&self) -> Result<Value, ReadError> {
        let name = format!("{}.{ORCHESTRATION_GROUP}", STORM_SERVICE.plural);
        match Api::<CustomResourceDefinition>::all(self.client.clone()).get(&name).await {
            Ok(definition) => Ok(served::template_schema(&json!(definition), VERSION)),
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(Value::Null),
            Err(error) => {
                let kind = "CustomResourceDefinition".to_owned();
                Err(ReadError::new(ObjectRef { kind, namespace: String::new(), name }, &error))
            }
        }
    }

    fn stored(&self, service: &Arc<StormService>, draw: u64) -> Snapshot {
        let parent = Parent::of(&**service);
        let passed = |set: &RoleSet| {
            let generation = set.metadata.generation.unwrap_or_default();
            self.passes.of(Owned::uid(set)).is_some_and(|passed| passed >= generation)
        };
        let sets = self.sets.of(parent).into_iter().filter_map(|child| Set::of(child, passed)).collect();
        let records = self.revisions.of(parent).into_iter();
        let live = records.filter_map(|child| {
            let Child::Ours(revision) = child else { return None };
            Some(Record::of(revision))
        });
        Snapshot {
            sets,
            history: live.collect(),
            headless: self.headless.named(parent, &service.name_any()),
            caught_up: self.sets.caught_up(parent) && self.revisions.caught_up(parent),
            draw,
            service: Arc::clone(service),
        }
    }
}
