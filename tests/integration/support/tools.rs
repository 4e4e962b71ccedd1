// SPDX-License-Identifier: Apache-2.0
//! Where the programs of the control plane are.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The repository's root.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program of the control plane by its name, such as `etcd`.
///
/// # Panics
/// When `make tools` has not been run.
pub(crate) fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| ask_where(None)).join(name)
}

/// A program of our own in Go, whose source lies in `dev/<name>`.
///
/// # Panics
/// When `make tools` has not been run since the source changed.
pub(crate) fn own_program(name: &str) -> PathBuf {
    ask_where(Some(name))
}

/// A CRD of the Gateway API's standard channel, such as `httproutes`.
///
/// # Panics
/// When `make tools` has not been run since `dev/gateway-api` changed.
pub(crate) fn gateway_crd(plural: &str) -> PathBuf {
    ask_where(Some("gateway-api")).join(format!("gateway.networking.k8s.io_{plural}.yaml"))
}

/// The Python modules of AIBrix's runtime sidecar.
///
/// # Panics
/// When `make tools` has not been run since `dev/sidecar` changed.
pub(crate) fn runtime_sidecar() -> PathBuf {
    ask_where(Some("runtime-sidecar"))
}

fn ask_where(own: Option<&str>) -> PathBuf {
    let script = repository().join("dev/tools.sh");
    let output = Command::new(&script)
        .arg("--where")
        .args(own)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", script.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}
