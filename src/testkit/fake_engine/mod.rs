// SPDX-License-Identifier: Apache-2.0
//! Inference engines that exist only as answers: one process, or one test, plays any number of pods.
//!
//! A server on `0.0.0.0:PORT` answers for every address of the machine; the address that a connection
//! was made to says which pod is meant. What a pod answers is set by code ([`Pods`]) or over HTTP under
//! `/__fake/` (the pages of [`control`]). Requests are counted per pod and path, so a test can tell how
//! often somebody asked. Pods can have an engine that loads adapters ([`lora`], behind a [`sidecar`] where
//! wanted); what such pods are asked stands in a [`journal`]. A page that was set comes before the engine.

pub mod control;
pub mod journal;
pub mod lora;
pub mod render;
pub mod serve;
pub mod sidecar;
pub mod state;

#[cfg(test)]
mod fake_engine_tests;
#[cfg(test)]
mod lora_tests;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use kube_fenced_election::clock::{Clock, SystemClock};

use self::serve::{Body, Handler, Hangup, Server, endless, json, text};
pub use self::{
    journal::{Effect, Entry},
    lora::{Call, LoraEngine, Refusal},
    render::{Engine, Load},
    state::{Fault, Page, Pods},
};

/// Largest body that is read.
const BODY_BYTES: usize = 4 << 20;

/// A running server; dropping it closes its port and its connections.
#[derive(Debug)]
pub struct FakeEngine {
    /// What its pods answer.
    pub pods: Arc<Pods>,
    server: Server,
}

impl FakeEngine {
    /// Serves plain HTTP on `address` (port 0: any free one), for pods that answer 404 until told more.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        Self::start_with(address, Arc::default(), false).await
    }

    /// Like [`Self::start`] with TLS and a certificate that nobody signed.
    ///
    /// # Errors
    /// When the address cannot be bound or the certificate cannot be made.
    pub async fn start_tls(address: SocketAddr) -> io::Result<Self> {
        Self::start_with(address, Arc::default(), true).await
    }

    /// Serves `pods`, which other ports may serve too.
    ///
    /// # Errors
    /// As [`Self::start_tls`].
    pub async fn start_with(address: SocketAddr, pods: Arc<Pods>, tls: bool) -> io::Result<Self> {
        let handler = Arc::new(Answers(Arc::clone(&pods)));
        let server = Server::start(address, tls, handler).await?;
        Ok(Self { pods, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its port as a metric source writes it.
    pub fn port(&self) -> String {
        self.address().port().to_string()
    }
}

#[derive(Debug)]
struct Answers(Arc<Pods>);

impl Handler for Answers {
    fn handle(
        &self,
        local: SocketAddr,
        request: Request<Incoming>,
    ) -> BoxFuture<'static, Result<Response<Body>, Hangup>> {
        let pods = Arc::clone(&self.0);
        async move {
            if request.uri().path().starts_with(control::PREFIX) {
                return Ok(control::handle(&pods, request).await);
            }
            let pod = local.ip().to_canonical();
            let page = pods.asked(pod, request.uri().path());
            if pods.starts(pod).is_none() {
                drop(request);
                return answer(page).await;
            }
            let (parts, body) = request.into_parts();
            let number = pods.journal.begin(entry(pod, local.port(), &parts));
            let answer = ask(&pods, pod, number, (&parts, body), page).await?;
            pods.journal.amend(number, |entry| entry.status = Some(answer.status().as_u16()));
            Ok(answer)
        }
        .boxed()
    }

    fn resets(&self, local: SocketAddr) -> bool {
        self.0.resets(local.ip())
    }
}

fn entry(pod: IpAddr, port: u16, parts: &Parts) -> Entry {
    let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Entry {
        at: SystemClock.now(),
        pod,
        port,
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: None,
        effect: None,
        status: None,
    }
}

async fn ask(
    pods: &Pods,
    pod: IpAddr,
    number: usize,
    (parts, body): (&Parts, Incoming),
    page: Option<Page>,
) -> Result<Response<Body>, Hangup> {
    // An engine acts on whole requests only.
    let body = Limited::new(body, BODY_BYTES).collect().await.map_err(|_| Hangup)?.to_bytes();
    pods.journal.amend(number, |entry| entry.body = Some(String::from_utf8_lossy(&body).into_owned()));
    if page.is_some() {
        return answer(page).await;
    }
    let header = |name| parts.headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let asked = lora::Ask {
        method: &parts.method,
        path: parts.uri.path(),
        authorization: header(header::AUTHORIZATION),
        content_type: header(header::CONTENT_TYPE),
        body: &body,
    };
    let (reply, starts) = pods.ask(pod, &asked).ok_or(Hangup)?;
    pods.journal.amend(number, |entry| entry.effect = reply.effect);
    let Ok(status) = StatusCode::from_u16(reply.status) else {
        return std::future::pending().await;
    };
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    if pods.starts(pod) != Some(starts) {
        return Err(Hangup);
    }
    Ok(match reply.body.as_str() {
        Some(said) => text(status, said.to_owned()),
        None => json(status, &reply.body),
    })
}

async fn answer(page: Option<Page>) -> Result<Response<Body>, Hangup> {
    let Some(page) = page else {
        return Ok(text(StatusCode::NOT_FOUND, "{\"detail\":\"Not Found\"}"));
    };
    if !page.delay.is_zero() {
        tokio::time::sleep(page.delay).await;
    }
    match page.fault {
        Fault::None => {}
        Fault::Hang => std::future::pending().await,
        Fault::Reset => return Err(Hangup),
        Fault::Endless => return Ok(endless(page.status)),
    }
    Ok(text(page.status, page.body))
}
