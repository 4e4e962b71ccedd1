// SPDX-License-Identifier: Apache-2.0
//! An API server in memory that answers what watches and catching up ask, and fails on demand. For
//! tests: in paused time everything takes no time at all.
//!
//! It lists (in pages, whole or metadata only), watches (also as a streaming list), and remembers what
//! it was asked. It does not write, validate or authorise.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use http::{Request, Response, StatusCode, Uri, header::ACCEPT};
use http_body::Frame;
use http_body_util::StreamBody;
use kube::{Client, client::Body};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::service_fn;

/// The scripted API server. Cheap to clone; all clones are one server.
#[derive(Clone, Default)]
pub struct ScriptedApi(Arc<Shared>);

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// A list, whole or metadata only.
    List,
    /// A watch that goes on from a version.
    Watch,
    /// A watch that begins with the objects there are.
    StreamingList,
}

/// How the server fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It answers with this status.
    Status(u16),
    /// It does not answer at all.
    Hang,
}

/// A request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What for.
    pub ask: Ask,
    /// Path of the collection.
    pub path: String,
    /// Query, as sent.
    pub query: String,
    /// Whether only metadata was asked for.
    pub metadata_only: bool,
}

#[derive(Default)]
struct Shared {
    world: Mutex<World>,
    changed: Notify,
}

#[derive(Default)]
struct World {
    version: u64,
    collections: BTreeMap<String, Collection>,
    asked: Vec<Asked>,
    faults: Vec<(Ask, String, Fault)>,
}

#[derive(Default)]
struct Collection {
    objects: BTreeMap<(String, String), Arc<Value>>,
    /// Version, type and object of every event since the beginning.
    log: Vec<(u64, &'static str, Arc<Value>)>,
    /// Watches deliver so many lines more in all; `None`: no bound.
    budget: Option<usize>,
    /// Counts how often all watches were cut.
    cuts: u64,
    /// Watches cannot go on from before this version.
    compacted: u64,
    served: bool,
}

type Chunks = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

impl ScriptedApi {
    /// A server with no objects. A collection is served once it has been touched.
    pub fn new() -> Self {
        Self::default()
    }

