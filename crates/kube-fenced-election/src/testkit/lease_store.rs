// SPDX-License-Identifier: Apache-2.0
//! An API server in memory that serves Leases: optimistic concurrency, merge patches, watches, and
//! faults on demand.
//!
//! Faithful where elections depend on it: every write gets a new `resourceVersion`, a patch with an
//! outdated one is answered with 409, a patch that changes nothing writes nothing, durations and
//! transitions are validated, watches deliver every change in order and deletions with a version of
//! their own. Namespaces are not told apart.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::BoxError;

use crate::clock::{Clock, Instant, SystemClock};

/// What a [`Link`] does to requests that are sent through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// They pass.
    None,
    /// They take this long to reach the server; their answers come at once.
    Slow(Duration),
    /// They wait until the fault is over, and are then handled.
    Hang,
    /// They never reach the server and are never answered.
    Lost,
    /// They are handled, but never answered.
    Unanswered,
    /// They are answered with this status.
    Refused(u16),
}

/// The way of one client to the server.
#[derive(Debug, Clone)]
pub struct Link {
    name: Arc<str>,
    requests: watch::Sender<Fault>,
    writes: Arc<Mutex<BTreeMap<String, Writes>>>,
    watches_stalled: watch::Sender<bool>,
    watches_broken: watch::Sender<u64>,
}

impl Link {
    /// Sets what happens to requests other than watches from now on.
    pub fn requests(&self, fault: Fault) {
        self.requests.send_replace(fault);
    }

    /// Does this to the next `count` requests that patch the Lease `name`, whatever happens to others.
    pub fn patches(&self, name: &str, count: usize, fault: Fault) {
        self.writes.lock().insert(name.to_owned(), Writes { left: count, fault });
    }

    /// What happens to a request now.
    fn fault_for(&self, method: &Method, name: &str) -> Fault {
        if *method == Method::PATCH
            && let Some(writes) = self.writes.lock().get_mut(name).filter(|writes| writes.left > 0)
        {
            writes.left -= 1;
            return writes.fault.clone();
        }
        self.requests.borrow().clone()
    }

    /// Holds back what watches deliver, or lets it go.
    pub fn stall_watches(&self, stalled: bool) {
        self.watches_stalled.send_replace(stalled);
    }

    /// Breaks the watches that are open now.
    pub fn break_watches(&self) {
        self.watches_broken.send_modify(|count| *count += 1);
    }
}

/// What happens to the next writes of a Lease.
#[derive(Debug)]
struct Writes {
    left: usize,
    fault: Fault,
}

/// A request that reached the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Name of the link.
    pub link: Arc<str>,
    /// Verb; `WATCH` and `LIST` are told apart from `GET`.
    pub verb: &'static str,
    /// Name of the Lease; empty for collections.
    pub lease: String,
    /// Status of the answer.
    pub code: u16,
    /// Field manager that the request names.
    pub field_manager: Option<String>,
    /// When.
    pub at: Instant,
}

#[derive(Debug, Default)]
struct State {
    leases: BTreeMap<String, Value>,
    version: u64,
    /// Every change: version, type, object.
    history: Vec<(u64, &'static str, Value)>,
    served: Vec<Served>,
    /// Labels that every write gets.
    stamped: BTreeMap<String, String>,
}

/// The server.
#[derive(Debug, Clone)]
pub struct LeaseStore {
    state: Arc<Mutex<State>>,
    version: watch::Sender<u64>,
}

impl Default for LeaseStore {
    fn default() -> Self {
        Self { state: Arc::default(), version: watch::Sender::new(0) }
    }
}

type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

/// An answer before it is put into HTTP.
struct Answer(StatusCode, Value);

impl LeaseStore {
    /// A server without Leases.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on an admission policy sets this label on every Lease that is written.
    pub fn stamp(&self, label: &str, value: &str) {
        self.state.lock().stamped.insert(label.to_owned(), value.to_owned());
    }

