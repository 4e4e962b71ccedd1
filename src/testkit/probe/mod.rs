// SPDX-License-Identifier: Apache-2.0
//! A controller for tests of elections: it stands in for one of [`PLAYED`].
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

use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::Notify;

use kube_loops::runtime::{
    children::Children,
    controller::{Controller, ControllerSpec, LoopSpec, Rule},
    loops::{Loop, LoopController, LoopTerm, Sources},
    metrics::RuntimeMetrics,
    reconciler::Key,
    watches::{Store, WatchSpec, Watches},
};

use self::reconcile::{Count, MakeChildren};

/// Controllers that it stands in for, whether or not this build has them.
pub const PLAYED: [&str; 4] = [
    "model-claim-controller",
    "distributed-inference-controller",
    "kv-cache-controller",
    "stormservice-controller",
];

/// Label of a parent: the controller that makes its children.
const PARENT: &str = "probe/parent";
/// Label of a child: the controller that made it.
const MADE_BY: &str = "probe/made-by";
/// Label of a child: its parent.
const CHILD_OF: &str = "probe/child-of";

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

/// The controller that stands in for the one of this name.
pub fn controller(name: &'static str, deps: &ProbeDeps) -> Arc<dyn Controller> {
    const RULES: &[Rule] = &[Rule::new("", &["configmaps"], &["create", "patch"])];
    let spec = LoopSpec {
        label: name,
        event_source: name,
        workers: 1,
        period: None,
        deadline: Some(Duration::from_secs(10)),
        backoff_cap: Duration::from_secs(1),
        rules: RULES,
    };
    // One of seven for the life of a test process.
    let children: &'static str = Box::leak(format!("{name}-children").into_boxed_str());
    let counting = Box::leak(Box::new(spec));
    let making = Box::leak(Box::new(LoopSpec { label: children, deadline: None, ..spec }));
    let spec = Box::leak(Box::new(ControllerSpec { name, required_kinds: &[] }));
    let count = CountLoop { spec: counting, controller: name, deps: deps.clone() };
    let make = ChildrenLoop { spec: making, controller: name, namespace: deps.namespace.clone() };
    Arc::new(LoopController::new(spec, &deps.watches, &deps.metrics).with(count).with(make))
}

/// Counts up in one ConfigMap.
struct CountLoop {
    spec: &'static LoopSpec,
    controller: &'static str,
    deps: ProbeDeps,
}

impl Loop for CountLoop {
    type Stores = ();
    type Reconciler = Count;

    fn spec(&self) -> &'static LoopSpec {
        self.spec
    }

    fn open(&self, sources: &mut Sources<'_>) {
        let key = Key::new(&self.deps.namespace, format!("probe-{}", self.controller));
        sources.keyed(move || vec![key.clone()], |_| true);
    }

    fn start(&self, (): (), term: &mut LoopTerm) -> Count {
        let crash = Arc::new(Notify::new());
        let crashing = Arc::clone(&crash);
        term.run_beside("probe", async move {
            crashing.notified().await;
            #[expect(clippy::panic, reason = "what tests of panics ask for")]
            {
                panic!("the probe loop panics as it was told");
            }
        });
        Count::new(self.deps.identity.clone(), crash, term.client.clone())
    }
}

/// Makes children of parents.
struct ChildrenLoop {
    spec: &'static LoopSpec,
    controller: &'static str,
    namespace: String,
}

impl Loop for ChildrenLoop {
    /// Parents and children.
    type Stores = (Store<ConfigMap>, Children<ConfigMap>);
    type Reconciler = MakeChildren;

    fn spec(&self) -> &'static LoopSpec {
        self.spec
    }

    fn open(&self, sources: &mut Sources<'_>) -> Self::Stores {
        let maps = |label| {
            WatchSpec::<ConfigMap>::in_namespace(&self.namespace)
                .labels(format!("{label}={}", self.controller))
        };
        let parents = sources.primary(maps(PARENT));
        let children = sources.owns(maps(MADE_BY), "", "ConfigMap");
        (parents, children)
    }

    fn start(&self, (parents, children): Self::Stores, _: &mut LoopTerm) -> MakeChildren {
        MakeChildren { controller: self.controller, parents, children }
    }
}
