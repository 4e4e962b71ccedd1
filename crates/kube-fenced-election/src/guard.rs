// SPDX-License-Identifier: Apache-2.0
//! The client layer under `kube-leader-election` that makes the library safe to use.
//!
//! The library reads the Lease, decides by comparing `renewTime` with the wall clock, and writes with
//! merge patches that overwrite whatever is there. The guard stands between it and the API server:
//!
//! - A GET is answered from the elector's own observation, or by the API server when the elector says
//!   that its observation may be out of date. Either way the library sees a Lease *as seen from here*:
//!   complete, with a `renewTime` that is as old as the claim is by the local monotonic clock. Its
//!   expiry test thereby becomes client-go's observed-time rule, which no clock skew can fool.
//! - A PATCH carries the `resourceVersion` of the answered GET, so it changes exactly what was decided
//!   on or nothing at all: 409 means that the race is lost.
//! - A write that the observed-time rule does not allow is refused here, whatever the library thinks.
//! - Nothing but the one Lease passes.
//!
//! Deliberately absent: any decision about when to try. That is [`super::decision`].

use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, Uri};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::SignedDuration,
};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::{BoxError, Service};

use crate::clock::{Instant, SharedClock, Timestamp};

use super::{
    decision::Timing,
    names::Names,
    observation::{LeaseSnapshot, Observation, Source},
};

/// What the guard stands in front of.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardedLease {
    /// Field manager of the writes.
    pub field_manager: String,
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Identity as which this process writes.
    pub identity: String,
    /// Labels that every write sets; others stay as they are.
    pub labels: BTreeMap<String, String>,
    /// Annotations that every write sets, or removes (`None`); others stay as they are.
    pub annotations: BTreeMap<String, Option<String>>,
    /// Renewals leave the stored duration as it is, if that is a sensible one: processes with other settings hold the
    /// Lease under the same identity, and count on the duration that they wrote.
    pub keeps_duration: bool,
    /// Longest wait for one request.
    pub request_timeout: Duration,
    /// After this time without an answer an attempt is made a second time, on another connection.
    pub hedge_after: Duration,
}

impl GuardedLease {
    /// One Lease and the identity as which it is written, with the bounds of an election.
    pub fn new(names: &Names, namespace: &str, name: &str, identity: &str, timing: &Timing) -> Self {
        Self {
            field_manager: names.manager.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            keeps_duration: false,
            request_timeout: timing.request_timeout(),
            hedge_after: timing.hedge_after(),
        }
    }
}

/// Stored durations that several holders agree on, in seconds.
const SENSIBLE: std::ops::RangeInclusive<i32> = 4..=3600;

/// A write that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// Right before it was sent.
    pub(super) at: Instant,
    /// The `renewTime` that it writes: tells it apart from all others of this identity.
    pub(super) renew_time: Option<Timestamp>,
}

/// One exchange of the library with the API server: set up before, looked at afterwards.
#[derive(Debug)]
pub(super) struct Exchange {
    /// What is known of the Lease. Keeps up with the exchange.
    pub(super) view: Observation,
    /// GETs go to the API server instead of being answered from `view`.
    pub(super) read: bool,
    /// Annotations to write; `None` removes one.
    pub(super) annotations: BTreeMap<String, Option<String>>,
    /// The last write.
    pub(super) sent: Option<Sent>,
    /// What requests have shown, in order.
    pub(super) seen: Vec<(LeaseSnapshot, Instant)>,
}

impl Exchange {
    pub(super) fn new(view: Observation, read: bool) -> Self {
        Self { view, read, annotations: BTreeMap::new(), sent: None, seen: Vec::new() }
    }

    fn observe(&mut self, snapshot: LeaseSnapshot, at: Instant) {
        self.view.observe(snapshot.clone(), Source::Answer, at);
        self.seen.push((snapshot, at));
    }
}

/// Why the guard did not carry out a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuardError {
    /// A request for anything but the guarded Lease: a programming error.
    #[error("the guard of Lease {lease} was asked to {method} {path}")]
    ForeignRequest {
        /// Namespace and name of the guarded Lease.
        lease: String,
        /// Verb.
        method: Method,
        /// What was asked for.
        path: String,
    },
    /// No answer within the time-out of a request.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The API server's answer is not a Lease, or the library's request is not JSON.
    #[error("decode {what}")]
    Decode {
        /// Answer or request.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A part of a request or answer could not be put together.
    #[error("build {what}")]
    Build {
        /// Which part.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: http::Error,
    },
}

