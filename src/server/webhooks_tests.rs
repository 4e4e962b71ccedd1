// SPDX-License-Identifier: Apache-2.0
use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::post};
use parking_lot::Mutex;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{
    testing::exchange,
    tls::provider,
    webhooks::{WebhookServer, reach},
};

const NAME: &str = "aibrix-webhook-service.aibrix-system.svc";
/// Long enough for every machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Serves whatever was put in last.
#[derive(Debug, Default)]
struct Slot(Mutex<Option<Arc<CertifiedKey>>>);

impl Slot {
    /// Puts in a new certificate and returns it.
    fn renew(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let certificate = made.cert.der().clone();
        let pair = CertifiedKey::from_der(vec![certificate.clone()], key.into(), &provider()).unwrap();
        *self.0.lock() = Some(Arc::new(pair));
        certificate
    }
}

impl ResolvesServerCert for Slot {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.lock().clone()
    }
}

struct Scene {
    address: SocketAddr,
    slot: Arc<Slot>,
    closing: CancellationToken,
    serving: JoinSet<()>,
}

async fn scene(http2: bool) -> Scene {
    let slot = Arc::new(Slot::default());
    let router = Router::new().route("/hook", post(|body: String| std::future::ready(body)));
    let resolver = Arc::<Slot>::clone(&slot);
    let server = WebhookServer::bind("127.0.0.1:0", router, resolver, http2).await.unwrap();
    let (address, closing) = (server.local_addr().unwrap(), CancellationToken::new());
    let (mut serving, token) = (JoinSet::new(), closing.clone());
    serving.spawn(async move { server.serve(token).await.unwrap() });
    Scene { address, slot, closing, serving }
}

/// A client that trusts this certificate only.
async fn connect(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    offers: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()));
    let builder = builder.with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = offers.iter().map(|it| it.to_vec()).collect();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME).unwrap(), stream).await
}

async fn hello(scene: &Scene, trusted: &CertificateDer<'static>) -> u16 {
    let stream = connect(scene.address, trusted, rustls::ALL_VERSIONS, &[b"http/1.1"]).await.unwrap();
    exchange(stream, "POST", "/hook", &["content-length: 0"]).await.status
}

async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    // A reset is an end as well.
    drop(read.expect("the server closes the connection"));
    bytes
}

#[tokio::test]
async fn offers_are_http_1_unless_told_otherwise() {
    for (http2, offers, want) in [
        (false, &[&b"h2"[..], b"http/1.1"][..], Some(&b"http/1.1"[..])),
        (true, &[b"h2", b"http/1.1"], Some(b"h2")),
        (true, &[b"http/1.1"], Some(b"http/1.1")),
        (false, &[], None),
    ] {
        let scene = scene(http2).await;
        let trusted = scene.slot.renew();
        let stream = connect(scene.address, &trusted, rustls::ALL_VERSIONS, offers).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), want);
    }
}

#[tokio::test]
async fn tls_from_1_2_on_is_spoken() {
    let scene = scene(false).await;
    let trusted = scene.slot.renew();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let stream = connect(scene.address, &trusted, &[version], &[b"http/1.1"]).await.unwrap();
        assert_eq!(exchange(stream, "POST", "/hook", &["content-length: 0"]).await.status, 200);
    }
    // A hello of TLS 1.1: record 3.1, version 3.2, no extensions.
    let mut hello = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x14, 1, 0]);
    let mut old = TcpStream::connect(scene.address).await.unwrap();
    old.write_all(&hello).await.unwrap();
    let alert = read_to_end(&mut old).await;
    assert_eq!((alert.first(), alert.get(5)), (Some(&0x15), Some(&2)), "a fatal alert: {alert:?}");
}

#[tokio::test]
async fn new_certificate_counts_from_the_next_handshake_on_and_ends_no_connection() {
    let scene = scene(false).await;
    let first = scene.slot.renew();
    let open = connect(scene.address, &first, rustls::ALL_VERSIONS, &[b"http/1.1"]).await.unwrap();
    let second = scene.slot.renew();
    assert_eq!(hello(&scene, &second).await, 200);
    connect(scene.address, &first, rustls::ALL_VERSIONS, &[])
        .await
        .expect_err("the first is not served any more");
    assert_eq!(exchange(open, "POST", "/hook", &["content-length: 0"]).await.status, 200);
}

#[tokio::test]
async fn without_a_certificate_handshakes_fail_and_nothing_else_does() {
    let scene = scene(false).await;
    reach(scene.address).await.expect_err("there is nothing to serve");
    let trusted = scene.slot.renew();
    assert_eq!(hello(&scene, &trusted).await, 200);
    reach(scene.address).await.expect("any certificate will do");
}

#[tokio::test]
async fn rubbish_and_silence_keep_nobody_waiting() {
    let scene = scene(false).await;
    let trusted = scene.slot.renew();
    let mut open = connect(scene.address, &trusted, rustls::ALL_VERSIONS, &[b"http/1.1"]).await.unwrap();
    // More of them than there may be connections.
    let mut silent = Vec::new();
    for number in 0..600 {
        let mut stream = TcpStream::connect(scene.address).await.unwrap();
        if number % 2 == 0 {
            // The server may have closed it already.
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap_or_default();
        }
        silent.push(stream);
    }
    assert_eq!(hello(&scene, &trusted).await, 200);
    let request = b"POST /hook HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    open.write_all(request).await.unwrap();
    let mut answer = [0; 15];
    open.read_exact(&mut answer).await.expect("those who cannot shake hands end no connection that works");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn head_of_a_mebibyte_is_the_longest() {
    let scene = scene(false).await;
    let trusted = scene.slot.renew();
    for (length, status) in [(900 << 10, 200), (1100 << 10, 431)] {
        let stream = connect(scene.address, &trusted, rustls::ALL_VERSIONS, &[b"http/1.1"]).await.unwrap();
        let long = format!("x-long: {}", "a".repeat(length));
        let answer = exchange(stream, "POST", "/hook", &["content-length: 0", &long]).await;
        assert_eq!(answer.status, status, "{length}");
    }
}

#[tokio::test]
async fn request_under_way_is_finished_when_the_server_closes() {
    let mut scene = scene(false).await;
    let trusted = scene.slot.renew();
    let mut open = connect(scene.address, &trusted, rustls::ALL_VERSIONS, &[b"http/1.1"]).await.unwrap();
    let head = b"POST /hook HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    open.write_all(head).await.unwrap();
    let mut asked = [0; 25];
    open.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n", "it is under way");
    scene.closing.cancel();
    open.write_all(b"ok").await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok"), "{answer}");
    tokio::time::timeout(PATIENCE, scene.serving.join_next()).await.unwrap().unwrap().unwrap();
    reach(scene.address).await.expect_err("nobody listens any more");
}
