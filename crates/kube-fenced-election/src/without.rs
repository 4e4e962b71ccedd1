// SPDX-License-Identifier: Apache-2.0
//! Election switched off: every seat is won at once, and no Lease is read or written.

use std::sync::Arc;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::{clock::SharedClock, fence::Fence};

use super::{
    Leaving, Task, Won,
    seat::{Seat, SeatEnds},
    status::{LeaseState, LeaseStatus},
};

/// A seat for each of `controllers`, and the tasks behind the seats.
pub fn without_election(
    controllers: &[&str],
    identity: &str,
    clock: &SharedClock,
    shutdown: &CancellationToken,
) -> (Vec<Seat>, Vec<Task>) {
    let pairs = controllers.iter().map(|controller| {
        let (seat, ends) = Seat::new(LeaseStatus {
            controller: (*controller).to_owned(),
            namespace: String::new(),
            lease: String::new(),
            identity: identity.to_owned(),
            state: LeaseState::Waiting,
            holder: None,
            transitions: 0,
            valid_until: None,
            last_error: None,
            last_progress: clock.instant(),
        });
        let run = serve(ends, Arc::clone(clock), shutdown.clone()).boxed();
        (seat, Task { name: format!("seat of {controller}"), run })
    });
    pairs.unzip()
}

async fn serve(mut ends: SeatEnds, clock: SharedClock, shutdown: CancellationToken) {
    loop {
        let stands = tokio::select! {
            biased;
            () = shutdown.cancelled() => false,
            stands = ends.standing.wait_for(|stands| *stands) => stands.is_ok(),
        };
        if !stands {
            ends.status.send_modify(|status| status.state = LeaseState::Stopped);
            return;
        }
        // Dropped at the end of the round, which ends the right.
        let (_keeper, fence) = Fence::without_election(Arc::clone(&clock));
        if ends.won.send(Won { fence, since: clock.now(), transitions: 0 }).await.is_err() {
            return;
        }
        ends.status.send_modify(|status| status.state = LeaseState::WithoutElection);
        let Some(left) = ends.left.recv().await else { return };
        ends.status.send_modify(|status| status.state = LeaseState::Waiting);
        // Nobody may be waiting for it.
        left.settled.send(false).ok();
        let pause = match left.leaving {
            Leaving::Failed { back_off } => back_off,
            // Nobody else could take over.
            Leaving::Finished | Leaving::GaveWay { .. } => continue,
            Leaving::Unfinished => return,
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