/// The guard as a service for [`kube::Client::new`].
#[derive(Clone)]
pub(super) struct Guard {
    client: kube::Client,
    guarded: Arc<GuardedLease>,
    exchange: Arc<Mutex<Exchange>>,
    clock: SharedClock,
}

impl Guard {
    pub(super) fn new(
        client: kube::Client,
        guarded: Arc<GuardedLease>,
        exchange: Arc<Mutex<Exchange>>,
        clock: SharedClock,
    ) -> Self {
        Self { client, guarded, exchange, clock }
    }

    async fn handle(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let collection = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.guarded.namespace);
        let item = format!("{collection}/{}", self.guarded.name);
        let path = request.uri().path();
        if *request.method() == Method::GET && path == item {
            self.get(request).await
        } else if *request.method() == Method::PATCH && path == item {
            self.write(request, "patch").await
        } else if *request.method() == Method::POST && path == collection {
            self.write(request, "lease").await
        } else {
            let lease = format!("{}/{}", self.guarded.namespace, self.guarded.name);
            let (method, path) = (request.method().clone(), path.to_owned());
            Err(GuardError::ForeignRequest { lease, method, path }.into())
        }
    }

    async fn get(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let from_here = {
            let exchange = self.exchange.lock();
            !exchange.read && exchange.view.is_known()
        };
        if !from_here {
            let (status, body) = self.forward(request).await?;
            let snapshot = match status {
                StatusCode::NOT_FOUND => LeaseSnapshot::Absent(None),
                status if status.is_success() => {
                    LeaseSnapshot::Present(Box::new(decode(&body, "the Lease read")?))
                }
                _ => return answer(status, body),
            };
            self.exchange.lock().observe(snapshot, self.clock.instant());
        }
        let shown = {
            let exchange = self.exchange.lock();
            as_seen_from_here(&exchange.view, &self.guarded.identity, self.clock.instant(), self.clock.now())
        };
        match shown {
            Some(lease) => answer(StatusCode::OK, encode(&lease)?),
            None => refuse(StatusCode::NOT_FOUND, "NotFound", "the Lease does not exist"),
        }
    }

    async fn write(self, request: Request<Body>, what: &'static str) -> Result<Response<Body>, BoxError> {
        let (mut parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await?;
        let mut wanted: Value = decode(&bytes, what)?;
        let creates = parts.method == Method::POST;
        {
            let exchange = self.exchange.lock();
            if !exchange.view.is_acquirable_by(&self.guarded.identity, self.clock.instant()) {
                return refuse(StatusCode::CONFLICT, "Conflict", "the Lease is not free by observation");
            }
            complete(&mut wanted, &exchange, &self.guarded, creates);
        }
        let renew_time = wanted.pointer("/spec/renewTime").and_then(Value::as_str);
        let renew_time = renew_time.and_then(|time| time.parse().ok());
        parts.uri = with_field_manager(&parts.uri, &self.guarded.field_manager)?;
        parts.headers.remove(http::header::CONTENT_LENGTH);
        let request = Request::from_parts(parts, Body::from(encode(&wanted)?));

        self.exchange.lock().sent = Some(Sent { at: self.clock.instant(), renew_time });
        let (status, body) = self.forward(request).await?;
        if status.is_success() {
            let lease: Lease = decode(&body, "the Lease written")?;
            self.exchange.lock().observe(LeaseSnapshot::Present(Box::new(lease)), self.clock.instant());
        }
        answer(status, body)
    }

    async fn forward(&self, request: Request<Body>) -> Result<(StatusCode, Vec<u8>), BoxError> {
        let limit = self.guarded.request_timeout;
        let whole = async {
            let response = self.client.send(request).await?;
            let status = response.status();
            Ok::<_, BoxError>((status, response.into_body().collect_bytes().await?.to_vec()))
        };
        tokio::time::timeout(limit, whole).await.map_err(|_| GuardError::TimedOut(limit))?
    }
}

impl Service<Request<Body>> for Guard {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().handle(request))
    }
}

