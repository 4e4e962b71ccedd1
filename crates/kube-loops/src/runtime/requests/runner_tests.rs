// SPDX-License-Identifier: Apache-2.0
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;
use kube_fenced_election::clock::{Clock as _, Instant, SystemClock};
use parking_lot::Mutex;

use super::{
    Job, Lane, RequestScheduler,
    runner::{Now, RequestBook, Requests, SendRequest},
};
use crate::runtime::reconciler::Key;

const LIMIT: Duration = Duration::from_secs(5);

/// Requests by name, with what came of each.
struct Book {
    requests: RequestScheduler<&'static str>,
    ended: Vec<(&'static str, Option<usize>)>,
}

impl RequestBook for Book {
    type Request = &'static str;
    type Answer = usize;

    fn next(&mut self, now: Instant) -> Option<Job<&'static str>> {
        self.requests.next(now).map(|job| job.map(|name| *name))
    }

    fn next_moment(&self) -> Option<Instant> {
        self.requests.next_moment()
    }

    fn ended(&mut self, number: u64, name: &'static str, answer: Option<usize>, _: Now) -> Vec<Key> {
        if self.requests.ended(&name, number).is_none() {
            return Vec::new();
        }
        self.ended.push((name, answer));
        vec![Key::new("ns", name)]
    }
}

fn requests() -> Requests<Book> {
    let lane = Lane { at_once: 8, per_host: 8, time_limit: LIMIT, slow: None };
    let book = Book { requests: RequestScheduler::new(&[lane], |name| name), ended: Vec::new() };
    Requests::new(book, Arc::new(SystemClock))
}

/// Answers with the number of requests so far, but never to `hang`. `abort` has `hang` and `later` aborted.
struct Sender<'a> {
    requests: &'a Requests<Book>,
    sent: AtomicUsize,
    names: Mutex<Vec<&'static str>>,
}

impl SendRequest<Book> for Sender<'_> {
    async fn send(&self, name: &&'static str) -> usize {
        self.names.lock().push(name);
        match *name {
            "hang" => std::future::pending().await,
            "abort" => self.requests.with(|book, _| {
                book.requests.abort(&"hang");
                book.requests.abort(&"later");
            }),
            _ => {}
        }
        self.sent.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn sender(requests: &Requests<Book>) -> Sender<'_> {
    Sender { requests, sent: AtomicUsize::new(0), names: Mutex::default() }
}

fn schedule(requests: &Requests<Book>, names: &[&'static str]) {
    for name in names {
        requests.with(|book, now| book.requests.schedule(*name, 0, now.instant));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_ends_at_its_deadline_and_delays_no_other() {
    let (requests, start) = (requests(), SystemClock.instant());
    let sender = sender(&requests);
    schedule(&requests, &["hang", "one"]);
    let (woken, mut wakes) = tokio::sync::mpsc::unbounded_channel();
    let wake = |key: Key| woken.send((key.name, SystemClock.instant() - start)).unwrap();
    let ends = async { [wakes.recv().await.unwrap(), wakes.recv().await.unwrap()] };
    let ends = tokio::select! {
        ends = ends => ends,
        () = requests.run(&sender, wake) => panic!("it runs until it is dropped"),
    };
    assert_eq!(ends[0], ("one".to_owned(), Duration::ZERO));
    assert_eq!((ends[1].0.as_str(), ends[1].1.as_secs()), ("hang", LIMIT.as_secs()));
    requests.with(|book, _| assert_eq!(book.ended, [("one", Some(1)), ("hang", None)]));
}

#[tokio::test]
async fn an_abort_ends_what_was_sent_and_keeps_back_what_was_not() {
    let requests = requests();
    let sender = sender(&requests);
    schedule(&requests, &["hang", "abort", "later", "last"]);
    let running = requests.run(&sender, |_| {}).now_or_never();
    assert!(running.is_none(), "it runs until it is dropped");
    assert!(!sender.names.lock().contains(&"later"), "{:?}", sender.names.lock());
    requests.with(|book, _| {
        let ended: Vec<_> = book.ended.iter().map(|(name, _)| *name).collect();
        assert_eq!(ended, ["abort", "last"]);
        assert!(book.requests.is_empty());
    });
}

#[tokio::test(start_paused = true)]
async fn a_request_is_sent_when_it_is_due_and_at_once_when_it_is_asked_for_meanwhile() {
    let requests = requests();
    let sender = sender(&requests);
    requests.with(|book, now| book.requests.schedule("later", 0, now.instant + Duration::from_mins(1)));
    let asking = async {
        tokio::time::sleep(Duration::from_secs(59)).await;
        assert_eq!(*sender.names.lock(), [""; 0]);
        schedule(&requests, &["now"]);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(*sender.names.lock(), ["now"]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(*sender.names.lock(), ["now", "later"]);
    };
    tokio::select! {
        () = asking => {}
        () = requests.run(&sender, |_| {}) => panic!("it runs until it is dropped"),
    }
}
