// SPDX-License-Identifier: Apache-2.0
//! Sends events from a bounded queue. One that cannot be sent keeps no other from being sent.

use std::{
    collections::VecDeque,
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

use kube_fenced_election::clock::{Instant, SharedClock};

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
    Transient(String),
}

/// An event that is tried again later.
struct Waiting {
    draft: Box<EventDraft>,
    /// Its place among all events of the recorder.
    number: u64,
    tries: u32,
    due: Instant,
}

impl RecorderTask {
    /// Takes the events that wait to be sent: they are not sent any more.
    pub fn take(&mut self) -> Vec<EventDraft> {
        let orders = std::iter::from_fn(|| self.orders.try_recv().ok());
        orders.filter_map(|order| if let Order::Send(draft) = order { Some(*draft) } else { None }).collect()
    }

    /// Sends until all recorders are gone. An event in trouble waits for its next try beside the queue, not in front
    /// of it: others are sent meanwhile.
    pub async fn run(mut self) {
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        // Each with the number of the first event that was published after it.
        let mut flushes: Vec<(u64, oneshot::Sender<()>)> = Vec::new();
        let mut taken = 0;
        loop {
            // All wait equally long, so the first is due first.
            let due = waiting.front().map(|first| first.due);
            let event = tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Send(draft)) => {
                        taken += 1;
                        Some(Waiting { draft, number: taken - 1, tries: 0, due: self.clock.instant() })
                    }
                    Some(Order::Flush(done)) => {
                        flushes.push((taken, done));
                        None
                    }
                    None => return,
                },
                () = at(due) => waiting.pop_front(),
            };
            if let Some(mut event) = event
                && self.is_to_be_tried_again(&event.draft, event.tries).await
            {
                event.tries += 1;
                event.due = self.clock.instant() + PAUSE;
                waiting.push_back(event);
                if waiting.len() > QUEUE {
                    waiting.pop_front();
                    tracing::warn!("too many events wait for the API server, dropping the oldest");
                }
            }
            let settled = |before: u64| waiting.iter().all(|event| event.number >= before);
            for (_, done) in flushes.extract_if(.., |(before, _)| settled(*before)) {
                // Nobody waits any more when this fails.
                done.send(()).ok();
            }
        }
    }

    /// Tries to send an event that was tried this often before.
    async fn is_to_be_tried_again(&mut self, draft: &EventDraft, tries: u32) -> bool {
        let verdict = if tries == 0 {
            self.correlator.judge(draft, self.clock.instant())
        } else {
            self.correlator.again(draft)
        };
        let failed = match verdict {
            Verdict::Drop => return false,
            Verdict::Create { key, message } => match self.create(draft, &message).await {
                Ok(name) => {
                    self.correlator.created(key, name, self.clock.instant());
                    return false;
                }
                Err(failed) => failed,
            },
            Verdict::CountUp { key, name, count, message } => {
                match self.count_up(draft, &name, count, &message).await {
                    Ok(()) => return false,
                    Err(Failed::Gone) => {
                        self.correlator.gone(&key);
                        match self.create(draft, &message).await {
                            Ok(name) => {
                                self.correlator.created(key, name, self.clock.instant());
                                return false;
                            }
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
                false
            }
            Failed::Gone => false,
            Failed::Transient(error) if tries + 1 < TRIES => {
                tracing::debug!(attempt = tries + 1, error = %error, "unable to write event");
                true
            }
            Failed::Transient(error) => {
                tracing::warn!(reason = %draft.reason, error = %error, "unable to write event, giving up");
                false
            }
        }
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
        Some(_) | None => Failed::Transient(error.to_string()),
    }
}

/// Waits until then; for ever without a moment.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn bounded<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failed> {
    match tokio::time::timeout(REQUEST, request).await {
        Err(_) => Err(Failed::Transient(format!("no answer within {REQUEST:?}"))),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(sorted(error)),
    }
}
