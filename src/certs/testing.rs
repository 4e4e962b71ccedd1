// SPDX-License-Identifier: Apache-2.0
//! What the tests of this folder share: certificates that are made once, because keys take their time.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use jiff::Timestamp;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    time_provider::TimeProvider,
};
use tokio::io::DuplexStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::issue::{self, PemPair, Template};

pub(super) const DNS_NAME: &str = "aibrix-webhook-service.aibrix-system.svc";
/// When the golden certificates were made: 2026-11-24T12:00:00Z.
pub(super) const NOW: Timestamp = Timestamp::constant(1_795_521_600, 0);

pub(super) struct Pairs {
    pub(super) ca: PemPair,
    pub(super) server: PemPair,
    pub(super) other_ca: PemPair,
    pub(super) other_server: PemPair,
}

static PAIRS: LazyLock<Pairs> = LazyLock::new(|| {
    let (ca, server) = made_at(NOW);
    let (other_ca, other_server) = made_at(NOW);
    Pairs { ca, server, other_ca, other_server }
});

/// A CA and a server certificate, and another CA with its own.
pub(super) fn pairs() -> &'static Pairs {
    &PAIRS
}

pub(super) fn made_at(now: Timestamp) -> (PemPair, PemPair) {
    let random = &mut rand::rng();
    let ca = issue::authority(&Template::of_authority(now, random).unwrap(), random).unwrap();
    let server = issue::server(&ca, DNS_NAME, &Template::of_server(now, random).unwrap(), random).unwrap();
    (ca, server)
}

/// As made by Go's crypto/x509 with the templates of a Go manager's rotator, serial numbers 0 and 1.
pub(super) fn go_ca() -> PemPair {
    PemPair {
        certificate: include_str!("golden/aibrix/ca.crt").to_owned(),
        key: include_str!("golden/aibrix/ca.key").to_owned(),
    }
}

pub(super) fn go_server() -> PemPair {
    PemPair {
        certificate: include_str!("golden/aibrix/tls.crt").to_owned(),
        key: include_str!("golden/aibrix/tls.key").to_owned(),
    }
}

/// Data of a Secret.
pub(super) fn data(ca: &PemPair, server: &PemPair) -> BTreeMap<String, Vec<u8>> {
    [
        ("ca.crt", &ca.certificate),
        ("ca.key", &ca.key),
        ("tls.crt", &server.certificate),
        ("tls.key", &server.key),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.clone().into_bytes()))
    .collect()
}

pub(super) fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

/// What a client that trusts these CAs sees of a server at this time, in a handshake over a pipe.
pub(super) async fn handshake(
    resolver: Arc<dyn ResolvesServerCert>,
    trusted: &[CertificateDer<'static>],
    now: Timestamp,
) -> Result<(ClientStream, ServerStream), String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let server = server.with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_cert_resolver(resolver);
    let mut roots = RootCertStore::empty();
    for ca in trusted {
        roots.add(ca.clone()).map_err(|error| error.to_string())?;
    }
    let client = ClientConfig::builder_with_details(provider, Arc::new(Frozen(now)));
    let client = client.with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from(DNS_NAME).unwrap();
    let (client, server) = tokio::join!(
        TlsConnector::from(Arc::new(client)).connect(name, near),
        TlsAcceptor::from(Arc::new(server)).accept(far),
    );
    Ok((client.map_err(|error| error.to_string())?, server.map_err(|error| error.to_string())?))
}

pub(super) type ClientStream = tokio_rustls::client::TlsStream<DuplexStream>;
pub(super) type ServerStream = tokio_rustls::server::TlsStream<DuplexStream>;

/// A client whose clock stands.
#[derive(Debug)]
struct Frozen(Timestamp);

impl TimeProvider for Frozen {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// Serves one pair.
#[derive(Debug)]
pub(super) struct Fixed(pub(super) Arc<CertifiedKey>);

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
