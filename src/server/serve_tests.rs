// SPDX-License-Identifier: Apache-2.0
use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    serve::{Limits, Server},
    testing::request,
};

/// Long enough for every machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

async fn start(limits: Limits, router: Router) -> (SocketAddr, CancellationToken, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server { listener, address: "test".into(), tls: None, router, limits };
    let (address, stop) = (server.local_addr().unwrap(), CancellationToken::new());
    let mut serving = JoinSet::new();
    let token = stop.clone();
    serving.spawn(async move { server.serve(token).await.unwrap() });
    (address, stop, serving)
}

fn hello() -> Router {
    Router::new().route("/", get(|| std::future::ready("hello")))
}

/// Reads until the server closes.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    // A reset is an end as well.
    drop(read.expect("the server closes the connection"));
    bytes
}

#[tokio::test]
async fn a_client_that_never_finishes_its_head_is_closed() {
    let limits = Limits { head: Duration::from_millis(50), ..Limits::default() };
    let (address, _stop, _serving) = start(limits, hello()).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    closed(&mut slow).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed() {
    let limits = Limits { idle: Duration::from_millis(50), ..Limits::default() };
    let (address, _stop, _serving) = start(limits, hello()).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    closed(&mut silent).await;
}

#[tokio::test]
async fn the_oldest_connection_makes_room_for_a_new_one() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let (address, _stop, _serving) = start(limits, hello()).await;
    let mut oldest = TcpStream::connect(address).await.unwrap();
    let _second = TcpStream::connect(address).await.unwrap();
    let answer = request(address, "GET", "/", &[]).await;
    assert_eq!(answer.text(), "hello");
    closed(&mut oldest).await;
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let limits = Limits { head_bytes: 8192, ..Limits::default() };
    let (address, _stop, _serving) = start(limits, hello()).await;
    let long = format!("x-long: {}", "a".repeat(20_000));
    let answer = request(address, "GET", "/", &[&long]).await;
    assert_eq!(answer.status, 431);
}

#[tokio::test]
async fn an_answer_under_way_is_finished_after_the_stop() {
    let (entered, mut seen) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let release = stop.clone();
    let slow = move || {
        let (entered, release) = (entered.clone(), release.clone());
        async move {
            entered.send(()).await.unwrap();
            release.cancelled().await;
            "finished"
        }
    };
    let router = Router::new().route("/", get(slow));
    let (address, server_stop, mut serving) = start(Limits::default(), router).await;
    let (answer, ()) = tokio::join!(request(address, "GET", "/", &[]), async {
        seen.recv().await.unwrap();
        server_stop.cancel();
        stop.cancel();
    });
    assert_eq!(answer.text(), "finished");
    serving.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_that_takes_too_long_does_not_hold_the_stop() {
    let (entered, mut seen) = mpsc::channel(1);
    let never = move || {
        let entered = entered.clone();
        async move {
            entered.send(()).await.unwrap();
            std::future::pending::<()>().await;
        }
    };
    let limits = Limits { drain: Duration::from_millis(50), ..Limits::default() };
    let (address, stop, mut serving) = start(limits, Router::new().route("/", get(never))).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    seen.recv().await.unwrap();
    stop.cancel();
    tokio::time::timeout(PATIENCE, serving.join_next()).await.unwrap().unwrap().unwrap();
    assert!(closed(&mut client).await.is_empty());
}

async fn broken() -> &'static str {
    panic!("broken on purpose")
}

#[tokio::test]
async fn a_panic_in_an_answer_does_not_end_the_server() {
    let router = hello().route("/broken", get(broken));
    let (address, _stop, _serving) = start(Limits::default(), router).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /broken HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    closed(&mut client).await;
    assert_eq!(request(address, "GET", "/", &[]).await.text(), "hello");
}
