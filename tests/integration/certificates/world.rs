// SPDX-License-Identifier: Apache-2.0
//! A control plane with the manager installed, its Secret and both configurations.

use std::{collections::BTreeMap, time::Duration};

use aibrix_controller_manager::internals::issue::{self, PemPair, Template};
use k8s_openapi::ByteString;
use kube::Client;
use serde_json::{Value, json};

use crate::support::{
    ControlPlane, Options,
    authority::{CONFIGURATIONS, dns_name},
    eventually,
    install::NAMESPACE,
    manager::{Launch, Manager},
    objects,
    wait::now,
};

/// Bound for what takes a moment.
pub(super) const SOON: Duration = Duration::from_mins(1);
/// Enables nothing: such a manager only answers reviews.
pub(super) const NO_CONTROLLERS: &str = "--controllers=-pod-autoscaler-controller";
/// Makes a manager log that it looked at its certificates and that nothing is to be done.
const LOG_LOOKS: &str = "--vmodule=rotator=8";
const SECRET: &str = "aibrix-webhook-server-cert";

/// Data of the Secret as text.
pub(super) type Data = BTreeMap<String, String>;

pub(super) struct World {
    pub(super) plane: ControlPlane,
    pub(super) client: Client,
}

impl World {
    /// With the Secret empty and the configurations as they are shipped.
    pub(super) async fn new() -> Self {
        let plane = ControlPlane::start(Options::bare()).await;
        plane.install_without_storm_services().await;
        let client = plane.client().await;
        Self { plane, client }
    }

    /// A manager that only answers reviews, started at once.
    pub(super) async fn manager(&self) -> Manager {
        Launch::new(&self.plane, &[NO_CONTROLLERS, LOG_LOOKS]).await.start()
    }

    /// So many of them, all ready.
    pub(super) async fn ready_managers(&self, count: usize) -> Vec<Manager> {
        let mut managers = Vec::new();
        for _ in 0..count {
            managers.push(self.manager().await);
        }
        for manager in &managers {
            manager.wait_ready().await;
        }
        managers
    }

    /// The Secret; `None`: there is none.
    pub(super) async fn secret(&self) -> Option<Value> {
        objects::get(&self.client, &secret()).await
    }

    /// Annotates the Secret, and waits until these managers, which have [`LOG_LOOKS`], have looked at it and found
    /// nothing to do. Yields it as it was stored.
    pub(super) async fn looked_at_again(&self, managers: &[Manager]) -> Value {
        let looks = |manager: &Manager| manager.log().matches("no cert refresh needed").count();
        let before: Vec<usize> = managers.iter().map(looks).collect();
        let patch = json!({"metadata": {"annotations": {"example.com/touched": "yes"}}});
        let stored = objects::patch(&self.client, &secret(), &patch).await;
        for (manager, before) in managers.iter().zip(before) {
            eventually(SOON, "it looks again", async || {
                if looks(manager) > before { Ok(()) } else { Err(manager.log()) }
            })
            .await;
        }
        serde_json::to_value(stored).expect("JSON")
    }

    /// What the Secret holds.
    pub(super) async fn data(&self) -> Data {
        let secret = self.secret().await.expect("the Secret is there");
        let data = secret["data"].as_object().cloned().unwrap_or_default();
        let decode = |(key, value)| {
            let bytes: ByteString = serde_json::from_value(value).expect("base64");
            (key, String::from_utf8_lossy(&bytes.0).into_owned())
        };
        data.into_iter().map(decode).collect()
    }

    /// Gives the Secret these data and no other.
    pub(super) async fn set_data(&self, data: &Data) {
        let mut entries = self.secret().await.expect("the Secret")["data"].clone();
        for value in entries.as_object_mut().into_iter().flat_map(|it| it.values_mut()) {
            *value = Value::Null;
        }
        if !entries.is_object() {
            entries = json!({});
        }
        for (key, text) in data {
            entries[key] = json!(ByteString(text.clone().into_bytes()));
        }
        objects::patch(&self.client, &secret(), &json!({"data": entries})).await;
    }

    /// Deletes the Secret.
    pub(super) async fn delete_secret(&self) {
        objects::delete(&self.client, &secret()).await;
    }

    /// Creates the Secret without data, as the manifests do.
    pub(super) async fn create_empty_secret(&self) {
        objects::create(&self.client, &secret()).await;
    }

