// SPDX-License-Identifier: Apache-2.0
//! From the stores to the snapshots of passes.

use std::sync::Arc;

use kube::{Api, Client, ResourceExt};
use kube_loops::runtime::{
    children::{Child, Children, Parent},
    loops::Sources,
    own_objects::OwnObjects,
    reconciler::Key,
    watches::{Change, Index, Owned, Store, Stored, WatchSpec},
};

use crate::{
    api::{
        keys::{ORCHESTRATION_GROUP, storm_service::POD_SET_NAME},
        orchestration::PodSet,
    },
    k8s::pod_facts::{self, PodFacts, WirePod},
};

use super::{
    super::{names, pod_groups::PodGroups},
    KIND,
    snapshot::{Member, Snapshot},
};

/// The stores of the loop.
pub(crate) struct Stores {
    pub(super) pod_sets: Store<PodSet>,
    pub(super) pods: Children<WirePod, PodFacts>,
    pub(super) groups: PodGroups,
}

impl Stores {
    /// Opens the stores, and says which keys their changes queue.
    pub(super) fn open(sources: &mut Sources<'_>) -> Self {
        let pod_sets = sources.primary(WatchSpec::<PodSet>::all());
        let pods = sources.owns(pod_facts::watch(), ORCHESTRATION_GROUP, KIND);
        sources.triggered(pods.store(), of_orphan);
        let groups = PodGroups::open(sources, KIND, &pod_sets, |it| it.spec.scheduling_strategy.as_ref());
        Self { pod_sets, pods, groups }
    }
}

/// The `PodSet` that the label of a pod names which nobody controls.
fn of_orphan(change: &Change<PodFacts>) -> Vec<Key> {
    let orphan = change.new.iter().filter(|pod| pod.controller().is_none());
    let name = orphan.filter_map(|pod| Some(Key::new(pod.namespace(), pod.labels.get(POD_SET_NAME)?)));
    name.collect()
}

/// What passes read.
pub(super) struct Reads {
    pub(super) own: OwnObjects<PodSet>,
    pub(super) pods: Children<WirePod, PodFacts>,
    pub(super) groups: PodGroups,
    client: Client,
}

impl Reads {
    /// Reads for a term.
    pub(super) fn new(stores: Stores, client: Client) -> Self {
        let Stores { pod_sets, pods, groups } = stores;
        Self { own: OwnObjects::new(pod_sets), pods, groups, client }
    }

    /// What a pass looks at.
    pub(super) async fn observe(&self, pod_set: Arc<PodSet>) -> Snapshot {
        let parent = Parent::of(&*pod_set);
        let name = pod_set.name_any();
        let members = self.pods.of(parent).into_iter().filter_map(Member::of).collect();
        let adoptable = self.adoptable(&pod_set).await;
        let size = usize::try_from(pod_set.spec.pod_group_size).unwrap_or(0);
        let wanted = (0..size).map(|index| names::of_group(&name, index));
        let is_taken =
            |name: &String| matches!(self.pods.named(parent, name), Child::Orphan(_) | Child::Foreign(_));
        Snapshot {
            members,
            taken: wanted.filter(is_taken).collect(),
            caught_up: self.pods.caught_up(parent),
            groups: self.groups.seen(parent, &name),
            adoptable,
            pod_set,
        }
    }

    /// Nobody's pods that name the `PodSet`, if it lives: a store may show one that is gone by now.
    async fn adoptable(&self, pod_set: &PodSet) -> Vec<Arc<PodFacts>> {
        let namespace = Stored::namespace(pod_set).to_owned();
        let (name, uid) = (pod_set.name_any(), Owned::uid(pod_set));
        let named = self.pods.store().by_index_in(&namespace, &Index::label(POD_SET_NAME), &name);
        let orphans: Vec<Arc<PodFacts>> =
            named.into_iter().filter(|pod| pod.controller().is_none() && !pod.is_terminating()).collect();
        if orphans.is_empty() || pod_set.metadata.deletion_timestamp.is_some() {
            return Vec::new();
        }
        let live = Api::<PodSet>::namespaced(self.client.clone(), &namespace).get(&name).await;
        let lives = |live: &PodSet| !live.is_terminating() && Owned::uid(live) == uid;
        if live.as_ref().is_ok_and(lives) { orphans } else { Vec::new() }
    }
}
