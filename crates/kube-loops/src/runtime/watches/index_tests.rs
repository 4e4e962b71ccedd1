// SPDX-License-Identifier: Apache-2.0
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::json;

use crate::k8s::selector::Selector;

use super::{
    cache::{Cache, Item, Stored},
    deserialize_guard::Malformed,
    index::{ControllerRef, Index, Labelled, Owned},
};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Thing {
    namespace: &'static str,
    name: &'static str,
    version: String,
    labels: BTreeMap<String, String>,
    words: Vec<&'static str>,
}

impl Stored for Thing {
    fn namespace(&self) -> &str {
        self.namespace
    }

    fn name(&self) -> &str {
        self.name
    }

    fn version(&self) -> &str {
        &self.version
    }
}

impl Labelled for Thing {
    fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }
}

const APP: Index<Thing> = Index::label("app");
const TIER: Index<Thing> = Index::label("tier");
const WORDS: Index<Thing> =
    Index::new("words", |thing| thing.words.iter().map(|word| Cow::Borrowed(*word)).collect());
/// Of one name with a label, and yet another index.
const NAMES: Index<Thing> = Index::new("app", |thing| vec![Cow::Owned(thing.name.to_uppercase())]);

const NAMESPACES: [&str; 2] = ["a", "b"];
const VALUES: [&str; 3] = ["x", "y", "z"];

#[derive(Debug, Clone)]
enum Op {
    Begin,
    InitApply(Item<Thing>),
    InitDone,
    Apply(Item<Thing>),
    Delete(Item<Thing>),
    RelistBegin,
    RelistApply(Item<Thing>),
    RelistDone(u64),
    RelistFailed,
    Rewritten,
    Clear,
    AddTier,
}

fn item() -> impl Strategy<Value = Item<Thing>> {
    let value = || prop::option::of(prop::sample::select(&VALUES[..]));
    let words = prop::collection::vec(prop::sample::select(&VALUES[..]), 0..3);
    let place = (prop::sample::select(&NAMESPACES[..]), prop::sample::select(&["p", "q", "r", "s"][..]));
    (place, 0..60_u64, value(), value(), words, prop::bool::weighted(0.1)).prop_map(
        |((namespace, name), version, app, tier, words, bad)| {
            if bad {
                return Err(Box::new(Malformed {
                    api_version: Arc::from("v1"),
                    kind: Arc::from("Thing"),
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                    uid: String::new(),
                    version: version.to_string(),
                    error: "bad".to_owned(),
                }));
            }
            let label =
                |key: &str, value: Option<&str>| value.map(|value| (key.to_owned(), value.to_owned()));
            let labels = [label("app", app), label("tier", tier)].into_iter().flatten().collect();
            Ok(Thing { namespace, name, version: version.to_string(), labels, words })
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::Begin),
        6 => item().prop_map(Op::InitApply),
        2 => Just(Op::InitDone),
        12 => item().prop_map(Op::Apply),
        6 => item().prop_map(Op::Delete),
        2 => Just(Op::RelistBegin),
        6 => item().prop_map(Op::RelistApply),
        2 => (0..60_u64).prop_map(Op::RelistDone),
        1 => Just(Op::RelistFailed),
        1 => Just(Op::Rewritten),
        1 => Just(Op::Clear),
        1 => Just(Op::AddTier),
    ]
}

fn carry_out(contents: &mut Cache<Thing>, op: Op) {
    match op {
        Op::Begin => contents.begin(),
        Op::InitApply(item) => drop(contents.init_apply(item)),
        Op::InitDone => drop(contents.init_done()),
        Op::Apply(item) => drop(contents.apply(item)),
        Op::Delete(item) => drop(contents.delete(&item)),
        Op::RelistBegin => contents.relist_begin(),
        Op::RelistApply(item) => drop(contents.relist_apply(item)),
        Op::RelistDone(version) => drop(contents.relist_done(&version.to_string())),
        Op::RelistFailed => contents.relist_failed(),
        Op::Rewritten => contents.rewritten(),
        Op::Clear => drop(contents.clear()),
        Op::AddTier => contents.add_index(TIER),
    }
}

