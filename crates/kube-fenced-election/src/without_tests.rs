// SPDX-License-Identifier: Apache-2.0
use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, SharedClock, SystemClock};

use super::{LeaseState, Leaving, without_election};

#[tokio::test(start_paused = true)]
async fn every_term_is_won_at_once_and_ends_with_its_controller() {
    let clock: SharedClock = Arc::new(SystemClock);
    let shutdown = CancellationToken::new();
    let (mut seats, tasks) = without_election(&["kv-cache-controller"], "me", &clock, &shutdown);
    let mut running = JoinSet::new();
    for task in tasks {
        running.spawn(task.run);
    }
    let seat = &mut seats[0];
    assert!(tokio::time::timeout(Duration::from_mins(1), seat.won()).await.is_err(), "not before it stands");
    seat.stance().stand();
    let first = seat.won().await.unwrap();
    assert_eq!(first.fence.check(), Ok(None));
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert!(first.fence.check().is_ok());
    assert_eq!(seat.status().borrow().state, LeaseState::WithoutElection);

    let before = SystemClock.instant();
    assert!(!seat.left_and_released(Leaving::Failed { back_off: Duration::from_secs(4) }).await);
    let second = seat.won().await.unwrap();
    assert!(first.fence.check().is_err());
    assert!(second.fence.check().is_ok());
    assert!(SystemClock.instant() - before >= Duration::from_secs(4));

    shutdown.cancel();
    seat.left(Leaving::Finished);
    assert!(seat.won().await.is_none());
    while running.join_next().await.is_some() {}
}
