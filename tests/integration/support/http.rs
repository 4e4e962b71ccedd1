// SPDX-License-Identifier: Apache-2.0
//! Plain HTTP requests to processes of the test.

use std::{sync::OnceLock, time::Duration};

use anyhow::{Context, Result};
use reqwest::{Client, Method};
use serde_json::Value;

/// A status code and a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) code: u16,
    /// The body as text.
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.body))
    }
}

/// GET.
///
/// # Errors
/// No answer within 10 s.
pub(crate) async fn get(url: &str) -> Result<Answer> {
    send(Method::GET, url, None).await
}

/// Any request, with a JSON body where there is one.
///
/// # Errors
/// No answer within 10 s.
pub(crate) async fn send(method: Method, url: &str, body: Option<&Value>) -> Result<Answer> {
    // A connection of its own for each request: a pooled one belongs to the runtime of the test that made it.
    let mut request = client()?.request(method, url).header("connection", "close");
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    let answer = request.send().await.with_context(|| format!("ask {url}"))?;
    let code = answer.status().as_u16();
    let body = answer.text().await.with_context(|| format!("read the answer of {url}"))?;
    Ok(Answer { code, body })
}

fn client() -> Result<Client> {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    // Fails only when some provider is installed already, which is as good.
    PROVIDER.get_or_init(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let builder = Client::builder().no_proxy().timeout(Duration::from_secs(10));
    builder.build().context("make an HTTP client")
}
