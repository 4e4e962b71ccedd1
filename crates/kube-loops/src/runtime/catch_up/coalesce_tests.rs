// SPDX-License-Identifier: Apache-2.0
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use tokio::time::sleep;

use super::coalesce::Coalesced;

fn work(runs: &Arc<AtomicUsize>) -> BoxFuture<'static, usize> {
    let runs = Arc::clone(runs);
    async move {
        let run = runs.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_secs(1)).await;
        run
    }
    .boxed()
}

#[tokio::test(start_paused = true)]
async fn callers_share_work_that_starts_after_each_of_them_and_never_join_one_under_way() {
    let (coalesced, runs) = (Coalesced::new(), Arc::new(AtomicUsize::new(0)));
    let first = coalesced.join(|| work(&runs));
    let also_first = coalesced.join(|| work(&runs));
    let (first, also_first, later) = tokio::join!(first, also_first, async {
        sleep(Duration::from_millis(500)).await; // the first run is under way now
        let (a, b) = (coalesced.join(|| work(&runs)), coalesced.join(|| work(&runs)));
        tokio::join!(a, b)
    });
    assert_eq!((first, also_first), (0, 0));
    assert_eq!(later, (1, 1), "those who came during the first run share the second");
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_takes_nothing_from_the_others() {
    let (coalesced, runs) = (Coalesced::new(), Arc::new(AtomicUsize::new(0)));
    let leaving = coalesced.join(|| work(&runs));
    let staying = coalesced.join(|| work(&runs));
    tokio::time::timeout(Duration::from_millis(100), leaving).await.unwrap_err();
    assert_eq!(staying.await, 0);
    assert_eq!(coalesced.join(|| work(&runs)).await, 1);
}
