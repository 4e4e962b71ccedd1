// SPDX-License-Identifier: Apache-2.0
//! What elections ask of the API server at rest.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, ResourceExt, api::ListParams};

use super::{
    Figure, ratio,
    subject::{Subject, asked, at_rest, wait_taken},
};
use crate::support::{
    ControlPlane, Options,
    audit::{Entry, count_by},
    holders::holders,
    install::NAMESPACE,
    wait::now,
};

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
    let lease = |it: &Entry| it.object.as_ref().map(|it| it.name.clone()).unwrap_or_default();
    let counts = count_by(requests.iter().copied(), lease);
    let minutes = TIME.as_secs_f64() / 60.0;
    for (name, count) in &counts {
        let name = if name.is_empty() { "lists" } else { name };
        eprintln!("bench: {} a minute: {name}", ratio(*count, minutes));
    }
    let of_elections = || counts.iter().filter(|(name, _)| elected.contains(*name)).map(|(_, count)| *count);
    let most = of_elections().max().unwrap_or_default();
    let others = requests.len() - of_elections().sum::<usize>();
    Ok(vec![
        Figure::new(
            &format!("Lease requests per minute, two replicas: most for one of {} Leases", elected.len()),
            ratio(most, minutes),
            "≤ 14",
        ),
        Figure::new(
            &format!("… about presence ({presence} Leases) and in lists, in all"),
            ratio(others, minutes),
            "",
        ),
    ])
}
