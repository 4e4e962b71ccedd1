// SPDX-License-Identifier: Apache-2.0
//! Certificates in a mounted folder: the only source when somebody else manages them, else the last resort.

use std::{io, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::{pki_types::CertificateDer, sign::CertifiedKey};

use crate::clock::SharedClock;

use super::{
    rotation::{self, CA_CERTIFICATE, Data, Pair, SERVER_CERTIFICATE, SERVER_KEY},
    served::Served,
    x509::{self, Fault, PairFault, Print},
};

/// How often the files are compared with what is served.
const PERIOD: Duration = Duration::from_secs(10);

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
    let judged = rotation::judge(data, dns_name, trusted, now);
    if let (Some(facts), Some(pair)) = (judged.held.pair, judged.served) {
        return Some((facts, pair));
    }
    let (not_after, pair) = pair_of(data).ok()?;
    let leaf = pair.cert.first()?;
    x509::check_times(leaf, &[now]).ok()?;
    Some((Pair { leaf: Print::of(leaf), authority: None, not_after }, pair))
}

fn pair_of(data: &Data) -> Result<(Timestamp, Arc<CertifiedKey>), String> {
    let entry = |key: &str| data.get(key).map(Vec::as_slice).unwrap_or_default();
    let pair = x509::pair(entry(SERVER_CERTIFICATE), entry(SERVER_KEY)).map_err(|fault| match fault {
        PairFault::Certificate(fault) => format!("{SERVER_CERTIFICATE} {fault}"),
        PairFault::Key(fault) => format!("{SERVER_KEY} {fault}"),
    })?;
    let end = pair.cert.first().and_then(x509::authority_of);
    let end = end.ok_or_else(|| format!("{SERVER_CERTIFICATE} {}", Fault::Unparsable))?;
    Ok((end.not_after, pair))
}

/// Serves what the folder holds and follows its changes, for ever. Nothing is made and nothing published.
pub(super) async fn follow(folder: &Path, served: &Served, clock: &SharedClock) {
    let mut seen: Option<Data> = None;
    let mut complaint: Option<String> = None;
    loop {
        let outcome = match read(folder).await {
            Ok(data) if seen.as_ref() == Some(&data) => None,
            Ok(data) => {
                let outcome = take(&data, served, clock.now());
                seen = Some(data);
                Some(outcome)
            }
            Err(error) => Some(Err(error.to_string())),
        };
        match outcome {
            None => {}
            Some(Ok(())) => {
                complaint = None;
                tracing::info!(dir = %folder.display(), "certs are ready in {}", folder.display());
            }
            Some(Err(error)) => {
                if complaint.as_ref() != Some(&error) {
                    tracing::warn!(dir = %folder.display(), error, "could not use the webhook certificates");
                }
                // What was served before goes on being served.
                if !served.is_serving() {
                    served.stand(Err(format!("{}: {error}", folder.display())));
                }
                complaint = Some(error);
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

fn take(data: &Data, served: &Served, now: Timestamp) -> Result<(), String> {
    let (not_after, pair) = pair_of(data)?;
    // Of two that are both no good the newer one is the better guess; readiness tells of its end.
    if let Some(leaf) = pair.cert.first() {
        match x509::check_times(leaf, &[now]) {
            Err(fault @ Fault::NotYetValid(_)) => tracing::warn!("{SERVER_CERTIFICATE} {fault}"),
            Ok(()) | Err(_) => {}
        }
    }
    served.serve(pair, not_after);
    served.stand(Ok(()));
    Ok(())
}
