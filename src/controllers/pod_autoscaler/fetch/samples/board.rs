// SPDX-License-Identifier: Apache-2.0
//! The ledger with its reads carried out.

use std::time::Duration;

use futures::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::controllers::pod_autoscaler::snapshot::{SampleError, Samples};
use kube_fenced_election::clock::SharedClock;
use kube_loops::runtime::reconciler::Key;

use super::{
    ledger::{Job, Ledger, Now},
    reader::ReadOrigins,
    wanted::{Outcome, Wanted},
};

/// Longest read of any kind; scrapes have shorter bounds of their own.
const LONGEST_READ: Duration = Duration::from_secs(5);

/// Measurements of one term, shared by its passes and the task that runs [`Board::run`].
#[derive(Debug)]
pub(in crate::controllers::pod_autoscaler) struct Board {
    ledger: Mutex<Ledger>,
    /// Something was asked for.
    asked: Notify,
    clock: SharedClock,
}

impl Board {
    /// An empty board. The first question begins the first period.
    pub(in crate::controllers::pod_autoscaler) fn new(clock: SharedClock, period: Duration) -> Self {
        let ledger = Mutex::new(Ledger::new(period));
        Self { ledger, asked: Notify::new(), clock }
    }

    /// Asks for this period's round of `wanted` for the autoscaler `key`, and answers at once with the
    /// last complete one about the same thing. `pending`: a round of this period is not complete yet;
    /// `key` is woken when it is.
    pub(in crate::controllers::pod_autoscaler) fn ask(
        &self,
        key: &Key,
        about: &str,
        wanted: Vec<Wanted>,
    ) -> Samples {
        let samples = self.ledger.lock().ask(key, about, wanted, self.now());
        if samples.pending {
            self.asked.notify_one();
        }
        samples
    }

    /// Drops what is known for an autoscaler.
    pub(in crate::controllers::pod_autoscaler) fn forget(&self, key: &Key) {
        self.ledger.lock().forget(key);
    }

    /// Carries out the reads, until dropped. `wake` gets each autoscaler whose round is complete, once
    /// per round.
    pub(in crate::controllers::pod_autoscaler) async fn run(
        &self,
        reader: &impl ReadOrigins,
        wake: impl Fn(Key),
    ) {
        let mut under_way = FuturesUnordered::new();
        loop {
            let overdue = self.ledger.lock().overdue(self.now());
            overdue.into_iter().for_each(&wake);
            loop {
                let next = self.ledger.lock().next_job(self.clock.instant());
                let Some(job) = next else { break };
                under_way.push(read(reader, job));
            }
            let moment = self.ledger.lock().next_moment();
            let due = async {
                match moment {
                    Some(moment) => tokio::time::sleep_until(moment).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((job, outcome)) = under_way.next() => {
                    let complete = self.ledger.lock().ended(&job, outcome, self.now());
                    complete.into_iter().for_each(&wake);
                }
                () = self.asked.notified() => {}
                () = due => {}
            }
        }
    }

    fn now(&self) -> Now {
        Now { instant: self.clock.instant(), wall: self.clock.now() }
    }
}

async fn read(reader: &impl ReadOrigins, job: Job) -> (Job, Outcome) {
    let outcome = match tokio::time::timeout(LONGEST_READ, reader.read(&job.origin, &job.families)).await {
        Ok(read) => read.map(std::sync::Arc::new),
        Err(_) => Err(SampleError(format!("{}: no answer in time", job.origin))),
    };
    (job, outcome)
}