    /// A client with a way of its own.
    pub fn client(&self, name: &str) -> (kube::Client, Link) {
        let link = Link {
            name: name.into(),
            requests: watch::Sender::new(Fault::None),
            writes: Arc::default(),
            watches_stalled: watch::Sender::new(false),
            watches_broken: watch::Sender::new(0),
        };
        let (store, way) = (self.clone(), link.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (store, way) = (store.clone(), way.clone());
            async move { store.serve(request, &way).await }
        });
        (kube::Client::new(service, "default"), link)
    }

    /// The Lease as stored.
    pub fn get(&self, name: &str) -> Option<Value> {
        self.state.lock().leases.get(name).cloned()
    }

    /// The stored holder; empty when there is no Lease or no holder.
    pub fn holder(&self, name: &str) -> String {
        let lease = self.get(name).unwrap_or_default();
        lease.pointer("/spec/holderIdentity").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Merges `patch` into the Lease, creating it if need be: somebody else's hand. Not validated.
    pub fn edit(&self, name: &str, patch: &Value) {
        let mut state = self.state.lock();
        let known = state.leases.contains_key(name);
        let mut lease =
            state.leases.get(name).cloned().unwrap_or_else(|| json!({ "metadata": {"name": name} }));
        json_patch::merge(&mut lease, patch);
        self.store(&mut state, name, lease, known);
    }

    /// Deletes the Lease.
    pub fn delete(&self, name: &str) {
        let mut state = self.state.lock();
        self.remove(&mut state, name);
    }

    /// Every request that reached the server so far.
    pub fn served(&self) -> Vec<Served> {
        self.state.lock().served.clone()
    }

    /// Resolves when `done` holds for the Lease; for ever if it never does.
    pub async fn until(&self, name: &str, mut done: impl FnMut(&Value) -> bool) {
        let mut version = self.version.subscribe();
        while !done(&self.get(name).unwrap_or_default()) {
            if version.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn store(&self, state: &mut State, name: &str, mut lease: Value, known: bool) -> Value {
        state.version += 1;
        let version = state.version;
        if let Some(lease) = lease.as_object_mut() {
            lease.insert("apiVersion".into(), json!("coordination.k8s.io/v1"));
            lease.insert("kind".into(), json!("Lease"));
            if let Some(metadata) = lease.entry("metadata").or_insert_with(|| json!({})).as_object_mut() {
                metadata.insert("name".into(), json!(name));
                metadata.insert("resourceVersion".into(), json!(version.to_string()));
                metadata.entry("uid").or_insert_with(|| json!(format!("uid-{version}")));
                let labels = metadata.entry("labels").or_insert_with(|| json!({}));
                for (label, value) in &state.stamped {
                    labels[label] = json!(value);
                }
            }
        }
        state.leases.insert(name.to_owned(), lease.clone());
        state.history.push((version, if known { "MODIFIED" } else { "ADDED" }, lease.clone()));
        self.version.send_replace(version);
        lease
    }

    fn remove(&self, state: &mut State, name: &str) -> Option<Value> {
        let mut lease = state.leases.remove(name)?;
        state.version += 1;
        let version = state.version;
        if let Some(metadata) = lease.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".into(), json!(version.to_string()));
        }
        state.history.push((version, "DELETED", lease.clone()));
        self.version.send_replace(version);
        Some(lease)
    }

    async fn serve(self, request: Request<Body>, link: &Link) -> Result<Response<AnyBody>, BoxError> {
        let query = query_of(&request);
        if query.get("watch").is_some_and(|value| value == "true") {
            return self.serve_watch(&query, link);
        }
        let fault = link.fault_for(request.method(), &name_in(&request));
        match &fault {
            Fault::None | Fault::Unanswered => {}
            Fault::Slow(latency) => tokio::time::sleep(*latency).await,
            Fault::Hang => {
                link.requests.subscribe().wait_for(|fault| *fault != Fault::Hang).await?;
            }
            Fault::Lost => std::future::pending().await,
            Fault::Refused(code) => {
                let code = StatusCode::from_u16(*code)?;
                return whole(failure(code, "Refused", "refused by the test"));
            }
        }
        let Answer(code, body) = self.handle(request, &query, link).await?;
        if fault == Fault::Unanswered {
            return std::future::pending().await;
        }
        whole(Answer(code, body))
    }

    async fn handle(
        &self,
        request: Request<Body>,
        query: &BTreeMap<String, String>,
        link: &Link,
    ) -> Result<Answer, BoxError> {
        let name = name_in(&request);
        let (parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await?;
        let sent: Value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? };

        let mut state = self.state.lock();
        let (verb, answer) = match (&parts.method, name.is_empty()) {
            (&Method::GET, true) => ("LIST", list(&state, query)),
            (&Method::GET, false) => ("GET", state.leases.get(&name).map_or_else(not_found, ok)),
            (&Method::POST, true) => ("POST", self.create(&mut state, sent)),
            (&Method::PATCH, false) => ("PATCH", self.patch(&mut state, &name, &sent)),
            (&Method::DELETE, false) => ("DELETE", self.delete_if(&mut state, &name, &sent)),
            _ => ("OTHER", failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "not served here")),
        };
        let at = SystemClock.instant();
        let field_manager = query.get("fieldManager").cloned();
        let code = answer.0.as_u16();
        state.served.push(Served {
            link: Arc::clone(&link.name),
            verb,
            lease: name,
            code,
            field_manager,
            at,
        });
        Ok(answer)
    }

    fn create(&self, state: &mut State, mut lease: Value) -> Answer {
        let name = lease.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if state.leases.contains_key(&name) {
            return failure(StatusCode::CONFLICT, "AlreadyExists", "the lease exists already");
        }
        if let Some(refused) = invalid(&lease) {
            return refused;
        }
        strip_nulls(&mut lease);
        Answer(StatusCode::CREATED, self.store(state, &name, lease, false))
    }

    fn patch(&self, state: &mut State, name: &str, patch: &Value) -> Answer {
        let Some(stored) = state.leases.get(name).cloned() else { return not_found() };
        let version = stored.pointer("/metadata/resourceVersion");
        if patch.pointer("/metadata/resourceVersion").is_some_and(|wanted| Some(wanted) != version) {
            return failure(StatusCode::CONFLICT, "Conflict", "the object has been modified");
        }
        let mut lease = stored.clone();
        json_patch::merge(&mut lease, patch);
        if let Some(refused) = invalid(&lease) {
            return refused;
        }
        if lease == stored {
            return Answer(StatusCode::OK, stored);
        }
        Answer(StatusCode::OK, self.store(state, name, lease, true))
    }

    fn delete_if(&self, state: &mut State, name: &str, options: &Value) -> Answer {
        let Some(stored) = state.leases.get(name) else { return not_found() };
        let differs = |key: &str| {
            options
                .pointer(&format!("/preconditions/{key}"))
                .filter(|wanted| !wanted.is_null())
                .is_some_and(|wanted| stored.pointer(&format!("/metadata/{key}")) != Some(wanted))
        };
        if differs("uid") || differs("resourceVersion") {
            return failure(StatusCode::CONFLICT, "Conflict", "a precondition failed");
        }
        self.remove(state, name).map_or_else(not_found, |lease| Answer(StatusCode::OK, lease))
    }

    fn serve_watch(
        &self,
        query: &BTreeMap<String, String>,
        link: &Link,
    ) -> Result<Response<AnyBody>, BoxError> {
        let since = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        let opened = Watching {
            store: self.clone(),
            query: query.clone(),
            since,
            ready: VecDeque::new(),
            version: self.version.subscribe(),
            stalled: link.watches_stalled.subscribe(),
            broken: link.watches_broken.subscribe(),
        };
        let frames = stream::unfold(opened, |mut open| async move {
            let event = open.next_line().await?;
            Some((Ok::<_, BoxError>(Frame::data(Bytes::from(event))), open))
        });
        let body = StreamBody::new(frames.boxed()).boxed_unsync();
        Ok(Response::builder().header(http::header::CONTENT_TYPE, "application/json").body(body)?)
    }
}

/// An open watch.
struct Watching {
    store: LeaseStore,
    query: BTreeMap<String, String>,
    since: u64,
    ready: VecDeque<String>,
    version: watch::Receiver<u64>,
    stalled: watch::Receiver<bool>,
    broken: watch::Receiver<u64>,
}

impl Watching {
    /// The next event as a line; `None` when the watch ends.
    async fn next_line(&mut self) -> Option<String> {
        loop {
            self.version.mark_unchanged();
            self.look();
            let stalled = *self.stalled.borrow();
            if !stalled && let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            tokio::select! {
                biased;
                _ = self.broken.changed() => return None,
                changed = self.stalled.changed() => changed.ok()?,
                changed = self.version.changed() => changed.ok()?,
            }
        }
    }