    /// A client of this server. To be called within the async runtime.
    pub fn client(&self) -> Client {
        let api = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let (api, asked) = (api.clone(), read(&request));
            async move { Ok::<_, Infallible>(api.answer(asked).await) }
        });
        Client::new(service, "default")
    }

    /// Serves a collection, such as `/api/v1/pods`, though it has no object.
    pub fn serve(&self, path: &str) {
        self.change(path, |_, collection| collection.served = true);
    }

    /// Serves a collection and its objects no longer, and cuts its watches.
    pub fn stop_serving(&self, path: &str) {
        self.change(path, |_, collection| {
            *collection = Collection { cuts: collection.cuts + 1, ..Collection::default() };
        });
    }

    /// Creates or updates an object. Its `resourceVersion` is set and returned.
    pub fn put(&self, path: &str, mut object: Value) -> String {
        self.change(path, |version, collection| {
            set_version(&mut object, version);
            let key = (text(&object, "namespace"), text(&object, "name"));
            let event = if collection.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
            let object = Arc::new(object);
            collection.log.push((version, event, Arc::clone(&object)));
            collection.objects.insert(key, object);
            version.to_string()
        })
    }

    /// Deletes an object, if it is there.
    pub fn delete(&self, path: &str, namespace: &str, name: &str) {
        self.change(path, |version, collection| {
            let Some(mut object) = collection.objects.remove(&(namespace.to_owned(), name.to_owned())) else {
                return;
            };
            set_version(Arc::make_mut(&mut object), version);
            collection.log.push((version, "DELETED", object));
        });
    }

    /// Watches of the collection deliver nothing until they are let go.
    pub fn hold_watches(&self, path: &str, held: bool) {
        self.change(path, |_, collection| collection.budget = held.then_some(0));
    }

    /// Watches of the collection deliver so many lines in all, then nothing until they are let go.
    pub fn hold_watches_after(&self, path: &str, lines: usize) {
        self.change(path, |_, collection| collection.budget = Some(lines));
    }

    /// Ends all open watches of the collection.
    pub fn cut_watches(&self, path: &str) {
        self.change(path, |_, collection| collection.cuts += 1);
    }

    /// Forgets the history of the collection: a watch from an earlier version is told to list anew.
    pub fn compact(&self, path: &str) {
        self.change(path, |version, collection| collection.compacted = version);
    }

    /// Goes back to the state at this version, as a server does whose database was restored. Open watches notice
    /// nothing.
    pub fn restore(&self, version: &str) {
        let mut world = self.0.world.lock();
        let back = version.parse().unwrap_or_default();
        world.version = back;
        for Collection { objects, log, .. } in world.collections.values_mut() {
            log.retain(|(at, ..)| *at <= back);
            objects.clear();
            for (_, event, object) in &*log {
                let key = (text(object, "namespace"), text(object, "name"));
                if *event == "DELETED" {
                    objects.remove(&key);
                } else {
                    objects.insert(key, Arc::clone(object));
                }
            }
        }
    }

    /// From now on the collection fails in this way, until [`Self::heal`].
    pub fn fail(&self, ask: Ask, path: &str, trouble: Fault) {
        self.0.world.lock().faults.push((ask, path.to_owned(), trouble));
    }

    /// Ends all troubles. What hangs goes on.
    pub fn heal(&self) {
        self.0.world.lock().faults.clear();
        self.0.changed.notify_waiters();
    }

    /// What was asked so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.0.world.lock().asked.clone()
    }

    /// How often this was asked so far.
    pub fn count(&self, ask: Ask, path: &str) -> usize {
        self.0.world.lock().asked.iter().filter(|asked| asked.ask == ask && asked.path == path).count()
    }

    fn change<T>(&self, path: &str, change: impl FnOnce(u64, &mut Collection) -> T) -> T {
        let result = {
            let mut world = self.0.world.lock();
            world.version += 1;
            let version = world.version;
            let collection = world.collections.entry(path.to_owned()).or_default();
            collection.served = true;
            change(version, collection)
        };
        self.0.changed.notify_waiters();
        result
    }

    async fn answer(&self, asked: Asked) -> Response<Chunks> {
        self.0.world.lock().asked.push(asked.clone());
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.trouble(&asked) {
                Some(Fault::Status(code)) => return status(code),
                Some(Fault::Hang) => changed.await,
                None => break,
            }
        }
        match asked.ask {
            Ask::List => self.list(&asked),
            Ask::Watch | Ask::StreamingList => self.watch(&asked),
        }
    }

    fn trouble(&self, asked: &Asked) -> Option<Fault> {
        let world = self.0.world.lock();
        let trouble = world.faults.iter().find(|(ask, path, _)| *ask == asked.ask && *path == asked.path);
        let served = world.collections.get(&asked.path).is_some_and(|collection| collection.served);
        trouble.map(|(.., trouble)| *trouble).or_else(|| (!served).then_some(Fault::Status(404)))
    }

    fn list(&self, asked: &Asked) -> Response<Chunks> {
        let world = self.0.world.lock();
        let Some(collection) = world.collections.get(&asked.path) else { return status(404) };
        let limit =
            parameter(&asked.query, "limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        let token = parameter(&asked.query, "continue").unwrap_or_default();
        let (version, offset) = token.split_once('-').unwrap_or(("", "0"));
        let version = if version.is_empty() { world.version.to_string() } else { version.to_owned() };
        let offset: usize = offset.parse().unwrap_or(0);
        let page = collection.objects.values().skip(offset).take(limit);
        let items: Vec<Value> = if asked.metadata_only {
            page.map(|object| json!({ "metadata": object.get("metadata") })).collect()
        } else {
            page.map(|object| Value::clone(object)).collect()
        };
        let end = offset.saturating_add(items.len());
        let mut metadata = json!({ "resourceVersion": version });
        if end < collection.objects.len() {
            metadata = json!({ "resourceVersion": version, "continue": format!("{version}-{end}") });
        }
        let list = json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items });
        respond(StatusCode::OK, stream::iter([list.to_string()]).boxed())
    }

    fn watch(&self, asked: &Asked) -> Response<Chunks> {
        let world = self.0.world.lock();
        let Some(collection) = world.collections.get(&asked.path) else { return status(404) };
        let mut first = VecDeque::new();
        let mut from = collection.log.len();
        if asked.ask == Ask::StreamingList {
            first.extend(collection.objects.values().map(|object| ("ADDED", Arc::clone(object))));
            let end = json!({ "k8s.io/initial-events-end": "true" });
            let metadata = json!({ "resourceVersion": world.version.to_string(), "annotations": end });
            let bookmark = json!({ "kind": "Any", "apiVersion": "v1", "metadata": metadata });
            first.push_back(("BOOKMARK", Arc::new(bookmark)));
        } else {
            let version: u64 =
                parameter(&asked.query, "resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
            if version < collection.compacted {
                let gone = json!({ "kind": "Status", "code": 410, "reason": "Expired", "status": "Failure",
                    "message": "too old resource version" });
                return respond(StatusCode::OK, stream::iter([event("ERROR", &gone)]).boxed());
            }
            from = collection.log.iter().take_while(|(at, ..)| *at <= version).count();
        }
        let watch =
            Watch { api: self.clone(), path: asked.path.clone(), first, next: from, cuts: collection.cuts };
        respond(StatusCode::OK, stream::unfold(watch, Watch::next).boxed())
    }
}

