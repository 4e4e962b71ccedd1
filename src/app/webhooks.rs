// SPDX-License-Identifier: Apache-2.0
//! The webhook server of the process: listener, certificates, readiness.
//!
//! It serves on every replica, leader or not, whichever controllers are enabled, from the start on and until
//! the process closes its listeners. Until there is a certificate every handshake fails, which the API server
//! ignores as the failure policy of the webhooks says.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context;
use futures::FutureExt;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use parking_lot::{Mutex, RwLock};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_util::sync::CancellationToken;

use crate::{
    certs::{self, bundle::Names},
    cli::consumers::WebhookSettings,
    server::{
        Check, WebhookServer,
        tls::{Certificate, ReadCounter},
        webhooks::reach,
    },
    webhook::{self, HOOKS, ReadStored, metrics::WebhookMetrics, review::Stored},
};
use kube_fenced_election::clock::SharedClock;
use kube_loops::{
    chain::Chain,
    metrics::Metrics,
    runtime::{tasks::TaskSet, watches::Watches},
};

/// How often the server asks itself, when it answered and when it did not.
const REACH_PERIOD: Duration = Duration::from_secs(10);
const REACH_RETRY: Duration = Duration::from_millis(500);

const NO_CERTIFICATES: &str = "webhook certificates are not ready";
const NOT_STARTED: &str = "webhook server has not been started yet";

/// The webhook server, as the rest of the process sees it.
pub(super) struct Webhooks {
    settings: WebhookSettings,
    certificates: Arc<Certificates>,
    reached: Mutex<Result<(), String>>,
    /// What reads stored objects for reviews, once there is one.
    client: Arc<OnceLock<kube::Client>>,
}

/// Tasks and tokens of the process that the webhook server shares.
pub(super) struct ProcessTasks<'a> {
    pub(super) servers: &'a TaskSet<()>,
    /// Cancelled at the signal: connections are closed after their next answer.
    pub(super) shutdown: &'a CancellationToken,
    /// Cancelled last: nothing is answered any more.
    pub(super) closing: &'a CancellationToken,
}

/// Reads stored objects for reviews.
fn read_stored(client: Arc<OnceLock<kube::Client>>) -> ReadStored {
    Arc::new(move |kind, namespace, name| {
        let client = client.get().cloned();
        async move {
            let unknown = |reason: String| Stored::Unknown { reason };
            let Some(client) = client else { return unknown("the manager is starting".to_owned()) };
            let of_kind = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
            let resource = ApiResource::from_gvk_with_plural(&of_kind, kind.plural);
            let objects: kube::Api<DynamicObject> = kube::Api::namespaced_with(client, &namespace, &resource);
            match objects.get_opt(&name).await {
                Ok(Some(object)) => serde_json::to_value(object)
                    .map_or_else(|error| unknown(Chain(&error).to_string()), Stored::Found),
                Ok(None) => Stored::NotFound,
                Err(error) => unknown(Chain(&error).to_string()),
            }
        }
        .boxed()
    })
}

impl Webhooks {
    /// Not listening yet, and without certificates.
    pub(super) fn new(settings: &WebhookSettings) -> Arc<Self> {
        Arc::new(Self {
            settings: settings.clone(),
            certificates: Arc::default(),
            reached: Mutex::new(Err(NOT_STARTED.to_owned())),
            client: Arc::default(),
        })
    }

    /// The check that `/readyz` makes.
    pub(super) fn check(this: &Arc<Self>) -> Check {
        let webhooks = Arc::clone(this);
        Arc::new(move || webhooks.ready())
    }

    fn ready(&self) -> Result<(), String> {
        self.certificates.ready()?;
        self.reached.lock().clone()
    }

    /// Binds the listener and starts to serve.
    ///
    /// # Errors
    /// The address is taken, or a metric family is.
    pub(super) async fn start(
        this: &Arc<Self>,
        metrics: &Metrics,
        clock: &SharedClock,
        process: &ProcessTasks<'_>,
    ) -> anyhow::Result<()> {
        let families = WebhookMetrics::register(metrics)?;
        for hook in HOOKS {
            let path = hook.path;
            if hook.mutating {
                tracing::info!(path, "Registering a mutating webhook");
            } else {
                tracing::info!(path, "Registering a validating webhook");
            }
        }
        let WebhookSettings { host, port, enable_http2, .. } = &this.settings;
        if !enable_http2 {
            tracing::info!("disabling http/2");
        }
        tracing::info!("Starting webhook server");
        let limits = webhook::Limits::default();
        let stored = read_stored(Arc::clone(&this.client));
        let router = webhook::router(families, Arc::clone(clock), limits, stored, process.shutdown.clone());
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Certificates>::clone(&this.certificates);
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let server = WebhookServer::bind(&address, router, resolver, *enable_http2).await;
        let server = server.context("unable to setup webhook")?;
        let local = server.local_addr();
        let (webhooks, closing) = (Arc::clone(this), process.closing.clone());
        process.servers.spawn("webhook server", async move {
            if let Err(error) = server.serve(closing).await {
                tracing::error!(error = %Chain(&error), "webhook server failed");
                webhooks.set_reached(Err(&io::Error::other(error)));
            }
        });
        if let Some(local) = local {
            let (webhooks, closing) = (Arc::clone(this), process.closing.clone());
            process.servers.spawn("reach of the webhook server", async move {
                closing.run_until_cancelled(webhooks.keep_reaching(local)).await.unwrap_or_default();
            });
        }
        Ok(())
    }

