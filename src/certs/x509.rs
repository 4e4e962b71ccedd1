// SPDX-License-Identifier: Apache-2.0
//! Pure: reads certificates and keys, and checks them as a Go manager and the API server will.
//!
//! A CA may have the serial number 0, as those of a Go manager do.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use rsa::{PrivateKey, pkcs1::DecodeRsaPrivateKey as _, traits::PublicKeyParts as _};
use rustls::{
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    sign::CertifiedKey,
};
use webpki::{
    EndEntityCert, KeyUsage, anchor_from_trusted_cert,
    ring::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _, x509::X509Name};

use super::issue::{encode_pem, issuer};

/// Name of a CA of ours: its common name and its DNS name.
pub const AUTHORITY_NAME: &str = "aibrix-ca";

/// More certificates than anybody has; what comes after them is not read.
const MOST_CERTIFICATES: usize = 64;

/// Tells certificates apart: SHA-256 of the whole certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The print of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    /// A print of no certificate, for tests of what only compares prints.
    #[cfg(any(test, feature = "testkit"))]
    pub const fn numbered(number: u8) -> Self {
        Self([number; 32])
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Print(")?;
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// A CA certificate, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority {
    /// Which one.
    pub fingerprint: Fingerprint,
    /// Valid until.
    pub not_after: Timestamp,
}

/// What is wrong with a certificate or key; the texts end a sentence that begins with its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing there.
    #[error("is missing")]
    Missing,
    /// Not PEM, or no certificate or key in it.
    #[error("cannot be parsed")]
    Unparsable,
    /// Of another kind than RSA, or not encoded as PKCS#1.
    #[error("is not an RSA key in PKCS#1")]
    NotPkcs1,
    /// Belongs to another certificate.
    #[error("does not belong to the certificate")]
    NotAPair,
    /// Not a CA.
    #[error("is not the certificate of a CA")]
    NotAnAuthority,
    /// A signature that does not verify.
    #[error("is not signed by its CA")]
    NotSigned,
    /// Another name.
    #[error("is for another name than {0}")]
    OtherName(String),
    /// Over, or soon over.
    #[error("expires at {0}")]
    Expires(Timestamp),
    /// Made by somebody whose clock is ahead of ours, or ours is behind.
    #[error("is valid only from {0} on")]
    NotYetValid(Timestamp),
    /// Usages, constraints or algorithms that do not fit.
    #[error("does not verify: {0}")]
    Unfit(String),
}

/// All certificates in a PEM text, those that cannot be decoded left out.
pub fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).take(MOST_CERTIFICATES).filter_map(Result::ok).collect()
}

/// A certificate as PEM, in the form in which Go writes it.
pub fn pem_of(certificate: &CertificateDer<'_>) -> String {
    encode_pem("CERTIFICATE", certificate)
}

/// Which certificate it is and how long it is valid; `None`: it is not one.
pub fn authority_of(certificate: &CertificateDer<'_>) -> Option<Authority> {
    let parsed = parse(certificate)?;
    Some(Authority { fingerprint: Fingerprint::of(certificate), not_after: validity(&parsed)?.1 })
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed)
}

fn validity(certificate: &X509Certificate<'_>) -> Option<(Timestamp, Timestamp)> {
    let validity = certificate.validity();
    let time = |seconds| Timestamp::from_second(seconds).ok();
    Some((time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?))
}

/// That a certificate is valid at all of these times.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_times(certificate: &CertificateDer<'_>, times: &[Timestamp]) -> Result<(), Fault> {
    let (from, until) = parse(certificate).as_ref().and_then(validity).ok_or(Fault::Unparsable)?;
    for time in times {
        if *time < from {
            return Err(Fault::NotYetValid(from));
        }
        if *time > until {
            return Err(Fault::Expires(until));
        }
    }
    Ok(())
}

/// That a certificate is a CA which verifies against itself for [`AUTHORITY_NAME`], and which this program can
/// name as an issuer.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_authority(certificate: &CertificateDer<'_>) -> Result<(), Fault> {
    let parsed = parse(certificate).ok_or(Fault::Unparsable)?;
    if !parsed.is_ca() || !can_be_named(parsed.subject()) {
        return Err(Fault::NotAnAuthority);
    }
    if parsed.key_usage().ok().flatten().is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(Fault::NotAnAuthority);
    }
    let anchor = anchor_from_trusted_cert(certificate).map_err(|error| unfit(&error))?;
    drop(anchor);
    // As an end entity only because that is whose signature and names the library checks.
    let own = EndEntityCert::try_from(certificate).map_err(|error| unfit(&error))?;
    let name = ServerName::try_from(AUTHORITY_NAME).map_err(|error| Fault::Unfit(error.to_string()))?;
    own.verify_is_valid_for_subject_name(&name).map_err(|_| Fault::OtherName(AUTHORITY_NAME.to_owned()))?;
    let (signed, signature) = (parsed.tbs_certificate.as_ref(), parsed.signature_value.as_ref());
    let algorithms = [RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512];
    let verifies = algorithms.iter().any(|it| own.verify_signature(*it, signed, signature).is_ok());
    if verifies { Ok(()) } else { Err(Fault::NotSigned) }
}

