// SPDX-License-Identifier: Apache-2.0
//! Pure but for the random source of the caller: makes a CA and the server certificate that it signs, with the
//! contents that a Go manager expects to find after a rollback (RSA 2048, PKCS#1, names, usages, lifetimes).
//!
//! Making an RSA key keeps a processor busy for up to seconds: never on a thread of the async runtime.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, SanType, SerialNumber, string::PrintableString,
};
use rsa::{
    PrivateKey,
    pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _},
    pkcs8::{
        EncodePrivateKey as _,
        der::pem::{self, LineEnding},
    },
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject as _};

use super::x509::{AUTHORITY_NAME, pem_of};

const ORGANIZATION: &str = "aibrix";
const KEY_BITS: usize = 2048;
const BACKDATED: Duration = Duration::from_hours(1);
const AUTHORITY_LIFE: Duration = Duration::from_hours(10 * 365 * 24);
const SERVER_LIFE: Duration = Duration::from_hours(365 * 24);
/// Years with four digits only, with room for the longest life: a clock beyond is broken.
const LAST_SECOND: i64 = 250_000_000_000;

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The operating system gave no random bytes, or the library no key.
    #[error("could not make an RSA key: {0}")]
    Key(String),
    /// The key of the CA cannot be read.
    #[error("could not read the key of the CA: {0}")]
    AuthorityKey(String),
    /// The clock stands before 1970 or after the year 9890.
    #[error("the clock says {0}, which is no time for a certificate")]
    Clock(Timestamp),
    /// A name, or the CA's certificate, cannot be put into a certificate.
    #[error("could not make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// A certificate and its key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct PemPair {
    /// `CERTIFICATE`.
    pub certificate: String,
    /// `RSA PRIVATE KEY`: PKCS#1, the only encoding that a Go manager reads.
    pub key: String,
}

impl fmt::Debug for PemPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A key belongs into no log.
        f.debug_struct("PemPair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// From when to when a certificate is valid, and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// Bytes of the serial number, most significant first.
    pub serial: Vec<u8>,
}

impl Template {
    /// A CA made now: ten years.
    ///
    /// # Errors
    /// [`IssueError::Clock`], [`IssueError::Key`].
    pub fn of_authority(now: Timestamp, random: &mut impl rand::CryptoRng) -> Result<Self, IssueError> {
        Self::lasting(AUTHORITY_LIFE, now, random)
    }

    /// A server's certificate made now: one year.
    ///
    /// # Errors
    /// As [`Self::of_authority`].
    pub fn of_server(now: Timestamp, random: &mut impl rand::CryptoRng) -> Result<Self, IssueError> {
        Self::lasting(SERVER_LIFE, now, random)
    }

    fn lasting(
        life: Duration,
        now: Timestamp,
        random: &mut impl rand::CryptoRng,
    ) -> Result<Self, IssueError> {
        let clock = |_| IssueError::Clock(now);
        let mut serial = vec![0; 16];
        random.fill_bytes(&mut serial);
        if let Some(first) = serial.first_mut() {
            // Positive, and never 0: the first byte is between 0x40 and 0x7f.
            *first = (*first & 0x3f) | 0x40;
        }
        Ok(Self {
            not_before: now.checked_sub(BACKDATED).map_err(clock)?,
            not_after: now.checked_add(life).map_err(clock)?,
            serial,
        })
    }
}

/// A CA that signs itself.
///
/// # Errors
/// [`IssueError`]; only that of the clock goes away by itself.
pub fn authority(template: &Template, random: &mut impl rand::CryptoRng) -> Result<PemPair, IssueError> {
    let (key, pkcs1) = new_key(random)?;
    let mut params = params(template, AUTHORITY_NAME)?;
    params.distinguished_name = DistinguishedName::new();
    // In Go's order and as Go's kind of string: the bytes of a subject tell CAs apart.
    params.distinguished_name.push(DnType::OrganizationName, printable(ORGANIZATION)?);
    params.distinguished_name.push(DnType::CommonName, printable(AUTHORITY_NAME)?);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::KeyCertSign,
    ];
    let certificate = params.self_signed(&key)?;
    Ok(PemPair { certificate: pem_of(certificate.der()), key: pkcs1 })
}

