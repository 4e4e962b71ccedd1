// SPDX-License-Identifier: Apache-2.0
//! A controller for tests of elections: it stands in for one that this build lacks.
//!
//! While it leads it does, through the same frame, fence and writer as any other controller, what an audit log
//! can judge:
//! - it counts up in the ConfigMap `probe-<controller>` of the election namespace, five times a second;
//! - of each ConfigMap there with the label `probe/parent: <controller>` it makes as many children as
//!   `data.children` says, under random names, so that a second leader with old data would make more;
//! - a parent with `data.block: "true"` blocks its pass for ever;
//! - `data.panic-on: <pod name>` in the counter makes the controller of that process panic.

mod reconcile;

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::Notify;

use kube_loops::runtime::{
    controller::{Card, Controller, LoopSpec, Rule, RunError, Term},
    loops::{Loop, run_loops},
    metrics::RuntimeMetrics,
    reconciler::Key,
    watches::{Read, Store, WatchSpec, Watches},
};

use self::reconcile::{Children, Count};

/// Label of a parent: the controller that makes its children.
const PARENT: &str = "probe/parent";
/// Label of a child: the controller that made it.
const MADE_BY: &str = "probe/made-by";
/// Label of a child: its parent.
const CHILD_OF: &str = "probe/child-of";

/// Stands in for a controller.
#[derive(Debug, Clone)]
pub struct ProbeController {
    card: &'static Card,
    deps: ProbeDeps,
}

/// What a probe loop needs of its process.
#[derive(Clone)]
pub struct ProbeDeps {
    /// Watches of the process.
    pub watches: Watches,
    /// Families of the frame.
    pub metrics: RuntimeMetrics,
    /// Namespace of its objects: that of the elections.
    pub namespace: String,
    /// Identity of the process.
    pub identity: String,
}

impl std::fmt::Debug for ProbeDeps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProbeDeps").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl ProbeController {
    /// Stands in for the controller of this name.
    pub fn new(name: &'static str, deps: ProbeDeps) -> Self {
        let rules: &'static [Rule] = &[Rule {
            group: "",
            resources: &["configmaps"],
            verbs: &["get", "list", "watch", "create", "patch"],
        }];
        let card = |label| LoopSpec {
            label,
            event_source: name,
            workers: 1,
            period: None,
            deadline: Some(Duration::from_secs(10)),
            backoff_cap: Duration::from_secs(1),
            rules,
        };
        // One of seven for the life of a test process.
        let children: &'static str = Box::leak(format!("{name}-children").into_boxed_str());
        let loops = Box::leak(Box::new([card(name), LoopSpec { deadline: None, ..card(children) }]));
        let card = Box::leak(Box::new(Card { name, required_kinds: &[], loops }));
        Self { card, deps }
    }

    fn parents(&self) -> Store<ConfigMap> {
        let selector = format!("{PARENT}={}", self.card.name);
        self.deps.watches.store(WatchSpec::in_namespace(&self.deps.namespace).labels(selector))
    }

    fn children(&self) -> Store<ConfigMap> {
        let selector = format!("{MADE_BY}={}", self.card.name);
        self.deps.watches.store(WatchSpec::in_namespace(&self.deps.namespace).labels(selector))
    }

    async fn work(self, term: Term) -> Result<(), RunError> {
        let [counting, making] = self.card.loops else {
            return Err(RunError::Ended { part: "probe" });
        };
        let name = self.card.name;
        let crash = Arc::new(Notify::new());
        let crashing = Arc::clone(&crash);
        let counter = Key::new(&self.deps.namespace, format!("probe-{name}"));
        let key = counter.clone();
        let count = Loop::new(name, counting, &term, &self.deps.metrics)
            .keyed(move || vec![key.clone()], |_| true)
            .alongside("probe", async move {
                crashing.notified().await;
                #[expect(clippy::panic, reason = "what tests of panics ask for")]
                {
                    panic!("the probe loop panics as it was told");
                }
            })
            .build(Count::new(&term, self.deps.identity.clone(), crash));
        let (parents, children) = (self.parents(), self.children());
        let make = Loop::new(name, making, &term, &self.deps.metrics)
            .primary(&parents)
            .trigger(&children, |change| {
                let label = |map: &Arc<ConfigMap>| map.metadata.labels.as_ref()?.get(CHILD_OF).cloned();
                let namespace = |map: &Arc<ConfigMap>| map.metadata.namespace.clone().unwrap_or_default();
                let parent = change.object().and_then(|map| Some(Key::new(namespace(map), label(map)?)));
                parent.into_iter().collect()
            })
            .build(Children::new(&term, name, parents, children));
        run_loops(&term, vec![count, make]).await
    }
}

impl Controller for ProbeController {
    fn card(&self) -> &'static Card {
        self.card
    }

    fn reads(&self) -> Vec<Read> {
        vec![Read::required(&self.parents()), Read::required(&self.children())]
    }

    fn run(&self, term: Term) -> BoxFuture<'static, Result<(), RunError>> {
        self.clone().work(term).boxed()
    }
}
