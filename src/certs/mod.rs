// SPDX-License-Identifier: Apache-2.0
//! Webhook certificates that manage themselves: a Secret with CA and server certificate, the CA in both webhook
//! configurations, and the certificate that the webhook server uses.
//!
//! # Promised
//! - Every replica serves from memory, leader or not; a changed certificate is taken up within seconds, and
//!   connections that are open stay open.
//! - A client that trusts what is published is never refused, also while the CA changes: [`plan`] says why,
//!   `plan_race_tests.rs` tries it with several replicas.
//! - Every replica may write, without a Lease: each write carries the `resourceVersion` that was read and
//!   happens only where something differs. The loser of a race takes what the winner wrote.
//! - Trouble ends nothing: without Secret, permission or configurations the process lives on, is not ready where
//!   that is needed, tries again every 30 s at most, and logs each cause once.
//!
//! # Deliberately absent
//! Patches and creates that AIBrix's roles do not grant (an absent Secret is created where a role allows it);
//! entries of a configuration that belong to another Service; extra keys in the Secret; and the mode in which
//! somebody else manages certificates (`--manage-webhook-certs=false`): the server reads files then.
//!
//! # Who else writes these objects
//! A Go manager during an upgrade or after a rollback (it takes our certificates as they are, and publishes the
//! Secret's CA alone); whoever applies the manifests.
//!
//! | File | Holds |
//! |---|---|
//! | [`issue`], [`x509`] | makes certificates; reads and checks them |
//! | [`rotation`] | what a Secret holds, and what to make anew |
//! | [`bundle`] | the `caBundle`s of a configuration |
//! | [`snapshot`], [`state`], [`plan`] | the observed facts, what a replica remembers, the decision |
//! | `store`, `files`, `watching` | Secret and configurations, mounted files, events |
//! | `observed_state` | reads all of them |
//! | `rotator`, `backoff`, `log_on_change` | the task, its back-off, its log |
//! | `served` | what handshakes get |

mod backoff;
pub(crate) mod bundle;
mod files;
pub mod issue;
mod log_on_change;
mod observed_state;
pub(crate) mod plan;
pub(crate) mod rotation;
mod rotator;
mod served;
pub(crate) mod snapshot;
pub(crate) mod state;
mod store;
mod watching;
pub mod x509;

#[cfg(test)]
mod backoff_tests;
#[cfg(test)]
mod bundle_tests;
#[cfg(test)]
mod files_tests;
#[cfg(test)]
mod issue_tests;
#[cfg(test)]
mod plan_race_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod rotator_tests;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod testing;

use std::{fmt, panic::AssertUnwindSafe, path::PathBuf, sync::Arc, time::Duration};

use futures::FutureExt as _;
use kube::Client;
use rustls::server::ResolvesServerCert;

use kube_fenced_election::clock::SharedClock;
use kube_loops::runtime::{
    tasks::{TaskSet, panic_message},
    watches::Watches,
};

use self::{
    bundle::Names, rotator::Rotator, served::ServedCertificate, store::Store, watching::EventWatches,
};

/// Pause after a panic, which is a defect.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// Which objects hold the certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Folder where the Secret may be mounted: the last resort.
    pub cert_dir: PathBuf,
    /// Service in the certificate, and the namespace of Service and Secret.
    pub names: Names,
    /// The Secret.
    pub secret_name: String,
    /// Configuration that gets the CA.
    pub mutating_configuration: String,
    /// Configuration that gets the CA.
    pub validating_configuration: String,
}

/// The running management of certificates; dropping it ends it.
pub(crate) struct Certificates {
    served: Arc<ServedCertificate>,
    _tasks: TaskSet,
}

impl Certificates {
    /// Starts to manage certificates. `client` writes without a fence: no Lease is
    /// needed. To be called within the async runtime; returns at once, before anything was read.
    pub(crate) fn start(settings: Settings, client: Client, watches: Watches, clock: SharedClock) -> Self {
        let served = Arc::new(ServedCertificate::new(Arc::clone(&clock)));
        let tasks = TaskSet::new();
        let settings = Arc::new(settings);
        let shown = Arc::clone(&served);
        tasks.spawn("webhook certificates", async move {
            loop {
                let store = Store::new(client.clone(), &settings);
                let watching = EventWatches::new(&watches, &settings);
                let rotator = Rotator::new(&settings, store, &shown, &clock, watching);
                // All state begins anew after a panic, which is always allowed.
                if let Err(panic) = AssertUnwindSafe(rotator.run()).catch_unwind().await {
                    let message = panic_message(panic.as_ref());
                    tracing::error!(panic = message, "the management of webhook certificates failed");
                }
                tokio::time::sleep(AFTER_PANIC).await;
            }
        });
        Self { served, _tasks: tasks }
    }

    /// What a TLS listener asks at each handshake. Without a certificate the handshake fails.
    pub(crate) fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::clone(&self.served) as Arc<dyn ResolvesServerCert>
    }

    /// Whether a usable certificate is in memory and every configuration that exists contains its CA. Answers from
    /// memory.
    ///
    /// # Errors
    /// Why not, beginning with `webhook certificates are not ready`.
    pub(crate) fn readiness(&self) -> Result<(), String> {
        self.served.readiness()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificates").field(&self.served).finish()
    }
}
