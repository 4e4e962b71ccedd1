// SPDX-License-Identifier: Apache-2.0
//! The ledger with its calls carried out, all of them within the task of the loop: none outlives the term.

use std::{collections::HashMap, future::Future, sync::Arc};

use futures::{
    FutureExt, StreamExt,
    future::{AbortHandle, AbortRegistration, Abortable},
    stream::FuturesUnordered,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    controllers::model_adapter::{
        calls::{Call, Ended, Job, Models, Order},
        ledger::Ledger,
    },
    engine::endpoint::Endpoint,
};
use kube_fenced_election::clock::SharedClock;
use kube_loops::runtime::reconciler::Key;

/// How engines are called.
pub(in crate::controllers::model_adapter) trait CallEngines:
    Send + Sync
{
    /// The models that an engine lists.
    fn models(&self, endpoint: &Endpoint) -> impl Future<Output = Models> + Send;
    /// Carries out a change.
    fn change(&self, order: &Order) -> impl Future<Output = Ended> + Send;
}

/// Calls of one term, shared by its passes and the task that runs [`Calls::run`].
#[derive(Debug)]
pub(in crate::controllers::model_adapter) struct Calls {
    /// What is known and due.
    pub(super) ledger: Mutex<Ledger>,
    /// Something was asked for or ordered.
    asked: Notify,
    /// Changes under way.
    aborts: Mutex<HashMap<u64, AbortHandle>>,
    clock: SharedClock,
}

/// What came of a call.
enum Came {
    Models(Job, Models),
    Change(Job, Ended),
    Aborted,
}

impl Calls {
    /// No call.
    pub(in crate::controllers::model_adapter) fn new(clock: SharedClock) -> Self {
        Self { ledger: Mutex::default(), asked: Notify::new(), aborts: Mutex::default(), clock }
    }

    /// There may be something to do.
    pub(super) fn look(&self) {
        self.asked.notify_one();
    }

    /// Orders a change, in place of a load that is in the way of an unload.
    pub(in crate::controllers::model_adapter) fn order(&self, order: Order) {
        let aborted = self.ledger.lock().order(order);
        if let Some(abort) = aborted.and_then(|number| self.aborts.lock().remove(&number)) {
            abort.abort();
        }
        self.look();
    }

    /// Carries out the calls, until dropped. `wake` gets each adapter to which an end is news.
    pub(in crate::controllers::model_adapter) async fn run(
        &self,
        engines: &impl CallEngines,
        wake: impl Fn(Key),
    ) {
        let mut under_way = FuturesUnordered::new();
        loop {
            loop {
                let Some((job, aborted)) = self.next_job() else { break };
                under_way.push(carry_out(engines, job, aborted).boxed());
            }
            let moment = self.ledger.lock().next_moment();
            let due = async {
                match moment {
                    Some(moment) => tokio::time::sleep_until(moment).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(came) = under_way.next() => self.came(came).into_iter().for_each(&wake),
                () = self.asked.notified() => {}
                () = due => {}
            }
        }
    }

    /// The next call, and what ends a change before its time. Both in one step: an unload that is ordered from
    /// now on finds the load that it replaces, although nothing of it was sent yet.
    fn next_job(&self) -> Option<(Job, AbortRegistration)> {
        let (abort, aborted) = AbortHandle::new_pair();
        let mut ledger = self.ledger.lock();
        let job = ledger.next_job(self.clock.instant())?;
        if matches!(job.call, Call::Change(_)) {
            self.aborts.lock().insert(job.number, abort);
        }
        drop(ledger);
        Some((job, aborted))
    }

    fn came(&self, came: Came) -> Vec<Key> {
        let now = self.clock.instant();
        match came {
            Came::Models(Job { number, call: Call::List { origin, slow } }, models) => {
                self.ledger.lock().listed_all(number, &origin, slow, models, now)
            }
            Came::Change(Job { number, call: Call::Change(order) }, ended) => {
                self.aborts.lock().remove(&number);
                self.ledger.lock().changed(number, &order, &ended, now)
            }
            Came::Models(..) | Came::Change(..) | Came::Aborted => Vec::new(),
        }
    }

    /// The adapter is gone.
    pub(in crate::controllers::model_adapter) fn forget(&self, key: &Key) {
        self.ledger.lock().forget(key);
    }
}

/// Makes a call. A change that was aborted before its first byte sends none.
async fn carry_out(engines: &impl CallEngines, job: Job, aborted: AbortRegistration) -> Came {
    match job.call.clone() {
        Call::List { origin, .. } => Came::Models(job, engines.models(&origin.endpoint).await),
        Call::Change(order) => match Abortable::new(engines.change(&order), aborted).await {
            Ok(ended) => Came::Change(job, ended),
            Err(_) => Came::Aborted,
        },
    }
}

/// Kept apart from the engine's client, so that tests can count and fail calls.
impl<T: CallEngines> CallEngines for Arc<T> {
    fn models(&self, endpoint: &Endpoint) -> impl Future<Output = Models> + Send {
        T::models(self, endpoint)
    }

    fn change(&self, order: &Order) -> impl Future<Output = Ended> + Send {
        T::change(self, order)
    }
}