/// The library that writes certificates knows names of one attribute at each step only, each kind once.
fn can_be_named(name: &X509Name<'_>) -> bool {
    let mut kinds = Vec::new();
    name.iter().all(|step| {
        let mut attributes = step.iter();
        let first = attributes.next().map(|attribute| attribute.attr_type().to_id_string());
        let fresh = first.as_ref().is_some_and(|kind| !kinds.contains(kind));
        kinds.extend(first);
        fresh && attributes.next().is_none()
    })
}

/// That a key is an RSA key in PKCS#1, belongs to the certificate, and can sign for it here.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_authority_key(certificate: &CertificateDer<'_>, key: &[u8]) -> Result<(), Fault> {
    let text = std::str::from_utf8(key).map_err(|_| Fault::Unparsable)?;
    if !text.contains("-----BEGIN") {
        return Err(Fault::Unparsable);
    }
    let key = PrivateKey::from_pkcs1_pem(text.trim()).map_err(|_| Fault::NotPkcs1)?;
    let parsed = parse(certificate).ok_or(Fault::Unparsable)?;
    let Ok(x509_parser::public_key::PublicKey::RSA(public)) = parsed.public_key().parsed() else {
        return Err(Fault::NotPkcs1);
    };
    let same = |ours: &[u8], theirs: &[u8]| strip(ours) == strip(theirs);
    let fits = same(&key.n_bytes(), public.modulus) && same(&key.e_bytes(), public.exponent);
    if !fits {
        return Err(Fault::NotAPair);
    }
    issuer(certificate, text).map(drop).map_err(|error| Fault::Unfit(error.to_string()))
}

/// A number without leading zeros.
fn strip(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// A certificate with its chain and key, ready to be served.
///
/// # Errors
/// Which half is wrong, and how.
pub fn pair(chain: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, PairFault> {
    let missing = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_whitespace);
    if missing(chain) {
        return Err(PairFault::Certificate(Fault::Missing));
    }
    if missing(key) {
        return Err(PairFault::Key(Fault::Missing));
    }
    let chain = certificates(chain);
    if chain.first().and_then(parse).is_none() {
        return Err(PairFault::Certificate(Fault::Unparsable));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| PairFault::Key(Fault::Unparsable))?;
    match CertifiedKey::from_der(chain, key, &default_provider()) {
        Ok(pair) => Ok(Arc::new(pair)),
        Err(rustls::Error::InconsistentKeys(_)) => Err(PairFault::Key(Fault::NotAPair)),
        Err(error) => Err(PairFault::Key(Fault::Unfit(error.to_string()))),
    }
}

/// Which half of a pair is at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PairFault {
    /// The certificate.
    Certificate(Fault),
    /// The key.
    Key(Fault),
}

/// That a client which trusts only `authority` accepts the first certificate for `dns_name` at all of these
/// times. Validity of the CA is checked too, as Go does.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_server(
    certificate: &CertificateDer<'_>,
    authority: &CertificateDer<'_>,
    dns_name: &str,
    times: &[Timestamp],
) -> Result<(), Fault> {
    check_times(certificate, times)?;
    check_times(authority, times)?;
    let anchors = [anchor_from_trusted_cert(authority).map_err(|error| unfit(&error))?];
    let server = EndEntityCert::try_from(certificate).map_err(|error| unfit(&error))?;
    let name = ServerName::try_from(dns_name).map_err(|_| Fault::OtherName(dns_name.to_owned()))?;
    let named = server.verify_is_valid_for_subject_name(&name);
    named.map_err(|_| Fault::OtherName(dns_name.to_owned()))?;
    for time in times {
        let seconds = u64::try_from(time.as_second()).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let (algorithms, usage) = (webpki::ALL_VERIFICATION_ALGS, KeyUsage::server_auth());
        let verified = server.verify_for_usage(algorithms, &anchors, &[], at, usage, None, None);
        match verified {
            Ok(_) => {}
            Err(webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey) => {
                return Err(Fault::NotSigned);
            }
            Err(error) => return Err(unfit(&error)),
        }
    }
    Ok(())
}

fn unfit(error: &webpki::Error) -> Fault {
    Fault::Unfit(error.to_string())
}
