// SPDX-License-Identifier: Apache-2.0
use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
    time::{advance, timeout},
};

use super::idle::IdleTimeout;

const LIMIT: Duration = Duration::from_secs(90);
const ALMOST: Duration = Duration::from_secs(89);

#[tokio::test(start_paused = true)]
async fn a_silent_peer_ends_the_stream() {
    let (_peer, ours) = duplex(16);
    let mut stream = IdleTimeout::new(ours, LIMIT);
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_ends_the_stream() {
    let (_peer, ours) = duplex(4);
    let mut stream = IdleTimeout::new(ours, LIMIT);
    let error = stream.write_all(b"more than fits").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn every_byte_moves_the_deadline() {
    let (mut peer, ours) = duplex(16);
    let mut stream = IdleTimeout::new(ours, LIMIT);
    for byte in 0..5 {
        advance(ALMOST).await;
        peer.write_all(&[byte]).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), byte);
    }
    let waited = timeout(ALMOST, stream.read_u8()).await;
    assert!(waited.is_err(), "not over yet");
}
