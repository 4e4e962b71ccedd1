// SPDX-License-Identifier: Apache-2.0
//! An HTTP proxy in front of the API server that holds back, delays, hangs or refuses chosen requests
//! while the others pass: what a proxy of bytes cannot do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use super::{ControlPlane, install};

/// What happens to a request that a [`Rule`] matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// Sent on after this time.
    Delay(Duration),
    /// Never answered, until the rules change.
    Hang,
    /// Never sent on and never answered, whatever the rules are later: lost on the way.
    Swallow,
    /// Sent on, and the answer is lost on its way back.
    SwallowAnswer,
    /// Answered with this status, not sent on.
    Refuse(u16),
    /// Sent on; the answer's body stops flowing, also of answers that flow already, until the rules change.
    HoldBody,
}

/// Requests whose `method path?query` contains all of `parts` and none of `without`.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    parts: Vec<String>,
    without: Vec<String>,
    treatment: Treatment,
    /// To how many more requests it applies; `None`: to all.
    left: Option<Arc<AtomicUsize>>,
}

impl Rule {
    /// For example `Rule::new(&["GET", "/configmaps", "watch="], Treatment::HoldBody)`.
    pub(crate) fn new(parts: &[&str], treatment: Treatment) -> Self {
        Self { parts: owned(parts), without: Vec::new(), treatment, left: None }
    }

    /// The same, but only for the next `count` requests: those after them are as if the rule were not there.
    /// A body that is held back is held for as long as the rule stands, whatever the count.
    pub(crate) fn times(self, count: usize) -> Self {
        Self { left: Some(Arc::new(AtomicUsize::new(count))), ..self }
    }

    /// To how many more requests it applies, counted over all clones of it; `None`: to all.
    pub(crate) fn left(&self) -> Option<usize> {
        self.left.as_ref().map(|left| left.load(Ordering::Relaxed))
    }

    /// The same, but for requests that contain one of `without`.
    pub(crate) fn but_for(self, without: &[&str]) -> Self {
        Self { without: owned(without), ..self }
    }

    fn is_about(&self, request: &str) -> bool {
        self.parts.iter().all(|part| request.contains(part))
            && !self.without.iter().any(|part| request.contains(part))
    }

    /// Whether it applies to one more request; counts that request.
    fn claim(&self) -> bool {
        let Some(left) = &self.left else { return true };
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

fn owned(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|&part| part.to_owned()).collect()
}

struct Shared {
    /// Knows the API server's certificate and brings no credentials of its own.
    client: Client,
    rules: watch::Receiver<Vec<Rule>>,
}

impl Shared {
    /// What is to happen to a request that has just come.
    fn treatment(&self, request: &str) -> Option<Treatment> {
        let rules = self.rules.borrow();
        rules.iter().find(|rule| rule.is_about(request) && rule.claim()).map(|it| it.treatment)
    }

