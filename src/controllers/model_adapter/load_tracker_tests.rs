// SPDX-License-Identifier: Apache-2.0
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    api::model::{ModelAdapter, ModelAdapterSpec},
    engine::{
        endpoint::{Dialect, Endpoint, Token},
        models::ListedModel,
    },
};
use kube_fenced_election::clock::{Clock, Instant, SystemClock};
use kube_loops::runtime::{
    reconciler::Key,
    requests::{Job, runner::RequestBook as _},
};

use super::{
    calls::{Call, Ended, Models, Order, Origin, What},
    load_retry::{LoadFailure, delay_after},
    load_tracker::{Asked, LoadTracker},
    model_lists::ANSWERING,
    snapshot::{Change, EngineSeen, Listed},
    source::Source,
};

const SECOND: Duration = Duration::from_secs(1);

fn endpoint(host: &str, token: Option<&str>) -> Endpoint {
    let token = token.map(|token| Token::new(token).unwrap());
    Endpoint { host: host.to_owned(), port: 8000, dialect: Dialect::Vllm, token }
}

fn origin(pod: &str) -> Origin {
    Origin { pod: pod.into(), endpoint: endpoint("10.0.0.1", None) }
}

fn key(name: &str) -> Key {
    Key::new("ns", name)
}

fn source() -> Arc<Source> {
    Arc::new(Source::of(&ModelAdapter::new("sql", ModelAdapterSpec::default())))
}

fn order(name: &str, pod: &str, what: What) -> Order {
    Order { key: key(name), uid: "u".into(), generation: None, origin: origin(pod), ready_since: None, what }
}

fn load(reload: bool) -> What {
    What::Load { source: source(), reload }
}

fn seen(tracker: &mut LoadTracker, name: &str, pod: &str, now: Instant) -> EngineSeen {
    let (key, endpoint) = (key(name), endpoint("10.0.0.1", None));
    let asked = Asked {
        key: &key,
        uid: "u",
        generation: None,
        pod,
        ready_since: None,
        endpoint: Some(&endpoint),
        root: None,
        vouched: false,
    };
    tracker.seen(asked, now)
}

fn adapter(id: &str) -> ListedModel {
    ListedModel { id: id.to_owned(), is_adapter: true, root: None }
}

/// Starts all that is due and ends each list with these models.
fn list_all(tracker: &mut LoadTracker, models: &[&str], now: Instant) -> (usize, Vec<Key>) {
    let (mut lists, mut news) = (0, Vec::new());
    while let Some(job) = tracker.next(now) {
        let Call::List(origin) = job.request else { panic!("a change is due") };
        let models = Models::Known(models.iter().map(|it| adapter(it)).collect());
        news.extend(tracker.listed(job.number, &origin, models, now));
        lists += 1;
    }
    news.sort();
    (lists, news)
}

fn next_change(tracker: &mut LoadTracker, now: Instant) -> (Job<()>, Arc<Order>) {
    let Some(job) = tracker.next(now) else { panic!("nothing is due") };
    let Call::Change(order) = job.request.clone() else { panic!("a list is due") };
    (job.map(drop), order)
}

#[test]
fn adapters_of_a_pod_share_one_list_a_period() {
    let (mut tracker, start) = (LoadTracker::default(), SystemClock.instant());
    for number in 0..10 {
        tracker.watch(&key(&format!("lora-{number}")), [origin("a")], start);
    }
    assert_eq!(list_all(&mut tracker, &[], start).0, 1);
    let mut lists = 0;
    for second in 1..=60 {
        lists += list_all(&mut tracker, &[], start + SECOND * second).0;
    }
    assert_eq!(lists, 6);
}

#[test]
fn each_token_has_a_list_of_its_own() {
    let (mut tracker, start) = (LoadTracker::default(), SystemClock.instant());
    let with = |token| Origin { pod: "a".into(), endpoint: endpoint("10.0.0.1", Some(token)) };
    tracker.watch(&key("one"), [with("x")], start);
    tracker.watch(&key("two"), [with("y")], start);
    tracker.watch(&key("three"), [with("x")], start);
    assert_eq!(list_all(&mut tracker, &[], start).0, 2);
}

#[test]
fn only_those_hear_of_a_list_to_whom_it_is_news() {
    let (mut tracker, start) = (LoadTracker::default(), SystemClock.instant());
    for name in ["here", "there"] {
        tracker.watch(&key(name), [origin("a")], start);
    }
    assert_eq!(list_all(&mut tracker, &["here"], start).1, [key("here"), key("there")]);
    for name in ["here", "there"] {
        let listed = seen(&mut tracker, name, "a", start).listed;
        assert_eq!(listed, Listed::Known(name == "here"));
    }
    assert_eq!(list_all(&mut tracker, &["here"], start + SECOND * 10).1, []);
    assert_eq!(list_all(&mut tracker, &[], start + SECOND * 20).1, [key("here")]);
}

#[test]
fn a_list_that_nobody_looks_at_is_not_asked_for() {
    let (mut tracker, start) = (LoadTracker::default(), SystemClock.instant());
    tracker.watch(&key("one"), [origin("a"), origin("b")], start);
    tracker.watch(&key("one"), [origin("b")], start);
    assert_eq!(list_all(&mut tracker, &[], start).0, 1);
    tracker.forget(&key("one"));
    assert_eq!((list_all(&mut tracker, &[], start + SECOND * 60).0, tracker.next_moment()), (0, None));
}

