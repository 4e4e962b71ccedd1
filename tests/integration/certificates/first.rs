// SPDX-License-Identifier: Apache-2.0
//! The first start: from an empty Secret to a server that the API server calls.

use std::{collections::BTreeSet, process::Command, time::Duration};

use aibrix_controller_manager::internals::x509;
use serde_json::json;
use x509_parser::{extensions::GeneralName, prelude::FromDer as _};

use super::{
    clients::shown,
    world::{NO_CONTROLLERS, SOON, World, bundle_of, days_left, good},
};
use crate::support::{
    authority::dns_name,
    eventually,
    install::NAMESPACE,
    manager::{Launch, Ports},
    objects,
    wait::instant,
};

// scenario: manager-and-deployment 33
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_secret_becomes_a_ready_server_that_clients_of_every_entry_trust() {
    let world = World::new().await;
    assert!(world.data().await.is_empty(), "the shipped Secret is empty");
    let manager = world.manager().await;
    let started = instant();
    eventually(Duration::from_secs(15), "ready with a CA that is published", async || {
        let answer = manager.get("/readyz").await.map_err(|error| format!("{error:#}"))?;
        if answer.code != 200 {
            return Err(answer.body);
        }
        world.all_hold(world.data().await.get("ca.crt").map_or("", String::as_str)).await
    })
    .await;
    println!("ready {:?} after the start", started.elapsed());
    let data = world.data().await;
    let keys: Vec<&str> = data.keys().map(String::as_str).collect();
    assert_eq!(keys, ["ca.crt", "ca.key", "tls.crt", "tls.key"]);
    assert_eq!(world.bundles().await.len(), 11);
    shown(&manager, &data["ca.crt"]).await.expect("a client that trusts ca.crt accepts the server");

    // Enough with the shipped role: nothing but reads and whole writes, and no more of them than needed.
    let mut audit = world.plane.audit();
    let own: Vec<_> = audit.entries().iter().filter(|it| it.user.contains("controller-manager")).collect();
    for resource in ["secrets", "mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        let on: Vec<_> = own.iter().filter(|it| it.resource().starts_with(resource)).collect();
        let verbs: BTreeSet<&str> = on.iter().map(|it| it.verb.as_str()).collect();
        assert!(
            verbs.is_subset(&BTreeSet::from(["get", "list", "watch", "update"])),
            "{resource}: {verbs:?}"
        );
        let refused: Vec<_> = on.iter().filter(|it| it.code == 403).map(|it| &it.uri).collect();
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(on.iter().filter(|it| it.is_write()).count(), 1, "writes of {resource}");
    }
}

