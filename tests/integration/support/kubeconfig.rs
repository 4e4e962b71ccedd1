// SPDX-License-Identifier: Apache-2.0
//! Kubeconfig files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

/// Writes a kubeconfig for `server` into `path`. `authority` is the PEM file by which the server is known.
pub(crate) fn write(path: &Path, server: &str, authority: &Path, token: &str) -> Result<PathBuf> {
    let pem = std::fs::read(authority).with_context(|| format!("read {}", authority.display()))?;
    // JSON is YAML.
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "dev",
            "cluster": {"server": server, "certificate-authority-data": ByteString(pem)},
        }],
        "users": [{"name": "dev", "user": {"token": token}}],
        "contexts": [{"name": "dev", "context": {"cluster": "dev", "user": "dev"}}],
        "current-context": "dev",
    });
    std::fs::write(path, format!("{text:#}\n")).with_context(|| format!("write {}", path.display()))?;
    Ok(path.to_owned())
}

/// A client made from a kubeconfig file.
pub(crate) async fn client(path: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("read {}", path.display()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("understand {}", path.display()))?;
    Client::try_from(config).context("make a client")
}
