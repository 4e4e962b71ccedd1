// SPDX-License-Identifier: Apache-2.0
use std::{
    error::Error as _,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{
    bind::BindError,
    metrics::{MetricsServer, Secure},
    testing::exchange,
    tls::Certificate,
};

/// Writes a new pair for `name` and returns its certificate.
fn write_pair(folder: &Path, name: &str) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let pem = |label: &str, der: &[u8]| {
        use std::fmt::Write as _;
        let mut text = format!("-----BEGIN {label}-----\n");
        writeln!(text, "{}", base64(der)).unwrap();
        text + &format!("-----END {label}-----\n")
    };
    std::fs::write(folder.join("tls.crt"), pem("CERTIFICATE", made.cert.der())).unwrap();
    std::fs::write(folder.join("tls.key"), pem("PRIVATE KEY", &made.signing_key.serialize_der())).unwrap();
    made.cert.der().clone()
}

/// Base64 in lines of 64, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (index, chunk) in bytes.chunks(3).enumerate() {
        if index > 0 && index % 16 == 0 {
            text.push('\n');
        }
        let group =
            chunk.iter().chain(&[0, 0]).take(3).fold(0_u32, |group, byte| group << 8 | u32::from(*byte));
        for place in 0..4 {
            let digit = usize::try_from(group >> (18 - 6 * place) & 63).unwrap();
            text.push(if place > chunk.len() { '=' } else { char::from(DIGITS[digit]) });
        }
    }
    text
}

async fn connect(
    address: SocketAddr,
    trusted: CertificateDer<'static>,
    name: &'static str,
    offers: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = offers.iter().map(|offer| offer.to_vec()).collect();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream).await
}

fn secure(folder: &Path, http2: bool) -> Secure {
    Secure { cert_dir: folder.to_owned(), http2, counter: Arc::new(|_| ()) }
}

/// Serves while the test's future runs.
async fn serving(server: MetricsServer, test: impl Future<Output = ()>) {
    let stop = CancellationToken::new();
    let (ended, ()) = tokio::join!(server.serve(stop.clone()), async {
        test.await;
        stop.cancel();
    });
    ended.unwrap();
}

#[tokio::test]
async fn metrics_are_served_with_the_mounted_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = write_pair(folder.path(), "metrics.example.com");
    let secure = secure(folder.path(), false);
    let server =
        MetricsServer::bind("127.0.0.1:0", Arc::new(|| "up 1\n".to_owned()), Some(secure)).await.unwrap();
    let address = server.local_addr().unwrap();
    serving(server, async {
        let stream = connect(address, trusted, "metrics.example.com", &[b"h2", b"http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(exchange(stream, "GET", "/metrics", &[]).await.text(), "up 1\n");
    })
    .await;
}

#[tokio::test]
async fn http2_is_offered_only_if_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = write_pair(folder.path(), "localhost");
    let render = Arc::new(|| "up 1\n".to_owned());
    let server = MetricsServer::bind("127.0.0.1:0", render, Some(secure(folder.path(), true))).await.unwrap();
    let address = server.local_addr().unwrap();
    serving(server, async {
        let both = connect(address, trusted.clone(), "localhost", &[b"h2", b"http/1.1"]).await.unwrap();
        assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let old = connect(address, trusted, "localhost", &[b"http/1.1"]).await.unwrap();
        assert_eq!(exchange(old, "GET", "/metrics", &[]).await.text(), "up 1\n");
    })
    .await;
}

#[tokio::test]
async fn a_changed_certificate_is_served_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = write_pair(folder.path(), "localhost");
    let reads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reads);
    let counter = Arc::new(move |good: bool| {
        count.fetch_add(if good { 1 } else { 100 }, Ordering::SeqCst);
    });
    let certificate = Certificate::load(folder.path(), counter).await.unwrap();
    assert_eq!(certificate.end_entity(), Some(first));
    assert!(certificate.read_once().await.is_ok());
    assert_eq!(reads.load(Ordering::SeqCst), 1, "the same files are not counted again");

    std::fs::write(folder.path().join("tls.crt"), "half").unwrap();
    assert!(certificate.read_once().await.is_err());
    assert_eq!(reads.load(Ordering::SeqCst), 101);
    let second = write_pair(folder.path(), "localhost");
    assert!(certificate.read_once().await.is_ok());
    assert_eq!(certificate.end_entity(), Some(second));
}

#[tokio::test]
async fn without_files_a_certificate_for_localhost_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::load(folder.path(), Arc::new(|_| ())).await.unwrap();
    let trusted = certificate.end_entity().unwrap();
    let render = Arc::new(|| "up 1\n".to_owned());
    let server = MetricsServer::with_certificate("127.0.0.1:0", render, certificate, false).await.unwrap();
    let address = server.local_addr().unwrap();
    serving(server, async {
        for name in ["localhost", "127.0.0.1"] {
            let stream = connect(address, trusted.clone(), name, &[]).await.unwrap();
            assert_eq!(exchange(stream, "GET", "/metrics", &[]).await.text(), "up 1\n", "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn files_that_are_no_pair_keep_the_server_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    write_pair(folder.path(), "localhost");
    let other = tempfile::tempdir().unwrap();
    write_pair(other.path(), "localhost");
    std::fs::copy(other.path().join("tls.key"), folder.path().join("tls.key")).unwrap();
    let render = Arc::new(String::new);
    let error =
        MetricsServer::bind("127.0.0.1:0", render, Some(secure(folder.path(), false))).await.unwrap_err();
    assert!(matches!(error, BindError::Certificate { .. }), "{error:?}");
    assert!(error.source().is_some());
}