/// A certificate for the server `dns_name`, signed by a CA with a PKCS#1 key.
///
/// # Errors
/// [`IssueError::AuthorityKey`] and [`IssueError::Certificate`]: the CA cannot be used; make another one.
pub fn server(
    ca: &PemPair,
    dns_name: &str,
    template: &Template,
    random: &mut impl rand::CryptoRng,
) -> Result<PemPair, IssueError> {
    let ca_certificate = CertificateDer::from_pem_slice(ca.certificate.as_bytes())
        .map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
    let issuer = issuer(&ca_certificate, &ca.key)?;
    let (key, pkcs1) = new_key(random)?;
    let mut params = params(template, dns_name)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, printable(dns_name)?);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(PemPair { certificate: pem_of(certificate.der()), key: pkcs1 })
}

/// A CA that is ready to sign.
///
/// # Errors
/// [`IssueError::AuthorityKey`] and [`IssueError::Certificate`]: this CA can sign nothing here.
pub(super) fn issuer(
    certificate: &CertificateDer<'_>,
    key: &str,
) -> Result<Issuer<'static, KeyPair>, IssueError> {
    let key = PrivateKey::from_pkcs1_pem(key.trim());
    let key = signing_key(&key.map_err(|error| IssueError::AuthorityKey(error.to_string()))?)?;
    Ok(Issuer::from_ca_cert_der(certificate, key)?)
}

fn printable(text: &str) -> Result<DnValue, IssueError> {
    Ok(DnValue::PrintableString(PrintableString::try_from(text)?))
}

fn params(template: &Template, dns_name: &str) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::DnsName(dns_name.try_into()?)];
    params.serial_number = Some(SerialNumber::from_slice(&template.serial));
    // The library's type of time is a foreign one; this is how to get at it without naming it.
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(template.not_before)?;
    params.not_after = epoch + since_epoch(template.not_after)?;
    Ok(params)
}

fn since_epoch(time: Timestamp) -> Result<Duration, IssueError> {
    let seconds = u64::try_from(time.as_second()).ok().filter(|_| time.as_second() < LAST_SECOND);
    seconds.map(Duration::from_secs).ok_or(IssueError::Clock(time))
}

/// A key for signing, and the same as PKCS#1 PEM.
fn new_key(random: &mut impl rand::CryptoRng) -> Result<(KeyPair, String), IssueError> {
    let failed = |error: &dyn fmt::Display| IssueError::Key(error.to_string());
    let key = PrivateKey::new(&mut Bridge(random), KEY_BITS).map_err(|error| failed(&error))?;
    let pkcs1 = key.to_pkcs1_pem(LineEnding::LF).map_err(|error| failed(&error))?;
    Ok((signing_key(&key)?, pkcs1.as_str().to_owned()))
}

fn signing_key(key: &PrivateKey) -> Result<KeyPair, IssueError> {
    let pkcs8 = key.to_pkcs8_der().map_err(|error| IssueError::Key(error.to_string()))?;
    let pkcs8 = PrivatePkcs8KeyDer::from(pkcs8.as_bytes());
    Ok(KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_RSA_SHA256)?)
}

/// PEM with lines of 64 characters, as Go writes it.
pub(super) fn encode_pem(label: &str, der: &[u8]) -> String {
    // It fails for labels that are none.
    pem::encode_string(label, LineEnding::LF, der).unwrap_or_default()
}

/// Our generation of random sources, seen as the one that the keys want.
struct Bridge<'a, R>(&'a mut R);

impl<R: rand::CryptoRng> rsa::rand_core::TryRng for Bridge<'_, R> {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.0.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl<R: rand::CryptoRng> rsa::rand_core::TryCryptoRng for Bridge<'_, R> {}