#[test]
fn nothing_is_ordered_beside_a_load_but_what_takes_its_place() {
    let (mut tracker, start) = (LoadTracker::default(), SystemClock.instant());
    tracker.order(order("sql", "a", load(false)), start);
    tracker.order(order("sql", "a", load(false)), start);
    let (load_job, under_way) = next_change(&mut tracker, start);
    assert!(tracker.next(start).is_none());
    tracker.order(order("sql", "a", load(true)), start);
    assert!(tracker.next(start).is_none());
    tracker.order(order("sql", "a", What::Unload), start);
    assert!(load_job.aborted.handle().is_aborted());
    assert_eq!(seen(&mut tracker, "sql", "a", start).call, Some(Change::Unload));
    // The end of what was aborted says nothing any more.
    assert_eq!(tracker.changed(load_job.number, &under_way, &Ended::Well, start), []);
    let (job, unload) = next_change(&mut tracker, start);
    assert_eq!(tracker.changed(job.number, &unload, &Ended::Well, start), [key("sql")]);
    assert_eq!(seen(&mut tracker, "sql", "a", start).unloaded, Some(true));
}

#[test]
fn a_load_that_ends_during_a_list_is_told_by_another_list() {
    let (mut tracker, start) = (LoadTracker::default(), SystemClock.instant());
    tracker.watch(&key("sql"), [origin("a")], start);
    tracker.order(order("sql", "a", load(false)), start);
    let (job, order) = next_change(&mut tracker, start);
    let list = tracker.next(start).unwrap();
    tracker.changed(job.number, &order, &Ended::Well, start + SECOND);
    let Call::List(origin) = list.request else { panic!("no list") };
    tracker.listed(list.number, &origin, Models::Known(Vec::new()), start + SECOND * 2);
    assert_eq!(seen(&mut tracker, "sql", "a", start).call, Some(Change::Load));
    assert_eq!(list_all(&mut tracker, &["sql"], start + SECOND * 2), (1, vec![key("sql")]));
    let engine = seen(&mut tracker, "sql", "a", start);
    assert_eq!((engine.call, engine.listed), (None, Listed::Known(true)));
}

#[test]
fn a_failed_load_is_looked_at_again_soon() {
    let (mut tracker, start) = (LoadTracker::default(), SystemClock.instant());
    tracker.watch(&key("sql"), [origin("a")], start);
    list_all(&mut tracker, &[], start);
    tracker.order(order("sql", "a", load(false)), start);
    let (job, order) = next_change(&mut tracker, start);
    let ended = Ended::Badly { kind: LoadFailure::Lasting, error: "no".into(), answered: true };
    tracker.changed(job.number, &order, &ended, start);
    let failed = seen(&mut tracker, "sql", "a", start).failed.unwrap();
    assert_eq!((failed.failures, failed.retry_in), (1, SECOND * 10));
    assert_eq!(tracker.next_moment(), Some(start + SECOND));
    list_all(&mut tracker, &["sql"], start + SECOND);
    assert_eq!(seen(&mut tracker, "sql", "a", start).listed, Listed::Known(true));
}

#[test]
fn silent_engines_do_not_take_the_room_of_others() {
    let (mut tracker, start) = (LoadTracker::default(), SystemClock.instant());
    let pods: Vec<String> = (0..1000).map(|number| format!("pod-{number}")).collect();
    for pod in &pods {
        tracker.watch(&key(pod), [origin(pod)], start);
    }
    let silent = || Models::Unknown { error: "no answer".into(), silent: true };
    let mut now = start;
    while let Some(job) = tracker.next(now) {
        let Call::List(origin) = job.request else { panic!("no list") };
        tracker.listed(job.number, &origin, silent(), now);
    }
    now += SECOND * 10;
    let mut under_way = 0;
    while tracker.next(now).is_some() {
        under_way += 1;
    }
    assert!((1..=128).contains(&under_way), "{under_way}");
    tracker.watch(&key("sql"), [origin("healthy")], now);
    let job = tracker.next(now).unwrap();
    assert_eq!(job.lane, ANSWERING);
    assert!(matches!(job.request, Call::List(origin) if *origin.pod == *"healthy"));
}

#[test]
fn loads_that_hang_on_one_pod_leave_room_for_other_pods() {
    let (mut tracker, start) = (LoadTracker::default(), SystemClock.instant());
    for number in 0..100 {
        tracker.order(order(&format!("lora-{number}"), "hung", load(false)), start);
    }
    tracker.order(order("sql", "healthy", load(false)), start);
    let mut on: BTreeMap<Box<str>, usize> = BTreeMap::new();
    while let Some(Job { request: Call::Change(order), .. }) = tracker.next(start) {
        *on.entry(order.origin.pod.clone()).or_default() += 1;
    }
    assert_eq!(on, [("hung".into(), 8), ("healthy".into(), 1)].into());
}

#[test]
fn waits_grow_to_five_minutes() {
    let waits = |failure| [1, 2, 3, 4, 5, 6, 7, u32::MAX].map(|k| delay_after(failure, k).as_secs());
    assert_eq!(waits(LoadFailure::Lasting), [10, 20, 40, 80, 160, 300, 300, 300]);
    assert_eq!(waits(LoadFailure::Transient), [10, 10, 10, 10, 10, 300, 300, 300]);
}
