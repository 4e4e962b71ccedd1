// SPDX-License-Identifier: Apache-2.0
//! Sends events, one after the other, from a bounded queue.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{Event, EventSource},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use kube_fenced_election::clock::SharedClock;

use super::{
    correlator::{Correlator, Verdict},
    draft::EventDraft,
};

/// Events that wait to be sent; more are dropped.
const QUEUE: usize = 1000;
/// Tries of one event, and the pause between them.
const TRIES: u32 = 12;
const PAUSE: Duration = Duration::from_secs(10);
/// Bound of one request.
const REQUEST: Duration = Duration::from_secs(10);
/// Recorded as the writer of events, as of all other writes.
const FIELD_MANAGER: &str = "manager";

enum Order {
    Send(Box<EventDraft>),
    Flush(oneshot::Sender<()>),
}

/// Takes events and never waits. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Order>,
    dropped: Arc<AtomicU64>,
}

/// Sends what recorders took; its owner runs it.
pub struct RecorderTask {
    orders: mpsc::Receiver<Order>,
    client: Client,
    component: String,
    clock: SharedClock,
    correlator: Correlator,
}

impl std::fmt::Debug for RecorderTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecorderTask").field("component", &self.component).finish_non_exhaustive()
    }
}

impl Recorder {
    /// A recorder whose events have `component` as their source, and the task that sends them with `client`.
    pub fn new(client: Client, component: impl Into<String>, clock: SharedClock) -> (Self, RecorderTask) {
        let (queue, orders) = mpsc::channel(QUEUE);
        let component = component.into();
        let task = RecorderTask { orders, client, component, clock, correlator: Correlator::default() };
        (Self { queue, dropped: Arc::default() }, task)
    }

    /// Queues an event. It is dropped when the queue is full or its task has ended.
    pub fn publish(&self, draft: EventDraft) {
        if self.queue.try_send(Order::Send(Box::new(draft.fitting()))).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed);
            if dropped.is_multiple_of(100) {
                tracing::warn!(dropped = dropped + 1, "event queue is full or closed, dropping events");
            }
        }
    }

    /// Waits until everything that was published before has been sent or given up, at most `within`.
    pub async fn flush(&self, within: Duration) {
        let (done, sent) = oneshot::channel();
        let flushed = async {
            if self.queue.send(Order::Flush(done)).await.is_ok() {
                // An ended task answers by dropping the sender, which is as final.
                sent.await.ok();
            }
        };
        if tokio::time::timeout(within, flushed).await.is_err() {
            tracing::debug!("events were not flushed in time");
        }
    }
}

/// Why an event was not sent.
enum Failed {
    /// The event to count up is gone.
    Gone,
    /// The server will never take it.
    Refused(kube::Error),
    /// Worth another try.
    Trouble(String),
}

impl RecorderTask {
    /// Sends until all recorders are gone.
    pub async fn run(mut self) {
        while let Some(order) = self.orders.recv().await {
            match order {
                Order::Send(draft) => self.send(*draft).await,
                Order::Flush(done) => {
                    // Nobody waits any more when this fails.
                    done.send(()).ok();
                }
            }
        }
    }

    async fn send(&mut self, draft: EventDraft) {
        for attempt in 1..=TRIES {
            if attempt > 1 {
                tokio::time::sleep(PAUSE).await;
            }
            let verdict =
                if attempt == 1 { Some(self.correlator.judge(&draft, self.clock.instant())) } else { None };
            let failed = match verdict.unwrap_or_else(|| self.correlator.again(&draft)) {
                Verdict::Drop => return,
                Verdict::Create { key, message } => match self.create(&draft, &message).await {
                    Ok(name) => return self.correlator.created(key, name, self.clock.instant()),
                    Err(failed) => failed,
                },
                Verdict::CountUp { key, name, count, message } => {
                    match self.count_up(&draft, &name, count, &message).await {
                        Ok(()) => return,
                        Err(Failed::Gone) => {
                            self.correlator.gone(&key);
                            match self.create(&draft, &message).await {
                                Ok(name) => return self.correlator.created(key, name, self.clock.instant()),
                                Err(failed) => failed,
                            }
                        }
                        Err(failed) => failed,
                    }
                }
            };
            match failed {
                Failed::Refused(error) => {
                    tracing::warn!(reason = %draft.reason, error = %error, "server rejected event (will not retry!)");
                    return;
                }
                Failed::Gone => return,
                Failed::Trouble(error) => tracing::debug!(attempt, error = %error, "unable to write event"),
            }
        }
        tracing::warn!(reason = %draft.reason, "unable to write event, giving up");
    }

    async fn create(&self, draft: &EventDraft, message: &str) -> Result<String, Failed> {
        let now = self.clock.now();
        let object = draft.regarding.name.clone().unwrap_or_default();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{object}.{:x}", now.as_nanosecond())),
                namespace: Some(draft.namespace().to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: draft.regarding.clone(),
            reason: Some(draft.reason.clone()),
            message: Some(message.to_owned()),
            type_: Some(draft.severity.name().to_owned()),
            source: Some(EventSource { component: Some(self.component.clone()), host: None }),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            reporting_component: Some(self.component.clone()),
            reporting_instance: Some(String::new()),
            ..Event::default()
        };
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let created = bounded(self.api(draft).create(&params, &event)).await?;
        Ok(created.metadata.name.unwrap_or_default())
    }

    async fn count_up(
        &self,
        draft: &EventDraft,
        name: &str,
        count: i32,
        message: &str,
    ) -> Result<(), Failed> {
        let patch = json!({"count": count, "lastTimestamp": Time(self.clock.now()), "message": message});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        bounded(self.api(draft).patch(name, &params, &Patch::Merge(&patch))).await.map(drop)
    }

    fn api(&self, draft: &EventDraft) -> Api<Event> {
        Api::namespaced(self.client.clone(), draft.namespace())
    }
}

/// What a failed request means for another try.
fn sorted(error: kube::Error) -> Failed {
    let code = if let kube::Error::Api(status) = &error { Some(status.code) } else { None };
    match code {
        Some(404) => Failed::Gone,
        Some(code) if code != 429 && code < 500 => Failed::Refused(error),
        Some(_) | None => Failed::Trouble(error.to_string()),
    }
}

async fn bounded<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failed> {
    match tokio::time::timeout(REQUEST, request).await {
        Err(_) => Err(Failed::Trouble(format!("no answer within {REQUEST:?}"))),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(sorted(error)),
    }
}
