// SPDX-License-Identifier: Apache-2.0
//! Lost and hanging renewals: of the group's claim on the Lease of older managers, and of any Lease.

use std::time::Duration;

use kube_fenced_election::clock::Timestamp;

use crate::support::{
    ControlPlane,
    audit::Entry,
    contender::Contender,
    eventually,
    install::NAMESPACE,
    leases::{self, Change},
    manager::{Launch, Manager, value_of},
    process::Signal,
    proxy::{Proxy, Rule, Treatment},
    stalling_proxy::{StallingProxy, Withheld},
    wait::{now, within_deadline},
};

use super::{
    CONTROLLERS, EXPIRY, PROBED, SOON, assert_nothing_without_lease, default_lease, default_leases,
    go_manager::LEGACY,
    hardening::{SHORT, SHORT_LEASE},
    plane, wait_counting, wait_held,
};

const GROUP: &str = "aibrix-controller-manager-group";
/// Renewals of the group's Lease, as the proxy sees them; presence Leases have longer names.
const CLAIM: [&str; 2] = ["PATCH", "/leases/aibrix-controller-manager?"];

/// A leading manager behind the proxy, and an older manager that waits for the group to go.
async fn leader_and_contender(plane: &ControlPlane, proxy: &Proxy) -> (Manager, Contender) {
    let client = plane.client().await;
    let mut args = vec!["--probe-loops", "--disable-webhook", "--leader-election-spread=false"];
    args.extend(SHORT);
    let mut launch = Launch::new(plane, &args).await;
    launch.kubeconfig = proxy.manager_kubeconfig(plane).await;
    let manager = launch.start();
    wait_held(&client, SOON, &default_leases(), &[&manager]).await;
    wait_counting(&client, SOON, PROBED).await;
    let short = ["-lease-duration=6s", "-renew-deadline=4s", "-retry-period=1s"].map(str::to_owned);
    let contender = Contender::start_on(plane, LEGACY, &short).await;
    contender.wait_until_it_says(SOON, &format!("leader {GROUP}")).await;
    (manager, contender)
}

/// What has become of the Lease of older managers so far.
fn claims(plane: &ControlPlane) -> Vec<Change> {
    leases::history_of(plane.audit().entries(), NAMESPACE, LEGACY)
}

// scenario: hardening 2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lost_renewal_of_the_groups_claim_lets_no_older_manager_in() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let proxy = Proxy::start(&plane).await;
    let (manager, contender) = leader_and_contender(&plane, &proxy).await;
    let ways = [Treatment::Swallow, Treatment::SwallowAnswer, Treatment::Refuse(500)];
    for (round, way) in ways.into_iter().cycle().take(6).enumerate() {
        let lost = Rule::new(&CLAIM, way).times(1);
        proxy.rule(vec![lost.clone()]);
        eventually(SOON, "a renewal of the group's claim is lost", async || {
            if lost.left() == Some(0) { Ok(()) } else { Err("none was sent".to_owned()) }
        })
        .await;
        let at = now();
        eventually(SHORT_LEASE + Duration::from_secs(2), "the claim is renewed again", async || {
            let changes = claims(&plane);
            let seen = changes.last();
            assert!(!contender.said("leading"), "client-go leads beside us, round {round}: {seen:?}");
            let renewed = changes.iter().any(|it| it.received > at && it.holder == GROUP);
            if renewed { Ok(()) } else { Err(format!("{:?}", changes.last())) }
        })
        .await;
    }
    // The last claim, too, is renewed for longer than it lasts.
    let renewals = claims(&plane).len();
    eventually(3 * SHORT_LEASE, "the claim goes on being renewed", async || {
        let more = claims(&plane).len() - renewals;
        if more >= 3 { Ok(()) } else { Err(format!("{more} more renewals")) }
    })
    .await;
    assert!(!contender.said("leading"), "client-go leads beside us");
    let changes = claims(&plane);
    assert!(changes.iter().all(|it| it.holder == GROUP), "{changes:?}");
    let history = leases::history(log.entries());
    for lease in default_leases() {
        let changes = &history[&(NAMESPACE.to_owned(), lease.clone())];
        let kept = changes.iter().all(|it| manager.is(&it.holder) && it.transitions == 0);
        assert!(kept, "{lease}: {changes:?}");
    }
    assert!(!manager.log().contains("stopped leading"), "{}", manager.log());
    wait_counting(&client, SOON, PROBED).await;
    assert_nothing_without_lease(&mut log);
}

