// SPDX-License-Identifier: Apache-2.0
//! From the stores to the snapshots of passes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, ResourceExt,
    api::ListParams,
    core::{ApiResource, DynamicObject},
};
use kube_fenced_election::clock::Timestamp;
use kube_loops::runtime::{
    children::{Child, Children, Parent},
    controller::Kind,
    loops::Sources,
    own_objects::OwnObjects,
    reconciler::Key,
    watches::{Change, Index, Labelled, Owned, Store, Stored, WatchSpec},
};

use crate::{
    api::{
        keys::{
            ORCHESTRATION_GROUP, ROLE_NAME_LABEL,
            storm_service::{POD_SET_NAME, ROLE_SET_NAME},
        },
        orchestration::{PodSet, RoleSet},
    },
    k8s::pod_facts::{self, PodFacts, WirePod},
};

use super::{
    super::{apply::pod_resource, pod_groups::PodGroups, pod_set::POD_SET},
    KIND, adoption,
    member::Member,
    snapshot::{Live, Snapshot},
    state::State,
};

/// How long the watch of members may lag behind what was answered, before what it shows is believed all the same.
const UNSEEN: Duration = Duration::from_mins(5);

/// The stores of the loop.
pub(crate) struct Stores {
    role_sets: Store<RoleSet>,
    pods: Children<WirePod, PodFacts>,
    sets: Children<PodSet>,
    groups: PodGroups,
}

impl Stores {
    /// Opens the stores, and says which keys their changes queue.
    pub(super) fn open(sources: &mut Sources<'_>) -> Self {
        let role_sets = sources.primary(WatchSpec::<RoleSet>::all());
        let pods = sources.owns(pod_facts::watch(), ORCHESTRATION_GROUP, KIND).waiting_for_answered(UNSEEN);
        let by_label = WatchSpec::<PodSet>::all().indexed(Index::label(ROLE_SET_NAME));
        let sets = sources.owns(by_label, ORCHESTRATION_GROUP, KIND).waiting_for_answered(UNSEEN);
        sources.triggered(pods.store(), of_orphan);
        sources.triggered(sets.store(), of_orphan);
        let groups = PodGroups::open(sources, KIND, &role_sets, |it| it.spec.scheduling_strategy.as_ref());
        Self { role_sets, pods, sets, groups }
    }
}

/// The RoleSet that the label of an object names which nobody controls.
fn of_orphan<S: Owned + Labelled>(change: &Change<S>) -> Vec<Key> {
    let orphan = change.new.iter().filter(|it| it.controller().is_none());
    orphan
        .filter_map(|it| {
            Some(Key::new(Stored::namespace(&**it), Labelled::labels(&**it).get(ROLE_SET_NAME)?))
        })
        .collect()
}

/// What passes read.
pub(super) struct Reads {
    pub(super) own: OwnObjects<RoleSet>,
    pub(super) pods: Children<WirePod, PodFacts>,
    pub(super) sets: Children<PodSet>,
    pub(super) groups: PodGroups,
    client: Client,
}

impl Reads {
    /// Reads for a term.
    pub(super) fn new(stores: Stores, client: Client) -> Self {
        let Stores { role_sets, pods, sets, groups } = stores;
        Self { own: OwnObjects::new(role_sets), pods, sets, groups, client }
    }

