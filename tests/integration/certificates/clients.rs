// SPDX-License-Identifier: Apache-2.0
//! Clients that trust what is published, as the API server does, and ask all the time.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use aibrix_controller_manager::internals::x509;
use parking_lot::Mutex;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::world::World;
use crate::support::{authority::dns_name, manager::Manager};

/// Shakes hands as somebody who trusts these CAs and wants the Service.
pub(super) async fn connect(address: SocketAddr, trusted: &str) -> Result<TlsStream<TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    for ca in x509::certificates(trusted.as_bytes()) {
        roots.add(ca).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(dns_name()).map_err(|error| error.to_string())?;
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())
}

/// The certificate that a manager shows to somebody who trusts these CAs.
pub(super) async fn shown(manager: &Manager, trusted: &str) -> Result<CertificateDer<'static>, String> {
    let stream = connect(manager.webhooks(), trusted).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    chain.first().cloned().map(CertificateDer::into_owned).ok_or_else(|| "no certificate".to_owned())
}

/// Asks every manager again and again with whatever each entry of the configurations says at that moment.
pub(super) struct Clients {
    failures: Arc<Mutex<Vec<String>>>,
    asked: Arc<AtomicU32>,
    most: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Clients {
    pub(super) fn start(world: &Arc<World>, managers: &[Manager]) -> Self {
        let (failures, asked) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicU32>::default());
        let (most, stop) = (Arc::<AtomicU32>::default(), Arc::<AtomicBool>::default());
        let mut tasks = JoinSet::new();
        for manager in managers {
            let (world, address, name) =
                (Arc::clone(world), manager.webhooks(), manager.pod_name().to_owned());
            let (failures, asked) = (Arc::clone(&failures), Arc::clone(&asked));
            let (most, stop) = (Arc::clone(&most), Arc::clone(&stop));
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let bundles: BTreeSet<String> =
                        world.bundles().await.into_iter().map(|(_, bundle)| bundle).collect();
                    for bundle in bundles {
                        let trusted = u32::try_from(bundle.matches("BEGIN").count()).unwrap_or(u32::MAX);
                        most.fetch_max(trusted, Ordering::Relaxed);
                        asked.fetch_add(1, Ordering::Relaxed);
                        if let Err(error) = connect(address, &bundle).await {
                            failures.lock().push(format!("{name}, {trusted} CAs trusted: {error}"));
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
        Self { failures, asked, most, stop, tasks }
    }

    /// Most CAs that an entry trusted at the same time.
    pub(super) fn most_trusted(&self) -> u32 {
        self.most.load(Ordering::Relaxed)
    }

    /// How often they have asked so far.
    pub(super) fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Ends them; yields how often they asked.
    ///
    /// # Panics
    /// When one of them was refused even once.
    pub(super) async fn finish(mut self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a client panicked");
        }
        let failures = self.failures.lock();
        let asked = self.asked.load(Ordering::Relaxed);
        assert!(failures.is_empty(), "{} of {asked} failed: {:?}", failures.len(), failures.first());
        asked
    }
}
