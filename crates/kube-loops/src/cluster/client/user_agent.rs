// SPDX-License-Identifier: Apache-2.0
//! Says in each request which controller of which process sends it: the audit log shows who wrote what.

use http::{HeaderValue, Request, header::USER_AGENT};
use tower::{Layer, Service};

/// `<program>/<version> (<os>/<arch>) <controller>/<identity>`, the controller to be named.
#[derive(Debug, Clone)]
pub(super) struct UserAgent {
    start: String,
    identity: String,
}

#[derive(Debug, Clone)]
pub(super) struct SetUserAgent(HeaderValue);

impl UserAgent {
    /// `program`: name and version, `<program>/<version>`.
    pub(super) fn new(program: &str, identity: &str) -> Self {
        // As Go names them: the spelling that is in audit logs already.
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            arch => arch,
        };
        let os = std::env::consts::OS;
        Self { start: format!("{program} ({os}/{arch})"), identity: identity.to_owned() }
    }

    pub(super) fn of(&self, controller: &str) -> SetUserAgent {
        let text = self.text(controller);
        SetUserAgent(HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("kube-loops")))
    }

    /// The text, fit for a header.
    pub(super) fn text(&self, controller: &str) -> String {
        let text = format!("{} {controller}/{}", self.start, self.identity);
        // A host name may hold anything; a header value may not.
        text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '_' }).collect()
    }
}

impl<S> Layer<S> for SetUserAgent {
    type Service = WithUserAgent<S>;

    fn layer(&self, inner: S) -> WithUserAgent<S> {
        WithUserAgent { inner, value: self.0.clone() }
    }
}

#[derive(Debug, Clone)]
pub(super) struct WithUserAgent<S> {
    inner: S,
    value: HeaderValue,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for WithUserAgent<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.headers_mut().insert(USER_AGENT, self.value.clone());
        self.inner.call(request)
    }
}
