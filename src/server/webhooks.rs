// SPDX-License-Identifier: Apache-2.0
//! The listener that the API server calls for admission.
//!
//! Promised: a client that sends rubbish, shakes hands slowly or never ends its request keeps nobody else
//! waiting; a new certificate is used from the next handshake on and ends no connection. It does not know
//! what is answered: that is the router's.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ResolvesServerCert,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::{
    bind::{BindError, listen},
    serve::{Limits, ServeError, Server},
    tls,
};

/// Longest head of a request, in bytes.
const HEAD_BYTES: usize = 1 << 20;
/// Longest time that the server may take to answer itself.
const REACH_LIMIT: Duration = Duration::from_secs(10);

/// The webhook listener, bound but not yet serving.
pub(crate) struct WebhookServer(Server);

impl WebhookServer {
    /// Binds `host:port` and serves over TLS 1.2 and newer with what `resolver` yields at each handshake;
    /// while it yields nothing, handshakes fail. Offers `http/1.1`, with `http2` also `h2`.
    ///
    /// # Errors
    /// The address is wrong or taken: the process should end with 1.
    pub(crate) async fn bind(
        address: &str,
        router: Router,
        resolver: Arc<dyn ResolvesServerCert>,
        http2: bool,
    ) -> Result<Self, BindError> {
        let tls = tls::acceptor(resolver, http2);
        let tls = tls.map_err(|source| BindError::Certificate { address: address.to_owned(), source })?;
        let (listener, limits) =
            (listen(address).await?, Limits { head_bytes: HEAD_BYTES, ..Limits::default() });
        Ok(Self(Server { listener, address: address.to_owned(), tls: Some(tls), router, limits }))
    }

    /// The address that it is bound to; `None` when the system does not know.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves until `closing`, then lets the answers under way finish (at most 1 s).
    ///
    /// # Errors
    /// The listener broke.
    pub(crate) async fn serve(self, closing: CancellationToken) -> Result<(), ServeError> {
        tracing::info!(address = self.0.address, "Serving webhook server");
        self.0.serve(closing).await
    }
}

impl fmt::Debug for WebhookServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebhookServer").field(&self.0.address).finish()
    }
}

/// Shakes hands with the server that listens on `address`, within 10 s. Any certificate will do: whether it
/// is the right one is known better by whoever provides it.
///
/// # Errors
/// Nobody accepts, or what accepts does not speak TLS.
pub(crate) async fn reach(address: SocketAddr) -> io::Result<()> {
    let connect = async {
        let stream = TcpStream::connect(from_inside(address)).await?;
        let name = ServerName::IpAddress(from_inside(address).ip().into());
        let connector = TlsConnector::from(Arc::new(client_config()?));
        connector.connect(name, stream).await.map(drop)
    };
    let limit = tokio::time::timeout(REACH_LIMIT, connect).await;
    limit.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// A listener on all interfaces is reached through the loopback.
fn from_inside(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        // The listener serves both families wherever there are both.
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

fn client_config() -> io::Result<ClientConfig> {
    let provider = tls::provider();
    let verifier = Arc::new(AnyCertificate(provider.clone()));
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    Ok(builder.with_no_client_auth())
}

/// Accepts whatever is served: the question is only whether TLS is spoken.
#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
