// SPDX-License-Identifier: Apache-2.0
//! Observes the requests of one watch: whether they are answered, and when a list begins again, which kube's
//! watcher does not report. A layer on the client of the watch.

use std::sync::{
    Arc,
    atomic::{AtomicU16, AtomicU64, Ordering},
};

use http::{Request, Uri};
use kube::{Client, client::Body};
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
}

impl ConnectionMonitor {
    /// How many streaming lists were asked for so far.
    pub(super) fn streaming_lists(&self) -> u64 {
        self.streaming_lists.load(Ordering::Acquire)
    }

    /// HTTP status of the answer to the last request; 0: none came.
    pub(super) fn last_status(&self) -> u16 {
        self.last_status.load(Ordering::Acquire)
    }
}

/// A client that records its requests and calls back: `answered` for every successful answer, since the watcher
/// reports no recovery of a watch without events; `listing` right before a streaming list is asked for, since what
/// the store learns from then on may be newer than that list.
///
/// It also makes streaming lists consistent. The watcher asks for version "0", which any cache however
/// old may answer; unset means "not older than now", so that a list never takes a store back in time.
pub(super) fn monitored(
    client: Client,
    monitor: Arc<ConnectionMonitor>,
    listing: impl Fn() + Clone + Send + Sync + 'static,
    answered: impl Fn() + Clone + Send + Sync + 'static,
) -> Client {
    let namespace = client.default_namespace().to_owned();
    let client = whole_errors(client);
    let service = service_fn(move |mut request: Request<Body>| {
        let (client, monitor) = (client.clone(), Arc::clone(&monitor));
        let (listing, answered) = (listing.clone(), answered.clone());
        async move {
            if let Some(consistent) = consistent(request.uri()) {
                *request.uri_mut() = consistent;
                monitor.streaming_lists.fetch_add(1, Ordering::AcqRel);
                listing();
            }
            monitor.last_status.store(0, Ordering::Release);
            let answer = client.send(request).await?;
            monitor.last_status.store(answer.status().as_u16(), Ordering::Release);
            if answer.status().is_success() {
                answered();
            }
            Ok::<_, kube::Error>(answer)
        }
    });
    Client::new(service, namespace)
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
