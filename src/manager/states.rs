// SPDX-License-Identifier: Apache-2.0
//! Where each controller's life stands, for `/debug/leases`, metrics and tests.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use kube_loops::metrics::families::IntGaugeVec;

use super::lifecycle::State;

/// Shared by all lives of a process; every change is written to `aibrix_controller_state`.
#[derive(Debug)]
pub(crate) struct States {
    states: Mutex<BTreeMap<&'static str, State>>,
    gauge: IntGaugeVec,
}

impl States {
    /// `gauge` has the labels `controller` and `state`.
    pub(crate) fn new(gauge: IntGaugeVec) -> Self {
        Self { states: Mutex::new(BTreeMap::new()), gauge }
    }

    /// Moves a controller to `state`; answers the state before, `None` the first time.
    pub(crate) fn set(&self, controller: &'static str, state: State) -> Option<State> {
        let before = self.states.lock().insert(controller, state);
        if before != Some(state) {
            for each in State::ALL {
                self.gauge.with_label_values(&[controller, each.name()]).set(i64::from(each == state));
            }
            tracing::debug!(controller, state = state.name(), "controller state changed");
        }
        before
    }

    /// The state of a controller; `None` when it was never set (not enabled).
    pub(crate) fn get(&self, controller: &str) -> Option<State> {
        self.states.lock().get(controller).copied()
    }
}
