// SPDX-License-Identifier: Apache-2.0
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::{FutureExt, future::BoxFuture};
use tokio::sync::Barrier;

use super::batches::in_batches;
use crate::cluster::error::{ObjectRef, WriteError};

fn refused() -> WriteError {
    let object = ObjectRef { kind: "Pod".into(), namespace: "ns".into(), name: "a".into() };
    WriteError::Forbidden { object, verb: "create", message: "the quota is used up".to_owned() }
}

/// Writes of which the one at `bad` fails, and how many were begun.
fn writes(
    all: usize,
    bad: Option<usize>,
) -> (Vec<BoxFuture<'static, Result<usize, WriteError>>>, Arc<AtomicUsize>) {
    let begun = Arc::new(AtomicUsize::new(0));
    let write = |place: usize| {
        let begun = Arc::clone(&begun);
        async move {
            begun.fetch_add(1, Ordering::SeqCst);
            if Some(place) == bad { Err(refused()) } else { Ok(place) }
        }
        .boxed()
    };
    ((0..all).map(write).collect(), begun)
}

#[tokio::test]
async fn all_are_written_and_answered_in_order() {
    let (all, begun) = writes(100, None);
    let answers: Vec<usize> = in_batches(all, 16).await.into_iter().map(|it| it.unwrap()).collect();
    assert_eq!(answers, (0..100).collect::<Vec<_>>());
    assert_eq!(begun.load(Ordering::SeqCst), 100);
    assert!(in_batches::<()>(Vec::new(), 0).await.is_empty());
}

#[tokio::test]
async fn nothing_is_tried_after_a_batch_with_a_refusal() {
    for (first, bad, tried) in [(1, 0, 1), (1, 1, 3), (1, 2, 3), (16, 0, 16), (16, 16, 48)] {
        let (all, begun) = writes(100, Some(bad));
        let answers = in_batches(all, first).await;
        assert_eq!((answers.len(), begun.load(Ordering::SeqCst)), (tried, tried), "{first} {bad}");
        assert_eq!(answers.iter().filter(|it| it.is_err()).count(), 1);
    }
}

#[tokio::test]
async fn writes_of_a_batch_wait_side_by_side() {
    let together = Arc::new(Barrier::new(4));
    let write = |_| {
        let together = Arc::clone(&together);
        async move {
            together.wait().await;
            Ok(())
        }
        .boxed()
    };
    assert_eq!(in_batches((0..4).map(write).collect(), 4).await.len(), 4);
}