    fn look(&mut self) {
        let state = self.store.state.lock();
        let since = self.since;
        for (version, kind, lease) in state.history.iter().filter(|(version, ..)| *version > since) {
            self.since = *version;
            if is_selected(lease, &self.query) {
                self.ready.push_back(format!("{}\n", json!({ "type": kind, "object": lease })));
            }
        }
    }
}

fn query_of(request: &Request<Body>) -> BTreeMap<String, String> {
    let pairs = request.uri().query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), unescape(value))).collect()
}

/// Name of the Lease that a request is about; empty for all.
fn name_in(request: &Request<Body>) -> String {
    let (_, tail) = request.uri().path().rsplit_once("/leases").unwrap_or_default();
    tail.trim_start_matches('/').to_owned()
}

fn unescape(value: &str) -> String {
    [("%3D", "="), ("%2C", ","), ("%2F", "/"), ("+", " ")]
        .into_iter()
        .fold(value.to_owned(), |text, (code, sign)| text.replace(code, sign))
}

fn is_selected(lease: &Value, query: &BTreeMap<String, String>) -> bool {
    let named = query.get("fieldSelector").and_then(|selector| selector.strip_prefix("metadata.name="));
    let labels = query.get("labelSelector").map(String::as_str).unwrap_or_default();
    let label = |key: &str| lease.get("metadata")?.get("labels")?.get(key)?.as_str();
    named.is_none_or(|name| lease.pointer("/metadata/name").and_then(Value::as_str) == Some(name))
        && labels
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .all(|(key, value)| label(key) == Some(value))
}

