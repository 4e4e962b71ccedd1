// SPDX-License-Identifier: Apache-2.0
use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
    time::{advance, timeout},
};

use super::{
    connection_state::{ConnectionState, InFlight},
    idle::IdleTimeout,
};

const LIMIT: Duration = Duration::from_secs(90);
const ALMOST: Duration = Duration::from_secs(89);
const HEAD: Duration = Duration::from_secs(32);

#[tokio::test(start_paused = true)]
async fn a_silent_peer_ends_the_stream() {
    let (_peer, ours) = duplex(16);
    let mut stream = IdleTimeout::new(ours, LIMIT, HEAD, Arc::default());
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_ends_the_stream() {
    let (_peer, ours) = duplex(4);
    let mut stream = IdleTimeout::new(ours, LIMIT, HEAD, Arc::default());
    let error = stream.write_all(b"more than fits").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn every_byte_moves_the_deadline() {
    let (mut peer, ours) = duplex(16);
    let mut stream = IdleTimeout::new(ours, LIMIT, HEAD, Arc::default());
    for byte in 0..5 {
        advance(ALMOST).await;
        peer.write_all(&[byte]).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), byte);
    }
    let waited = timeout(ALMOST, stream.read_u8()).await;
    assert!(waited.is_err(), "not over yet");
}

#[tokio::test(start_paused = true)]
async fn a_head_in_single_bytes_ends_the_stream() {
    let (mut peer, ours) = duplex(16);
    let state = Arc::<ConnectionState>::default();
    let mut stream = IdleTimeout::new(ours, LIMIT, HEAD, Arc::clone(&state));
    state.established(true);
    let read = async { while stream.read_u8().await.is_ok() {} };
    let drip = async {
        loop {
            peer.write_all(b"x").await.unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    };
    let over = timeout(Duration::from_secs(33), async {
        tokio::select! { () = read => {}, () = drip => {} }
    });
    over.await.expect("it ends at the limit of a head");
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_wait_between_requests_and_while_it_is_answered() {
    let (mut peer, ours) = duplex(16);
    let state = Arc::<ConnectionState>::default();
    let mut stream = IdleTimeout::new(ours, LIMIT, HEAD, Arc::clone(&state));
    state.established(true);
    peer.write_all(b"1").await.unwrap();
    stream.read_u8().await.unwrap();
    let answering = InFlight::new(&state);
    timeout(ALMOST, stream.read_u8()).await.expect_err("it is being answered");
    peer.write_all(b"2").await.unwrap();
    stream.read_u8().await.unwrap();
    drop(answering);
    timeout(ALMOST, stream.read_u8()).await.expect_err("it may ask again");
    peer.write_all(b"3").await.unwrap();
    stream.read_u8().await.unwrap();
    let over = timeout(Duration::from_secs(33), stream.read_u8()).await;
    assert_eq!(over.expect("a head has begun").unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_connects_and_asks_nothing_is_ended_at_the_limit_of_a_head() {
    let (_peer, ours) = duplex(16);
    let state = Arc::<ConnectionState>::default();
    let mut stream = IdleTimeout::new(ours, LIMIT, HEAD, Arc::clone(&state));
    state.established(true);
    let over = timeout(Duration::from_secs(33), stream.read_u8()).await;
    assert_eq!(over.expect("no head has come").unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn frames_of_http_2_are_no_pieces_of_a_head() {
    let (mut peer, ours) = duplex(16);
    let state = Arc::<ConnectionState>::default();
    let mut stream = IdleTimeout::new(ours, LIMIT, HEAD, Arc::clone(&state));
    state.established(false);
    peer.write_all(b"p").await.unwrap();
    stream.read_u8().await.unwrap();
    timeout(ALMOST, stream.read_u8()).await.expect_err("it may wait");
}
