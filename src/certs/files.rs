// SPDX-License-Identifier: Apache-2.0
//! Certificates in a mounted folder, usually those of the Secret: the last resort when it cannot be read.

use std::{io, path::Path, sync::Arc};

use jiff::Timestamp;
use rustls::{pki_types::CertificateDer, sign::CertifiedKey};

use super::{
    rotation::{self, CA_CERTIFICATE, Data, Pair, SERVER_CERTIFICATE, SERVER_KEY},
    x509::{self, Fingerprint},
};

/// What the folder holds of the three files; missing ones are left out.
///
/// # Errors
/// A file is there and cannot be read.
pub(super) async fn read(folder: &Path) -> io::Result<Data> {
    let mut data = Data::new();
    for key in [CA_CERTIFICATE, SERVER_CERTIFICATE, SERVER_KEY] {
        match tokio::fs::read(folder.join(key)).await {
            Ok(bytes) => {
                data.insert(key.to_owned(), bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(data)
}

/// What of the files can be served, whether or not a CA for it is known.
pub(super) fn usable(
    data: &Data,
    dns_name: &str,
    trusted: &[CertificateDer<'static>],
    now: Timestamp,
) -> Option<(Pair, Arc<CertifiedKey>)> {
    let inspection = rotation::inspect(data, dns_name, trusted, now);
    if let (Some(facts), Some(pair)) = (inspection.held.pair, inspection.served) {
        return Some((facts, pair));
    }
    let entry = |key: &str| data.get(key).map(Vec::as_slice).unwrap_or_default();
    let pair = x509::pair(entry(SERVER_CERTIFICATE), entry(SERVER_KEY)).ok()?;
    let leaf = pair.cert.first()?;
    x509::check_times(leaf, &[now]).ok()?;
    let not_after = x509::authority_of(leaf)?.not_after;
    Some((Pair { leaf: Fingerprint::of(leaf), authority: None, not_after }, pair))
}
