// SPDX-License-Identifier: Apache-2.0
//! From the start of the process until it leads.

use anyhow::Result;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};

use super::{
    Figure, spread,
    subject::{Subject, between, stop, wait_taken},
};
use crate::support::{ControlPlane, Options, install::NAMESPACE, wait::now};

const ROUNDS: usize = 10;

/// Starts the manager in an empty cluster without a Lease, several times.
pub(crate) async fn measure(subject: &Subject) -> Result<Vec<Figure>> {
    let plane = ControlPlane::start(Options::bare()).await;
    plane.install_manager().await;
    let leases: Api<Lease> = Api::namespaced(plane.client().await, NAMESPACE);
    let mut log = plane.audit();
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        leases.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        let launched = now();
        let manager = subject.start(&plane).await;
        let taken = wait_taken(&mut log, launched, "").await?;
        samples.push(between(launched, taken.at));
        stop(&manager).await?;
    }
    Ok(vec![Figure::new("start → leading", spread(&samples), "≤ 0.3 s")])
}
