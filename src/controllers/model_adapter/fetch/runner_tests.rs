// SPDX-License-Identifier: Apache-2.0
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::FutureExt as _;

use crate::{
    api::model::{ModelAdapter, ModelAdapterSpec},
    controllers::model_adapter::{
        calls::{Ended, Models, Order, Origin, What},
        source::Source,
    },
    engine::endpoint::{Dialect, Endpoint},
};
use kube_fenced_election::clock::SystemClock;
use kube_loops::runtime::reconciler::Key;

use super::runner::{CallEngines, Calls};

fn order(pod: &str, what: What) -> Order {
    let endpoint = Endpoint { host: pod.to_owned(), port: 8000, dialect: Dialect::Vllm, token: None };
    Order {
        key: Key::new("ns", "sql"),
        uid: "u".into(),
        generation: None,
        origin: Origin { pod: pod.into(), endpoint },
        ready_since: None,
        what,
    }
}

fn load() -> What {
    let source = Arc::new(Source::of(&ModelAdapter::new("sql", ModelAdapterSpec::default())));
    What::Load { source, reload: false }
}

/// Engines of the pods `a` and `b` that never answer. The first load that reaches one of them makes a pass order
/// the unload from the other, whose load is ordered as well and has not begun.
struct Engines<'a> {
    calls: &'a Calls,
    loads: AtomicUsize,
}

impl CallEngines for Engines<'_> {
    async fn models(&self, _: &Endpoint) -> Models {
        std::future::pending().await
    }

    async fn change(&self, order_made: &Order) -> Ended {
        if matches!(order_made.what, What::Load { .. }) && self.loads.fetch_add(1, Ordering::Relaxed) == 0 {
            let other = if *order_made.origin.pod == *"a" { "b" } else { "a" };
            self.calls.order(order(other, What::Unload));
        }
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_load_that_an_unload_replaces_before_it_begins_never_begins() {
    let calls = Calls::new(Arc::new(SystemClock));
    calls.order(order("a", load()));
    calls.order(order("b", load()));
    let engines = Engines { calls: &calls, loads: AtomicUsize::new(0) };
    let running = calls.run(&engines, |_| {}).now_or_never();
    assert!(running.is_none(), "it runs until it is dropped");
    assert_eq!(engines.loads.load(Ordering::Relaxed), 1);
}
