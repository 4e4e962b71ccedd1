// SPDX-License-Identifier: Apache-2.0
//! For tests: an API server with one Secret and two webhook configurations that compares versions, and says what
//! was done to it when.

use std::{sync::Arc, time::Duration};

use k8s_openapi::ByteString;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use kube_fenced_election::clock::{Clock as _, Instant, SharedClock, SystemClock};
use kube_loops::{
    metrics::Metrics,
    runtime::{metrics::RuntimeMetrics, watches::Watches},
    testkit::scripted_api::{Answer, ScriptedApi, SeenRequest},
};

use super::{
    Certificates, Settings, bundle::Names, issue::PemPair, rotation::Data, store::data_of, testing, x509,
};

pub(super) const SECRET: &str = "/api/v1/namespaces/aibrix-system/secrets/aibrix-webhook-server-cert";
const SECRETS: &str = "/api/v1/namespaces/aibrix-system/secrets";
const CONFIGURATIONS: [(&str, &str); 2] = [
    ("mutatingwebhookconfigurations", "aibrix-mutating-webhook-configuration"),
    ("validatingwebhookconfigurations", "aibrix-validating-webhook-configuration"),
];
const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

#[derive(Default)]
pub(super) struct World {
    pub(super) secret: Option<Value>,
    pub(super) configurations: [Option<Value>; 2],
    /// `METHOD` and part of a path that are answered 403.
    pub(super) forbidden: Vec<(&'static str, &'static str)>,
    /// Watches work, and deliver nothing; otherwise they are refused, and replicas run a pass each 30 s.
    pub(super) watched: bool,
    /// How long the answer to a read of one of them takes.
    pub(super) slow: Duration,
    /// Writes to the Secret that are answered 409 first.
    pub(super) conflicts: u32,
    /// Writes that succeeded: when, method and path.
    pub(super) writes: Vec<(Instant, String)>,
    pub(super) version: u64,
}

#[derive(Clone, Default)]
pub(super) struct Server(pub(super) Arc<Mutex<World>>);

impl Server {
    /// With both configurations as they are applied, and a Secret with these data.
    pub(super) fn with(secret: Option<Data>) -> Self {
        let server = Self::default();
        for at in 0..2 {
            server.apply_configuration(at);
        }
        if let Some(data) = secret {
            server.set_secret(&data);
        }
        server
    }

    pub(super) fn apply_configuration(&self, at: usize) {
        let entry = |name: &str| {
            json!({
                "name": name, "sideEffects": "None", "newField": 7,
                "clientConfig": {"service": {
                    "name": "aibrix-webhook-service", "namespace": "aibrix-system", "path": "/x",
                }},
            })
        };
        let mut world = self.0.lock();
        world.version += 1;
        let version = world.version.to_string();
        world.configurations[at] = Some(json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "X",
            "metadata": {"name": CONFIGURATIONS[at].1, "resourceVersion": version},
            "webhooks": [entry("one"), entry("two")],
        }));
    }

    pub(super) fn set_secret(&self, data: &Data) {
        let mut world = self.0.lock();
        world.version += 1;
        let data: serde_json::Map<String, Value> =
            data.iter().map(|(key, value)| (key.clone(), json!(ByteString(value.clone())))).collect();
        world.secret = Some(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "aibrix-webhook-server-cert", "namespace": "aibrix-system",
                         "resourceVersion": world.version.to_string()},
            "data": data,
        }));
    }

    pub(super) fn data(&self) -> Data {
        self.0.lock().secret.as_ref().map(data_of).unwrap_or_default()
    }

    /// Lets every entry trust this CA.
    pub(super) fn publish(&self, ca: &PemPair) {
        let bundle = json!(ByteString(ca.certificate.clone().into_bytes()));
        for configuration in self.0.lock().configurations.iter_mut().flatten() {
            for entry in configuration["webhooks"].as_array_mut().unwrap() {
                entry["clientConfig"]["caBundle"] = bundle.clone();
            }
        }
    }

    /// CAs that each entry trusts, as texts of PEM.
    pub(super) fn bundles(&self) -> Vec<String> {
        let world = self.0.lock();
        let entries = world.configurations.iter().flatten().flat_map(|it| it["webhooks"].as_array().unwrap());
        let bundle = |entry: &Value| {
            let bundle = entry["clientConfig"].get("caBundle").cloned();
            let bytes: ByteString = bundle.map(|it| serde_json::from_value(it).unwrap()).unwrap_or_default();
            String::from_utf8(bytes.0).unwrap()
        };
        entries.map(bundle).collect()
    }

    /// CAs that all clients trust, from the first entry.
    pub(super) fn trusted(&self) -> Vec<CertificateDer<'static>> {
        self.bundles().first().map(|pem| x509::certificates(pem.as_bytes())).unwrap_or_default()
    }

    pub(super) fn forbid(&self, method: &'static str, path: &'static str) {
        self.0.lock().forbidden.push((method, path));
    }

    pub(super) fn writes(&self) -> Vec<String> {
        self.0.lock().writes.iter().map(|(_, write)| write.clone()).collect()
    }

    pub(super) fn api(&self) -> ScriptedApi {
        let server = self.clone();
        ScriptedApi::new(move |request| server.0.lock().answer(request))
    }

    /// A replica of this server, and the requests that it makes.
    pub(super) fn replica(&self) -> (Certificates, ScriptedApi) {
        let (api, clock): (_, SharedClock) = (self.api(), Arc::new(SystemClock));
        let metrics = Metrics::new();
        let runtime = RuntimeMetrics::register(metrics.registry()).unwrap();
        let watches = Watches::new(api.client(), Arc::clone(&clock), runtime, false);
        (Certificates::start(settings(), api.client(), watches, clock), api)
    }
}

