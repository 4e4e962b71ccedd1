// SPDX-License-Identifier: Apache-2.0

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use http::StatusCode;

use crate::testkit::fake_engine::{Engine, FakeEngine, Fault, Load, Page};

use super::{
    exposition::Combine,
    http::{EngineClient, HttpError, Limits, Scheme, Target, TargetError},
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn client(total: Duration) -> EngineClient {
    EngineClient::new(Limits { total, body_bytes: 64 << 10, ..Limits::default() }, "test").unwrap()
}

async fn engine() -> FakeEngine {
    FakeEngine::start(SocketAddr::from((LOOPBACK, 0))).await.unwrap()
}

fn target(engine: &FakeEngine, path: &str) -> Target {
    Target::pod(Scheme::Http, LOOPBACK, &engine.port(), path).unwrap()
}

#[test]
fn urls_are_made_of_what_users_write() {
    for (ip, port, path, url) in [
        ("10.0.0.1", "8000", "metrics", "http://10.0.0.1:8000/metrics"),
        ("10.0.0.1", "8000", "/metrics", "http://10.0.0.1:8000/metrics"),
        ("10.0.0.1", "8000", "//a/b", "http://10.0.0.1:8000/a/b"),
        ("fd00::1", "8000", "metrics", "http://[fd00::1]:8000/metrics"),
        ("10.0.0.1", "80", "metrics?secret=1#x", "http://10.0.0.1/metrics"),
    ] {
        let target = Target::pod(Scheme::Http, ip.parse().unwrap(), port, path).unwrap();
        assert_eq!(target.to_string(), url);
    }
    let endpoint = Target::endpoint(Scheme::Https, "optimizer.aibrix-system.svc:8080", "/metrics/a/b");
    assert_eq!(endpoint.unwrap().to_string(), "https://optimizer.aibrix-system.svc:8080/metrics/a/b");
}

#[test]
fn bad_ports_and_endpoints_are_refused() {
    for port in ["", "0", "65536", "-1", "http", "80/x", "80@evil"] {
        let made = Target::pod(Scheme::Http, LOOPBACK, port, "metrics");
        assert_eq!(made, Err(TargetError::Port(port.to_owned())), "{port}");
    }
    for endpoint in ["", "/", "a/b", "a?b", "a#b", "a b", "[::1", "a:99999", "\\a"] {
        assert!(Target::endpoint(Scheme::Http, endpoint, "metrics").is_err(), "{endpoint}");
    }
}

#[test]
fn credentials_and_query_are_never_printed() {
    let target = Target::endpoint(Scheme::Http, "user:secret@host:80", "metrics?token=secret").unwrap();
    assert_eq!(target.to_string(), "http://host/metrics");
    let error = HttpError::Timeout { target };
    assert!(!format!("{error} {error:?}").contains("secret"));
}

#[tokio::test]
async fn scrape_keeps_the_wanted_family() {
    let engine = engine().await;
    let load = Load::of(Engine::Sglang).with("num_requests_waiting", 4.0);
    engine.pods.load(Some(LOOPBACK), &load);
    let wanted = ["sglang:num_queue_reqs"];
    let families = client(Duration::from_secs(3)).scrape(&target(&engine, "metrics"), wanted).await.unwrap();
    assert_eq!(families.number(&"sglang:num_queue_reqs".into(), Combine::Count), Ok(4.0));
    assert_eq!(engine.pods.count(LOOPBACK, "metrics"), 1);
}

#[tokio::test]
async fn scrape_over_tls_takes_any_certificate() {
    let engine = FakeEngine::start_tls(SocketAddr::from((LOOPBACK, 0))).await.unwrap();
    engine.pods.set(None, "custom/metrics", Page::ok("m 1\n"));
    let target = Target::pod(Scheme::Https, LOOPBACK, &engine.port(), "custom/metrics").unwrap();
    let families = client(Duration::from_secs(3)).scrape(&target, ["m"]).await.unwrap();
    assert_eq!(families.number(&"m".into(), Combine::Count), Ok(1.0));
}

#[tokio::test]
async fn each_failure_has_a_name() {
    let engine = engine().await;
    engine.pods.set(None, "status", Page::status(StatusCode::SERVICE_UNAVAILABLE));
    engine.pods.set(None, "hang", Page::fault(Fault::Hang));
    engine.pods.set(None, "endless", Page::fault(Fault::Endless));
    engine.pods.set(None, "binary", Page::ok(vec![0_u8; 10]));
    let mut moved = Page::ok("m 1\n");
    moved.status = StatusCode::FOUND;
    engine.pods.set(None, "moved", moved);
    let client = client(Duration::from_millis(300));
    for (path, said) in [
        ("status", "status 503"),
        ("absent", "status 404"),
        ("moved", "status 302"),
        ("hang", "no answer in time"),
        ("endless", "body larger than 65536 bytes"),
        ("binary", "body is not text"),
    ] {
        let error = client.scrape(&target(&engine, path), ["m"]).await.unwrap_err();
        let url = format!("http://127.0.0.1:{}/{path}", engine.port());
        assert_eq!(error.to_string(), format!("GET {url}: {said}"));
    }
}

#[tokio::test]
async fn reset_and_refusal_are_told_apart() {
    let engine = engine().await;
    engine.pods.set(None, "reset", Page::fault(Fault::Reset));
    let client = client(Duration::from_secs(3));
    let target = target(&engine, "reset");
    assert!(matches!(client.scrape(&target, ["m"]).await, Err(HttpError::Broken { .. })));
    drop(engine);
    // The port closes when the runtime gets to drop the aborted tasks.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert!(matches!(client.scrape(&target, ["m"]).await, Err(HttpError::Refused { .. })));
}

/// Answers like a server that mounts its metrics at `/metrics/`; `/loop` and `/away` lead elsewhere.
async fn redirecting(listener: tokio::net::TcpListener, port: u16) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0_u8; 4096];
        let size = stream.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..size]).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let answer = match path {
            "/metrics/" => {
                "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nm 9\n".to_owned()
            }
            path => {
                let to = match path {
                    "/metrics" => format!("http://127.0.0.1:{port}/metrics/"),
                    "/relative" => "metrics/".to_owned(),
                    "/loop" => "/loop".to_owned(),
                    "/twice" => "/metrics".to_owned(),
                    "/other-port" => "http://127.0.0.1:1/metrics/".to_owned(),
                    "/other-host" => format!("http://localhost:{port}/metrics/"),
                    "/other-scheme" => format!("https://127.0.0.1:{port}/metrics/?token=secret"),
                    _ => "http://[".to_owned(),
                };
                let end = "Content-Length: 0\r\nConnection: close\r\n\r\n";
                format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}\r\n{end}")
            }
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

