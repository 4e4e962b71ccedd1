// SPDX-License-Identifier: Apache-2.0
//! Tells the API server, and so its audit log, which controller of which process asks.

use std::task::{Context, Poll};

use http::{HeaderValue, Request, header::USER_AGENT};
use kube::client::Body;
use tower::{Layer, Service};

#[derive(Debug, Clone)]
pub(super) struct UserAgentLayer(HeaderValue);

impl UserAgentLayer {
    /// `aibrix-controller-manager/<version> (<os>/<arch>) <who>/<identity>`.
    pub(super) fn new(version: &str, who: &str, identity: &str) -> Self {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let os = std::env::consts::OS;
        let text = format!("aibrix-controller-manager/{version} ({os}/{arch}) {who}/{identity}");
        // Version, controller and identity are ASCII; a host name that is not would be refused by the API
        // server as a holder, too.
        let fallback = HeaderValue::from_static("aibrix-controller-manager");
        Self(HeaderValue::from_str(&text).unwrap_or(fallback))
    }
}

impl<S> Layer<S> for UserAgentLayer {
    type Service = UserAgent<S>;

    fn layer(&self, inner: S) -> Self::Service {
        UserAgent { inner, value: self.0.clone() }
    }
}

#[derive(Debug, Clone)]
pub(super) struct UserAgent<S> {
    inner: S,
    value: HeaderValue,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for UserAgent<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.headers_mut().insert(USER_AGENT, self.value.clone());
        self.inner.call(request)
    }
}
