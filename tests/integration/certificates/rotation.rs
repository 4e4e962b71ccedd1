// SPDX-License-Identifier: Apache-2.0
//! Renewals, while clients that trust what is published ask all the time.

use std::sync::Arc;

use aibrix_controller_manager::internals::x509;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    clients::{Clients, connect, shown},
    world::{SOON, Span, World, certificates, days_left, good, with_server},
};
use crate::support::{eventually, manager::Manager};

/// Waits until all managers show this certificate.
async fn all_show(managers: &[Manager], world: &World) {
    eventually(SOON, "all managers show the Secret's certificate", async || {
        let data = world.data().await;
        let want = x509::certificates(data["tls.crt"].as_bytes()).into_iter().next();
        for manager in managers {
            let shown = shown(manager, &data["ca.crt"]).await?;
            if Some(shown) != want {
                return Err(format!("{} shows another one", manager.pod_name()));
            }
        }
        Ok(())
    })
    .await;
}

/// Waits until an entry of the Secret is another one.
async fn changed(world: &World, key: &str, old: &str) {
    eventually(SOON, &format!("{key} changes"), async || {
        let data = world.data().await;
        if data.get(key).is_some_and(|text| text != old) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
}

// scenario: manager-and-deployment 34
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_certificate_with_89_days_left_is_renewed_alone() {
    let world = Arc::new(World::new().await);
    let sound = good(days_left(2000), days_left(160));
    world.set_data(&sound).await;
    let managers = world.ready_managers(2).await;
    let clients = Clients::start(&world, &managers);
    let old = with_server(&sound, days_left(89));
    world.set_data(&old).await;
    changed(&world, "tls.crt", &old["tls.crt"]).await;
    all_show(&managers, &world).await;
    let asked = clients.finish().await;
    let new = world.data().await;
    assert_eq!((&new["ca.crt"], &new["ca.key"]), (&old["ca.crt"], &old["ca.key"]));
    assert_ne!(new["tls.key"], old["tls.key"]);
    world.all_hold(&old["ca.crt"]).await.expect("the same CA is published");
    println!("{asked} handshakes during the renewal");
}

// scenario: manager-and-deployment 34
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ca_with_89_days_left_changes_without_one_client_that_fails() {
    let world = Arc::new(World::new().await);
    let old = good(days_left(89), days_left(89));
    world.set_data(&old).await;
    world.publish(&old["ca.crt"]).await;
    let managers = world.ready_managers(3).await;
    let clients = Clients::start(&world, &managers);
    changed(&world, "ca.crt", &old["ca.crt"]).await;
    all_show(&managers, &world).await;
    let from = clients.asked();
    eventually(SOON, "clients have shaken hands with whatever is published now", async || {
        for manager in &managers {
            let answer = manager.get("/readyz").await.expect("an answer");
            assert_eq!(answer.code, 200, "all stay ready: {}", answer.body);
        }
        let asked = clients.asked() - from;
        if asked > 100 { Ok(()) } else { Err(format!("{asked} times")) }
    })
    .await;
    // At least: managers that begin at the same time may each add one.
    assert!(clients.most_trusted() >= 2, "old and new were trusted together");
    let asked = clients.finish().await;
    assert!(asked > 100, "{asked} handshakes");
    println!("{asked} handshakes during the change of the CA");
    let new = world.data().await;
    for key in ["ca.crt", "ca.key", "tls.crt", "tls.key"] {
        assert_ne!(new[key], old[key], "{key}");
    }
    for (name, bundle) in world.bundles().await {
        assert!(bundle.contains(&old["ca.crt"]), "{name} gives clients time");
        assert!(bundle.contains(&new["ca.crt"]), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ca_that_is_about_to_expire_is_dropped_when_it_has() {
    let world = Arc::new(World::new().await);
    let old = good(Span(-86_400, 45), Span(-86_400, 45));
    world.set_data(&old).await;
    world.publish(&old["ca.crt"]).await;
    let managers = world.ready_managers(2).await;
    let clients = Clients::start(&world, &managers);
    changed(&world, "ca.crt", &old["ca.crt"]).await;
    all_show(&managers, &world).await;
    let new = world.data().await;
    // It is about to expire for up to 45 s more.
    eventually(2 * SOON, "the old CA is dropped", async || world.all_hold(&new["ca.crt"]).await).await;
    for manager in &managers {
        shown(manager, &new["ca.crt"]).await.expect("accepted by who trusts the new one alone");
    }
    let asked = clients.finish().await;
    println!("{asked} handshakes until the old CA was gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manager_that_starts_during_the_change_is_trusted_from_the_first_handshake() {
    let world = Arc::new(World::new().await);
    let old = good(days_left(89), days_left(89));
    world.set_data(&old).await;
    world.publish(&old["ca.crt"]).await;
    let mut managers = world.ready_managers(1).await;
    eventually(SOON, "a second CA is published", async || {
        let bundles = world.bundles().await;
        let both = |pem: &str| pem.matches("BEGIN").count() > 1;
        if bundles.iter().all(|(_, pem)| both(pem)) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    // The one that made it dies before it is stored; whoever comes begins anew.
    managers.remove(0).sigkill();
    let managers = world.ready_managers(2).await;
    let clients = Clients::start(&world, &managers);
    changed(&world, "ca.crt", &old["ca.crt"]).await;
    let late = world.ready_managers(1).await;
    let late_clients = Clients::start(&world, &late);
    all_show(&managers, &world).await;
    all_show(&late, &world).await;
    late_clients.finish().await;
    clients.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_that_is_open_outlives_a_new_certificate() {
    let world = World::new().await;
    let managers = world.ready_managers(1).await;
    let old = world.data().await;
    let mut open = connect(managers[0].webhooks(), &old["ca.crt"]).await.expect("accepted");
    let mut broken = old.clone();
    broken.remove("tls.key");
    world.set_data(&broken).await;
    changed(&world, "tls.crt", &old["tls.crt"]).await;
    all_show(&managers, &world).await;
    let request = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    open.write_all(request).await.expect("the old connection takes a request");
    let mut answer = Vec::new();
    open.read_to_end(&mut answer).await.ok();
    assert!(answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_and_foreign_secrets_are_healed_while_clients_go_on() {
    let world = Arc::new(World::new().await);
    let managers = world.ready_managers(2).await;
    let clients = Clients::start(&world, &managers);
    let first = world.data().await;

    let garbage = first.keys().map(|key| (key.clone(), "garbage".to_owned())).collect();
    world.set_data(&garbage).await;
    changed(&world, "ca.crt", "garbage").await;
    all_show(&managers, &world).await;

    let second = world.data().await;
    let mut mixed = second.clone();
    mixed.insert("ca.key".to_owned(), first["ca.key"].clone());
    world.set_data(&mixed).await;
    changed(&world, "ca.crt", &second["ca.crt"]).await;
    all_show(&managers, &world).await;

    // The right CA, a certificate for somebody else.
    let third = world.data().await;
    let mut misnamed = third.clone();
    let other = certificates(days_left(2000), days_left(300), "somebody-else.default.svc");
    misnamed.insert("tls.crt".to_owned(), other["tls.crt"].clone());
    misnamed.insert("tls.key".to_owned(), other["tls.key"].clone());
    world.set_data(&misnamed).await;
    changed(&world, "tls.crt", &other["tls.crt"]).await;
    all_show(&managers, &world).await;
    assert_eq!(world.data().await["ca.crt"], third["ca.crt"]);
    clients.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_from_a_clock_that_is_ahead_are_replaced() {
    let world = World::new().await;
    let ahead = good(Span(7200, 300_000_000), Span(7200, 30_000_000));
    world.set_data(&ahead).await;
    let managers = world.ready_managers(1).await;
    let data = world.data().await;
    assert_ne!(data["ca.crt"], ahead["ca.crt"]);
    shown(&managers[0], &data["ca.crt"]).await.expect("valid now");
}