// scenario: hardening 30
#[tokio::test]
async fn one_redirect_on_the_same_origin_is_followed() {
    let listener = tokio::net::TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = client(Duration::from_secs(5));
    let scrape = async |path: &str| {
        let target = Target::pod(Scheme::Http, LOOPBACK, &port.to_string(), path).unwrap();
        client.scrape(&target, ["m"]).await
    };
    let check = async {
        for path in ["metrics", "relative"] {
            assert_eq!(scrape(path).await.unwrap().sum("m"), Ok(9.0), "{path}");
        }
        for (path, to) in [
            ("loop", format!("http://127.0.0.1:{port}/loop")),
            ("twice", format!("http://127.0.0.1:{port}/metrics/")),
            ("other-port", "http://127.0.0.1:1/metrics/".to_owned()),
            ("other-host", format!("http://localhost:{port}/metrics/")),
            ("other-scheme", format!("https://127.0.0.1:{port}/metrics/")),
            ("broken", "what is no URL".to_owned()),
        ] {
            let error = scrape(path).await.unwrap_err().to_string();
            let expected =
                format!("GET http://127.0.0.1:{port}/{path}: redirected to {to}, which is not followed");
            assert_eq!(error, expected);
        }
    };
    tokio::select! {
        () = redirecting(listener, port) => {}
        () = check => {}
    }
}
