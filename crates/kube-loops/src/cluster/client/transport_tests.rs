// SPDX-License-Identifier: Apache-2.0

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use kube::client::Body;
use tokio::{net::TcpListener, task::JoinSet};
use tower::{BoxError, Service as _};

use super::transport::{Dialer, Transport};

/// A server that answers each request with its method, target and body, and counts connections.
async fn echo() -> (String, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    let count = Arc::clone(&connections);
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            open.spawn(async move {
                let answer = service_fn(|request: Request<Incoming>| async move {
                    let text = format!("{} {}", request.method(), request.uri());
                    let body = request.into_body().collect().await?.to_bytes();
                    let text = format!("{text} {}", String::from_utf8_lossy(&body));
                    Ok::<_, hyper::Error>(Response::new(Full::new(bytes::Bytes::from(text))))
                });
                drop(
                    auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), answer)
                        .await,
                );
            });
        }
    });
    (address, connections, tasks)
}

fn config(address: &str) -> kube::Config {
    kube::Config::new(format!("http://{address}").parse().unwrap())
}

async fn send(transport: &Transport, uri: &str, body: &str) -> Result<String, BoxError> {
    let body = Body::from(body.as_bytes().to_vec()).map_err(BoxError::from).boxed_unsync();
    let answer = transport.clone().call(Request::post(uri).body(body)?).await?;
    Ok(String::from_utf8(answer.into_body().collect().await?.to_bytes().to_vec())?)
}

#[tokio::test]
async fn clones_share_the_connections() {
    let (address, connections, _server) = echo().await;
    let transport = Dialer::new(&config(&address), None).unwrap().pool();
    for _ in 0..5 {
        assert_eq!(send(&transport, &format!("http://{address}/x"), "abc").await.unwrap(), "POST /x abc");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn nobody_listening_is_an_error() {
    let transport = Dialer::new(&config("127.0.0.1:1"), None).unwrap().pool();
    assert!(send(&transport, "http://127.0.0.1:1/x", "").await.is_err());
}

#[tokio::test]
async fn a_proxy_gets_the_connection() {
    let (address, connections, _server) = echo().await;
    let proxy = format!("http://user:pass@{address}").parse().unwrap();
    let transport = Dialer::new(&config("10.255.255.1:6443"), Some(&proxy)).unwrap().pool();
    // The echo server answers CONNECT with 200 and does not forward; that it was asked is enough.
    let asked = tokio::time::timeout(
        std::time::Duration::from_secs(10),
        send(&transport, "https://10.255.255.1:6443/x", ""),
    );
    assert!(!matches!(asked.await, Ok(Ok(_))));
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}
