// SPDX-License-Identifier: Apache-2.0
//! Two controllers, each with a Lease of its own in the namespace `default`: start it twice, freeze one with SIGSTOP.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for people")]

use kube_fenced_election::{
    Election, ElectionHandle, LeaseClients, Names, Settings, Setup, TermEnd, fence::Fence,
};

#[tokio::main]
async fn main() -> Result<(), kube::Error> {
    // Two clients have connections of their own: one that hangs does not hold up the other.
    let (first, second) = (kube::Client::try_default().await?, kube::Client::try_default().await?);
    let names = Names::new("example", "example-manager", "leaders.example.com");
    let settings = Settings::new(format!("example_{}", std::process::id()), "default");
    let setup = Setup::new(names, settings, LeaseClients { first, second });
    let election = Election::new(&setup.candidate("red", "example-red").candidate("blue", "example-blue"));
    let tasks = election.electors.into_iter().chain(election.background);
    tasks.for_each(|task| drop(tokio::spawn(task.run)));
    futures::future::join_all(election.handles.into_iter().map(supervise)).await;
    Ok(())
}

async fn supervise(mut handle: ElectionHandle) {
    handle.candidacy().contend();
    while let Some(term) = handle.acquired().await {
        println!("{}: leading, term {}", handle.controller(), term.transitions);
        tokio::select! {
            () = work(&term.fence) => {}
            () = term.fence.expired() => println!("{}: the term is over", handle.controller()),
            reason = handle.step_down_requested() => println!("{}: stepping down: {reason}", handle.controller()),
        }
        // The work has been dropped, so nothing of this term runs any more.
        handle.stepped_down_and_released(TermEnd::Finished).await;
    }
}

/// Something to do once a second, for as long as the fence lets it.
async fn work(fence: &Fence) {
    while let Ok(until) = fence.check() {
        println!("a write would have to be answered by {until:?}");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}