/// One open watch.
struct Watch {
    api: ScriptedApi,
    path: String,
    first: VecDeque<(&'static str, Arc<Value>)>,
    next: usize,
    cuts: u64,
}

impl Watch {
    async fn next(mut self) -> Option<(String, Self)> {
        loop {
            let shared = Arc::clone(&self.api.0);
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut world = shared.world.lock();
                let collection = world.collections.get_mut(&self.path)?;
                if collection.cuts != self.cuts {
                    return None;
                }
                if collection.budget != Some(0)
                    && let Some(line) = self.line(collection)
                {
                    collection.budget = collection.budget.map(|lines| lines.saturating_sub(1));
                    return Some((line, self));
                }
            }
            changed.await;
        }
    }

    /// The next line, if there is one by now.
    fn line(&mut self, collection: &Collection) -> Option<String> {
        if let Some((kind, object)) = self.first.pop_front() {
            return Some(event(kind, &object));
        }
        let (_, kind, object) = collection.log.get(self.next)?;
        self.next += 1;
        Some(event(kind, object))
    }
}

fn read(request: &Request<Body>) -> Asked {
    let uri: &Uri = request.uri();
    let query = uri.query().unwrap_or_default().to_owned();
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let ask = match (parameter(&query, "watch"), parameter(&query, "sendInitialEvents")) {
        (None, _) => Ask::List,
        (Some(_), None) => Ask::Watch,
        (Some(_), Some(_)) => Ask::StreamingList,
    };
    Asked { ask, path: uri.path().to_owned(), query, metadata_only: accept.contains("PartialObjectMetadata") }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn set_version(object: &mut Value, version: u64) {
    if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), json!(version.to_string()));
    }
}

fn text(object: &Value, field: &str) -> String {
    object
        .get("metadata")
        .and_then(|metadata| metadata.get(field))
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// The type comes first, as the API server writes it.
fn event(kind: &str, object: &Value) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

fn status(code: u16) -> Response<Chunks> {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": "Scripted", "message": format!("scripted failure {code}") });
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Indented, as the API server does at times.
    respond(code, stream::iter([format!("{body:#}")]).boxed())
}

fn respond(code: StatusCode, chunks: BoxStream<'static, String>) -> Response<Chunks> {
    let frames = chunks.map(|chunk| Ok(Frame::data(Bytes::from(chunk)))).boxed();
    let mut response = Response::new(StreamBody::new(frames));
    *response.status_mut() = code;
    response
}

impl std::fmt::Debug for ScriptedApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScriptedApi")
    }
}
