// SPDX-License-Identifier: Apache-2.0
//! Versions of our own last writes to targets, until the stores show them. Pure.

use std::collections::HashMap;

use crate::controllers::pod_autoscaler::targets::ScaleTarget;
use kube_loops::runtime::watches::version;

/// Writes of one term that a store may not show yet. Holds one entry per target that was scaled and not
/// read since.
#[derive(Debug, Default)]
pub(in crate::controllers::pod_autoscaler) struct OwnWrites(HashMap<(String, String, String), String>);

impl OwnWrites {
    /// Our write to `target` was answered with `version`.
    pub(in crate::controllers::pod_autoscaler) fn wrote(&mut self, target: &ScaleTarget, version: &str) {
        let kind = format!("{}.{}", target.resource.plural, target.resource.group);
        self.0.insert((kind, target.namespace.clone(), target.name.clone()), version.to_owned());
    }

    /// Whether a store that has the object at `version` shows all that we wrote to it.
    pub(super) fn shown(&mut self, kind: &str, namespace: &str, name: &str, version: &str) -> bool {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let Some(wrote) = self.0.get(&key) else { return true };
        let shown = version::at_least(version, wrote);
        if shown {
            self.0.remove(&key);
        }
        shown
    }

    /// The object is gone.
    pub(super) fn forget(&mut self, kind: &str, namespace: &str, name: &str) {
        self.0.remove(&(kind.to_owned(), namespace.to_owned(), name.to_owned()));
    }
}
