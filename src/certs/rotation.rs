// SPDX-License-Identifier: Apache-2.0
//! Pure: what a certificate Secret holds, and what of it has to be made anew.
//!
//! With t = now + 90 days:
//! 1. CA or its key missing, unparsable, no pair, or the CA does not verify against itself now and at t ⇒ CA and
//!    server certificate.
//! 2. Else server certificate or its key missing, unparsable, no pair, or not accepted now and at t by a client
//!    that trusts the CA ⇒ server certificate from the same CA.
//! 3. Else nothing.
//!
//! DIFFERS: a Go manager checks t only. A certificate that is valid at t but not yet now comes from a replica
//! whose clock is ahead; until then no client with a right clock accepts it. Replicas whose clocks differ by less
//! than 275 days come to rest: what the slowest clock makes is accepted by all.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::{pki_types::CertificateDer, sign::CertifiedKey};

use super::x509::{self, Authority, Fault, Fingerprint, PairFault};

/// Keys of the Secret.
pub(crate) const CA_CERTIFICATE: &str = "ca.crt";
/// Key of the CA.
pub(crate) const CA_KEY: &str = "ca.key";
/// Certificate of the server.
pub(crate) const SERVER_CERTIFICATE: &str = "tls.crt";
/// Key of the server.
pub(crate) const SERVER_KEY: &str = "tls.key";

/// How long before its end a certificate is replaced.
pub(crate) const LOOK_AHEAD: Duration = Duration::from_hours(90 * 24);

/// Data of a Secret.
pub(crate) type Data = BTreeMap<String, Vec<u8>>;

/// Why something has to be made anew: key of the Secret and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    /// Key of the Secret.
    pub key: &'static str,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.fault)
    }
}

/// What has to be made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// Nothing.
    Nothing,
    /// The server's certificate, by the CA that is there.
    Server(Reason),
    /// CA and server certificate.
    Authority(Reason),
}

/// A server certificate that can be served now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair {
    /// Which one.
    pub leaf: Fingerprint,
    /// The CA that clients have to trust; `None`: not known, as with files without one.
    pub authority: Option<Fingerprint>,
    /// Valid until.
    pub not_after: Timestamp,
}

/// What a Secret, or a folder of the same files, holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretContents {
    /// What has to be made anew.
    pub renewal: Renewal,
    /// The CA certificate, also when it is no good any more, as long as it parses.
    pub authority: Option<Authority>,
    /// The server certificate, if it can be served now.
    pub pair: Option<Pair>,
}

/// Checked data of a Secret, with the parsed certificates.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// The facts.
    pub held: SecretContents,
    /// The certificate behind [`SecretContents::authority`].
    pub authority: Option<CertificateDer<'static>>,
    /// The pair behind [`SecretContents::pair`].
    pub served: Option<Arc<CertifiedKey>>,
}

/// Reads the data of a Secret. `trusted`: further CAs that clients may trust, so that a server certificate whose
/// CA has gone from the Secret is still known to be of use.
pub(crate) fn inspect(
    data: &Data,
    dns_name: &str,
    trusted: &[CertificateDer<'static>],
    now: Timestamp,
) -> Inspection {
    let entry = |key: &str| data.get(key).map(Vec::as_slice).unwrap_or_default();
    let later = now.checked_add(LOOK_AHEAD).unwrap_or(Timestamp::MAX);
    // The first block counts, as in Go.
    let authority = x509::certificates(entry(CA_CERTIFICATE)).into_iter().next();
    let known = authority.as_ref().and_then(x509::authority_of);
    let server = x509::pair(entry(SERVER_CERTIFICATE), entry(SERVER_KEY));

    let renewal =
        match fault_of_authority(authority.as_ref(), entry(CA_CERTIFICATE), entry(CA_KEY), [now, later]) {
            Some(reason) => Renewal::Authority(reason),
            None => match fault_of_server(&server, authority.as_ref(), dns_name, [now, later]) {
                Some(reason) => Renewal::Server(reason),
                None => Renewal::Nothing,
            },
        };
    let shown = server.ok().and_then(|pair| {
        let leaf = pair.cert.first()?;
        let accepts = |ca: &&CertificateDer<'static>| x509::check_server(leaf, ca, dns_name, &[now]).is_ok();
        let by = authority.iter().chain(trusted).find(accepts)?;
        let facts = Pair {
            leaf: Fingerprint::of(leaf),
            authority: Some(Fingerprint::of(by)),
            not_after: x509::authority_of(leaf)?.not_after,
        };
        Some((facts, pair))
    });
    let (pair, served_pair) = shown.map_or((None, None), |(facts, pair)| (Some(facts), Some(pair)));
    Inspection { held: SecretContents { renewal, authority: known, pair }, authority, served: served_pair }
}

fn fault_of_authority(
    certificate: Option<&CertificateDer<'static>>,
    certificate_pem: &[u8],
    key: &[u8],
    times: [Timestamp; 2],
) -> Option<Reason> {
    let blank = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_whitespace);
    let of_certificate = |fault| Some(Reason { key: CA_CERTIFICATE, fault });
    let of_key = |fault| Some(Reason { key: CA_KEY, fault });
    if blank(certificate_pem) {
        return of_certificate(Fault::Missing);
    }
    let Some(certificate) = certificate else { return of_certificate(Fault::Unparsable) };
    let checked = x509::check_authority(certificate).and_then(|()| x509::check_times(certificate, &times));
    if let Err(fault) = checked {
        return of_certificate(fault);
    }
    if blank(key) {
        return of_key(Fault::Missing);
    }
    x509::check_authority_key(certificate, key).err().and_then(of_key)
}

fn fault_of_server(
    server: &Result<Arc<CertifiedKey>, PairFault>,
    authority: Option<&CertificateDer<'static>>,
    dns_name: &str,
    times: [Timestamp; 2],
) -> Option<Reason> {
    let of_certificate = |fault| Some(Reason { key: SERVER_CERTIFICATE, fault });
    let pair = match server {
        Ok(pair) => pair,
        Err(PairFault::Certificate(fault)) => return of_certificate(fault.clone()),
        Err(PairFault::Key(fault)) => return Some(Reason { key: SERVER_KEY, fault: fault.clone() }),
    };
    let (Some(leaf), Some(authority)) = (pair.cert.first(), authority) else {
        return of_certificate(Fault::Unparsable);
    };
    x509::check_server(leaf, authority, dns_name, &times).err().and_then(of_certificate)
}
