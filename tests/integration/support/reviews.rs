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

/// Reviews as long as the server reads them, of which nearly all is small values: sixteen (path, body).
pub(crate) fn hostile() -> Vec<(&'static str, String)> {
    const LONGEST: usize = 7 << 20;
    let orchestration = "orchestration.aibrix.ai/v1alpha1";
    let (deployment, storm) = (("apps/v1", "Deployment"), (orchestration, "StormService"));
    let (cache, adapter) = ((orchestration, "KVCache"), ("model.aibrix.ai/v1alpha1", "ModelAdapter"));
    let autoscaler = ("autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler");
    let asks = r#""metadata":{"name":"it","annotations":{"model.aibrix.ai/sidecar-injection":"true"}}"#;
    let managed = r#""spec":{},"metadata":{"name":"it","managedFields":[{"fieldsV1":FILLED}]}"#;
    let containers = format!(r#"{asks},"spec":{{"template":{{"spec":{{"containers":FILLED}}}}}}"#);
    let volumes = format!(
        r#"{asks},"spec":{{"template":{{"spec":{{"containers":[{{"name":"a"}}],"volumes":FILLED}}}}}}"#
    );
    let roles = format!(r#"{asks},"spec":{{"template":{{"spec":{{"roles":FILLED}}}}}}"#);
    let junk = r#""metadata":{"name":"it"},"spec":{"junk":FILLED}"#;
    let role = r#"{"template":{"spec":{"containers":[{}]}}}"#;
    let body = |(api_version, kind): (&str, &str), object: &str, value: &str| {
        let template = json!({"apiVersion": api_version, "kind": kind, "object": "it"});
        let review = creation(&template).to_string();
        let review = review.replace(&format!(r#""object":{template}"#), &format!(r#""object":{{{object}}}"#));
        let count = LONGEST.saturating_sub(review.len()) / (value.len() + 1);
        review.replace("FILLED", &format!("[{}]", vec![value; count].join(",")))
    };
    let review = |path, kind, object: &str, value| (path, body(kind, object, value));
    let spec = |member: &str| format!(r#""metadata":{{"name":"it"}},"spec":{{"{member}":FILLED}}"#);
    let outside = format!(r#"{{"request":[{}]}}"#, vec!["[]"; LONGEST / 3 - 10].join(","));
    vec![
        review("/mutate-apps-v1-deployment", deployment, junk, "[]"),
        review("/mutate-apps-v1-deployment", deployment, &containers, "{}"),
        review("/mutate-apps-v1-deployment", deployment, &volumes, "[[]]"),
        review("/validate-apps-v1-deployment", deployment, junk, "[]"),
        review("/mutate-orchestration-aibrix-ai-v1alpha1-kvcache", cache, junk, "1"),
        review("/validate-orchestration-aibrix-ai-v1alpha1-kvcache", cache, managed, "[]"),
        review("/mutate-model-aibrix-ai-v1alpha1-modeladapter", adapter, junk, "[]"),
        review("/validate-model-aibrix-ai-v1alpha1-modeladapter", adapter, managed, "[]"),
        review("/validate-model-aibrix-ai-v1alpha1-modeladapter", adapter, &spec("additionalConfig"), "[]"),
        review("/mutate-autoscaling-aibrix-ai-v1alpha1-podautoscaler", autoscaler, junk, "[]"),
        review("/validate-autoscaling-aibrix-ai-v1alpha1-podautoscaler", autoscaler, managed, "[]"),
        review(
            "/validate-autoscaling-aibrix-ai-v1alpha1-podautoscaler",
            autoscaler,
            &spec("metricsSources"),
            "{}",
        ),
        review("/mutate-orchestration-aibrix-ai-v1alpha1-stormservice", storm, &roles, role),
        review("/validate-orchestration-aibrix-ai-v1alpha1-stormservice", storm, &roles, "{}"),
        review("/validate-orchestration-aibrix-ai-v1alpha1-stormservice", storm, &roles, "[[]]"),
        ("/mutate-apps-v1-deployment", outside),
    ]
}
