// SPDX-License-Identifier: Apache-2.0
//! A control plane with a running manager, which tests share.

use std::time::Duration;

use tokio::sync::OnceCell;

use crate::support::{ControlPlane, Options, manager::Manager, passes::LOG_PASSES};

/// Arguments of a manager with nothing but the model adapter, and the sidecar as it is shipped.
pub(super) const ALONE: [&str; 3] =
    ["--controllers=model-adapter-controller", "--disable-webhook", "--enable-runtime-sidecar"];
/// Its Lease.
pub(super) const LEASE: &str = "aibrix-model-adapter-controller";
/// Bound for what takes a moment, on a machine that has other things to do.
pub(super) const SOON: Duration = Duration::from_mins(1);
/// Bound for what the next look at rest brings.
pub(super) const NEXT_LOOK: Duration = Duration::from_secs(20);
/// How long a pod has to be ready before an adapter that wants one pod is placed on it.
pub(super) const STABLE: Duration = Duration::from_secs(5);

/// A control plane with a manager.
pub(super) struct World {
    pub(super) plane: ControlPlane,
    pub(super) manager: Manager,
}

/// The world without kube-controller-manager: nobody but the tests makes pods.
pub(super) async fn bare() -> &'static World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD.get_or_init(async || World::with(&ALONE).await).await
}

impl World {
    /// A world of one's own with a manager of these arguments.
    pub(super) async fn with(args: &[&str]) -> Self {
        let plane = plane().await;
        let args: Vec<&str> = args.iter().copied().chain([LOG_PASSES]).collect();
        let manager = Manager::start(&plane, &args).await;
        manager.wait_ready().await;
        Self { plane, manager }
    }
}

/// A control plane with the manager installed and none running.
pub(super) async fn plane() -> ControlPlane {
    let plane = ControlPlane::start(Options::bare()).await;
    plane.install_without_storm_services().await;
    plane
}
