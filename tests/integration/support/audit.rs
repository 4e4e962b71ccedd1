// SPDX-License-Identifier: Apache-2.0
//! The API server's audit log: who asked for what, and when.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use http::Request;
use kube_fenced_election::clock::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{kubeconfig, wait::instant};

/// One request, as the API server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; for other URLs the
    /// HTTP method in lower case.
    pub(crate) verb: String,
    /// The user, such as `system:serviceaccount:aibrix-system:aibrix-controller-manager`.
    pub(crate) user: String,
    /// The whole `User-Agent`.
    pub(crate) user_agent: String,
    /// Who it was, when the `User-Agent` is one of the manager's.
    pub(crate) caller: Option<Caller>,
    /// Path and query.
    pub(crate) uri: String,
    /// The object; `None` for URLs that name none.
    pub(crate) object: Option<Object>,
    /// Status code of the answer; 0 when there was none.
    pub(crate) code: u16,
    /// When the request arrived.
    pub(crate) received: Timestamp,
    /// When the answer was complete, or a watch's answer began.
    pub(crate) finished: Timestamp,
    /// The object of the answer; for writes of Leases only.
    pub(crate) response: Option<Value>,
    /// What was sent; for writes of Leases, and for those of the manager.
    pub(crate) request: Option<Value>,
}

/// The object that a request is about. What does not apply is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Object {
    /// API group; empty for the core group.
    pub(crate) api_group: String,
    /// Plural, such as `pods`.
    pub(crate) resource: String,
    /// Such as `status` or `scale`.
    pub(crate) subresource: String,
    /// Namespace.
    pub(crate) namespace: String,
    /// Name; set for creations too.
    pub(crate) name: String,
}

/// The part of the manager that asked: `aibrix-controller-manager/<version> (<os>/<arch>)
/// <controller>/<identity>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Caller {
    /// The controller, or whatever the manager names there for work that belongs to none.
    pub(crate) controller: String,
    /// The process: `<pod>_<uuid>`.
    pub(crate) identity: String,
}

impl Caller {
    /// Reads a `User-Agent`; `None` when it is nobody of ours.
    pub(crate) fn parse(user_agent: &str) -> Option<Self> {
        let rest = user_agent.strip_prefix("aibrix-controller-manager/")?;
        let (_version_and_platform, who) = rest.split_once(") ")?;
        let (controller, identity) = who.split_once('/')?;
        Some(Self { controller: controller.to_owned(), identity: identity.to_owned() })
    }
}

impl Entry {
    /// Reads one line; `Ok(None)` for the second of the two lines that a watch leaves.
    ///
    /// # Errors
    /// When the line is no audit event.
    pub(crate) fn parse(line: &str) -> serde_json::Result<Option<Self>> {
        let line: Line = serde_json::from_str(line)?;
        let code = line.response_status.map_or(0, |status| status.code);
        if line.verb == "watch" && line.stage == "ResponseComplete" && code == 200 {
            return Ok(None);
        }
        Ok(Some(Self {
            caller: Caller::parse(&line.user_agent),
            verb: line.verb,
            user: line.user.username,
            user_agent: line.user_agent,
            uri: line.request_uri,
            object: line.object_ref,
            code,
            received: line.request_received_timestamp,
            finished: line.stage_timestamp,
            response: line.response_object,
            request: line.request_object,
        }))
    }

    /// Whether it asks for a change.
    pub(crate) fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether it was granted.
    pub(crate) fn is_ok(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// The object's plural, with its subresource where there is one: `deployments/scale`. Empty when the
    /// request names no object.
    pub(crate) fn resource(&self) -> String {
        match &self.object {
            None => String::new(),
            Some(object) if object.subresource.is_empty() => object.resource.clone(),
            Some(object) => format!("{}/{}", object.resource, object.subresource),
        }
    }

    /// Whether it is about a Lease.
    pub(crate) fn is_lease(&self) -> bool {
        self.object
            .as_ref()
            .is_some_and(|it| it.resource == "leases" && it.api_group == "coordination.k8s.io")
    }

    /// Whether it is about something in the namespace `ns`.
    pub(crate) fn is_in(&self, ns: &str) -> bool {
        self.object.as_ref().is_some_and(|object| object.namespace == ns)
    }

    /// Whether that controller asked, in whatever process.
    pub(crate) fn is_by(&self, controller: &str) -> bool {
        self.caller.as_ref().is_some_and(|caller| caller.controller == controller)
    }
}

/// Reads an audit log that is still being written.
///
/// The API server writes the line of a request just before it ends the answer, but what the request stored
/// can be seen earlier by others. So each read first has the API server answer some requests of its own, and
/// waits for the line of the last: what was seen before is in the log then.
#[derive(Debug)]
pub(crate) struct AuditLog {
    path: PathBuf,
    /// Kubeconfig of an administrator; `None` for a file that no API server writes.
    server: Option<PathBuf>,
    position: u64,
    rest: Vec<u8>,
    entries: Vec<Entry>,
}

impl AuditLog {
    /// A reader of a file that no API server writes; it starts at its beginning, and the file need not
    /// exist yet.
    pub(crate) fn open(path: PathBuf) -> Self {
        Self { path, server: None, position: 0, rest: Vec::new(), entries: Vec::new() }
    }

