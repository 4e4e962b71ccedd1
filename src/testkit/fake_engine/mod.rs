// SPDX-License-Identifier: Apache-2.0
//! Inference engines that exist only as answers: one process, or one test, plays any number of pods.
//!
//! A server on `0.0.0.0:PORT` answers for every address of the machine; the address that a connection
//! was made to says which pod is meant. What a pod answers is set by code ([`Pods`]) or over HTTP under
//! `/__fake/` (the pages of [`control`]). Requests are counted per pod and path, so a test can tell how
//! often somebody asked. Other remote APIs of engines are further modules next to [`render`].

pub mod control;
pub mod render;
pub mod serve;
pub mod state;

#[cfg(test)]
mod fake_engine_tests;

use std::{io, net::SocketAddr, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use self::serve::{Body, Handler, Hangup, Server, endless, text};
pub use self::{
    render::{Engine, Load},
    state::{Fault, Page, Pods},
};

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
            let page = pods.asked(local.ip(), request.uri().path());
            drop(request);
            answer(page).await
        }
        .boxed()
    }

    fn resets(&self, local: SocketAddr) -> bool {
        self.0.resets(local.ip())
    }
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
        Fault::Endless => return Ok(endless()),
    }
    Ok(text(page.status, page.body))
}
