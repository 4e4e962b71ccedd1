// SPDX-License-Identifier: Apache-2.0
//! Who holds which Lease now, by asking the API server. (What happened when is in the audit log: see
//! [`super::leases`].)

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{manager::Manager, wait::eventually};

/// The Leases of the namespace `ns` by name, with their holders; empty for a Lease that nobody holds.
/// Presence Leases are left out.
///
/// # Errors
/// The list failed.
pub(crate) async fn holders(client: &Client, ns: &str) -> kube::Result<BTreeMap<String, String>> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), ns);
    let list = leases.list(&ListParams::default()).await?;
    let elected = list.into_iter().filter(|lease| !lease.labels().contains_key("leaders.aibrix.ai/member"));
    Ok(elected
        .map(|lease| {
            let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
            (lease.name_any(), holder.unwrap_or_default())
        })
        .collect())
}

/// Waits until each of the Leases in `names` is held by one of `managers`, and returns the holders of all
/// Leases.
///
/// # Panics
/// When `within` passes first.
pub(crate) async fn wait_all_held(
    client: &Client,
    ns: &str,
    within: Duration,
    names: &[&str],
    managers: &[&Manager],
) -> BTreeMap<String, String> {
    eventually(within, &format!("{names:?} are held by our managers"), async || {
        let all = holders(client, ns).await.map_err(|error| error.to_string())?;
        let ours = |name: &&str| {
            all.get(*name).is_some_and(|holder| managers.iter().any(|manager| manager.is(holder)))
        };
        if names.iter().all(ours) { Ok(all) } else { Err(format!("{all:?}")) }
    })
    .await
}