/// Changes that a controller of that process asked for, in time.
fn writes<'a>(entries: &'a [Entry], manager: &Manager) -> Vec<&'a Entry> {
    let own = |it: &&Entry| {
        let caller = it.caller.as_ref();
        caller.is_some_and(|by| CONTROLLERS.contains(&by.controller.as_str()) && manager.is(&by.identity))
    };
    // Events about Leases are written by electors at the end of a term.
    let work = |it: &&Entry| it.is_write() && !it.is_lease() && it.resource() != "events";
    entries.iter().filter(own).filter(work).collect()
}

/// The leader's requests for its own Leases pass, those for the group's are treated so.
async fn assert_no_write_outlives_the_claim(way: Treatment) {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let proxy = Proxy::start(&plane).await;
    let (manager, contender) = leader_and_contender(&plane, &proxy).await;
    proxy.rule(vec![Rule::new(&CLAIM, way)]);
    contender.wait_until_it_says(3 * SHORT_LEASE, "leading").await;
    let changes = claims(&plane);
    let taken = changes.iter().position(|it| it.holder == contender.identity).expect("client-go took it");
    let last = changes[..taken].iter().rfind(|it| it.holder == GROUP && it.writer.is_some());
    let last = last.expect("the group held it");
    let ended = last.received + last.duration;
    assert!(
        changes[taken].received >= ended,
        "client-go took the Lease before the claim had ended: {changes:?}"
    );
    let writes = writes(log.entries(), &manager);
    let meanwhile = writes.iter().filter(|it| last.finished < it.received && it.received <= ended).count();
    assert!(meanwhile > 0, "its controllers did nothing after the last renewal: the test proves nothing");
    let late = |it: &&&Entry| it.received > ended;
    let show = |it: &&Entry| {
        let by = it.caller.as_ref().map(|by| by.controller.as_str()).unwrap_or_default();
        format!("{:#} after the claim: {by} {} {}", it.received.duration_since(ended), it.verb, it.uri)
    };
    let late: Vec<_> = writes.iter().filter(late).map(show).collect();
    assert!(late.is_empty(), "{} writes after the group's claim had ended: {late:#?}", late.len());

    eventually(Duration::from_secs(2), "none of its controllers leads", async || {
        let page = manager.metrics().await.map_err(|it| format!("{it:#}"))?;
        for lease in default_leases() {
            let series = format!("leader_election_master_status{{name=\"{lease}\"}}");
            if value_of(&page, &series) != Some(0.0) {
                return Err(lease);
            }
        }
        Ok(())
    })
    .await;

    // The older manager goes: ours lead again.
    proxy.rule(Vec::new());
    contender.process.signal(Signal::TERM);
    wait_held(&client, EXPIRY, &default_leases(), &[&manager]).await;
    wait_counting(&client, SOON, PROBED).await;
    assert_nothing_without_lease(&mut log);
}

// scenario: hardening 2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_controller_writes_after_a_claim_of_the_group_whose_renewals_hang() {
    assert_no_write_outlives_the_claim(Treatment::Hang).await;
}

// scenario: hardening 2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_controller_writes_after_a_claim_of_the_group_whose_renewals_are_refused() {
    assert_no_write_outlives_the_claim(Treatment::Refuse(500)).await;
}

/// Controllers that write nothing at rest: whatever is sent concerns Leases.
const AT_REST: [&str; 3] =
    ["pod-autoscaler-controller", "model-adapter-controller", "model-route-controller"];
/// Renewals are 5 s apart at default durations.
const DUE: Duration = Duration::from_secs(4);
/// Three renewals of each Lease: by then a connection that is in use has been used.
const USED_AGAIN: Duration = Duration::from_secs(15);
/// By then a renewal that was sent has arrived, unless it was held up.
const PROMPT: Duration = Duration::from_millis(800);

