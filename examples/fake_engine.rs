// SPDX-License-Identifier: Apache-2.0
//! Plays the engines of all pods of a development cluster:
//! `fake_engine [--tls] [--adapters] [ADDRESS:PORT]…` (default `0.0.0.0:8000`). The answers are set under
//! `/__fake/`. `--adapters`: every pod has an engine that loads adapters, and the runtime sidecar.

#![expect(clippy::print_stderr, reason = "a program for people")]

use std::{net::SocketAddr, sync::Arc};

use aibrix_controller_manager::testkit::fake_engine::{FakeEngine, LoraEngine, Pods};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut tls = false;
    let mut adapters = false;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--tls" => tls = true,
            "--adapters" => adapters = true,
            address => addresses.push(address.parse()?),
        }
    }
    if addresses.is_empty() {
        addresses.push(SocketAddr::from(([0, 0, 0, 0], 8000)));
    }
    let pods = Arc::new(Pods::default());
    if adapters {
        pods.engine(None, LoraEngine { sidecar: true, ..LoraEngine::default() });
    }
    let mut servers = Vec::new();
    for address in addresses {
        let server = FakeEngine::start_with(address, Arc::clone(&pods), tls).await?;
        eprintln!("listening on {}", server.address());
        servers.push(server);
    }
    tokio::signal::ctrl_c().await?;
    Ok(())
}
