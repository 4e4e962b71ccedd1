// SPDX-License-Identifier: Apache-2.0
//! Clients of the API server, made of layers over one connection pool; elections have two of their own, and what a term
//! changes goes over connections of its own.
//!
//! ```text
//! user agent → rate limit → time limit → address, credentials → fence → counting → date → connections
//! ```
//!
//! The fence stands behind everything that may wait.
//!
//! # Guarantees
//! - A fenced client sends nothing that changes something once its fence is closed, also when the fence
//!   closed while the request waited for its turn, for a token or for a connection, and when the process was
//!   frozen meanwhile; what is admitted is bounded by the fence's end, and what the network has not delivered by
//!   then is discarded ([`crate::fenced_tcp`]).
//! - No request but a watch takes longer than 30 s; nothing is retried behind a caller's back.
//! - The user agent of every request names the controller and the process.

mod config;
mod counting;
mod fence;
mod rate_limit;
mod request_info;
mod server_date;
mod time_limit;
mod transport;
mod user_agent;

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod config_tests;
#[cfg(test)]
mod counting_tests;
#[cfg(test)]
mod fence_tests;
#[cfg(test)]
mod rate_limit_tests;
#[cfg(test)]
mod request_info_tests;
#[cfg(test)]
mod time_limit_tests;
#[cfg(test)]
mod transport_tests;
#[cfg(test)]
mod user_agent_tests;

#[cfg(any(test, feature = "testkit"))]
pub use rate_limit::buckets_after;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use http::Method;
use kube::{
    Client,
    client::{ConfigExt as _, middleware::AuthLayer},
};
use tower::ServiceBuilder;

use crate::metrics::families::IntCounterVec;
use kube_fenced_election::{
    clock::{ClockCheck, SharedClock, SystemClock},
    fence::Fence,
};

use self::{
    config::Found,
    counting::Counting,
    fence::Gate,
    rate_limit::RateLimit,
    server_date::ServerDate,
    time_limit::TimeLimit,
    transport::{Dialer, Transport, TransportError},
    user_agent::UserAgent,
};
pub use self::{
    config::{ConfigError, Source},
    fence::ReadOnly,
    time_limit::RequestTimeout,
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
    /// Requests a second for each kind; negative: no limit; 0: 5.
    pub qps: f32,
    /// Requests that may exceed the rate for a moment; 0: 10.
    pub burst: u32,
    /// Name and version of the program, `<program>/<version>`, for the user agent.
    pub program: String,
    /// Identity of the process, for the user agent.
    pub identity: String,
}

/// The `User-Agent` of requests by the part `who` of the process `identity`, for clients that talk to others
/// than the API server.
pub fn user_agent(program: &str, who: &str, identity: &str) -> String {
    UserAgent::new(program, identity).text(who)
}

/// Told of each request that a fence refused: its method.
pub type Refused = Arc<dyn Fn(&Method) + Send + Sync>;

/// Makes clients; all share connections and credentials. Cheap to clone.
#[derive(Clone)]
pub struct Clients {
    shared: Arc<Shared>,
    reader: Client,
    process: Client,
}

struct Shared {
    transport: Transport,
    /// With pools of connections of their own: for what elections ask, and for second tries of it.
    election_transports: [Transport; 2],
    term_transport: TermTransport,
    config: kube::Config,
    auth: Option<AuthLayer>,
    source: Source,
    host: String,
    user_agent: UserAgent,
    rate: Option<RateLimit>,
    counting: Counting,
    dates: Option<ServerDate>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither configuration nor credentials.
        f.debug_struct("Clients")
            .field("host", &self.shared.host)
            .field("source", &self.shared.source)
            .finish_non_exhaustive()
    }
}

