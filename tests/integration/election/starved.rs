// SPDX-License-Identifier: Apache-2.0
//! Elections of a process that has half a processor and is asked for all else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use kube::{ResourceExt as _, api::ListParams};

use crate::support::manager::Launch;

use super::{SOON, default_leases, leases_of, plane, wait_held};

/// How long it is held down.
const STARVED: Duration = Duration::from_mins(1);
/// Half of a processor: it runs for so long and stands still for so long.
const SLICE: Duration = Duration::from_millis(50);
/// Scrapes a second, of so many scrapers.
const SCRAPES: u32 = 200;
const SCRAPERS: u32 = 10;
/// Nested arrays of this depth and size are posted.
const BYTES: usize = 7 << 20;

// scenario: hardening 10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lease_is_lost_on_half_a_processor_under_scrapes_and_hostile_reviews() {
    let plane = plane().await;
    let client = plane.client().await;
    let launch = Launch::new(&plane, &["--probe-loops", "--leader-election-spread=false"]).await;
    let manager = Arc::new(launch.start());
    wait_held(&client, SOON, &default_leases(), &[&manager]).await;
    manager.wait_ready().await;

    let done = Arc::new(AtomicBool::new(false));
    let (slices, scraped, posted) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let throttle = {
        let (manager, done, slices) = (Arc::clone(&manager), Arc::clone(&done), Arc::clone(&slices));
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                manager.sigstop();
                std::thread::sleep(SLICE);
                manager.sigcont();
                std::thread::sleep(SLICE);
                slices.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let client_of = |builder: reqwest::ClientBuilder| {
        builder.no_proxy().timeout(Duration::from_secs(30)).build().expect("a client")
    };
    let mut asking = tokio::task::JoinSet::new();
    let asker = client_of(reqwest::Client::builder());
    for _ in 0..SCRAPERS {
        let (asker, url, scraped) = (asker.clone(), manager.metrics_url(), Arc::clone(&scraped));
        let mut ticks = tokio::time::interval(Duration::from_secs(1) * SCRAPERS / SCRAPES);
        asking.spawn(async move {
            loop {
                ticks.tick().await;
                let answer = asker.get(&url).send().await;
                if let Ok(answer) = answer
                    && answer.bytes().await.is_ok()
                {
                    scraped.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    let hostile = "[".repeat(BYTES / 2) + &"]".repeat(BYTES / 2);
    let stranger = client_of(reqwest::Client::builder().tls_danger_accept_invalid_certs(true));
    let url = format!("https://{}/validate-autoscaling-aibrix-ai-v1alpha1-podautoscaler", manager.webhooks());
    let count = Arc::clone(&posted);
    asking.spawn(async move {
        loop {
            let request = stranger.post(&url).header("content-type", "application/json");
            if request.body(hostile.clone()).send().await.is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    tokio::time::sleep(STARVED).await;
    done.store(true, Ordering::Relaxed);
    throttle.join().expect("the throttle ends");
    asking.shutdown().await;

    let counts = [&slices, &scraped, &posted].map(|it| it.load(Ordering::Relaxed));
    assert!(counts[0] > 300 && counts[1] > 1000 && counts[2] > 10, "too little was asked of it: {counts:?}");
    for lease in leases_of(&client).list(&ListParams::default()).await.expect("list Leases") {
        let (name, spec) = (lease.name_any(), lease.spec.expect("a Lease has a spec"));
        if default_leases().contains(&name) {
            let holder = spec.holder_identity.unwrap_or_default();
            assert!(manager.is(&holder) && spec.lease_transitions == Some(0), "{name}: {holder}");
        }
    }
    let log = manager.log();
    assert!(!log.contains("stopped leading"), "{log}");
}