fn list(state: &State, query: &BTreeMap<String, String>) -> Answer {
    let items: Vec<&Value> = state.leases.values().filter(|lease| is_selected(lease, query)).collect();
    let metadata = json!({ "resourceVersion": state.version.to_string() });
    let kinds = ("coordination.k8s.io/v1", "LeaseList");
    Answer(
        StatusCode::OK,
        json!({ "apiVersion": kinds.0, "kind": kinds.1, "metadata": metadata, "items": items }),
    )
}

fn ok(lease: &Value) -> Answer {
    Answer(StatusCode::OK, lease.clone())
}

fn not_found() -> Answer {
    failure(StatusCode::NOT_FOUND, "NotFound", "the lease does not exist")
}

fn invalid(lease: &Value) -> Option<Answer> {
    let number = |key: &str| lease.get("spec")?.get(key)?.as_i64();
    let bad = number("leaseDurationSeconds").is_some_and(|seconds| seconds <= 0)
        || number("leaseTransitions").is_some_and(|transitions| transitions < 0);
    bad.then(|| failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", "must be positive"))
}

fn strip_nulls(value: &mut Value) {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, value| !value.is_null());
        object.values_mut().for_each(strip_nulls);
    }
}

fn failure(code: StatusCode, reason: &str, message: &str) -> Answer {
    let (version, kind) = ("v1", "Status");
    let body = json!({
        "apiVersion": version, "kind": kind, "status": "Failure",
        "reason": reason, "message": message, "code": code.as_u16(),
    });
    Answer(code, body)
}

fn whole(Answer(code, body): Answer) -> Result<Response<AnyBody>, BoxError> {
    let body =
        Full::new(Bytes::from(serde_json::to_vec(&body)?)).map_err(|never| match never {}).boxed_unsync();
    Ok(Response::builder().status(code).header(http::header::CONTENT_TYPE, "application/json").body(body)?)
}