impl Clients {
    /// Finds the configuration and prepares clients; does not contact the API server. `requests` is
    /// `rest_client_requests_total` with the labels `code`, `method` and `host`; `check` is shown the time of each
    /// answer. Has to be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ConfigError`]: the configuration is missing or wrong. Trying again does not help.
    pub async fn new(
        settings: &ClientSettings,
        requests: &IntCounterVec,
        check: Option<&ClockCheck>,
    ) -> Result<Self, ConfigError> {
        let Found { config, source, proxy } = config::find(settings).await?;
        let dialer = Dialer::new(&config, proxy.as_ref()).map_err(|error| match error {
            TransportError::Proxy => source.unsupported(proxy.as_ref()),
            TransportError::Tls(cause) => source.unusable(*cause),
        })?;
        let (transport, election_transports) = (dialer.pool(), [dialer.pool(), dialer.pool()]);
        let term_transport: TermTransport =
            Box::new(move |fence, unacknowledged| dialer.of_term(fence, unacknowledged));
        let auth = config.auth_layer().map_err(|cause| source.unusable(cause))?;
        // Tried here, because a client is made without a chance to fail.
        config.extra_headers_layer().map_err(|cause| source.unusable(cause))?;
        let wire = Wire { transport, election_transports, term_transport, config, auth, source };
        let dates = check.cloned().map(ServerDate);
        Ok(Self::over(wire, settings, requests, dates, Arc::new(SystemClock)))
    }

    fn over(
        wire: Wire,
        settings: &ClientSettings,
        requests: &IntCounterVec,
        dates: Option<ServerDate>,
        clock: SharedClock,
    ) -> Self {
        let Wire { transport, election_transports, term_transport, config, auth, source } = wire;
        let shared = Shared {
            transport,
            election_transports,
            term_transport,
            auth,
            source,
            host: config.cluster_url.authority().map(ToString::to_string).unwrap_or_default(),
            user_agent: UserAgent::new(&settings.program, &settings.identity),
            rate: RateLimit::new(settings.qps, settings.burst, clock),
            counting: Counting::new(requests.clone()),
            dates,
            config,
        };
        let reader = shared.client("reader", true, Gate::ReadOnly);
        let process = shared.client("process", true, Gate::Open);
        Self { shared: Arc::new(shared), reader, process }
    }

    /// Where the configuration came from.
    pub fn source(&self) -> &Source {
        &self.shared.source
    }

    /// For watches, lists and discovery of the process: refuses to change anything, with [`ReadOnly`].
    pub fn reader(&self) -> Client {
        self.reader.clone()
    }

    /// For one controller in one term: changes nothing once `fence` is closed. What it changes goes over connections
    /// of its own, which are reset then, or when the API server does not acknowledge for `unacknowledged`.
    pub fn fenced(
        &self,
        controller: &str,
        fence: &Fence,
        refused: Refused,
        unacknowledged: Duration,
    ) -> Client {
        let changes = (self.shared.term_transport)(fence, unacknowledged);
        let transport = transport::split(self.shared.transport.clone(), changes);
        self.shared.client_over(&transport, controller, true, Gate::Term { fence: fence.clone(), refused })
    }

    /// For the Lease traffic of one controller: neither fenced nor rate-limited, over connections that nothing else uses.
    /// The second one has connections of its own, for what the first one gets no answer to. Their tasks run where this
    /// is called.
    pub fn election(&self, controller: &str) -> [Client; 2] {
        let transports = self.shared.election_transports.each_ref();
        transports.map(|it| self.shared.client_over(it, controller, false, Gate::Open))
    }

    /// For what the process does in its own name: presence, events on Leases.
    pub fn process(&self) -> Client {
        self.process.clone()
    }
}

/// Connections for what a term changes, until its fence closes or data is not acknowledged for this time.
type TermTransport = Box<dyn Fn(&Fence, Duration) -> Transport + Send + Sync>;

/// What carries requests to the API server.
struct Wire {
    transport: Transport,
    election_transports: [Transport; 2],
    term_transport: TermTransport,
    config: kube::Config,
    auth: Option<AuthLayer>,
    source: Source,
}

impl Shared {
    fn client(&self, who: &str, limited: bool, gate: Gate) -> Client {
        self.client_over(&self.transport, who, limited, gate)
    }

    fn client_over(&self, transport: &Transport, who: &str, limited: bool, gate: Gate) -> Client {
        let service = ServiceBuilder::new()
            .layer(self.user_agent.of(who))
            .option_layer(self.rate.as_ref().filter(|_| limited))
            .layer(TimeLimit)
            .layer(self.config.base_uri_layer())
            .option_layer(self.auth.as_ref())
            // Sound: tried by `Clients::new`.
            .option_layer(self.config.extra_headers_layer().ok())
            .layer(gate)
            .layer(&self.counting)
            .option_layer(self.dates.as_ref())
            .service(transport.clone());
        Client::new(service, self.config.default_namespace.clone())
    }
}