    /// Waits while there is a rule that treats such requests so; at once when there is none.
    async fn wait_while(&self, request: &str, treatment: Treatment) {
        let mut rules = self.rules.clone();
        let first = |rules: &[Rule]| rules.iter().find(|rule| rule.is_about(request)).map(|it| it.treatment);
        while first(&rules.borrow()) == Some(treatment) {
            if rules.changed().await.is_err() {
                return;
            }
        }
    }
}

/// A running proxy. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    rules: watch::Sender<Vec<Rule>>,
    seen: Arc<Mutex<Vec<String>>>,
    /// Ends with this.
    _server: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy in front of the control plane's API server; everything passes at first.
    pub(crate) async fn start(plane: &ControlPlane) -> Self {
        let client = client_without_credentials(plane).await;
        let (sender, rules) = watch::channel(Vec::new());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new(Shared { client, rules });
        let log = Arc::clone(&seen);
        let forward = move |State(shared): State<Arc<Shared>>, request: Request| {
            log.lock().push(line_of(&request));
            async move { forward(shared, request).await }
        };
        let app = Router::new().fallback(forward).with_state(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.expect("the proxy serves") });
        Self { port, rules: sender, seen, _server: server }
    }

    /// A kubeconfig of the manager's ServiceAccount that goes through this proxy.
    pub(crate) async fn manager_kubeconfig(&self, plane: &ControlPlane) -> std::path::PathBuf {
        let path = plane.kubeconfig_for_service_account(install::NAMESPACE, install::NAME).await;
        let text = std::fs::read_to_string(&path).expect("the kubeconfig was just written");
        let direct = format!("https://127.0.0.1:{}", plane.port());
        let through = text.replace(&direct, &format!("http://127.0.0.1:{}", self.port));
        assert_ne!(text, through, "the kubeconfig names the API server");
        std::fs::write(&path, through).expect("write the kubeconfig");
        path
    }

    /// The port on 127.0.0.1 at which it is reached, without TLS.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The rules from now on, the first match counts. None: everything passes, and what waits goes on.
    pub(crate) fn rule(&self, rules: Vec<Rule>) {
        self.rules.send_replace(rules);
    }

    /// `method path?query` of all requests so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().clone()
    }
}

fn line_of(request: &Request) -> String {
    format!("{} {}", request.method(), request.uri())
}

async fn forward(shared: Arc<Shared>, request: Request) -> Response {
    let line = line_of(&request);
    let treatment = shared.treatment(&line);
    match treatment {
        Some(Treatment::Delay(time)) => tokio::time::sleep(time).await,
        Some(Treatment::Hang) => shared.wait_while(&line, Treatment::Hang).await,
        Some(Treatment::Swallow) => return std::future::pending().await,
        Some(Treatment::Refuse(code)) => return plain(code, "refused by the test's proxy"),
        Some(Treatment::HoldBody | Treatment::SwallowAnswer) | None => {}
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return plain(400, "the request's body broke off");
    };
    let mut sent = http::Request::new(kube::client::Body::from(body.to_vec()));
    *sent.method_mut() = parts.method;
    *sent.uri_mut() = parts.uri;
    copy_headers(&parts.headers, sent.headers_mut());
    let answer = shared.client.clone().send(sent).await;
    if treatment == Some(Treatment::SwallowAnswer) {
        return std::future::pending().await;
    }
    match answer {
        Ok(answer) => pass_on(shared, line, answer),
        Err(error) => plain(502, &format!("the API server did not answer: {error}")),
    }
}

fn pass_on(shared: Arc<Shared>, line: String, answer: http::Response<kube::client::Body>) -> Response {
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        copy_headers(answer.headers(), headers);
    }
    let held = answer.into_body().into_data_stream().then(move |chunk| {
        let (shared, line) = (Arc::clone(&shared), line.clone());
        async move {
            shared.wait_while(&line, Treatment::HoldBody).await;
            chunk
        }
    });
    response.body(Body::from_stream(held.map_err(std::io::Error::other))).expect("a response")
}

async fn client_without_credentials(plane: &ControlPlane) -> Client {
    let mut kubeconfig = Kubeconfig::read_from(plane.admin_kubeconfig()).expect("read the kubeconfig");
    for user in &mut kubeconfig.auth_infos {
        user.auth_info = None;
    }
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("understand it");
    config.read_timeout = None;
    config.default_retry = false;
    Client::try_from(config).expect("make a client")
}

fn copy_headers(from: &HeaderMap, to: &mut HeaderMap) {
    for (name, value) in from {
        let of_this_hop = [http::header::TRANSFER_ENCODING, http::header::CONTENT_LENGTH, http::header::HOST];
        if !of_this_hop.contains(name) {
            to.append(name, value.clone());
        }
    }
}

fn plain(code: u16, text: &str) -> Response {
    let status = StatusCode::from_u16(code).expect("a status code");
    Response::builder().status(status).body(Body::from(text.to_owned())).expect("a response")
}
