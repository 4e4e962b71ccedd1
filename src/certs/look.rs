// SPDX-License-Identifier: Apache-2.0
//! One look at everything: reads the objects and judges what they hold.

use std::sync::Arc;

use rustls::{pki_types::CertificateDer, sign::CertifiedKey};

use kube_fenced_election::clock::{Instant, SharedClock};

use super::{
    Settings,
    bundle::{self, Known},
    files,
    issue::PemPair,
    rotation::{self, Data, Judged, Pair},
    snapshot::{Configuration, Seen, Snapshot},
    store::{Objects, Store, data_of},
    x509,
};

/// Where a look comes from.
pub(super) struct Source<'a> {
    pub(super) store: &'a Store,
    pub(super) settings: &'a Settings,
    pub(super) clock: &'a SharedClock,
    /// A CA that is in no object yet.
    pub(super) candidate: Option<&'a PemPair>,
    /// Whether there is something to serve already: then the files are of no interest.
    pub(super) serving: bool,
}

/// One look with everything behind it.
pub(super) struct Look {
    /// Before anything was read: nothing of what was seen is older.
    pub(super) began: Instant,
    /// After everything was read: waits count from here, since what was seen may have come last.
    pub(super) at: Instant,
    pub(super) objects: Objects,
    pub(super) snapshot: Snapshot,
    pub(super) known: Known,
    pub(super) secret: Option<Judged>,
    pub(super) files: Option<(Pair, Arc<CertifiedKey>)>,
}

impl Look {
    /// Reads everything and judges it.
    pub(super) async fn take(from: Source<'_>) -> Self {
        let Source { store, settings, clock, candidate, serving } = from;
        let began = clock.instant();
        let objects = store.look().await;
        let (at, now) = (clock.instant(), clock.now());
        let mut known = Known::new();
        let configurations = objects.configurations.iter().map(|(title, seen)| {
            let entries = match seen {
                Seen::There(object) => Seen::There(bundle::read(object, &settings.names, &mut known)),
                Seen::Absent => Seen::Absent,
                Seen::Unknown(cause) => Seen::Unknown(cause.clone()),
            };
            Configuration { title: title.clone(), entries }
        });
        let configurations: Vec<_> = configurations.collect();
        let trusted: Vec<CertificateDer<'static>> = known.values().cloned().collect();
        let dns_name = settings.names.dns_name();
        let secret = objects.secret.there().map(|it| rotation::judge(&data_of(it), &dns_name, &trusted, now));
        if let Some(certificate) = secret.as_ref().and_then(|it| it.authority.clone()) {
            known.insert(x509::Print::of(&certificate), certificate);
        }
        if let Some(ca) = candidate {
            let certificates = x509::certificates(ca.certificate.as_bytes());
            known.extend(certificates.into_iter().map(|it| (x509::Print::of(&it), it)));
        }
        let usable = secret.as_ref().is_some_and(|it| it.served.is_some());
        let files = if usable || serving {
            None
        } else {
            let data = files::read(&settings.cert_dir).await.unwrap_or_else(|_| Data::new());
            files::usable(&data, &dns_name, &trusted, now)
        };
        let seen = match (&objects.secret, &secret) {
            (_, Some(judged)) => Seen::There(judged.held.clone()),
            (Seen::Unknown(cause), None) => Seen::Unknown(cause.clone()),
            (Seen::There(_) | Seen::Absent, None) => Seen::Absent,
        };
        let facts = files.as_ref().map(|(facts, _)| *facts);
        let snapshot = Snapshot { secret: seen, configurations, files: facts };
        Self { began, at, objects, snapshot, known, secret, files }
    }
}
