// SPDX-License-Identifier: Apache-2.0
use std::{net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    probes::{ProbeServer, Probes},
    testing::{Answer, request},
};

/// A server whose verdicts a test can change.
struct Fixture {
    address: SocketAddr,
    healthz: Arc<Mutex<Result<(), String>>>,
    readyz: Arc<Mutex<Result<(), String>>>,
    remarks: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
    serving: tokio::task::JoinSet<()>,
}

impl Fixture {
    async fn start() -> Self {
        let healthz = Arc::new(Mutex::new(Ok(())));
        let readyz = Arc::new(Mutex::new(Ok(())));
        let remarks = Arc::new(Mutex::new(Vec::new()));
        let (health, ready, said) = (Arc::clone(&healthz), Arc::clone(&readyz), Arc::clone(&remarks));
        let probes = Probes {
            healthz: Arc::new(move || health.lock().clone()),
            readyz: Arc::new(move || ready.lock().clone()),
            remarks: Arc::new(move || said.lock().clone()),
            leases: Arc::new(|| json!([{ "controller": "kv-cache-controller", "state": "leading" }])),
        };
        let server = ProbeServer::bind("127.0.0.1:0", probes).await.unwrap();
        let (address, stop) = (server.local_addr().unwrap(), CancellationToken::new());
        let mut serving = tokio::task::JoinSet::new();
        let token = stop.clone();
        serving.spawn(async move { server.serve(token).await.unwrap() });
        Self { address, healthz, readyz, remarks, stop, serving }
    }

    async fn get(&self, path: &str) -> Answer {
        request(self.address, "GET", path, &[]).await
    }

    async fn expect(&self, path: &str, status: u16, body: &str) {
        let answer = self.get(path).await;
        assert_eq!((answer.status, answer.text()), (status, body), "{path}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

// scenario: manager-and-deployment 32
#[tokio::test]
async fn healthy_answers_are_those_of_aibrix() {
    let server = Fixture::start().await;
    for check in ["healthz", "readyz"] {
        for path in [
            format!("/{check}"),
            format!("/{check}/"),
            format!("/{check}?exclude={check}"),
            format!("/{check}/{check}"),
        ] {
            server.expect(&path, 200, "ok").await;
        }
        let verbose = format!("[+]{check} ok\nhealthz check passed\n");
        for query in ["verbose", "verbose=", "verbose=false", "verbose=1&x=y"] {
            server.expect(&format!("/{check}?{query}"), 200, &verbose).await;
        }
        let excluded = format!("[+]{check} excluded: ok\nhealthz check passed\n");
        server.expect(&format!("/{check}?exclude={check}&verbose"), 200, &excluded).await;
        let unknown = format!(
            "[+]{check} ok\nwarn: some health checks cannot be excluded: no matches for \"a b\",\"nope\"\nhealthz check passed\n"
        );
        server
            .expect(&format!("/{check}?verbose&exclude=nope&exclude=a+b&exclude=nope"), 200, &unknown)
            .await;
        server.expect(&format!("/{check}?exclude=nope"), 200, "ok").await;
        server.expect(&format!("/{check}/nope"), 404, "404 page not found\n").await;
    }
    server.expect("/healthz/readyz", 404, "404 page not found\n").await;
    server.expect("/", 404, "404 page not found\n").await;
    server.expect("/livez", 404, "404 page not found\n").await;
}

// scenario: manager-and-deployment 32
#[tokio::test]
async fn unhealthy_answers_are_those_of_aibrix() {
    let server = Fixture::start().await;
    *server.readyz.lock() = Err("webhook certificates are not ready".into());
    let failed = "[-]readyz failed: reason withheld\nhealthz check failed\n";
    for path in ["/readyz", "/readyz/", "/readyz?verbose"] {
        server.expect(path, 500, failed).await;
    }
    let unknown = "[-]readyz failed: reason withheld\n\
                   warn: some health checks cannot be excluded: no matches for \"nope\"\n\
                   healthz check failed\n";
    server.expect("/readyz?exclude=nope", 500, unknown).await;
    server.expect("/readyz?exclude=readyz", 200, "ok").await;
    server
        .expect("/readyz?exclude=readyz&verbose", 200, "[+]readyz excluded: ok\nhealthz check passed\n")
        .await;
    server.expect("/readyz/readyz", 500, "internal server error: webhook certificates are not ready\n").await;
    server.expect("/healthz", 200, "ok").await;
    *server.healthz.lock() = Err("elector is stuck".into());
    server.expect("/healthz", 500, "[-]healthz failed: reason withheld\nhealthz check failed\n").await;
}

#[tokio::test]
async fn any_method_is_answered() {
    let server = Fixture::start().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = request(server.address, method, "/readyz", &[]).await;
        assert_eq!((answer.status, answer.text()), (200, "ok"), "{method}");
    }
    let head = request(server.address, "HEAD", "/readyz", &[]).await;
    assert_eq!((head.status, head.text()), (200, ""));
}

#[tokio::test]
async fn remarks_stand_in_verbose_answers_and_change_no_verdict() {
    let server = Fixture::start().await;
    *server.remarks.lock() = vec!["cannot create leases\nin namespace x".into()];
    server.expect("/readyz", 200, "ok").await;
    let want = "[+]readyz ok\ninfo: cannot create leases in namespace x\nhealthz check passed\n";
    server.expect("/readyz?verbose", 200, want).await;
    server.expect("/healthz?verbose", 200, "[+]healthz ok\nhealthz check passed\n").await;
    *server.readyz.lock() = Err("x".into());
    server.expect("/readyz", 500, "[-]readyz failed: reason withheld\nhealthz check failed\n").await;
}

#[tokio::test]
async fn leases_are_served_as_json() {
    let server = Fixture::start().await;
    let answer = server.get("/debug/leases").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(value[0]["controller"], "kv-cache-controller");
}

#[tokio::test]
async fn a_stopped_server_has_closed_its_listener() {
    let mut server = Fixture::start().await;
    server.expect("/readyz", 200, "ok").await;
    server.stop.cancel();
    server.serving.join_next().await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}
