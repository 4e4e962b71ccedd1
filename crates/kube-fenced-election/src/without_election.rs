// SPDX-License-Identifier: Apache-2.0
//! Election switched off: every term begins at once, and no Lease is read or written.

use std::sync::Arc;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::{clock::SharedClock, fence::Fence};

use super::{
    Leadership, Task, TermEnd,
    handle::{ElectionHandle, ElectorChannels},
    status::{LeaseState, LeaseStatus},
};

/// A handle for each of `controllers`, and the tasks behind the handles.
pub fn without_election(
    controllers: &[&str],
    identity: &str,
    clock: &SharedClock,
    shutdown: &CancellationToken,
) -> (Vec<ElectionHandle>, Vec<Task>) {
    let pairs = controllers.iter().map(|controller| {
        let (handle, channels) = ElectionHandle::new(LeaseStatus {
            controller: (*controller).to_owned(),
            namespace: String::new(),
            lease: String::new(),
            identity: identity.to_owned(),
            state: LeaseState::Waiting,
            holder: None,
            transitions: 0,
            valid_until: None,
            claimed_until: None,
            last_error: None,
            guard_error: None,
            last_progress: clock.instant(),
        });
        let run = serve(channels, Arc::clone(clock), shutdown.clone()).boxed();
        (handle, Task { name: format!("handle of {controller}"), run })
    });
    pairs.unzip()
}

async fn serve(mut channels: ElectorChannels, clock: SharedClock, shutdown: CancellationToken) {
    loop {
        let stands = tokio::select! {
            biased;
            () = shutdown.cancelled() => false,
            stands = channels.contending.wait_for(|stands| *stands) => stands.is_ok(),
        };
        if !stands {
            channels.status.send_modify(|status| status.state = LeaseState::Stopped);
            return;
        }
        // Dropped at the end of the round, which ends the right.
        let (_keeper, fence) = Fence::without_election(Arc::clone(&clock));
        if channels.acquired.send(Leadership { fence, transitions: 0 }).await.is_err() {
            return;
        }
        channels.status.send_modify(|status| status.state = LeaseState::WithoutElection);
        let Some(stepped_down) = channels.stepped_down.recv().await else { return };
        channels.status.send_modify(|status| status.state = LeaseState::Waiting);
        // Nobody may be waiting for it.
        stepped_down.concluded.send(false).ok();
        let pause = match stepped_down.end {
            TermEnd::Failed { back_off } => back_off,
            // Nobody else could take over.
            TermEnd::Finished | TermEnd::GaveWay { .. } => continue,
            TermEnd::Unfinished => return,
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