/// The Lease as the library may believe it; `None` when it does not exist. Complete, and as old as
/// it is by the local monotonic clock.
pub(super) fn as_seen_from_here(
    seen: &Observation,
    me: &str,
    now: Instant,
    wall: Timestamp,
) -> Option<Lease> {
    let mut lease = seen.lease()?.clone();
    let age = now.saturating_duration_since(seen.first_observed());
    let stored = seen.stored_seconds().and_then(|seconds| i32::try_from(seconds).ok()).unwrap_or(1);
    let (renewed, lasts) = if seen.is_acquirable_by(me, now) {
        // Free now, whatever is stored: a released Lease would have to age another second, and one with
        // an absurd duration would last until 2038 even from the epoch on.
        (Timestamp::UNIX_EPOCH, 1)
    } else {
        (
            SignedDuration::try_from(age).ok().and_then(|age| wall.checked_sub(age).ok()).unwrap_or(wall),
            stored,
        )
    };
    let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
    spec.holder_identity.get_or_insert_default();
    spec.lease_duration_seconds = Some(lasts);
    // The library adds 1, which must not overflow.
    spec.lease_transitions = Some(seen.transitions().min(i32::MAX - 1));
    spec.renew_time = Some(MicroTime(renewed));
    Some(lease)
}

/// Adds what the library leaves out: the precondition, labels, annotations, and fields that somebody
/// has nulled.
fn complete(wanted: &mut Value, exchange: &Exchange, guarded: &GuardedLease, creates: bool) {
    let seen = &exchange.view;
    let GuardedLease { identity, labels, .. } = guarded;
    if let Some(metadata) = object_in(wanted, "metadata") {
        if !creates && let Some(version) = seen.resource_version() {
            metadata.insert("resourceVersion".into(), json!(version));
        }
        if !labels.is_empty() {
            metadata.insert("labels".into(), json!(labels));
        }
        // A null removes a key from a patch's target; in a new object it has nothing to remove.
        let annotations: BTreeMap<&String, &Option<String>> = guarded
            .annotations
            .iter()
            .chain(&exchange.annotations)
            .filter(|(_, value)| !creates || value.is_some())
            .collect();
        if !annotations.is_empty() {
            metadata.insert("annotations".into(), json!(annotations));
        }
    }
    let stored = seen.lease().and_then(|lease| lease.spec.as_ref());
    if let Some(spec) = object_in(wanted, "spec")
        && !creates
    {
        // A release names no holder, and its own duration of a second.
        let renews = seen.holder() == Some(identity.as_str())
            && spec.get("holderIdentity").is_none_or(|holder| holder == identity);
        let agreed = stored.and_then(|spec| spec.lease_duration_seconds).filter(|it| SENSIBLE.contains(it));
        if guarded.keeps_duration
            && renews
            && let Some(agreed) = agreed
        {
            spec.insert("leaseDurationSeconds".into(), json!(agreed));
        }
        if stored.and_then(|spec| spec.lease_transitions).is_none_or(i32::is_negative) {
            spec.entry("leaseTransitions").or_insert_with(|| json!(0));
        }
        if stored.is_none_or(|spec| spec.acquire_time.is_none())
            && let Some(renewed) = spec.get("renewTime").cloned()
        {
            spec.entry("acquireTime").or_insert(renewed);
        }
    }
}

fn object_in<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut serde_json::Map<String, Value>> {
    value.as_object_mut()?.entry(key).or_insert_with(|| json!({})).as_object_mut()
}

fn with_field_manager(uri: &Uri, field_manager: &str) -> Result<Uri, GuardError> {
    let ours = format!("fieldManager={field_manager}");
    let kept = uri.query().unwrap_or_default().split('&');
    let query: Vec<&str> = kept
        .filter(|pair| !pair.is_empty() && !pair.starts_with("fieldManager="))
        .chain([ours.as_str()])
        .collect();
    let mut parts = uri.clone().into_parts();
    let target = format!("{}?{}", uri.path(), query.join("&"));
    parts.path_and_query =
        Some(target.parse().map_err(|source: http::uri::InvalidUri| GuardError::Build {
            what: "URI",
            source: source.into(),
        })?);
    Uri::from_parts(parts).map_err(|source| GuardError::Build { what: "URI", source: source.into() })
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, GuardError> {
    serde_json::from_slice(bytes).map_err(|source| GuardError::Decode { what, source })
}

fn encode(value: &impl serde::Serialize) -> Result<Vec<u8>, GuardError> {
    serde_json::to_vec(value).map_err(|source| GuardError::Decode { what: "own answer", source })
}

fn answer(status: StatusCode, body: Vec<u8>) -> Result<Response<Body>, BoxError> {
    Response::builder()
        .status(status)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .map_err(|source| GuardError::Build { what: "answer", source }.into())
}

fn refuse(status: StatusCode, reason: &str, message: &str) -> Result<Response<Body>, BoxError> {
    let body = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "reason": reason, "message": message, "code": status.as_u16(),
    });
    answer(status, encode(&body)?)
}