    /// A reader of the log that the API server writes which this kubeconfig leads to.
    pub(crate) fn of_server(path: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { server: Some(kubeconfig), ..Self::open(path) }
    }

    /// All requests so far, in the order in which they were answered. Reads only what is new.
    ///
    /// # Panics
    /// When a whole line is no audit event: the oracle must not overlook anything. When the API server
    /// answers and writes nothing.
    pub(crate) fn entries(&mut self) -> &[Entry] {
        // An API server that does not answer is not about to write, either.
        let mark = self.server.as_deref().and_then(answered_mark);
        let deadline = instant() + WRITTEN;
        while !self.read(mark.as_deref()) {
            assert!(instant() < deadline, "the API server does not write its audit log: no {mark:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        &self.entries
    }

    /// Reads what is new; whether `mark` was in it.
    fn read(&mut self, mark: Option<&str>) -> bool {
        let mut found = mark.is_none();
        if let Ok(mut file) = File::open(&self.path) {
            file.seek(SeekFrom::Start(self.position)).expect("seek in the audit log");
            let read = file.read_to_end(&mut self.rest).expect("read the audit log");
            self.position += u64::try_from(read).expect("a length");
        }
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = String::from_utf8_lossy(line);
            let entry = Entry::parse(&line).unwrap_or_else(|error| panic!("audit line ({error}): {line}"));
            found |= entry.as_ref().is_some_and(|it| mark == Some(it.uri.as_str()));
            self.entries.extend(entry.filter(|it| !it.uri.starts_with(MARK)));
        }
        found
    }

    /// The present end: what [`Self::since`] leaves out.
    pub(crate) fn mark(&mut self) -> usize {
        self.entries().len()
    }

    /// The requests after a [`Self::mark`].
    pub(crate) fn since(&mut self, mark: usize) -> &[Entry] {
        &self.entries()[mark..]
    }
}

/// The requests of a reader: they stand in no list of entries.
const MARK: &str = "/version?audit-log=";
/// How long the line of a request that was answered may take.
const WRITTEN: Duration = Duration::from_secs(30);

/// Has the API server answer some requests; the path of the last, or `None` when it does not answer.
fn answered_mark(kubeconfig: &Path) -> Option<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("{MARK}{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let ask = async {
        let client = kubeconfig::client(kubeconfig).await.ok()?;
        let mut mark = None;
        for n in 0..3 {
            let path = format!("{name}-{n}");
            let request = Request::get(&path).body(Vec::new()).ok()?;
            client.request_text(request).await.ok()?;
            mark = Some(path);
        }
        mark
    };
    // On a thread of its own: readers may be called on any runtime.
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), ask).await.ok().flatten() })
    };
    std::thread::scope(|scope| scope.spawn(run).join().ok().flatten())
}

/// How many of `entries` there are by some key, such as `|it| (it.verb.clone(), it.resource())`.
pub(crate) fn count_by<'a, K: Ord>(
    entries: impl IntoIterator<Item = &'a Entry>,
    key: impl Fn(&Entry) -> K,
) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    for entry in entries {
        *counts.entry(key(entry)).or_insert(0) += 1;
    }
    counts
}

/// A line for each kind of request by the manager's processes: `12 × patch pods by kv-cache-controller`.
/// For messages of failed tests and for the bench's table.
pub(crate) fn summary<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> String {
    let ours = entries.into_iter().filter(|it| it.caller.is_some());
    let by = |it: &Entry| {
        let who = it.caller.as_ref().map(|caller| caller.controller.clone());
        (it.verb.clone(), it.resource(), who.unwrap_or_default())
    };
    let line = |((verb, resource, who), count)| format!("{count} × {verb} {resource} by {who}");
    count_by(ours, by).into_iter().map(line).collect::<Vec<_>>().join("\n")
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    object_ref: Option<Object>,
    response_status: Option<Status>,
    response_object: Option<Value>,
    request_object: Option<Value>,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Debug, Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Debug, Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}
