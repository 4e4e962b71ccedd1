// SPDX-License-Identifier: Apache-2.0
use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, SharedClock, SystemClock};

use super::{LeaseState, TermEnd, without_election};

#[tokio::test(start_paused = true)]
async fn every_term_is_won_at_once_and_ends_with_its_controller() {
    let clock: SharedClock = Arc::new(SystemClock);
    let shutdown = CancellationToken::new();
    let (mut handles, tasks) = without_election(&["kv-cache-controller"], "me", &clock, &shutdown);
    let mut running = JoinSet::new();
    for task in tasks {
        running.spawn(task.run);
    }
    let handle = &mut handles[0];
    assert!(
        tokio::time::timeout(Duration::from_mins(1), handle.acquired()).await.is_err(),
        "not before it stands"
    );
    handle.candidacy().contend();
    let first = handle.acquired().await.unwrap();
    assert_eq!(first.fence.check(), Ok(None));
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert!(first.fence.check().is_ok());
    assert_eq!(handle.status().borrow().state, LeaseState::WithoutElection);

    let before = SystemClock.instant();
    assert!(!handle.stepped_down_and_released(TermEnd::Failed { back_off: Duration::from_secs(4) }).await);
    let second = handle.acquired().await.unwrap();
    assert!(first.fence.check().is_err());
    assert!(second.fence.check().is_ok());
    assert!(SystemClock.instant() - before >= Duration::from_secs(4));

    shutdown.cancel();
    handle.stepped_down(TermEnd::Finished);
    assert!(handle.acquired().await.is_none());
    while running.join_next().await.is_some() {}
}
