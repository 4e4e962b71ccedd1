// SPDX-License-Identifier: Apache-2.0
//! Asks a webhook server as the API server does: over TLS, by the name of the Service.

use std::{net::SocketAddr, sync::OnceLock, time::Duration};

use anyhow::{Context, Result, ensure};
use reqwest::{Body, Certificate, Client};
use serde_json::{Value, json};

use super::authority::dns_name;

/// A client that trusts one CA and knows one server.
#[derive(Debug, Clone)]
pub(crate) struct Reviewer {
    client: Client,
    url: String,
}

impl Reviewer {
    /// For the server at `address`, with connections that are kept.
    pub(crate) fn new(ca: &[u8], address: SocketAddr) -> Self {
        static PROVIDER: OnceLock<()> = OnceLock::new();
        // Fails only when some provider is installed already, which is as good.
        PROVIDER.get_or_init(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let name = dns_name();
        let client = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .tls_certs_only([Certificate::from_der(ca).expect("a certificate")])
            .resolve(&name, address)
            .build()
            .expect("a client");
        Self { client, url: format!("https://{name}:{}", address.port()) }
    }

    /// Posts a body and returns the review that answers it.
    ///
    /// # Errors
    /// No answer, or one without a review and 200.
    pub(crate) async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> Result<Value> {
        let request = self.client.post(format!("{}{path}", self.url)).header("content-type", content_type);
        let answer = request.body(body).send().await.with_context(|| format!("ask {path}"))?;
        ensure!(answer.status().as_u16() == 200, "{path} answers {}", answer.status());
        let text = answer.text().await?;
        serde_json::from_str(&text).with_context(|| format!("{path} answers {text}"))
    }

    /// Asks about an object; yields `response` of the review.
    ///
    /// # Errors
    /// No answer.
    pub(crate) async fn ask(&self, path: &str, review: &Value) -> Result<Value> {
        Ok(self.post(path, "application/json", review.to_string()).await?["response"].take())
    }
}

/// A review of the creation of an object.
pub(crate) fn creation(object: &Value) -> Value {
    let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
    let api_version = text("apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let kind = json!({"group": group, "version": version, "kind": text("kind")});
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": kind, "operation": "CREATE",
            "name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"],
            "object": object, "oldObject": null, "dryRun": false,
        },
    })
}
