// SPDX-License-Identifier: Apache-2.0
//! Certificates that are served: read from files that may change, or made at the start.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::RwLock;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use kube_loops::chain::Chain;

/// How often the files are compared with what is served.
const PERIOD: Duration = Duration::from_secs(10);
/// The same while there is nothing to serve yet.
const PERIOD_WITHOUT: Duration = Duration::from_secs(1);

/// Told of each attempt to read the certificate, and whether it went well.
pub(crate) type ReadCounter = Arc<dyn Fn(bool) + Send + Sync>;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// A file cannot be read.
    #[error("could not read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds something else than PEM.
    #[error("could not parse {path}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// Certificate and key are no pair, or of a kind that is not supported.
    #[error("could not use the certificate with its key")]
    Use(#[source] rustls::Error),
    /// No certificate could be made.
    #[error("could not make a self-signed certificate")]
    SelfSigned(#[source] rcgen::Error),
}

/// Where a certificate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What the files held.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// The certificate that is served now.
pub(crate) struct Certificate {
    /// Of which server, for log lines.
    server: &'static str,
    /// `None`: there is none yet, and every handshake fails.
    current: RwLock<Option<Arc<CertifiedKey>>>,
    /// `None`: self-signed, never read again.
    source: Option<(Files, RwLock<Option<Contents>>)>,
    counter: ReadCounter,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.source.as_ref().map(|(files, _)| files)).finish()
    }
}

impl Certificate {
    /// Reads `tls.crt` and `tls.key` in `folder`; if one of them does not exist, makes a certificate for
    /// `localhost` and `127.0.0.1` that signs itself.
    ///
    /// # Errors
    /// Both files exist and cannot be used, or no certificate could be made.
    pub(crate) async fn load(folder: &Path, counter: ReadCounter) -> Result<Self, CertificateError> {
        let (files, server) = (Files::of(folder), "metrics server");
        let exists = async |path: &Path| tokio::fs::try_exists(path).await.unwrap_or(false);
        if !exists(&files.certificate).await || !exists(&files.key).await {
            let current = RwLock::new(Some(Arc::new(self_signed()?)));
            return Ok(Self { server, current, source: None, counter });
        }
        let read = files.read().await.and_then(|contents| Ok((files.parse(&contents)?, contents)));
        counter(read.is_ok());
        let (current, contents) = read?;
        Ok(Self {
            server,
            current: RwLock::new(Some(Arc::new(current))),
            source: Some((files, RwLock::new(Some(contents)))),
            counter,
        })
    }

    /// What `tls.crt` and `tls.key` in `folder` will hold: nothing until [`Certificate::keep_reading`] has
    /// found them. `server` is for log lines.
    pub(crate) fn mounted(server: &'static str, folder: &Path, counter: ReadCounter) -> Self {
        let source = Some((Files::of(folder), RwLock::new(None)));
        Self { server, current: RwLock::new(None), source, counter }
    }

    /// Whether there is something to serve.
    pub(crate) fn is_usable(&self) -> bool {
        self.current.read().is_some()
    }

    /// Reads the files again and again; serves what they hold once it is a pair. Never ends.
    pub(crate) async fn keep_reading(&self) {
        let (mut last_error, server) = (None, self.server);
        loop {
            let error_now = self.read_once().await.err();
            let error_now = error_now.map(|error| Chain(&error).to_string());
            if let Some(error) = error_now.as_ref().filter(|_| error_now != last_error) {
                tracing::warn!(server, error, "could not read the certificate");
            }
            last_error = error_now;
            tokio::time::sleep(if self.is_usable() { PERIOD } else { PERIOD_WITHOUT }).await;
        }
    }

    /// Reads the files and serves what they hold if it is new.
    pub(super) async fn read_once(&self) -> Result<(), CertificateError> {
        let Some((files, served)) = &self.source else { return Ok(()) };
        let contents = files.read().await.inspect_err(|_| (self.counter)(false))?;
        if served.read().as_ref() == Some(&contents) {
            return Ok(());
        }
        // A pair that is being replaced may be read half-way: the old one is served until it fits again.
        let parsed = files.parse(&contents);
        (self.counter)(parsed.is_ok());
        *self.current.write() = Some(Arc::new(parsed?));
        *served.write() = Some(contents);
        tracing::info!(server = self.server, "read the certificate");
        Ok(())
    }
}

#[cfg(test)]
impl Certificate {
    /// The certificate that a client sees first.
    pub(super) fn end_entity(&self) -> Option<CertificateDer<'static>> {
        self.current.read().as_ref()?.cert.first().cloned()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.read().clone()
    }
}

impl Files {
    fn of(folder: &Path) -> Self {
        Self { certificate: folder.join("tls.crt"), key: folder.join("tls.key") }
    }

    async fn read(&self) -> Result<Contents, CertificateError> {
        let read = async |path: &PathBuf| {
            let failed = |source| CertificateError::Read { path: path.clone(), source };
            tokio::fs::read(path).await.map_err(failed)
        };
        Ok(Contents { certificate: read(&self.certificate).await?, key: read(&self.key).await? })
    }

    fn parse(&self, contents: &Contents) -> Result<CertifiedKey, CertificateError> {
        let failed = |path: &PathBuf| {
            let path = path.clone();
            move |source| CertificateError::Parse { path, source }
        };
        let chain = CertificateDer::pem_slice_iter(&contents.certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(failed(&self.certificate))?;
        if chain.is_empty() {
            return Err(failed(&self.certificate)(pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(failed(&self.key))?;
        CertifiedKey::from_der(chain, key, &provider()).map_err(CertificateError::Use)
    }
}

fn self_signed() -> Result<CertifiedKey, CertificateError> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(CertificateError::SelfSigned)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    CertifiedKey::from_der(vec![made.cert.der().clone()], key.into(), &provider())
        .map_err(CertificateError::Use)
}

pub(super) fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// Accepts TLS 1.2 and newer with the certificate of the moment. Offers `http/1.1`, and `h2` before it with `http2`.
///
/// # Errors
/// The library refuses its own defaults: a defect of ours.
pub(super) fn acceptor(
    certificate: Arc<dyn ResolvesServerCert>,
    http2: bool,
) -> Result<TlsAcceptor, CertificateError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(CertificateError::Use)?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(certificate);
    let offers: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = offers.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}
