// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use tokio::sync::oneshot;

use super::tasks::{Ended, TaskSet};

#[tokio::test]
async fn ends_are_reported_with_the_name_of_the_task() {
    let tasks = TaskSet::new();
    tasks.spawn("answer", async { 42 });
    assert_eq!(tasks.join_next().await, Some(("answer".to_owned(), Ended::Finished(42))));
    assert_eq!(tasks.join_next().await, None);
    assert_eq!(tasks.join_next().await, None);
}

#[tokio::test]
async fn a_panic_is_reported_with_its_message_and_ends_nobody_else() {
    let tasks = TaskSet::<u8>::new();
    tasks.spawn("bad", async { panic!("boom {}", 7) });
    assert_eq!(tasks.join_next().await, Some(("bad".to_owned(), Ended::Panicked("boom 7".to_owned()))));
    tasks.spawn("good", async { 1 });
    assert_eq!(tasks.join_next().await, Some(("good".to_owned(), Ended::Finished(1))));
}

#[tokio::test]
async fn tasks_end_when_their_owner_is_dropped() {
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    let (started, running) = oneshot::channel();
    let tasks = TaskSet::new();
    tasks.spawn("forever", async move {
        started.send(()).unwrap();
        std::future::pending::<()>().await;
        drop(held);
    });
    running.await.unwrap();
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(tasks);
    while Arc::strong_count(&alive) > 1 {
        tokio::task::yield_now().await;
    }
}
