// SPDX-License-Identifier: Apache-2.0
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kube_fenced_election::clock::{Clock as _, SharedClock, SystemClock};

use super::{
    Certificates,
    observed_state::{ObserveInputs, ObservedState},
    plan::{OVERLAP, SETTLE},
    rotation::Data,
    scripted::{SECRET, Server, aged, settings},
    store::Store,
    testing::{data, handshake},
    x509,
};

const LONG: Duration = Duration::from_secs(120);

/// Waits, with a clock that runs ahead whenever everybody waits.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<(), String>) {
    let deadline = SystemClock.instant() + LONG;
    loop {
        match holds().await {
            Ok(()) => return,
            Err(seen) => assert!(SystemClock.instant() < deadline, "never: {what}; seen last: {seen}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn ready(certificates: &Certificates) {
    until("ready", async || certificates.readiness()).await;
}

/// Whether a client that trusts what is published accepts what is served.
async fn accepted(server: &Server, certificates: &Certificates) -> Result<(), String> {
    handshake(certificates.resolver(), &server.trusted(), SystemClock.now()).await.map(drop)
}

fn text(data: &Data, key: &str) -> String {
    String::from_utf8(data.get(key).cloned().unwrap_or_default()).unwrap()
}

fn count(writes: &[String], word: &str) -> usize {
    writes.iter().filter(|write| write.contains(word)).count()
}

#[tokio::test(start_paused = true)]
async fn empty_secret_is_filled_and_its_ca_published_once() {
    let server = Server::with(Some(Data::new()));
    server.0.lock().watched = true;
    let (certificates, api) = server.replica();
    ready(&certificates).await;
    let data = server.data();
    assert_eq!(data.keys().collect::<Vec<_>>(), ["ca.crt", "ca.key", "tls.crt", "tls.key"]);
    assert!(server.bundles().iter().all(|bundle| *bundle == text(&data, "ca.crt")));
    accepted(&server, &certificates).await.unwrap();
    tokio::time::sleep(Duration::from_hours(13)).await;
    let writes = server.writes();
    assert_eq!(
        (count(&writes, SECRET), count(&writes, "configuration"), writes.len()),
        (1, 2, 3),
        "{writes:?}"
    );
    assert!(api.log().iter().all(|it| it.starts_with("GET ") || it.starts_with("PUT ")), "other verbs");
    let kept = server.0.lock().configurations[0].clone().unwrap();
    assert_eq!(kept["webhooks"][0]["newField"], 7, "fields that nobody knows survive");
}

#[tokio::test(start_paused = true)]
async fn missing_secret_is_created_where_that_is_permitted() {
    let server = Server::with(None);
    let (certificates, _) = server.replica();
    ready(&certificates).await;
    assert!(server.writes()[0].starts_with("POST "));
    assert_eq!(server.data().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn missing_secret_is_waited_for_where_it_may_not_be_created() {
    let server = Server::with(None);
    server.forbid("POST", "/secrets");
    let (certificates, api) = server.replica();
    tokio::time::sleep(Duration::from_mins(10)).await;
    let cause = certificates.readiness().unwrap_err();
    assert_eq!(cause, "webhook certificates are not ready: the Secret does not exist");
    let tries = count(&api.log(), "POST");
    assert!((20..60).contains(&tries), "every 30 s at most, and not given up: {tries}");
    server.set_secret(&Data::new());
    ready(&certificates).await;
}

#[tokio::test(start_paused = true)]
async fn secret_that_is_good_is_not_written() {
    let (ca, own) = aged(400, 300);
    let server = Server::with(Some(data(&ca, &own)));
    server.0.lock().watched = true;
    let (certificates, _) = server.replica();
    ready(&certificates).await;
    tokio::time::sleep(Duration::from_hours(13)).await;
    assert_eq!(count(&server.writes(), SECRET), 0);
    assert_eq!(server.data(), data(&ca, &own));
}

#[tokio::test(start_paused = true)]
async fn server_certificate_with_few_days_left_is_replaced_alone() {
    let (ca, own) = aged(400, 89);
    let server = Server::with(Some(data(&ca, &own)));
    let (certificates, _) = server.replica();
    until("renewed", async || {
        if text(&server.data(), "tls.crt") == own.certificate { Err("not yet".into()) } else { Ok(()) }
    })
    .await;
    ready(&certificates).await;
    let after = server.data();
    assert_eq!((text(&after, "ca.crt"), text(&after, "ca.key")), (ca.certificate, ca.key));
    assert_ne!(text(&after, "tls.key"), own.key);
    accepted(&server, &certificates).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn ca_changes_without_a_moment_in_which_a_client_fails() {
    let (ca, own) = aged(89, 89);
    let server = Server::with(Some(data(&ca, &own)));
    server.publish(&ca);
    let replicas: Vec<_> = (0..3).map(|_| server.replica().0).collect();
    for replica in &replicas {
        ready(replica).await;
    }
    let mut bundles = BTreeSet::new();
    let start = SystemClock.instant();
    while start.elapsed() < OVERLAP + OVERLAP {
        bundles.insert(server.trusted().len());
        for replica in &replicas {
            accepted(&server, replica).await.unwrap();
            replica.readiness().unwrap();
        }
        // Densely where it matters.
        let pause = if start.elapsed() < SETTLE * 4 { 200 } else { 5000 };
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    let after = server.data();
    for key in ["ca.crt", "ca.key", "tls.crt", "tls.key"] {
        assert_ne!(after.get(key), data(&ca, &own).get(key), "{key} has changed");
    }
    assert!(bundles.contains(&2), "old and new were trusted at the same time: {bundles:?}");
    assert!(
        server.bundles().iter().all(|bundle| *bundle == text(&after, "ca.crt")),
        "only the new one is left"
    );

    let world = server.0.lock();
    let stored = world.writes.iter().find(|(_, write)| write.contains(SECRET)).unwrap().0;
    let (first, last) = (world.writes[0].0, world.writes.last().unwrap().0);
    assert!(stored - first >= SETTLE, "published before it is stored: {:?}", stored - first);
    assert!(
        last - stored >= OVERLAP.saturating_sub(SETTLE),
        "dropped after ten minutes: {:?}",
        last - stored
    );
}

#[tokio::test(start_paused = true)]
async fn of_three_replicas_one_fills_the_empty_secret_and_all_serve_it() {
    for _ in 0..3 {
        let server = Server::with(Some(Data::new()));
        let replicas: Vec<_> = (0..3).map(|_| server.replica().0).collect();
        for replica in &replicas {
            ready(replica).await;
            accepted(&server, replica).await.unwrap();
        }
        assert_eq!(count(&server.writes(), SECRET), 1, "one CA wins: {:?}", server.writes());
    }
}

#[tokio::test(start_paused = true)]
async fn conflict_is_resolved_by_reading_again() {
    let server = Server::with(Some(Data::new()));
    server.0.lock().conflicts = 5;
    let (certificates, _) = server.replica();
    ready(&certificates).await;
    assert_eq!(server.0.lock().conflicts, 0);
}

#[tokio::test(start_paused = true)]
async fn corrupt_secret_is_made_anew_while_the_old_certificate_is_served() {
    let (ca, own) = aged(400, 300);
    let server = Server::with(Some(data(&ca, &own)));
    let (certificates, _) = server.replica();
    ready(&certificates).await;
    let garbage = [("ca.crt".to_owned(), b"garbage".to_vec()), ("tls.key".to_owned(), vec![0xff])];
    server.set_secret(&garbage.into());
    until("made anew", async || {
        accepted(&server, &certificates).await.expect("at no moment a failure");
        certificates.readiness().expect("nor unready");
        if server.data().len() == 4 { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
    for _ in 0..600 {
        accepted(&server, &certificates).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_ne!(text(&server.data(), "ca.crt"), ca.certificate);
}

#[tokio::test(start_paused = true)]
async fn cleared_bundle_is_restored() {
    let (ca, own) = aged(400, 300);
    let server = Server::with(Some(data(&ca, &own)));
    let (certificates, _) = server.replica();
    ready(&certificates).await;
    server.apply_configuration(1);
    until("restored", async || {
        if server.bundles().iter().all(|it| *it == ca.certificate) { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn refused_renewal_is_tried_again_in_an_hour_and_what_works_is_served() {
    let (ca, own) = aged(80, 80);
    let server = Server::with(Some(data(&ca, &own)));
    server.forbid("PUT", "/secrets");
    server.0.lock().watched = true;
    let (certificates, api) = server.replica();
    ready(&certificates).await;
    tokio::time::sleep(Duration::from_hours(5)).await;
    ready(&certificates).await;
    accepted(&server, &certificates).await.unwrap();
    let tries = api.log().iter().filter(|it| *it == &format!("PUT {SECRET}")).count();
    assert!((3..8).contains(&tries), "{tries} tries");
    let writes = server.writes().len();
    assert!(writes < 60, "{writes} writes of configurations");
    server.0.lock().forbidden.clear();
    tokio::time::sleep(Duration::from_hours(2)).await;
    assert_ne!(text(&server.data(), "ca.crt"), ca.certificate, "permission came");
}

#[tokio::test(start_paused = true)]
async fn without_permission_for_configurations_the_certificate_is_served_but_not_ready() {
    let server = Server::with(Some(Data::new()));
    server.forbid("GET", "validatingwebhookconfigurations");
    let (certificates, _) = server.replica();
    until("the other one is published", async || {
        let ca = text(&server.data(), "ca.crt");
        if !ca.is_empty() && server.bundles()[0] == ca { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
    let cause = certificates.readiness().unwrap_err();
    assert!(cause.contains("ValidatingWebhookConfiguration") && cause.contains("403"), "{cause}");
    server.0.lock().forbidden.clear();
    ready(&certificates).await;
}

#[tokio::test(start_paused = true)]
async fn absent_configurations_are_skipped_and_filled_when_they_come() {
    let server = Server::with(Some(Data::new()));
    server.0.lock().configurations = [None, None];
    let (certificates, _) = server.replica();
    ready(&certificates).await;
    server.apply_configuration(0);
    until("published", async || {
        if server.bundles().iter().all(|it| *it == text(&server.data(), "ca.crt")) {
            Ok(())
        } else {
            Err("not yet".into())
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn certificate_whose_ca_was_lost_is_served_as_long_as_clients_trust_it() {
    let (ca, own) = aged(400, 300);
    let mut broken = data(&ca, &own);
    let server = Server::with(Some(broken.clone()));
    let (certificates, _) = server.replica();
    ready(&certificates).await;
    drop(certificates);
    broken.insert("ca.crt".to_owned(), b"lost".to_vec());
    server.set_secret(&broken);
    // A replica that starts now finds the CA in the bundles only.
    let (certificates, _) = server.replica();
    ready(&certificates).await;
    for _ in 0..400 {
        accepted(&server, &certificates).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(x509::certificates(text(&server.data(), "ca.crt").as_bytes()).len() == 1, "healed");
}

#[tokio::test(start_paused = true)]
async fn somebody_who_undoes_every_write_is_not_fought_without_end() {
    let (ca, own) = aged(400, 300);
    let server = Server::with(Some(data(&ca, &own)));
    let (certificates, api) = server.replica();
    ready(&certificates).await;
    let from = server.writes().len();
    for _ in 0..600 {
        server.apply_configuration(0);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(server.writes().len() - from < 60, "{} writes", server.writes().len() - from);
    assert!(api.log().len() < 6000);
}

/// What a slow answer shows may have come a moment ago; what is stored because of it must not be older than allowed.
#[tokio::test(start_paused = true)]
async fn waits_count_from_the_end_of_a_slow_look_and_its_age_from_the_begin() {
    let server = Server::with(None);
    server.0.lock().slow = SETTLE * 2;
    let (settings, clock): (_, SharedClock) = (settings(), Arc::new(SystemClock));
    let store = Store::new(server.api().client(), &settings);
    let start = clock.instant();
    let from =
        ObserveInputs { store: &store, settings: &settings, clock: &clock, candidate: None, serving: true };
    let observed = ObservedState::observe(from).await;
    assert_eq!(observed.began, start);
    assert!(observed.at - start >= SETTLE * 2, "{:?}", observed.at - start);
}
