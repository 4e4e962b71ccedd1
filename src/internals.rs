// SPDX-License-Identifier: Apache-2.0
//! What tests of the built binary compare it with. Release builds lack it.

use std::{collections::BTreeSet, sync::Arc};

use kube_fenced_election::clock::SystemClock;
use kube_loops::{
    metrics::Metrics,
    runtime::{controller::Permission, metrics::RuntimeMetrics, watches::Watches},
    testkit::scripted::ScriptedApi,
};

use crate::controllers::{Deps, LoopSettings, by_name};

pub use crate::{
    api::crds,
    certs::{issue, x509},
    cli::{
        consumers::WebhookSettings,
        flags,
        invocation::{Command, interpret},
        settings::{Env, Settings},
    },
    controllers::NAMES,
    webhook::HOOKS,
};

/// What each controller of this build must be allowed to do, by name.
///
/// # Panics
/// The process has no resources left.
#[expect(clippy::expect_used, reason = "tests have no other way to go on")]
pub fn permissions() -> Vec<(&'static str, BTreeSet<Permission>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    // Stores are opened within the runtime, but it never runs: nothing is asked.
    let _within = runtime.enter();
    let (metrics, api) = (Metrics::new(), ScriptedApi::new());
    let of_loops = RuntimeMetrics::register(metrics.registry()).expect("a new registry");
    let watches = Watches::new(api.client(), Arc::new(SystemClock), of_loops.clone(), false);
    let deps = Deps::new(watches, of_loops, &metrics, "permissions", LoopSettings::default())
        .expect("a new registry");
    let built = NAMES.into_iter().filter_map(|name| by_name(name, &deps).expect("a new registry"));
    built.map(|it| (it.spec().name, it.permissions())).collect()
}