/// Whether a hold-up that began then concerned a renewal of one of these Leases.
fn hit_a_renewal(plane: &ControlPlane, leases: &[String], began: Timestamp, what: Withheld) -> bool {
    let history = leases::history(plane.audit().entries());
    leases.iter().any(|lease| {
        let changes = &history[&(NAMESPACE.to_owned(), lease.clone())];
        let (before, after): (Vec<_>, Vec<_>) = changes.iter().partition(|it| it.received < began);
        let due = before.last().is_some_and(|it| it.received + DUE <= began);
        let prompt = after.iter().any(|it| it.received <= began + PROMPT);
        due && (prompt == (what == Withheld::Answers))
    })
}

/// Hangs of every length hit renewals on one connection after the other, and no Lease is lost.
async fn assert_no_hang_costs_a_lease(what: Withheld) {
    // Of each length, so many hangs that hit a renewal; as many again in the other test.
    const HITS: usize = 2;
    let plane = plane().await;
    let client = plane.client().await;
    let proxy = StallingProxy::start(plane.port()).await;
    let controllers = format!("--controllers={}", AT_REST.join(","));
    let args = ["--disable-webhook", "--leader-election-spread=false", &controllers];
    let manager = Launch::through(&plane, proxy.port(), &args).await.start();
    let mut watched: Vec<String> = AT_REST.iter().map(|it| default_lease(it)).collect();
    wait_held(&client, SOON, &watched, &[&manager]).await;
    watched.push(LEGACY.to_owned());
    for millis in [1000, 3000, 4900, 8000] {
        let hang = Duration::from_millis(millis);
        let mut hits = 0;
        for round in 0.. {
            assert!(round < 12 * HITS, "only {hits} of {round} hangs of {hang:?} hit a renewal");
            let mut log = plane.audit();
            let mark = log.mark();
            let target = &watched[round % watched.len()];
            let connection = eventually(SOON, &format!("{target} is renewed"), async || {
                let renewal = log.since(mark).iter().rfind(|it| {
                    let name = it.object.as_ref().map(|object| object.name.as_str());
                    it.is_lease() && it.is_write() && it.is_ok() && name == Some(target)
                });
                let renewal = renewal.ok_or("not yet")?;
                proxy
                    .that_carried(renewal.received)
                    .ok_or_else(|| "not on a connection that is open".to_owned())
            })
            .await;
            let stall = connection.stall(what, hang);
            let used = within_deadline(USED_AGAIN, async || stall.began().ok_or_else(String::new)).await;
            let Some(began) = used.ok().or_else(|| {
                // The pool has others: it may have begun just now, or not at all.
                if connection.withdraw() { None } else { stall.began() }
            }) else {
                continue;
            };
            // It is over, and each Lease has been renewed since: the connection was not missed.
            eventually(hang + SOON, "every Lease is renewed after the hang", async || {
                let history = leases::history(plane.audit().entries());
                let last = |lease: &String| {
                    history[&(NAMESPACE.to_owned(), lease.clone())].last().expect("a change").received
                };
                let behind: Vec<_> = watched.iter().filter(|it| last(it) <= began + hang).collect();
                if behind.is_empty() { Ok(()) } else { Err(format!("{behind:?}")) }
            })
            .await;
            let history = leases::history(plane.audit().entries());
            for lease in &watched {
                let changes = &history[&(NAMESPACE.to_owned(), lease.clone())];
                let one =
                    |it: &Change| it.holder == changes[0].holder && it.transitions == changes[0].transitions;
                let lost =
                    changes.iter().rposition(|it| !one(it)).map(|at| &changes[at.saturating_sub(1)..=at]);
                assert_eq!(lost, None, "{lease} was lost by a hang of {hang:?} that began at {began}");
            }
            let lost = manager.log().lines().find(|line| line.contains("stopped leading")).map(str::to_owned);
            assert_eq!(lost, None, "after a hang of {hang:?}");
            hits += usize::from(hit_a_renewal(&plane, &watched, began, what));
            if hits == HITS {
                break;
            }
        }
    }
}

// scenario: hardening 3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_that_hangs_on_one_connection_costs_no_lease() {
    assert_no_hang_costs_a_lease(Withheld::Both).await;
}

// scenario: hardening 3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_that_hangs_on_one_connection_costs_no_lease() {
    assert_no_hang_costs_a_lease(Withheld::Answers).await;
}