pub(super) fn settings() -> Settings {
    Settings {
        cert_dir: "/nowhere/serving-certs".into(),
        names: Names { namespace: "aibrix-system".to_owned(), service: "aibrix-webhook-service".to_owned() },
        secret_name: "aibrix-webhook-server-cert".to_owned(),
        mutating_configuration: CONFIGURATIONS[0].1.to_owned(),
        validating_configuration: CONFIGURATIONS[1].1.to_owned(),
    }
}

impl World {
    fn listed(&self, query: &str) -> Answer {
        if !self.watched {
            return Answer::forbidden();
        }
        if query.contains("sendInitialEvents") {
            return Answer::failure(400, "BadRequest", "no streaming lists here");
        }
        if query.contains("watch=true") {
            return Answer::HangInBody;
        }
        Answer::ok(
            json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}),
        )
    }

    fn answer(&mut self, request: &SeenRequest) -> Answer {
        let (method, path) = request.on();
        if method == "GET" && !path.ends_with("cert") && !path.ends_with("configuration") {
            return self.listed(&request.query);
        }
        if self.forbidden.iter().any(|(verb, part)| method == *verb && path.contains(part)) {
            return Answer::failure(403, "Forbidden", &format!("cannot {method} {path}"));
        }
        let place =
            CONFIGURATIONS.iter().position(|(plural, name)| path == format!("{GROUP}/{plural}/{name}"));
        let version = (self.version + 1).to_string();
        let object = match (method, path, place) {
            ("POST", SECRETS, _) if self.secret.is_some() => return Answer::already_exists(),
            ("POST", SECRETS, _) | (_, SECRET, _) => &mut self.secret,
            (_, _, Some(place)) => &mut self.configurations[place],
            _ => return Answer::not_found(),
        };
        if method == "GET" {
            let slow = self.slow;
            return match object.clone() {
                Some(object) if slow.is_zero() => Answer::ok(object),
                Some(object) => Answer::Late(slow, object),
                None => Answer::not_found(),
            };
        }
        if method == "PUT" {
            let Some(have) = object.as_ref() else { return Answer::not_found() };
            if path == SECRET && self.conflicts > 0 {
                self.conflicts -= 1;
                return Answer::conflict();
            }
            if have["metadata"]["resourceVersion"] != request.body["metadata"]["resourceVersion"] {
                return Answer::conflict();
            }
        }
        let mut written = request.body.clone();
        written["metadata"]["resourceVersion"] = json!(version);
        *object = Some(written.clone());
        self.version += 1;
        self.writes.push((SystemClock.instant(), format!("{method} {path}")));
        Answer::ok(written)
    }
}

/// A CA and a server certificate by it of which this many days are left, as a Go manager makes them otherwise.
pub(super) fn aged(ca_days: u64, server_days: u64) -> (PemPair, PemPair) {
    use super::issue::{self, Template};
    let (now, random) = (SystemClock.now(), &mut rand::rng());
    let template = |left: u64, serial: u8| Template {
        not_before: now - testing::days(200),
        not_after: now + testing::days(left),
        serial: vec![serial],
    };
    let ca = issue::authority(&template(ca_days, 0), random).unwrap();
    let server = issue::server(&ca, testing::DNS_NAME, &template(server_days, 1), random).unwrap();
    (ca, server)
}
