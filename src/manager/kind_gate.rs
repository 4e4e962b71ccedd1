// SPDX-License-Identifier: Apache-2.0
//! Waits until every kind that a controller requires is served.
//!
//! A controller whose CRDs are missing does not contend for its Lease, so that a replica that sees
//! them is not kept out; the others go on. Discovery is open to every service account, so no
//! permission on CRDs is needed.

use std::{fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;

use kube_loops::runtime::controller::Kind;

/// How often a missing kind is looked up again.
pub(super) const POLL: Duration = Duration::from_secs(30);
/// How soon a failed look-up is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Asks the API server whether a kind is served; the text of an error is for people.
pub(crate) type KindProbe =
    Arc<dyn Fn(&'static Kind) -> BoxFuture<'static, Result<bool, String>> + Send + Sync>;

/// The kinds of one controller.
#[derive(Clone)]
pub(super) struct KindGate {
    pub(super) required: &'static [Kind],
    pub(super) probe: KindProbe,
}

impl fmt::Debug for KindGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KindGate").field(&self.required).finish()
    }
}

/// Which of the kinds the API server serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Availability {
    /// All required kinds are served.
    AllServed,
    /// This one is not.
    Missing(&'static Kind),
    /// The request failed: for which kind, and why.
    Unknown(&'static Kind, String),
}

impl KindGate {
    /// Asks once; stops at the first kind that is not served.
    pub(super) async fn check(&self) -> Availability {
        for kind in self.required {
            match (self.probe)(kind).await {
                Ok(true) => {}
                Ok(false) => return Availability::Missing(kind),
                Err(cause) => return Availability::Unknown(kind, cause),
            }
        }
        Availability::AllServed
    }

    /// Resolves when all required kinds are served. Logs each change of [`Availability`] once.
    /// Calls `on_missing` each time that a kind is not served.
    pub(super) async fn wait_until_served(&self, controller: &'static str, mut on_missing: impl FnMut()) {
        let mut last_logged: Option<Availability> = None;
        loop {
            let availability = self.check().await;
            let changed = last_logged.as_ref() != Some(&availability);
            let pause = match &availability {
                Availability::AllServed => return,
                Availability::Missing(kind) => {
                    on_missing();
                    if changed {
                        tracing::warn!(
                            controller,
                            kind = kind.kind,
                            group = kind.group,
                            "CRD not found, controller waits for it: if kind is a CRD, it should be installed \
                             before calling Start"
                        );
                    }
                    POLL
                }
                Availability::Unknown(kind, cause) => {
                    if changed {
                        tracing::warn!(controller, kind = kind.kind, group = kind.group, error = %cause,
                            "cannot tell whether a kind is served, trying again");
                    }
                    RETRY
                }
            };
            last_logged = Some(availability);
            tokio::time::sleep(pause).await;
        }
    }
}
