// SPDX-License-Identifier: Apache-2.0

use std::{future::poll_fn, io, pin::Pin, sync::Arc, time::Duration};

use hyper::rt::{Read as _, ReadBuf, Write as _};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt as _;

use kube_fenced_election::{
    clock::{Clock as _, ClockCheck, SystemClock, Timestamp},
    fence::{Fence, FenceKeeper, NotLeading, Validity},
};

use super::fenced_tcp::{FencedStream, FencedTcp};

const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

async fn connect(listener: &TcpListener, fence: &Fence) -> (FencedStream, TcpStream) {
    let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let opening = FencedTcp::new(HttpConnector::new(), fence, UNACKNOWLEDGED).oneshot(uri);
    let (opened, accepted) = tokio::join!(opening, listener.accept());
    (opened.unwrap(), accepted.unwrap().0)
}

async fn connection() -> (FenceKeeper, FencedStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (keeper, fence) = Fence::new(Arc::new(SystemClock), SystemClock.instant() + Duration::from_mins(1));
    let (ours, theirs) = connect(&listener, &fence).await;
    (keeper, ours, theirs)
}

async fn write(stream: &mut FencedStream, bytes: &[u8]) -> io::Result<usize> {
    poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await
}

/// Writes until the kernel takes no more; how many bytes it holds.
async fn fill(stream: &mut FencedStream) -> usize {
    let mut held = 0;
    let bytes = vec![b'x'; 1 << 20];
    while let Ok(Ok(written)) = tokio::time::timeout(Duration::from_millis(50), write(stream, &bytes)).await {
        held += written;
    }
    held
}

/// How many bytes arrive before the connection is reset.
async fn arrive(stream: &mut TcpStream) -> usize {
    let (mut got, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => panic!("closed as if all had been said, after {got} bytes"),
            Ok(read) => got += read,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                return got;
            }
        }
    }
}

#[tokio::test]
async fn whoever_reads_learns_of_the_end_and_what_is_not_delivered_is_discarded() {
    let (keeper, mut ours, mut theirs) = connection().await;
    let held = fill(&mut ours).await;
    let reading = async {
        let mut buffer = [0; 16];
        let mut buffer = ReadBuf::new(&mut buffer);
        let read = poll_fn(|context| Pin::new(&mut ours).poll_read(context, buffer.unfilled())).await;
        let error = read.unwrap_err();
        let inner = error.get_ref().unwrap();
        assert!(inner.is::<NotLeading>(), "{inner:?}");
        drop(ours);
    };
    tokio::join!(reading, async { keeper.revoke() });
    let got = arrive(&mut theirs).await;
    assert!(got < held, "{got} of {held} bytes arrived");
}

#[tokio::test]
async fn a_connection_that_is_dropped_within_the_term_is_reset_as_well() {
    let (_keeper, mut ours, mut theirs) = connection().await;
    let held = fill(&mut ours).await;
    drop(ours);
    assert!(arrive(&mut theirs).await < held);
}

#[tokio::test]
async fn nothing_is_written_and_nothing_opened_once_the_fence_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (keeper, fence) = Fence::new(Arc::new(SystemClock), SystemClock.instant() + Duration::from_mins(1));
    let (mut ours, mut theirs) = connect(&listener, &fence).await;
    write(&mut ours, b"in time").await.unwrap();
    let mut said = [0; 7];
    theirs.read_exact(&mut said).await.unwrap();
    keeper.revoke();
    write(&mut ours, b"late").await.unwrap_err();
    drop(ours);
    assert_eq!(arrive(&mut theirs).await, 0);
    let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let opened = FencedTcp::new(HttpConnector::new(), &fence, UNACKNOWLEDGED).oneshot(uri).await;
    assert!(opened.unwrap_err().is::<NotLeading>());
}

#[tokio::test]
async fn a_connection_that_was_closed_for_a_doubt_about_the_clock_stays_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (start, minute) = (SystemClock.instant(), Duration::from_mins(1));
    let check = ClockCheck::new(Arc::new(SystemClock), minute);
    let granted = |sent| Validity { until: sent + minute, sent };
    let (keeper, fence) = Fence::checked(Arc::new(SystemClock), granted(start), &check);
    let (mut ours, mut theirs) = connect(&listener, &fence).await;
    for seconds in [0, 30] {
        check.answered(check.sent(), Timestamp::from_second(1_800_000_000 + seconds).unwrap());
    }
    let mut buffer = [0; 16];
    for _ in 0..2 {
        let mut buffer = ReadBuf::new(&mut buffer);
        poll_fn(|context| Pin::new(&mut ours).poll_read(context, buffer.unfilled())).await.unwrap_err();
        write(&mut ours, b"late").await.unwrap_err();
        keeper.renew(granted(SystemClock.instant()));
    }
    drop(ours);
    assert_eq!(arrive(&mut theirs).await, 0);
}

#[tokio::test]
async fn the_kernel_resets_what_nobody_acknowledges() {
    let (_keeper, ours, _theirs) = connection().await;
    let socket = socket2::SockRef::from(ours.socket());
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
    assert_eq!(socket.linger().unwrap(), Some(Duration::ZERO));
}
