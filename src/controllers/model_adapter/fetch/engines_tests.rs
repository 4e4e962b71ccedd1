// SPDX-License-Identifier: Apache-2.0
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::FutureExt as _;

use crate::{
    api::model::{ModelAdapter, ModelAdapterSpec},
    controllers::model_adapter::{
        calls::{Answer, Call, Order, Origin, What},
        load_tracker::{EngineCalls, LoadTracker},
        source::Source,
    },
    engine::endpoint::{Dialect, Endpoint},
};
use kube_fenced_election::clock::SystemClock;
use kube_loops::runtime::{
    reconciler::Key,
    requests::runner::{Requests, SendRequest},
};

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
    calls: &'a EngineCalls,
    loads: AtomicUsize,
}

impl SendRequest<LoadTracker> for Engines<'_> {
    async fn send(&self, call: &Call) -> Answer {
        let Call::Change(sent) = call else { panic!("nobody looks at a list") };
        if matches!(sent.what, What::Load { .. }) && self.loads.fetch_add(1, Ordering::Relaxed) == 0 {
            let other = if *sent.origin.pod == *"a" { "b" } else { "a" };
            self.calls.with(|tracker, now| tracker.order(order(other, What::Unload), now.instant));
        }
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_load_that_an_unload_replaces_before_it_begins_never_begins() {
    let calls = Requests::new(LoadTracker::default(), Arc::new(SystemClock));
    for pod in ["a", "b"] {
        calls.with(|tracker, now| tracker.order(order(pod, load()), now.instant));
    }
    let engines = Engines { calls: &calls, loads: AtomicUsize::new(0) };
    let running = calls.run(&engines, |_| {}).now_or_never();
    assert!(running.is_none(), "it runs until it is dropped");
    assert_eq!(engines.loads.load(Ordering::Relaxed), 1);
}
