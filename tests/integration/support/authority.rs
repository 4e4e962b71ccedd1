// SPDX-License-Identifier: Apache-2.0
//! A CA of the test's own, for managers whose certificates are not managed by themselves: what cert-manager
//! does in a cluster.

use std::path::Path;

use anyhow::Result;
use k8s_openapi::ByteString;
use kube::Client;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

use super::{install::NAMESPACE, objects, parts::pem};

/// The Service that the API server calls, and both configurations.
pub(crate) const SERVICE: &str = "aibrix-webhook-service";
pub(crate) const CONFIGURATIONS: [(&str, &str); 2] = [
    ("MutatingWebhookConfiguration", "aibrix-mutating-webhook-configuration"),
    ("ValidatingWebhookConfiguration", "aibrix-validating-webhook-configuration"),
];

/// The name under which the API server calls the Service.
pub(crate) fn dns_name() -> String {
    format!("{SERVICE}.{NAMESPACE}.svc")
}

/// A CA.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

impl Authority {
    /// A new one.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        let der = params.self_signed(&key).expect("a certificate").der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }

    /// Its certificate.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// Writes a new certificate for [`dns_name`] into `folder`, as a mounted Secret has it.
    pub(crate) fn write_certificate(&self, folder: &Path) {
        self.try_write(folder).unwrap_or_else(|error| panic!("{}: {error:#}", folder.display()));
    }

    fn try_write(&self, folder: &Path) -> Result<()> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([dns_name()])?.signed_by(&key, &self.issuer)?;
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("tls.key"), pem("PRIVATE KEY", &key.serialize_der())?)?;
        std::fs::write(folder.join("tls.crt"), pem("CERTIFICATE", certificate.der())?)?;
        Ok(())
    }

    /// Puts its certificate into every entry of both configurations.
    pub(crate) async fn publish(&self, client: &Client) {
        let bundle = ByteString(pem("CERTIFICATE", &self.der).expect("PEM").into_bytes());
        for (kind, name) in CONFIGURATIONS {
            let like = configuration(kind, name);
            let mut stored = objects::get(client, &like).await.expect("the configuration is installed");
            let entries = stored["webhooks"].as_array_mut().expect("entries");
            for entry in entries.iter_mut() {
                entry["clientConfig"]["caBundle"] = json!(bundle);
            }
            objects::patch(client, &like, &json!({"webhooks": entries})).await;
        }
    }
}

fn configuration(kind: &str, name: &str) -> Value {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}})
}
