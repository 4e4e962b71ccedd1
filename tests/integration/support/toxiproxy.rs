// SPDX-License-Identifier: Apache-2.0
//! A proxy that makes a connection slow, cuts it, or lets it hang.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{ControlPlane, http, ports::free_port, process::Process, tools::program, wait::eventually};

/// A running toxiproxy. Dropping it ends all its proxies.
#[derive(Debug)]
pub(crate) struct Toxiproxy {
    _process: Process,
    api: String,
}

/// One proxy in front of one port of 127.0.0.1. Toxics apply to the answers unless said otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    api: String,
    name: String,
    port: u16,
}

impl Toxiproxy {
    /// Starts one; its log lies in the control plane's folder.
    pub(crate) async fn start(plane: &ControlPlane) -> Self {
        let port = free_port();
        let args = ["-host=127.0.0.1".to_owned(), format!("-port={port}")];
        let process =
            Process::spawn(&program("toxiproxy-server"), args, &[], &plane.new_path("toxiproxy.log"))
                .unwrap_or_else(|error| panic!("start toxiproxy: {error:#}"));
        let api = format!("http://127.0.0.1:{port}");
        eventually(Duration::from_secs(30), "toxiproxy answers", async || {
            http::get(&format!("{api}/version")).await.map(drop).map_err(|error| format!("{error:#}"))
        })
        .await;
        Self { _process: process, api }
    }

    /// A proxy in front of `upstream`, a port of 127.0.0.1.
    pub(crate) async fn proxy(&self, upstream: u16) -> Proxy {
        let port = free_port();
        let proxy = Proxy { api: self.api.clone(), name: format!("to-{upstream}-from-{port}"), port };
        let body = json!({
            "name": proxy.name,
            // Also for managers in a network of their own.
            "listen": format!("0.0.0.0:{port}"),
            "upstream": format!("127.0.0.1:{upstream}"),
            "enabled": true,
        });
        call(Method::POST, &format!("{}/proxies", self.api), &body).await;
        proxy
    }
}

impl Proxy {
    /// The port at which the proxied server is reached.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Each answer comes `delay` later.
    pub(crate) async fn slow(&self, delay: Duration) {
        let millis = millis(delay);
        self.toxic("latency", "downstream", &json!({"latency": millis, "jitter": 0})).await;
    }

    /// At most `kilobytes` a second.
    pub(crate) async fn throttle(&self, kilobytes: u64) {
        self.toxic("bandwidth", "downstream", &json!({"rate": kilobytes})).await;
    }

    /// Connections stay open and nothing comes back any more: half-open, as when a cable is pulled.
    pub(crate) async fn hang(&self) {
        self.toxic("timeout", "downstream", &json!({"timeout": 0})).await;
    }

    /// Nothing reaches the server any more, and connections stay open.
    pub(crate) async fn deafen(&self) {
        self.toxic("timeout", "upstream", &json!({"timeout": 0})).await;
    }

    /// Each connection is reset `after` its first bytes.
    pub(crate) async fn reset(&self, after: Duration) {
        let millis = millis(after);
        self.toxic("reset_peer", "downstream", &json!({"timeout": millis})).await;
    }

    /// Ends all connections and refuses new ones.
    pub(crate) async fn cut(&self) {
        self.enable(false).await;
    }

    /// Takes back everything.
    pub(crate) async fn heal(&self) {
        let answer = http::get(&format!("{}/proxies/{}/toxics", self.api, self.name)).await;
        let toxics = answer.unwrap_or_else(|error| panic!("ask toxiproxy: {error:#}")).json();
        for toxic in toxics.as_array().into_iter().flatten() {
            let name = toxic["name"].as_str().unwrap_or_default();
            self.take_back(name).await;
        }
        self.enable(true).await;
    }

    /// Removes a toxic. That waits until what is under way has passed, which a slow connection can keep up for
    /// long: then its connections are ended first.
    async fn take_back(&self, toxic: &str) {
        let url = format!("{}/proxies/{}/toxics/{toxic}", self.api, self.name);
        for _ in 0..3 {
            match http::send(Method::DELETE, &url, None).await {
                // 404: the attempt before did it after all.
                Ok(answer) if answer.code < 300 || answer.code == 404 => return,
                Ok(answer) => panic!("{url}: {} {}", answer.code, answer.body),
                Err(_) => self.enable(false).await,
            }
        }
        panic!("{url}: toxiproxy does not remove it");
    }

    /// Adds a toxic of toxiproxy's by its own name, for what has no method here.
    pub(crate) async fn toxic(&self, kind: &str, stream: &str, attributes: &Value) {
        let body = json!({"type": kind, "stream": stream, "toxicity": 1.0, "attributes": attributes});
        call(Method::POST, &format!("{}/proxies/{}/toxics", self.api, self.name), &body).await;
    }

    async fn enable(&self, enabled: bool) {
        let url = format!("{}/proxies/{}", self.api, self.name);
        call(Method::POST, &url, &json!({"enabled": enabled})).await;
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn call(method: Method, url: &str, body: &Value) {
    let body = (!body.is_null()).then_some(body);
    let answer = http::send(method, url, body).await.unwrap_or_else(|error| panic!("{url}: {error:#}"));
    assert!((200..300).contains(&answer.code), "{url}: {} {}", answer.code, answer.body);
}
