// SPDX-License-Identifier: Apache-2.0
//! Two controllers, each with a Lease of its own in the namespace `default`: start it twice, freeze one with SIGSTOP.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for people")]

use std::{sync::Arc, time::Duration};

use kube_fenced_election::{
    Candidate, Election, ElectionHandle, LeaseClients, Names, NoEvents, NoMetrics, Settings, Setup, TermEnd,
    clock::SystemClock, fence::Fence,
};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), kube::Error> {
    // Two clients have connections of their own: one that hangs does not hold up the other.
    let clients = LeaseClients {
        first: kube::Client::try_default().await?,
        second: kube::Client::try_default().await?,
    };
    let seconds = Duration::from_secs;
    let election = Election::new(&Setup {
        names: Arc::new(Names {
            application: "example".to_owned(),
            manager: "example-manager".to_owned(),
            annotation_domain: "leaders.example.com".to_owned(),
            own_lease_advice: |controller| format!("another Lease for {controller}"),
        }),
        settings: Settings {
            identity: format!("example_{}", std::process::id()),
            namespace: "default".to_owned(),
            lease_duration: seconds(15),
            renew_deadline: seconds(10),
            retry_period: seconds(2),
            release_on_cancel: true,
            spread: true,
            legacy_lease: None,
        },
        candidates: ["red", "blue"]
            .map(|name| Candidate {
                controller: name.to_owned(),
                lease: format!("example-{name}"),
                clients: clients.clone(),
            })
            .into(),
        clients: clients.clone(),
        clock: Arc::new(SystemClock),
        events: Arc::new(NoEvents),
        shutdown: CancellationToken::new(),
        metrics: Arc::new(NoMetrics),
    });
    let controllers = election.handles.into_iter().map(|handle| tokio::spawn(supervise(handle)));
    let controllers: Vec<_> = controllers.collect();
    let tasks = election.electors.into_iter().chain(election.background);
    futures::future::join_all(tasks.map(|task| tokio::spawn(task.run))).await;
    futures::future::join_all(controllers).await;
    Ok(())
}

async fn supervise(mut handle: ElectionHandle) {
    handle.candidacy().contend();
    while let Some(term) = handle.acquired().await {
        println!("{}: leading, term {}", handle.controller(), term.transitions);
        tokio::select! {
            () = work(&term.fence) => {}
            () = term.fence.expired() => println!("{}: the term is over", handle.controller()),
            why = handle.step_down_requested() => println!("{}: stepping down: {why}", handle.controller()),
        }
        // The work has been dropped, so nothing of this term runs any more.
        handle.stepped_down_and_released(TermEnd::Finished).await;
    }
}

/// Something to do once a second, for as long as the fence lets it.
async fn work(fence: &Fence) {
    while let Ok(until) = fence.check() {
        println!("a write would have to be answered by {until:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