/// What an index finds is what a walk over all objects finds, in the same order.
fn check(contents: &Cache<Thing>, index: &Index<Thing>, key: &str) {
    let scan = |namespace: Option<&str>| -> Vec<Arc<Thing>> {
        let wanted = |thing: &&Arc<Thing>| {
            namespace.is_none_or(|namespace| thing.namespace == namespace) && index.finds(thing, key)
        };
        contents.iter().filter(wanted).cloned().collect()
    };
    assert_eq!(contents.find(index, None, key), scan(None), "{index:?} {key}");
    for namespace in NAMESPACES {
        assert_eq!(contents.find(index, Some(namespace), key), scan(Some(namespace)), "{index:?} {key}");
    }
}

proptest! {
    #[test]
    fn an_index_finds_what_a_walk_finds_after_any_lists_events_and_losses(
        ops in prop::collection::vec(op(), 0..60),
    ) {
        let mut contents = Cache::new();
        let selectors = [
            "app=x", "app in (x,z)", "app=x,tier=y", "tier in (y,z),app notin (x)", "app", "!app", "tier=z,app!=y", "",
        ];
        let selectors = selectors.map(|text| Selector::parse(text).unwrap());
        for index in [APP, WORDS, NAMES] {
            contents.add_index(index);
        }
        for op in ops {
            carry_out(&mut contents, op);
            for key in VALUES {
                check(&contents, &APP, key);
                check(&contents, &WORDS, key);
            }
            for key in ["P", "p", "S"] {
                check(&contents, &NAMES, key);
            }
            for (selector, namespace) in selectors.iter().zip(NAMESPACES.iter().cycle()) {
                let matching = contents.iter_in(namespace).filter(|thing| selector.matches(&thing.labels));
                let matching: Vec<_> = matching.cloned().collect();
                prop_assert_eq!(contents.select(namespace, selector), matching, "{}", selector);
            }
        }
        contents.add_index(TIER);
        VALUES.into_iter().for_each(|key| check(&contents, &TIER, key));
    }
}

#[test]
fn a_selector_is_answered_from_the_rarest_of_its_values() {
    let mut contents = Cache::new();
    contents.add_index(APP);
    contents.add_index(TIER);
    for (name, tier) in [("p", "y"), ("q", "x"), ("r", "x"), ("s", "x")] {
        let labels = [("app", "x"), ("tier", tier)].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let thing =
            Thing { namespace: "a", name, version: "1".to_owned(), labels: labels.into(), words: Vec::new() };
        contents.apply(Ok(thing));
    }
    let candidates = |text: &str| {
        let selector = Selector::parse(text).unwrap();
        let found = contents.indexes().candidates("a", &selector)?;
        Some(found.map(|it| it.name).collect::<Vec<_>>())
    };
    assert_eq!(candidates("app=x,tier=y"), Some(vec!["p"]));
    assert_eq!(candidates("tier=y,app=x,owner=me"), Some(vec!["p"]));
    assert_eq!(candidates("app=x"), Some(vec!["p", "q", "r", "s"]));
    assert_eq!(candidates("app=nobodys,tier=x"), Some(vec![]));
    assert_eq!(candidates("app!=x,owner=me"), None, "the whole namespace is looked at");
}

#[test]
fn controllers_of_kubernetes_types_are_known_by_uid() {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"namespace": "ns", "name": "p", "uid": "1", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "2"},
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "3", "controller": true},
        ]},
    }))
    .unwrap();
    let owner = ControllerRef { group: "apps", kind: "ReplicaSet", name: "r", uid: "3" };
    assert_eq!((pod.controller(), Owned::uid(&pod), pod.is_terminating()), (Some(owner), "1", false));
    let index = Index::<Pod>::controller();
    assert!(index.finds(&pod, "3") && !index.finds(&pod, "2"));
}
