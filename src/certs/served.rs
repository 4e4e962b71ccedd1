// SPDX-License-Identifier: Apache-2.0
//! The certificate that handshakes get, and whether clients will accept it. All from memory.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use parking_lot::RwLock;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use kube_fenced_election::clock::SharedClock;

/// Part of the text of `readyz`, as a Go manager words it.
const NOT_READY: &str = "webhook certificates are not ready";

/// The certificate of the moment. A handshake takes what is there when it begins: connections that are open
/// keep theirs.
pub(super) struct ServedCertificate {
    clock: SharedClock,
    current: RwLock<Option<(Arc<CertifiedKey>, Timestamp)>>,
    readiness: RwLock<Result<(), String>>,
}

impl ServedCertificate {
    pub(super) fn new(clock: SharedClock) -> Self {
        let readiness = RwLock::new(Err("no certificate yet".to_owned()));
        Self { clock, current: RwLock::new(None), readiness }
    }

    /// Serves this pair from the next handshake on.
    pub(super) fn serve(&self, pair: Arc<CertifiedKey>, not_after: Timestamp) {
        *self.current.write() = Some((pair, not_after));
    }

    /// Sets whether clients accept it, and otherwise why not.
    pub(super) fn set_readiness(&self, readiness: Result<(), String>) {
        *self.readiness.write() = readiness;
    }

    /// Whether a handshake succeeds with a client that trusts what is published.
    pub(super) fn readiness(&self) -> Result<(), String> {
        self.readiness.read().clone().map_err(|cause| format!("{NOT_READY}: {cause}"))?;
        match &*self.current.read() {
            None => Err(format!("{NOT_READY}: no certificate yet")),
            Some((_, not_after)) if *not_after < self.clock.now() => {
                Err(format!("{NOT_READY}: the certificate expired at {not_after}"))
            }
            Some(_) => Ok(()),
        }
    }
}

impl ResolvesServerCert for ServedCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.read().as_ref().map(|(pair, _)| Arc::clone(pair))
    }
}

impl fmt::Debug for ServedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("standing", &*self.readiness.read()).finish_non_exhaustive()
    }
}
