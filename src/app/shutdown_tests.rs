// SPDX-License-Identifier: Apache-2.0
use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use kube_fenced_election::clock::SystemClock;
use kube_loops::runtime::tasks::TaskSet;

use super::{
    report::Report,
    shutdown::{Runnables, report_ended},
};

fn parts() -> Runnables {
    let shutdown = CancellationToken::new();
    Runnables {
        timeout: Duration::from_secs(10),
        drain_delay: Duration::ZERO,
        shutdown: shutdown.clone(),
        closing: CancellationToken::new(),
        runners: TaskSet::new(),
        electors: TaskSet::new(),
        _election_thread: None,
        background: TaskSet::new(),
        senders: TaskSet::new(),
        recorders: Vec::new(),
        servers: TaskSet::new(),
        report: Report::new(Arc::new(SystemClock), shutdown, Duration::from_secs(15)),
    }
}

#[tokio::test(start_paused = true)]
async fn controller_whose_task_panics_is_noticed_before_anybody_stops_the_process() {
    let parts = parts();
    let probes = Report::probes(&parts.report);
    parts.runners.spawn("runner of a controller", async {
        sleep(Duration::from_secs(1)).await;
        panic!("a defect");
    });
    assert!(timeout(Duration::from_millis(500), report_ended(&parts)).await.is_err());
    assert_eq!((probes.healthz)(), Ok(()));
    assert!(timeout(Duration::from_secs(2), report_ended(&parts)).await.is_err());
    assert_eq!((probes.healthz)(), Err("the task of a controller has ended".to_owned()));
    // A process that stops is not started anew for it.
    parts.shutdown.cancel();
    assert_eq!((probes.healthz)(), Ok(()));
}
