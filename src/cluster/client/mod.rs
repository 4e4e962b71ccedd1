// SPDX-License-Identifier: Apache-2.0
//! Clients of the API server, made of layers over one connection pool.
//!
//! ```text
//! user agent → rate limit → fence → time limit → counting → kube's stack (TLS, credentials)
//! ```
//!
//! # Guarantees
//! - A fenced client sends nothing that changes something once its fence is closed, also when the fence
//!   closed while the request waited for the rate limit; what is admitted is bounded by the fence's end.
//! - No request but a watch takes longer than [`time_limit::LIMIT`]; nothing is retried behind a caller's back.
//! - Every request tells in its user agent which controller of which process made it.

mod config;
mod counting;
mod fence;
mod path;
mod rate_limit;
mod time_limit;
mod user_agent;

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod config_tests;
#[cfg(test)]
mod path_tests;

use std::{fmt, path::PathBuf, sync::Arc};

use http::{Method, Request, Response};
use kube::{
    Client,
    client::{Body, ClientBuilder},
};
use tower::{Layer, Service, ServiceBuilder};

use crate::fence::Fence;
use crate::telemetry::families::IntCounterVec;

pub use self::{
    config::{ConfigError, Source},
    time_limit::Silence,
};
use self::{
    counting::CountingLayer, fence::FenceLayer, rate_limit::RateLimitLayer, time_limit::TimeLimitLayer,
    user_agent::UserAgentLayer,
};

/// How to reach the API server.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientSettings {
    /// `--kubeconfig`: this file and nothing else.
    pub kubeconfig_flag: Option<PathBuf>,
    /// `KUBECONFIG`: a list of paths between colons.
    pub kubeconfig_env: Option<String>,
    /// `HOME`, for the last resort `$HOME/.kube/config`.
    pub home: Option<PathBuf>,
    /// Requests a second for each kind; negative: no limit. Never 0.
    pub qps: f32,
    /// Requests that may exceed the rate for a moment; at least 1 when there is a limit.
    pub burst: u32,
    /// Version of the program, for the user agent.
    pub version: String,
    /// Identity of the process, for the user agent.
    pub identity: String,
}

/// Told of each request that a fence refused: its method.
pub type Refused = Arc<dyn Fn(&Method) + Send + Sync>;

/// Makes clients; all share connections and credentials.
#[derive(Clone)]
pub struct Clients {
    base: Base,
    source: Source,
    version: String,
    identity: String,
    rate: Option<RateLimitLayer>,
    host: String,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients")
            .field("host", &self.host)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl Clients {
    /// Finds the configuration and prepares clients; does not contact the API server. `requests` is
    /// `rest_client_requests_total` with the labels `code`, `method` and `host`. Has to be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`ConfigError`]: the configuration is missing or wrong. Trying again does not help.
    pub async fn new(settings: &ClientSettings, requests: &IntCounterVec) -> Result<Self, ConfigError> {
        let (mut config, source) = config::find(settings).await?;
        // A retry behind the caller's back can hang for minutes and hides the cause.
        config.default_retry = false;
        config.connect_timeout = Some(config::CONNECT_TIMEOUT);
        let authority = config.cluster_url.authority();
        let host = authority.map(ToString::to_string).unwrap_or_default();
        let stack = ClientBuilder::try_from(config).map_err(|cause| source.unusable(cause))?;
        let counting = CountingLayer::new(requests.clone(), host.clone());
        let base = Base(counting_client(stack.build(), &counting));
        let rate = RateLimitLayer::new(settings.qps, settings.burst);
        let (version, identity) = (settings.version.clone(), settings.identity.clone());
        Ok(Self { base, source, version, identity, rate, host })
    }

    /// Where the configuration came from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// `host:port` of the API server.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// For watches, lists and discovery of the process: refuses to change anything.
    pub fn reader(&self) -> Client {
        self.client("reader", self.rate.as_ref(), Some(FenceLayer::closed()))
    }

    /// For one controller in one term: changes nothing once `fence` is closed.
    pub fn fenced(&self, controller: &str, fence: &Fence, refused: Refused) -> Client {
        self.client(controller, self.rate.as_ref(), Some(FenceLayer::new(fence.clone(), refused)))
    }

    /// For the Lease traffic of one controller: neither fenced nor rate-limited.
    pub fn election(&self, controller: &str) -> Client {
        self.client(controller, None, None)
    }

    /// For what the process does in its own name: presence, events on Leases.
    pub fn process(&self) -> Client {
        self.client("process", self.rate.as_ref(), None)
    }

    fn client(&self, who: &str, rate: Option<&RateLimitLayer>, fence: Option<FenceLayer>) -> Client {
        let service = ServiceBuilder::new()
            .layer(UserAgentLayer::new(&self.version, who, &self.identity))
            .option_layer(rate.cloned())
            .option_layer(fence)
            .layer(TimeLimitLayer)
            .service(self.base.clone());
        Client::new(service, "default")
    }
}

fn counting_client(stack: Client, counting: &CountingLayer) -> Client {
    let namespace = stack.default_namespace().to_owned();
    Client::new(counting.layer(Base(stack)), namespace)
}

/// The shared client as a service that can be cloned.
#[derive(Clone)]
struct Base(Client);

impl Service<Request<Body>> for Base {
    type Response = Response<Body>;
    type Error = tower::BoxError;
    type Future = futures::future::BoxFuture<'static, Result<Response<Body>, tower::BoxError>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move { client.send(request).await.map_err(tower::BoxError::from) })
    }
}
