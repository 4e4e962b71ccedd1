// SPDX-License-Identifier: Apache-2.0
//! Sends the requests of a book, all of them within the term's own future: none outlives the term. They are not
//! tasks of their own, because an aborted task may run until its next await, side by side with the request that
//! replaces it.

use std::future::Future;

use futures::{StreamExt, future::Abortable, stream::FuturesUnordered};
use kube_fenced_election::clock::{Instant, SharedClock, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Job;
use crate::runtime::reconciler::Key;

/// Now, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Monotonic time.
    pub instant: Instant,
    /// Wall time.
    pub wall: Timestamp,
}

/// What a loop knows by its requests, and which are due. Pure.
pub trait RequestBook: Send {
    /// What to send.
    type Request: Send + Sync;
    /// What comes back.
    type Answer: Send;

    /// The next request to send now, if any.
    fn next(&mut self, now: Instant) -> Option<Job<Self::Request>>;

    /// When something becomes due by itself; `None`: nothing does.
    fn next_moment(&self) -> Option<Instant>;

    /// A job has ended; `answer` is `None` when there was none in time. Returns the objects to which that is news.
    fn ended(
        &mut self,
        number: u64,
        request: Self::Request,
        answer: Option<Self::Answer>,
        now: Now,
    ) -> Vec<Key>;

    /// Ends what waits for answers and has waited long enough. Returns the objects to which that is news.
    fn overdue(&mut self, _now: Now) -> Vec<Key> {
        Vec::new()
    }
}

/// How requests are sent. A request that changes something asks the fence of the term first.
pub trait SendRequest<B: RequestBook>: Send + Sync {
    /// Sends one.
    fn send(&self, request: &B::Request) -> impl Future<Output = B::Answer> + Send;
}

/// The requests of one term, shared by its passes and the task that runs [`Requests::run`].
#[derive(Debug)]
pub struct Requests<B> {
    book: Mutex<B>,
    changed: Notify,
    clock: SharedClock,
}

impl<B: RequestBook> Requests<B> {
    /// Shares a book.
    pub fn new(book: B, clock: SharedClock) -> Self {
        Self { book: Mutex::new(book), changed: Notify::new(), clock }
    }

    /// Reads the book or writes in it. What becomes due by that is sent at once.
    pub fn with<T>(&self, work: impl FnOnce(&mut B, Now) -> T) -> T {
        let result = work(&mut self.book.lock(), self.now());
        self.changed.notify_one();
        result
    }

    /// Sends the requests, until dropped. `wake` gets each object to which an end is news.
    pub async fn run(&self, sender: &impl SendRequest<B>, wake: impl Fn(Key)) {
        let mut under_way = FuturesUnordered::new();
        loop {
            let (overdue, moment) = {
                let (mut book, now) = (self.book.lock(), self.now());
                let overdue = book.overdue(now);
                while let Some(job) = book.next(now.instant) {
                    under_way.push(carry_out(sender, job));
                }
                (overdue, book.next_moment())
            };
            overdue.into_iter().for_each(&wake);
            let due = async {
                match moment {
                    Some(moment) => tokio::time::sleep_until(moment).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(ended) = under_way.next() => {
                    if let Some((number, request, answer)) = ended {
                        let news = self.book.lock().ended(number, request, answer, self.now());
                        news.into_iter().for_each(&wake);
                    }
                }
                () = self.changed.notified() => {}
                () = due => {}
            }
        }
    }

    fn now(&self) -> Now {
        Now { instant: self.clock.instant(), wall: self.clock.now() }
    }
}

/// `None`: it was aborted.
async fn carry_out<B: RequestBook>(
    sender: &impl SendRequest<B>,
    job: Job<B::Request>,
) -> Option<(u64, B::Request, Option<B::Answer>)> {
    let Job { number, request, deadline, aborted, .. } = job;
    let sent = async { sender.send(&request).await };
    let answer = Abortable::new(tokio::time::timeout_at(deadline, sent), aborted).await.ok()?;
    Some((number, request, answer.ok()))
}
