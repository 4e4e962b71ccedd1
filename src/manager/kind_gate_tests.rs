// SPDX-License-Identifier: Apache-2.0
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;

use kube_fenced_election::clock::{Clock, SystemClock};
use kube_loops::runtime::controller::Kind;

use super::kind_gate::{Availability, KindGate};

static KINDS: [Kind; 2] = [
    Kind { group: "a.io", version: "v1", kind: "A", plural: "as" },
    Kind { group: "b.io", version: "v1", kind: "B", plural: "bs" },
];

/// A gate whose answers for kind `B` follow the script; `A` is always served.
fn gate(script: &'static [Result<bool, &'static str>]) -> (KindGate, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let probe = Arc::new(move |kind: &'static Kind| {
        let answer = if kind.kind == "A" {
            Ok(true)
        } else {
            let turn = count.fetch_add(1, Ordering::SeqCst);
            script[turn.min(script.len() - 1)].map_err(str::to_owned)
        };
        async move { answer }.boxed()
    });
    (KindGate { required: &KINDS, probe }, asked)
}

#[tokio::test]
async fn the_first_missing_kind_is_named() {
    let (gate, _) = gate(&[Ok(false)]);
    assert_eq!(gate.check().await, Availability::Missing(&KINDS[1]));
}

#[tokio::test(start_paused = true)]
async fn a_missing_kind_is_looked_up_again_every_thirty_seconds() {
    let (gate, asked) = gate(&[Ok(false), Ok(false), Ok(true)]);
    let start = SystemClock.instant();
    let mut on_missing = 0;
    gate.wait_until_served("x", || on_missing += 1).await;
    assert_eq!(SystemClock.instant() - start, Duration::from_secs(60));
    assert_eq!((asked.load(Ordering::SeqCst), on_missing), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_server_is_asked_again_soon_and_does_not_count_as_a_missing_kind() {
    let (gate, _) = gate(&[Err("connection refused"), Ok(true)]);
    let start = SystemClock.instant();
    let mut on_missing = 0;
    gate.wait_until_served("x", || on_missing += 1).await;
    assert_eq!(SystemClock.instant() - start, Duration::from_secs(2));
    assert_eq!(on_missing, 0);
}
