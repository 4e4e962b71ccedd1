// SPDX-License-Identifier: Apache-2.0
//! An API server made of a closure: a `kube::Client`, or the service under one, without a network.
//!
//! ```ignore
//! let api = ScriptedApi::new(|request| match request.on() {
//!     ("GET", "/api/v1/namespaces/ns/pods/web-0") => Answer::ok(json!({"kind": "Pod"})),
//!     _ => Answer::not_found(),
//! });
//! reconcile(api.client()).await;
//! assert_eq!(api.log(), ["GET /api/v1/namespaces/ns/pods/web-0"]);
//! ```

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::BoxError;

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    /// HTTP method.
    pub method: Method,
    /// Path without the query.
    pub path: String,
    /// Query, empty when there is none.
    pub query: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body; null when it is empty or no JSON.
    pub body: Value,
}

impl SeenRequest {
    /// Method and path, to match on.
    pub fn on(&self) -> (&str, &str) {
        (self.method.as_str(), &self.path)
    }

    /// A header as text, empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// What the server answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A body of JSON.
    Json(u16, Value),
    /// 200 with a body of JSON, this long after the request.
    Late(Duration, Value),
    /// A watch: one line per event, then the stream ends.
    Lines(Vec<Value>),
    /// Head at once, the body never.
    HangInBody,
    /// Nothing, for ever.
    Hang,
    /// The connection breaks.
    Broken,
}

impl Answer {
    /// 200.
    pub fn ok(body: Value) -> Self {
        Self::Json(200, body)
    }

    /// A `Status` of failure.
    pub fn failure(code: u16, reason: &str, message: &str) -> Self {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "code": code, "reason": reason, "message": message,
        });
        Self::Json(code, status)
    }

    /// 404.
    pub fn not_found() -> Self {
        Self::failure(404, "NotFound", "not found")
    }

    /// 409 of an update or patch.
    pub fn conflict() -> Self {
        Self::failure(409, "Conflict", "the object has been modified")
    }

    /// 409 of a create.
    pub fn already_exists() -> Self {
        Self::failure(409, "AlreadyExists", "already exists")
    }

    /// 403 in RBAC's words.
    pub fn forbidden() -> Self {
        Self::failure(403, "Forbidden", "pods is forbidden: User \"x\" cannot create resource \"pods\"")
    }

    /// 500.
    pub fn server_error() -> Self {
        Self::failure(500, "InternalError", "etcdserver: request timed out")
    }
}

type Script = dyn FnMut(&SeenRequest) -> Answer + Send;

/// The server. Clones share script and log.
#[derive(Clone)]
pub struct ScriptedApi {
    script: Arc<Mutex<Box<Script>>>,
    seen: Arc<Mutex<Vec<SeenRequest>>>,
}

impl ScriptedApi {
    /// Answers each request by `script`, one at a time.
    pub fn new(script: impl FnMut(&SeenRequest) -> Answer + Send + 'static) -> Self {
        Self { script: Arc::new(Mutex::new(Box::new(script))), seen: Arc::default() }
    }

    /// Gives these answers in turn, whatever is asked; afterwards 500 `script is over`.
    pub fn in_turn(answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut answers = answers.into_iter().collect::<Vec<_>>().into_iter();
        Self::new(move |_| {
            answers.next().unwrap_or_else(|| Answer::failure(500, "InternalError", "script is over"))
        })
    }

    /// Answers each create, update and patch with the body that was sent, each other request with 200 and
    /// an empty object.
    pub fn echo() -> Self {
        Self::new(|request| Answer::ok(if request.body.is_null() { json!({}) } else { request.body.clone() }))
    }

    /// A client of this server; default namespace `default`.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }

    /// All requests so far, in order of arrival.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.seen.lock().clone()
    }

    /// All requests so far as `METHOD path`.
    pub fn log(&self) -> Vec<String> {
        self.seen.lock().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }
}

impl std::fmt::Debug for ScriptedApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedApi").field("seen", &self.log()).finish()
    }
}

/// The connection broke, as [`Answer::Broken`] says.
#[derive(Debug, thiserror::Error)]
#[error("connection reset by the script")]
pub struct Broken;

impl<B> tower::Service<Request<B>> for ScriptedApi
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<UnsyncBoxBody<Bytes, BoxError>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(Into::into)?.to_bytes();
            let seen = SeenRequest {
                method: parts.method,
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                headers: parts.headers,
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            server.seen.lock().push(seen.clone());
            let answer = (server.script.lock())(&seen);
            let (code, body) = match answer {
                Answer::Json(code, body) => (code, full(body.to_string())),
                Answer::Late(pause, body) => {
                    tokio::time::sleep(pause).await;
                    (200, full(body.to_string()))
                }
                Answer::Lines(lines) => {
                    let lines: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
                    (200, full(lines.concat()))
                }
                Answer::HangInBody => (200, HangingBody.boxed_unsync()),
                Answer::Hang => return std::future::pending().await,
                Answer::Broken => return Err(Broken.into()),
            };
            let mut response = Response::new(body);
            *response.status_mut() = StatusCode::from_u16(code)?;
            Ok(response)
        })
    }
}

fn full(text: String) -> UnsyncBoxBody<Bytes, BoxError> {
    Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {}).boxed_unsync()
}

struct HangingBody;

impl http_body::Body for HangingBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        std::task::Poll::Pending
    }
}
