// SPDX-License-Identifier: Apache-2.0
//! Reads all objects at once and checks the certificates in them.

use std::sync::Arc;

use rustls::{pki_types::CertificateDer, sign::CertifiedKey};

use kube_fenced_election::clock::{Instant, SharedClock};

use super::{
    Settings,
    bundle::{self, Known},
    files,
    issue::PemPair,
    rotation::{self, Data, Inspection, Pair},
    snapshot::{Configuration, Lookup, Snapshot},
    store::{Objects, Store, data_of},
    x509,
};

/// What is read, and what is known before.
pub(super) struct ObserveInputs<'a> {
    pub(super) store: &'a Store,
    pub(super) settings: &'a Settings,
    pub(super) clock: &'a SharedClock,
    /// A CA that is in no object yet.
    pub(super) candidate: Option<&'a PemPair>,
    /// Whether there is something to serve already: then the files are of no interest.
    pub(super) serving: bool,
}

/// The objects as they were read, and what follows from their contents.
pub(super) struct ObservedState {
    /// Before anything was read: nothing of what was seen is older.
    pub(super) began: Instant,
    /// After everything was read: waits count from here, since what was seen may have come last.
    pub(super) at: Instant,
    pub(super) objects: Objects,
    pub(super) snapshot: Snapshot,
    pub(super) known: Known,
    pub(super) secret: Option<Inspection>,
    pub(super) files: Option<(Pair, Arc<CertifiedKey>)>,
}

impl ObservedState {
    /// Reads everything and checks it.
    pub(super) async fn observe(from: ObserveInputs<'_>) -> Self {
        let ObserveInputs { store, settings, clock, candidate, serving } = from;
        let began = clock.instant();
        let objects = store.read_all().await;
        let (at, now) = (clock.instant(), clock.now());
        let mut known = Known::new();
        let configurations = objects.configurations.iter().map(|(title, seen)| {
            let entries = match seen {
                Lookup::Found(object) => Lookup::Found(bundle::read(object, &settings.names, &mut known)),
                Lookup::NotFound => Lookup::NotFound,
                Lookup::Unknown(cause) => Lookup::Unknown(cause.clone()),
            };
            Configuration { title: title.clone(), entries }
        });
        let configurations: Vec<_> = configurations.collect();
        let trusted: Vec<CertificateDer<'static>> = known.values().cloned().collect();
        let dns_name = settings.names.dns_name();
        let secret =
            objects.secret.found().map(|it| rotation::inspect(&data_of(it), &dns_name, &trusted, now));
        if let Some(certificate) = secret.as_ref().and_then(|it| it.authority.clone()) {
            known.insert(x509::Fingerprint::of(&certificate), certificate);
        }
        if let Some(ca) = candidate {
            let certificates = x509::certificates(ca.certificate.as_bytes());
            known.extend(certificates.into_iter().map(|it| (x509::Fingerprint::of(&it), it)));
        }
        let usable = secret.as_ref().is_some_and(|it| it.served.is_some());
        let files = if usable || serving {
            None
        } else {
            let data = files::read(&settings.cert_dir).await.unwrap_or_else(|_| Data::new());
            files::usable(&data, &dns_name, &trusted, now)
        };
        let seen = match (&objects.secret, &secret) {
            (_, Some(inspection)) => Lookup::Found(inspection.held.clone()),
            (Lookup::Unknown(cause), None) => Lookup::Unknown(cause.clone()),
            (Lookup::Found(_) | Lookup::NotFound, None) => Lookup::NotFound,
        };
        let facts = files.as_ref().map(|(facts, _)| *facts);
        let snapshot = Snapshot { secret: seen, configurations, files: facts };
        Self { began, at, objects, snapshot, known, secret, files }
    }
}
