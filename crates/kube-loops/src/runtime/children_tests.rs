// SPDX-License-Identifier: Apache-2.0
use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    cluster::{
        error::WriteError,
        writer::{Change as Patch, Deletion, Writer},
    },
    rollout::controller_ref::{adoption_patch, controller_reference},
    testkit::{
        scripted_api::{Answer, ScriptedApi},
        stored_api::StoredApi,
    },
};
use kube_fenced_election::clock::{SharedClock, SystemClock};

use super::{
    children::{Child, ChildRef, Children, Parent, parents_of},
    loops::Sources,
    metrics::RuntimeMetrics,
    reconciler::Key,
    watches::{Change, WatchSpec, Watches},
};

const MAPS: &str = "/api/v1/configmaps";
const US: Parent<'static> = Parent { namespace: "ns", uid: "us" };

struct World {
    api: StoredApi,
    children: Children<ConfigMap>,
    writer: Writer,
}

impl World {
    async fn new() -> Self {
        let api = StoredApi::default();
        api.watched.serve(MAPS);
        let clock: SharedClock = Arc::new(SystemClock);
        let metrics = RuntimeMetrics::register(&Registry::new()).unwrap();
        let watches = Watches::new(api.watched.client(), clock, metrics, true);
        let children = Sources::new(&watches).owns(WatchSpec::<ConfigMap>::all(), "", "Parent");
        children.store().synced(Duration::from_secs(10)).await.unwrap();
        let writer = Writer::new(api.client());
        Self { api, children, writer }
    }

    /// The store shows what happens from now on only after [`Self::show`].
    async fn hide(&self) {
        self.api.watched.hold_watches(MAPS, true);
        settle().await;
    }

    async fn show(&self) {
        self.api.watched.hold_watches(MAPS, false);
        settle().await;
    }

    async fn create(&self, name: &str) -> ChildRef {
        let child: ConfigMap = serde_json::from_value(map(name, "us")).unwrap();
        let created = self.children.create(&self.writer, US, &child).await.unwrap();
        ChildRef::to(&*created)
    }

    async fn patch(&self, child: &ChildRef, text: &str) -> Result<ChildRef, WriteError> {
        let patch = Patch::Merge(json!({"data": {"text": text}}));
        let patched = self.children.patch(&self.writer, US, child, patch).await?;
        Ok(ChildRef::to(&*patched))
    }

    async fn delete(&self, child: &ChildRef) {
        self.children.delete(&self.writer, US, child, Deletion::background()).await.unwrap();
    }

    /// The children as `name: text`, with a mark on those that are being deleted.
    fn ours(&self) -> Vec<String> {
        let text = |map: &ConfigMap| {
            let data = map.data.as_ref().and_then(|data| data.get("text")).cloned();
            format!("{}: {}", map.metadata.name.as_ref().unwrap(), data.unwrap_or_default())
        };
        let children = self.children.of(US).into_iter().map(|child| match child {
            Child::Ours(map) => text(&map),
            Child::Terminating(map) => format!("{} (going)", text(&map)),
            other => panic!("{other:?}"),
        });
        children.collect()
    }

    fn stored(&self, name: &str) -> Value {
        self.api.get(MAPS, name).unwrap_or_default()
    }
}

fn map(name: &str, owner: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "ns", "name": name, "ownerReferences": [
        {"apiVersion": "v1", "kind": "Parent", "name": "p", "uid": owner, "controller": true},
    ]}})
}

fn with_uid(mut map: Value, uid: &str) -> Value {
    map["metadata"]["uid"] = json!(uid);
    map
}

