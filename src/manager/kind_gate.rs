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

/// What one look at the API server gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// All required kinds are served.
    Open,
    /// This one is not.
    Missing(&'static Kind),
    /// Could not be told: what, and why.
    Unknown(&'static Kind, String),
}

impl KindGate {
    /// Looks once; stops at the first kind that is not there.
    pub(super) async fn look(&self) -> Seen {
        for kind in self.required {
            match (self.probe)(kind).await {
                Ok(true) => {}
                Ok(false) => return Seen::Missing(kind),
                Err(cause) => return Seen::Unknown(kind, cause),
            }
        }
        Seen::Open
    }

    /// Resolves when all required kinds are served. Logs once per change of what it sees.
    /// `closed` is told when the gate is seen closed.
    pub(super) async fn open(&self, controller: &'static str, mut closed: impl FnMut()) {
        let mut said: Option<Seen> = None;
        loop {
            let seen = self.look().await;
            let news = said.as_ref() != Some(&seen);
            let pause = match &seen {
                Seen::Open => return,
                Seen::Missing(kind) => {
                    closed();
                    if news {
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
                Seen::Unknown(kind, cause) => {
                    if news {
                        tracing::warn!(controller, kind = kind.kind, group = kind.group, error = %cause,
                            "cannot tell whether a kind is served, trying again");
                    }
                    RETRY
                }
            };
            said = Some(seen);
            tokio::time::sleep(pause).await;
        }
    }
}