    /// A configuration.
    pub(super) async fn configuration(&self, index: usize) -> Value {
        objects::get(&self.client, &configuration(index)).await.expect("the configuration is there")
    }

    /// Sets the entries of a configuration.
    pub(super) async fn set_entries(&self, index: usize, entries: &Value) {
        objects::patch(&self.client, &configuration(index), &json!({"webhooks": entries})).await;
    }

    /// Deletes a configuration.
    pub(super) async fn delete_configuration(&self, index: usize) {
        objects::delete(&self.client, &configuration(index)).await;
    }

    /// The bundles of all entries: (name of the entry, PEM).
    pub(super) async fn bundles(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (index, _) in CONFIGURATIONS.iter().enumerate() {
            let Some(stored) = objects::get(&self.client, &configuration(index)).await else { continue };
            for entry in stored["webhooks"].as_array().into_iter().flatten() {
                found.push((entry["name"].as_str().expect("a name").to_owned(), bundle_of(entry)));
            }
        }
        found
    }

    /// Puts this CA into every entry, as a manager did that ran before.
    pub(super) async fn publish(&self, ca: &str) {
        for (index, _) in CONFIGURATIONS.iter().enumerate() {
            let mut entries = self.configuration(index).await["webhooks"].clone();
            for entry in entries.as_array_mut().expect("entries") {
                entry["clientConfig"]["caBundle"] = json!(ByteString(ca.as_bytes().to_vec()));
            }
            self.set_entries(index, &entries).await;
        }
    }

    /// Whether every entry holds this bundle and no other.
    pub(super) async fn all_hold(&self, pem: &str) -> Result<(), String> {
        let bundles = self.bundles().await;
        match bundles.iter().find(|(_, bundle)| bundle != pem) {
            Some((name, other)) => {
                Err(format!("{name} holds {} certificates", other.matches("BEGIN").count()))
            }
            None if bundles.is_empty() => Err("no entries".to_owned()),
            None => Ok(()),
        }
    }
}

/// The bundle of an entry as PEM.
pub(super) fn bundle_of(entry: &Value) -> String {
    let bundle = entry["clientConfig"].get("caBundle").cloned().unwrap_or_default();
    let bytes: ByteString = serde_json::from_value(bundle).unwrap_or_default();
    String::from_utf8(bytes.0).expect("PEM")
}

fn secret() -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": NAMESPACE}})
}

fn configuration(index: usize) -> Value {
    let (kind, name) = CONFIGURATIONS[index];
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}})
}

/// When a certificate begins and ends, in seconds from now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span(pub(super) i64, pub(super) i64);

/// So many days are left.
pub(super) fn days_left(days: i64) -> Span {
    Span(-200 * 86_400, days * 86_400)
}

/// What a Go manager writes: serial numbers 0 and 1, PKCS#1; the server's for `name`.
pub(super) fn certificates(ca: Span, server: Span, name: &str) -> Data {
    let template = |Span(from, until): Span, serial: u8| Template {
        not_before: now() + jiff::SignedDuration::from_secs(from),
        not_after: now() + jiff::SignedDuration::from_secs(until),
        serial: vec![serial],
    };
    let random = &mut rand::rng();
    let authority: PemPair = issue::authority(&template(ca, 0), random).expect("a CA");
    let own = issue::server(&authority, name, &template(server, 1), random).expect("a certificate");
    let entries = [
        ("ca.crt", authority.certificate),
        ("ca.key", authority.key),
        ("tls.crt", own.certificate),
        ("tls.key", own.key),
    ];
    entries.map(|(key, text)| (key.to_owned(), text)).into()
}

/// A server certificate by the CA in these data, in place of theirs.
pub(super) fn with_server(data: &Data, Span(from, until): Span) -> Data {
    let ca = PemPair { certificate: data["ca.crt"].clone(), key: data["ca.key"].clone() };
    let template = Template {
        not_before: now() + jiff::SignedDuration::from_secs(from),
        not_after: now() + jiff::SignedDuration::from_secs(until),
        serial: vec![1],
    };
    let own = issue::server(&ca, &dns_name(), &template, &mut rand::rng()).expect("a certificate");
    let mut data = data.clone();
    data.insert("tls.crt".to_owned(), own.certificate);
    data.insert("tls.key".to_owned(), own.key);
    data
}

/// The same for the Service's name.
pub(super) fn good(ca: Span, server: Span) -> Data {
    certificates(ca, server, &dns_name())
}