async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_is_foreign_whatever_its_name_and_is_not_touched() {
    let world = World::new().await;
    world.api.put(MAPS, map("a", "somebody else"));
    world.api.put(MAPS, json!({"metadata": {"namespace": "ns", "name": "b"}}));
    world.api.put(MAPS, map("c", ""));
    settle().await;
    for name in ["a", "c"] {
        assert!(matches!(world.children.named(US, name), Child::Foreign(_)), "{name}");
    }
    assert!(matches!(world.children.named(US, "b"), Child::Orphan(_)));
    assert!(matches!(world.children.named(Parent { uid: "", ..US }, "c"), Child::Foreign(_)));
    assert_eq!((world.children.named(US, "d"), world.ours()), (Child::Absent, Vec::new()));
    let before = world.stored("a");
    let child: ConfigMap = serde_json::from_value(map("a", "us")).unwrap();
    let created = world.children.create(&world.writer, US, &child).await;
    assert!(matches!(created, Err(WriteError::AlreadyExists { .. })), "{created:?}");
    assert!(world.children.caught_up(US), "nothing will appear");
    assert!(matches!(world.children.named(US, "a"), Child::Foreign(_)));
    assert_eq!((world.stored("a"), world.ours()), (before, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_controls_is_ours_once_it_is_adopted() {
    let world = World::new().await;
    world.api.put(MAPS, json!({"metadata": {"namespace": "ns", "name": "b", "uid": "u"}}));
    settle().await;
    let Child::Orphan(map) = world.children.named(US, "b") else {
        panic!("{:?}", world.children.named(US, "b"))
    };
    let owner = controller_reference("v1", "Parent", "p", US.uid);
    let patch = Patch::Merge(adoption_patch(&map.metadata, &owner));
    world.children.patch(&world.writer, US, &ChildRef::to(&*map), patch).await.unwrap();
    assert!(matches!(world.children.named(US, "b"), Child::Ours(_)), "before the store shows it");
    settle().await;
    assert!(matches!(world.children.named(US, "b"), Child::Ours(_)));
    // One that is on its way out is not.
    let going = json!({"namespace": "ns", "name": "c", "deletionTimestamp": "2026-01-01T00:00:00Z"});
    world.api.put(MAPS, json!({ "metadata": going }));
    settle().await;
    assert!(matches!(world.children.named(US, "c"), Child::Foreign(_)));
}

#[tokio::test(start_paused = true)]
async fn what_was_written_counts_before_the_store_shows_it() {
    let world = World::new().await;
    world.create("a").await;
    settle().await;
    assert!(world.children.caught_up(US));
    world.hide().await;
    let b = world.create("b").await;
    assert_eq!(world.ours(), ["a: ", "b: "]);
    assert!(!world.children.caught_up(US));
    assert!(world.children.caught_up(Parent { uid: "other", ..US }));
    // Upon its own write another follows at once.
    let b = world.patch(&b, "one").await.unwrap();
    world.patch(&b, "two").await.unwrap();
    let Child::Ours(a) = world.children.named(US, "a") else { panic!("no child of ours") };
    world.delete(&ChildRef::to(&*a)).await;
    assert_eq!(world.ours(), ["a:  (going)", "b: two"]);
    assert!(world.children.store().get("ns", "b").is_none(), "the store shows nothing of it yet");
    world.show().await;
    assert_eq!(world.ours(), ["b: two"]);
    assert!(world.children.caught_up(US));
}

#[tokio::test(start_paused = true)]
async fn a_namesake_survives_what_was_decided_about_its_predecessor() {
    let world = World::new().await;
    let first = world.create("a").await;
    settle().await;
    world.hide().await;
    world.api.remove(MAPS, "a");
    let namesake = world.api.put(MAPS, with_uid(map("a", "us"), "later"));
    assert!(matches!(world.patch(&first, "late").await, Err(WriteError::Conflict { .. })));
    world.delete(&first).await;
    assert_eq!(world.stored("a"), namesake);
    world.show().await;
    assert_eq!(world.ours(), ["a: "]);
    assert!(world.children.caught_up(US), "the predecessor is gone, and it was all that was expected to go");
}

#[tokio::test(start_paused = true)]
async fn a_patch_is_refused_once_somebody_has_changed_the_child() {
    let world = World::new().await;
    let seen = world.create("a").await;
    world.api.change(MAPS, "a", &json!({"data": {"text": "successor"}}));
    assert!(matches!(world.patch(&seen, "late").await, Err(WriteError::Conflict { .. })));
    settle().await;
    assert_eq!(world.ours(), ["a: successor"]);
    assert!(world.children.caught_up(US));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_came_and_went_unseen_is_gone() {
    let world = World::new().await;
    world.hide().await;
    world.create("a").await;
    world.api.remove(MAPS, "a");
    assert_eq!(world.ours(), ["a: "], "nobody has heard of its end");
    world.show().await;
    assert_eq!((world.children.named(US, "a"), world.ours()), (Child::Absent, Vec::new()));
    assert!(world.children.caught_up(US));
    let again = world.create("a").await;
    settle().await;
    assert_eq!((world.ours(), again.name), (vec!["a: ".to_owned()], "a".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_create_that_was_not_answered_may_have_worked() {
    let mut world = World::new().await;
    world.writer = Writer::new(ScriptedApi::new(|_| Answer::server_error()).client());
    let child: ConfigMap = serde_json::from_value(map("a", "us")).unwrap();
    let created = world.children.create(&world.writer, US, &child).await;
    assert!(matches!(created, Err(WriteError::Other { .. })), "{created:?}");
    assert!(!world.children.caught_up(US));
    assert_eq!(world.children.named(US, "a"), Child::Absent);
    // It had.
    world.api.put(MAPS, map("a", "us"));
    settle().await;
    assert!(world.children.caught_up(US));
    assert_eq!(world.ours(), ["a: "]);
}

#[test]
fn a_change_leads_to_the_controllers_before_and_after_it() {
    let map =
        |value: Value| -> Option<Arc<ConfigMap>> { Some(Arc::new(serde_json::from_value(value).unwrap())) };
    let of = |name: &str| {
        let mut owned = self::map("x", "u");
        owned["metadata"]["ownerReferences"][0]["name"] = json!(name);
        map(owned)
    };
    let parents = |old, new| {
        parents_of(&Change { old, new }, "", "Parent").into_iter().map(|key| key.name).collect::<Vec<_>>()
    };
    assert_eq!(parents(None, of("a")), ["a"]);
    assert_eq!(parents(of("a"), None), ["a"]);
    assert_eq!(parents(of("a"), of("a")), ["a"]);
    assert_eq!(parents(of("a"), of("b")), ["a", "b"]);
    assert!(parents(map(json!({"metadata": {"name": "x"}})), None).is_empty());
    assert_eq!(parents_of(&Change { old: None, new: of("a") }, "", "Parent"), [Key::new("ns", "a")]);
    assert_eq!(parents_of(&Change { old: None, new: of("a") }, "other", "Parent"), []);
    assert_eq!(parents_of(&Change { old: None, new: of("a") }, "", "Other"), []);
}