    /// Stored objects are read by this client from now on. It has no fence: it writes nothing.
    pub(super) fn read_with(&self, client: kube::Client) {
        // A second one changes nothing.
        drop(self.client.set(client));
    }

    /// Whether the certificates are ours to make, rotate and publish.
    pub(super) fn manages_certificates(&self) -> bool {
        self.settings.manage_certs
    }

    /// Makes, rotates and publishes certificates from now on, and serves with them. `client` has no fence: every
    /// replica may.
    pub(super) fn manage_certificates(
        &self,
        client: kube::Client,
        watches: Watches,
        clock: &SharedClock,
    ) -> Arc<certs::Certificates> {
        let WebhookSettings {
            cert_dir,
            namespace,
            service_name,
            secret_name,
            mutating_configuration,
            validating_configuration,
            ..
        } = self.settings.clone();
        let settings = certs::Settings {
            cert_dir,
            names: Names { namespace, service: service_name },
            secret_name,
            mutating_configuration,
            validating_configuration,
        };
        let certificates = certs::Certificates::start(settings, client, watches, Arc::clone(clock));
        let certificates = Arc::new(certificates);
        let ready = Arc::clone(&certificates);
        self.use_certificates(certificates.resolver(), Arc::new(move || ready.readiness()));
        certificates
    }

    /// Serves with what the files in `--webhook-cert-dir` hold, whenever that changes.
    pub(super) fn read_files(this: &Arc<Self>, counter: ReadCounter, process: &ProcessTasks<'_>) {
        let folder = &this.settings.cert_dir;
        let certificate = Arc::new(Certificate::mounted("webhook server", folder, counter));
        let usable = Arc::clone(&certificate);
        let ready = move || if usable.is_usable() { Ok(()) } else { Err(NO_CERTIFICATES.to_owned()) };
        this.use_certificates(Arc::<Certificate>::clone(&certificate), Arc::new(ready));
        let closing = process.closing.clone();
        process.servers.spawn("certificate of the webhook server", async move {
            closing.run_until_cancelled(certificate.keep_reading()).await.unwrap_or_default();
        });
    }

    /// From the next handshake on serves what `resolver` yields; `ready` says whether the API server can
    /// trust it.
    pub(super) fn use_certificates(&self, resolver: Arc<dyn ResolvesServerCert>, ready: Check) {
        *self.certificates.0.write() = Some(Provider { resolver, ready });
    }

    /// Asks itself again and again, so that `/readyz` can answer from memory.
    async fn keep_reaching(&self, address: SocketAddr) {
        loop {
            // Without a certificate nobody can shake hands, and readiness says that first.
            let period = if self.certificates.ready().is_ok() {
                let reached = reach(address).await;
                self.set_reached(reached.as_ref().copied());
                if reached.is_ok() { REACH_PERIOD } else { REACH_RETRY }
            } else {
                REACH_RETRY
            };
            tokio::time::sleep(period).await;
        }
    }

    fn set_reached(&self, reached: Result<(), &io::Error>) {
        let unreachable = |error| format!("webhook server is not reachable: {error}");
        *self.reached.lock() = reached.map_err(unreachable);
    }
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Webhooks").field(&self.settings).finish()
    }
}

/// Where certificates come from: known only after the listener is up.
#[derive(Default)]
struct Certificates(RwLock<Option<Provider>>);

struct Provider {
    resolver: Arc<dyn ResolvesServerCert>,
    ready: Check,
}

impl Certificates {
    fn ready(&self) -> Result<(), String> {
        let ready = self.0.read().as_ref().map(|provider| Arc::clone(&provider.ready));
        ready.map_or_else(|| Err(NO_CERTIFICATES.to_owned()), |ready| ready())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let resolver = self.0.read().as_ref().map(|provider| Arc::clone(&provider.resolver))?;
        resolver.resolve(hello)
    }
}