    /// What a pass looks at.
    pub(super) async fn observe(&self, role_set: Arc<RoleSet>, state: &State, draw: u64) -> Snapshot {
        let parent = Parent::of(&*role_set);
        let (namespace, name) = (parent.namespace.to_owned(), role_set.name_any());
        let pods = self.pods.of(parent).into_iter().filter_map(Member::of_pod);
        let sets = self.sets.of(parent).into_iter().filter_map(Member::of_set);
        let members: Vec<Member> = pods.chain(sets).collect();
        let labelled = Index::label(ROLE_SET_NAME);
        let by_name = self.pods.store().by_index_in(&namespace, &labelled, &name);
        let uids: BTreeSet<&str> = members.iter().filter(|member| member.is_set()).map(Member::uid).collect();
        let of_set = |pod: &&Arc<PodFacts>| pod.controller().is_some_and(|owner| uids.contains(owner.uid));
        let grouped = by_name.iter().filter(of_set).cloned().collect();
        let orphan_sets = self.sets.store().by_index_in(&namespace, &Index::label(ROLE_SET_NAME), &name);
        let (orphan_pods, orphan_sets) = (orphans(by_name), orphans(orphan_sets));
        let lives = (orphan_pods.is_empty() && orphan_sets.is_empty()) || self.lives(&role_set).await;
        let taken = |name: &&String| {
            matches!(self.pods.named(parent, name), Child::Orphan(_) | Child::Foreign(_))
                || matches!(self.sets.named(parent, name), Child::Orphan(_) | Child::Foreign(_))
        };
        let mut seen = Snapshot {
            members,
            grouped,
            orphan_pods: if lives { orphan_pods } else { Vec::new() },
            orphan_sets: if lives { orphan_sets } else { Vec::new() },
            taken: state.taken.iter().filter(taken).cloned().collect(),
            refused: state.refused.clone(),
            caught_up: self.pods.caught_up(parent) && self.sets.caught_up(parent),
            live: None,
            groups: self.groups.seen(parent, &name),
            draw,
            role_set: Arc::clone(&role_set),
        };
        seen.live = self.live(&seen).await;
        seen
    }

    /// Whether the RoleSet lives: a store may show one that is gone by now.
    async fn lives(&self, role_set: &RoleSet) -> bool {
        if role_set.metadata.deletion_timestamp.is_some() {
            return false;
        }
        let api = Api::<RoleSet>::namespaced(self.client.clone(), Stored::namespace(role_set));
        let live = api.get(&role_set.name_any()).await;
        live.is_ok_and(|live| !live.is_terminating() && Owned::uid(&live) == Owned::uid(role_set))
    }

    /// What is needed to judge members that AIBrix made; `None`: there are none, or it could not be read.
    async fn live(&self, seen: &Snapshot) -> Option<Live> {
        let unjudged = adoption::unjudged(seen);
        if unjudged.is_empty() || seen.role_set.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let (namespace, name) = adoption::identity(seen);
        let role_set = Api::<RoleSet>::namespaced(self.client.clone(), &namespace).get(&name).await.ok()?;
        let mut live = Live { spec_written: spec_written(&role_set.metadata), ..Live::default() };
        let sets = unjudged.iter().filter(|member| member.is_set()).count();
        if sets < unjudged.len() {
            self.list(&pod_resource(), &namespace, &name, &mut live.members).await?;
        }
        if sets > 0 {
            self.list(&POD_SET.resource(), &namespace, &name, &mut live.members).await?;
        }
        Some(live)
    }

    /// Adds the objects of a kind that bear the name of the RoleSet.
    async fn list(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        found: &mut BTreeMap<String, serde_json::Value>,
    ) -> Option<()> {
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, resource);
        let listed =
            api.list(&ListParams::default().labels(&format!("{ROLE_SET_NAME}={name}"))).await.ok()?;
        for object in listed {
            let uid = object.metadata.uid.clone().unwrap_or_default();
            found.insert(uid, serde_json::to_value(object).ok()?);
        }
        Some(())
    }
}

/// Those of a role that nobody controls and that are not being deleted. Pods of `PodSets` are theirs to adopt.
fn orphans<S: Owned + Labelled>(objects: Vec<Arc<S>>) -> Vec<Arc<S>> {
    let is_member = |labels: &BTreeMap<String, String>| {
        labels.contains_key(ROLE_NAME_LABEL) && !labels.contains_key(POD_SET_NAME)
    };
    let nobodys = |it: &Arc<S>| it.controller().is_none() && !it.is_terminating();
    objects.into_iter().filter(|it| nobodys(it) && is_member(Labelled::labels(&**it))).collect()
}

/// When somebody wrote the spec last, as the field managers say.
pub(super) fn spec_written(meta: &ObjectMeta) -> Option<Timestamp> {
    let entries = meta.managed_fields.iter().flatten();
    let of_spec = entries.filter(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        entry.subresource.as_deref().unwrap_or_default().is_empty()
            && fields.is_some_and(|fields| fields.get("f:spec").is_some())
    });
    of_spec.filter_map(|entry| entry.time.as_ref().map(|time| time.0)).max()
}

/// How the kind is served.
pub(in crate::controllers::storm_service) const ROLE_SET: Kind = Kind {
    group: ORCHESTRATION_GROUP,
    version: crate::api::orchestration::VERSION,
    kind: KIND,
    plural: "rolesets",
};
