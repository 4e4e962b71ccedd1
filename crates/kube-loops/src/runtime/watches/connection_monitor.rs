// SPDX-License-Identifier: Apache-2.0
//! Observes the requests of one watch: whether they are answered, and when a list begins again, which kube's
//! watcher does not report. A layer on the client of the watch.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
};

use futures::future::BoxFuture;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::json;
use tower::service_fn;

use kube_fenced_election::whole_errors::whole_errors;

/// What the client of one watch has observed.
#[derive(Debug, Default)]
pub(super) struct ConnectionMonitor {
    /// Streaming lists that were asked for. The watcher starts one again without telling when its
    /// stream ends half-way.
    streaming_lists: AtomicU64,
    /// Status of the last answer; 0 while there is none to the last request.
    last_status: AtomicU16,
    /// The watch broke: before it goes on it is to be found out whether the server still has what it has shown.
    broken: AtomicBool,
}

impl ConnectionMonitor {
    /// How many streaming lists were asked for so far.
    pub(super) fn streaming_lists(&self) -> u64 {
        self.streaming_lists.load(Ordering::Acquire)
    }

    /// The watch has failed, and goes on from the last version or lists anew.
    pub(super) fn broke(&self, goes_on: bool) {
        self.broken.store(goes_on, Ordering::Release);
    }

    /// HTTP status of the answer to the last request; 0: none came.
    pub(super) fn last_status(&self) -> u16 {
        self.last_status.load(Ordering::Acquire)
    }
}

/// A client that records its requests and calls back: `heard` for every successful answer and each piece of its body,
/// since the watcher reports neither the recovery of a watch without events nor bookmarks; `listing` right before a
/// streaming list is asked for, since what the store learns from then on may be newer than that list.
///
/// A watch that broke goes on only if the server is not older than what the watch has shown, which `is_older` finds
/// out: otherwise the server, restored from a backup, would silently leave out all that happens until it comes to the
/// version from which the watch goes on. It gets 410 then, and lists anew.
///
/// It also makes streaming lists consistent. The watcher asks for version "0", which any cache however
/// old may answer; unset means "not older than now", so that a list never takes a store back in time.
pub(super) fn monitored(
    client: Client,
    monitor: Arc<ConnectionMonitor>,
    listing: impl Fn() + Clone + Send + Sync + 'static,
    heard: impl Fn() + Clone + Send + Sync + 'static,
    is_older: impl Fn(String) -> BoxFuture<'static, kube::Result<bool>> + Clone + Send + Sync + 'static,
) -> Client {
    let namespace = client.default_namespace().to_owned();
    let client = whole_errors(client);
    let service = service_fn(move |mut request: Request<Body>| {
        let (client, monitor) = (client.clone(), Arc::clone(&monitor));
        let (listing, heard, is_older) = (listing.clone(), heard.clone(), is_older.clone());
        async move {
            if let Some(consistent) = consistent(request.uri()) {
                *request.uri_mut() = consistent;
                monitor.streaming_lists.fetch_add(1, Ordering::AcqRel);
                listing();
            }
            monitor.last_status.store(0, Ordering::Release);
            let from = resumed(request.uri()).filter(|_| monitor.broken.load(Ordering::Acquire));
            let older = if let Some(from) = from { is_older(from).await? } else { false };
            let answer = if older { gone() } else { client.send(request).await? };
            monitor.last_status.store(answer.status().as_u16(), Ordering::Release);
            let success = answer.status().is_success();
            let heard = move || {
                if success {
                    heard();
                }
            };
            heard();
            Ok::<_, kube::Error>(answer.map(|body| {
                body.map_frame(move |frame| {
                    heard();
                    frame
                })
            }))
        }
    });
    Client::new(service, namespace)
}

/// The version from which a watch goes on; `None`: it is something else.
fn resumed(uri: &Uri) -> Option<String> {
    let pairs: Vec<&str> = uri.query()?.split('&').collect();
    let goes_on = pairs.contains(&"watch=true") && !pairs.contains(&"sendInitialEvents=true");
    let version = pairs.iter().find_map(|pair| pair.strip_prefix("resourceVersion="));
    version.filter(|_| goes_on).map(str::to_owned)
}

/// What the API server answers when it does not have a version any more.
fn gone() -> Response<Body> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired",
        "message": "the API server went back to an earlier state"});
    let mut answer = Response::new(Body::from(status.to_string().into_bytes()));
    *answer.status_mut() = StatusCode::GONE;
    answer
}

/// The request of a streaming list without its version; `None`: it is something else.
fn consistent(uri: &Uri) -> Option<Uri> {
    let query = uri.query()?;
    if !query.split('&').any(|pair| pair == "sendInitialEvents=true") {
        return None;
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| *pair != "resourceVersion=0").collect();
    let mut parts = uri.clone().into_parts();
    let target = format!("{}?{}", uri.path(), kept.join("&"));
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}
