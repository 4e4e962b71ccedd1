// SPDX-License-Identifier: Apache-2.0

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;

use kube_fenced_election::{
    clock::{Clock, SystemClock},
    fence::Fence,
};

use super::call::FencedBody;

#[test]
fn a_body_leaves_only_while_the_term_lasts() {
    let mut context = Context::from_waker(Waker::noop());
    let body = |fence: &Fence| FencedBody::new(fence, b"{}".to_vec());
    let (keeper, fence) = Fence::new(Arc::new(SystemClock), SystemClock.instant() + Duration::from_mins(1));
    let mut free = pin!(body(&fence));
    assert_eq!((free.size_hint().exact(), free.is_end_stream()), (Some(2), false));
    let Poll::Ready(Some(Ok(frame))) = free.as_mut().poll_frame(&mut context) else { panic!("no body") };
    assert_eq!(frame.into_data().ok(), Some(Bytes::from_static(b"{}")));
    assert!(matches!(free.as_mut().poll_frame(&mut context), Poll::Ready(None)));
    // The term ends after the request was made and before it is written.
    let mut late = pin!(body(&fence));
    keeper.revoke();
    assert!(matches!(late.as_mut().poll_frame(&mut context), Poll::Ready(Some(Err(_)))));
}