// scenario: manager-and-deployment 35
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_have_the_contents_that_a_go_manager_makes_and_reads() {
    let world = World::new().await;
    let _managers = world.ready_managers(1).await;
    let data = world.data().await;
    let name = dns_name();
    let cases = [
        (
            "ca",
            "O=aibrix, CN=aibrix-ca",
            "aibrix-ca",
            "Digital Signature, Key Encipherment, Key Cert Sign",
            true,
        ),
        ("tls", &*format!("CN={name}"), &*name, "Digital Signature, Key Encipherment", false),
    ];
    for (pair, subject, dns, usages, is_ca) in cases {
        let (certificate, key) = (&data[&format!("{pair}.crt")], &data[&format!("{pair}.key")]);
        assert!(key.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"), "{pair}: another encoding of the key");
        let der = x509::certificates(certificate.as_bytes()).remove(0);
        x509::check_authority_key(&der, key.as_bytes()).expect("the key belongs to the certificate");
        let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(&der).expect("a certificate");
        assert_eq!(parsed.subject().to_string(), subject);
        assert_eq!(parsed.public_key().parsed().expect("a key").key_size(), 2048);
        let names = parsed.subject_alternative_name().expect("one extension").expect("names").value;
        assert_eq!(names.general_names, [GeneralName::DNSName(dns)]);
        assert_eq!(parsed.key_usage().expect("one extension").expect("usages").value.to_string(), usages);
        assert_eq!(parsed.is_ca(), is_ca);
        let extended = parsed.extended_key_usage().expect("one extension").map(|it| it.value.clone());
        assert_eq!(extended.is_some_and(|it| it.server_auth), !is_ca);
        let seconds = parsed.validity().not_after.timestamp() - parsed.validity().not_before.timestamp();
        assert_eq!(seconds, if is_ca { 10 * 365 * 86_400 + 3600 } else { 365 * 86_400 + 3600 });
        said_by_openssl(&world, pair, certificate, key);
    }
}

/// Where there is an `openssl`, it has to say the same.
fn said_by_openssl(world: &World, pair: &str, certificate: &str, key: &str) {
    let file = |name: &str, text: &str| {
        let path = world.plane.new_path(name);
        std::fs::write(&path, text).expect("write a file");
        path
    };
    let (certificate, key) = (file("it.crt", certificate), file("it.key", key));
    let run = |args: &[&str], path: &std::path::Path| {
        let output = Command::new("openssl").args(args).arg("-in").arg(path).output().ok()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}", text(&output.stderr));
        Some(text(&output.stdout))
    };
    let Some(said) = run(&["x509", "-noout", "-text"], &certificate) else {
        println!("no openssl here: read by our own parser only");
        return;
    };
    let common = ["Public-Key: (2048 bit)", "sha256WithRSAEncryption", "Digital Signature, Key Encipherment"];
    let special: &[&str] = if pair == "ca" {
        &["DNS:aibrix-ca", "CA:TRUE", "Certificate Sign", "O = aibrix, CN = aibrix-ca"]
    } else {
        &["DNS:aibrix-webhook-service.aibrix-system.svc", "CA:FALSE", "TLS Web Server Authentication"]
    };
    let said = said.replace("O=aibrix, CN=aibrix-ca", "O = aibrix, CN = aibrix-ca");
    for phrase in common.iter().chain(special) {
        assert!(said.contains(phrase), "{pair}: no {phrase:?} in {said}");
    }
    let checked = run(&["rsa", "-noout", "-check"], &key).expect("openssl is there");
    assert!(checked.contains("RSA key ok"), "{checked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_managers_one_fills_the_secret_and_all_serve_the_same() {
    let world = World::new().await;
    let managers = world.ready_managers(3).await;
    let ca = world.data().await["ca.crt"].clone();
    world.all_hold(&ca).await.expect("one CA is published");
    let mut seen = BTreeSet::new();
    for manager in &managers {
        seen.insert(shown(manager, &ca).await.expect("accepted").to_vec());
    }
    assert_eq!(seen.len(), 1, "all show the same certificate");
    let mut audit = world.plane.audit();
    let stored = audit.entries().iter().filter(|it| it.resource() == "secrets" && it.verb == "update");
    assert_eq!(stored.filter(|it| it.is_ok()).count(), 1, "one CA won");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_server_calls_the_webhooks_with_the_ca_that_the_manager_published() {
    let world = World::new().await;
    let address = "10.244.77.1";
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "webhooks", "namespace": NAMESPACE,
                     "labels": {"kubernetes.io/service-name": "aibrix-webhook-service"}},
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"port": 9443, "protocol": "TCP"}],
    });
    objects::create(&world.client, &slice).await;
    let mut launch = Launch::new(&world.plane, &[NO_CONTROLLERS]).await;
    (launch.address, launch.ports) = (address.to_owned(), Some(Ports::SHIPPED));
    let manager = launch.start();
    manager.wait_ready().await;
    let bad = json!({
        "apiVersion": "model.aibrix.ai/v1alpha1", "kind": "ModelAdapter",
        "metadata": {"name": "bad", "namespace": "default"},
        "spec": {"artifactURL": "nonsense", "podSelector": {}},
    });
    eventually(SOON, "the API server asks the manager", async || {
        match objects::try_create(&world.client, &bad).await {
            Err(kube::Error::Api(status)) if status.message.contains("vmodeladapter.kb.io") => Ok(()),
            Err(error) => Err(error.to_string()),
            Ok(_) => {
                objects::delete(&world.client, &bad).await;
                Err("accepted: it was not asked".to_owned())
            }
        }
    })
    .await;
}

// scenario: manager-and-deployment 34
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_that_a_go_manager_wrote_is_served_and_not_changed() {
    let world = World::new().await;
    let data = good(days_left(2000), days_left(165));
    world.set_data(&data).await;
    let before = world.secret().await.expect("the Secret")["metadata"]["resourceVersion"].clone();
    let managers = world.ready_managers(2).await;
    world.all_hold(&data["ca.crt"]).await.expect("its CA is published as it is");
    for manager in &managers {
        shown(manager, &data["ca.crt"]).await.expect("accepted");
    }
    let version = async || world.secret().await.expect("the Secret")["metadata"]["resourceVersion"].clone();
    assert_eq!(version().await, before);
    let touched = world.looked_at_again(&managers).await;
    assert_eq!(version().await, touched["metadata"]["resourceVersion"], "the Secret stays");
    for (_, bundle) in world.bundles().await {
        assert_eq!(bundle, data["ca.crt"]);
    }
    assert_eq!(bundle_of(&world.configuration(0).await["webhooks"][0]), data["ca.crt"]);
}
