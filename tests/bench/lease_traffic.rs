// SPDX-License-Identifier: Apache-2.0
//! What elections ask of the API server at rest.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, ResourceExt, api::ListParams};

use super::{
    Figure, ratio,
    subject::{Subject, asked, at_rest, wait_taken},
};
use crate::support::{ControlPlane, Options, holders::holders, install::NAMESPACE, wait::now};

const TIME: Duration = Duration::from_mins(2);

/// Counts the requests of two replicas.
pub(crate) async fn measure(subject: &Subject) -> Result<Vec<Figure>> {
    let plane = ControlPlane::start(Options::bare()).await;
    plane.install_manager().await;
    let mut log = plane.audit();
    let launched = now();
    let first = subject.start(&plane).await;
    wait_taken(&mut log, launched, "").await?;
    let second = subject.start(&plane).await;
    for manager in [&first, &second] {
        at_rest(manager, Duration::from_secs(30)).await?;
    }
    let mark = log.mark();
    tokio::time::sleep(TIME).await;
    let client = plane.client().await;
    let elected: BTreeSet<String> = holders(&client, NAMESPACE).await?.into_keys().collect();
    let all: Api<Lease> = Api::namespaced(client, NAMESPACE);
    let others =
        all.list(&ListParams::default()).await?.iter().map(ResourceExt::name_any).collect::<BTreeSet<_>>();
    let presence = others.difference(&elected).count();
    let requests: Vec<_> =
        log.since(mark).iter().filter(|it| asked(it) && it.is_lease() && it.verb != "watch").collect();
    let about =
        |it: &&&crate::support::audit::Entry| it.object.as_ref().is_some_and(|it| elected.contains(&it.name));
    let about_elected = requests.iter().filter(about).count();
    let minutes = TIME.as_secs_f64() / 60.0;
    let leases = u32::try_from(elected.len()).context("few Leases")?;
    Ok(vec![
        Figure::new(
            &format!("Lease requests per Lease and minute, two replicas ({leases} held)"),
            ratio(about_elected, f64::from(leases) * minutes),
            "≤ 14",
        ),
        Figure::new(
            &format!("… about presence and lists, per minute in all ({presence} presence Leases)"),
            ratio(requests.len() - about_elected, minutes),
            "",
        ),
    ])
}
