// SPDX-License-Identifier: Apache-2.0
//! One call to a remote API of an engine: bounded by its own time, bearing its token, and under the fence
//! when it changes something.
//!
//! The fence is asked four times: before the request is made, while it is under way, at the moment when its body goes
//! out, and when it is written to the socket, which is reset at the end of the term ([`kube_loops::fenced_tcp`]).
//! Engines act on whole requests only, so a process that was frozen in between cannot change anything after its term.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::{RequestBuilder, Response, header};
use tower::BoxError;

use kube_fenced_election::fence::{Fence, NotLeading};
use kube_loops::k8s::text::cut;

use super::{
    endpoint::Endpoint,
    http::{EngineClient, HttpError, Target, TargetError, failed},
    redactor::Redactor,
    refusals::{WORDS_BYTES, hint, is_already_loaded},
};

/// Largest part of a refusal that is kept, in bytes.
pub(crate) const REFUSAL_BYTES: usize = 4096;
/// How long the text of a refusal may take: the status alone says enough.
const REFUSAL_TIME: Duration = Duration::from_secs(2);

/// What was asked of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    /// The list of its models.
    Models,
    /// To load an adapter.
    Load,
    /// To unload an adapter.
    Unload,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Models => "get models",
            Self::Load => "load LoRA adapter",
            Self::Unload => "unload LoRA adapter",
        })
    }
}

/// A call failed. The texts are for conditions and events; they hold no credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The engine answers, and refuses.
    #[error("failed to {call} (status {code}): {body}{}", Hint(*hint))]
    Status {
        /// What was asked.
        call: Call,
        /// Status code.
        code: u16,
        /// Its body, at most [`REFUSAL_BYTES`], known secrets masked.
        body: String,
        /// What to do about it, where that is known.
        hint: Option<&'static str>,
    },
    /// No connection, or it broke.
    #[error("failed to {call}: {target}: {what}")]
    Transport {
        /// What was asked.
        call: Call,
        /// Whom.
        target: Target,
        /// What happened.
        what: &'static str,
        /// What the transport said.
        #[source]
        source: Option<BoxError>,
    },
    /// No answer in time. A change may have happened, and may still go on.
    #[error("failed to {call}: {target}: no answer within {} s", within.as_secs_f64())]
    Timeout {
        /// What was asked.
        call: Call,
        /// Whom.
        target: Target,
        /// The time that there was.
        within: Duration,
    },
    /// A redirect that is not followed.
    #[error("failed to {call}: {target}: redirected to {to}, which is not followed")]
    Redirect {
        /// What was asked.
        call: Call,
        /// Whom.
        target: Target,
        /// Where it leads.
        to: Box<str>,
    },
    /// The answer is not what the API promises.
    #[error("failed to {call}: {target}: {what}")]
    Malformed {
        /// What was asked.
        call: Call,
        /// Whom.
        target: Target,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The pod has no address that can be called.
    #[error("failed to {call}: {cause}")]
    Address {
        /// What was asked.
        call: Call,
        /// What is wrong with it.
        #[source]
        cause: TargetError,
    },
    /// The artifact URL cannot be handed on; nothing was sent.
    #[error(transparent)]
    Url(#[from] crate::validation::artifact_url::ArtifactUrlError),
    /// The term is over. Nothing was sent, or the answer was not waited for.
    #[error(transparent)]
    Fenced(#[from] NotLeading),
}

/// What follows the words of an engine.
struct Hint(Option<&'static str>);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl CallError {
    /// Whether a load was refused because the engine has an adapter of this name.
    pub(crate) fn is_already_loaded(&self) -> bool {
        matches!(self, Self::Status { call: Call::Load, body, .. } if is_already_loaded(body))
    }
}

/// A call to one endpoint.
pub(super) struct EngineRequest<'a> {
    call: Call,
    target: Target,
    endpoint: &'a Endpoint,
    within: Duration,
    redactor: Redactor,
}

impl<'a> EngineRequest<'a> {
    /// `call` at `path`, answered within that time.
    pub(super) fn new(
        call: Call,
        endpoint: &'a Endpoint,
        path: &str,
        within: Duration,
    ) -> Result<Self, CallError> {
        let target = endpoint.target(path).map_err(|cause| CallError::Address { call, cause })?;
        let mut redactor = Redactor::default();
        if let Some(token) = &endpoint.token {
            redactor.secret(token.value());
        }
        Ok(Self { call, target, endpoint, within, redactor })
    }

    /// Hides what else is secret.
    pub(super) fn redacting(mut self, also: impl FnOnce(&mut Redactor)) -> Self {
        also(&mut self.redactor);
        self
    }

    /// Reads something. The answer has the status 200.
    pub(super) async fn read(&self, client: &EngineClient) -> Result<Response, CallError> {
        let response = client.get(&self.target, self.within, |request| self.with_token(request)).await;
        let response = response.map_err(|error| self.failure(error))?;
        if response.status().as_u16() == 200 { Ok(response) } else { Err(self.refused(response).await) }
    }

    /// Changes something. Success is 200 or 201; the body of such an answer is not waited for.
    pub(super) async fn change(
        &self,
        client: &EngineClient,
        fence: &Fence,
        body: Vec<u8>,
    ) -> Result<(), CallError> {
        fence.check()?;
        let request = http::Request::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json");
        let request = match &self.endpoint.token {
            Some(token) => request.header(header::AUTHORIZATION, token.header()),
            None => request,
        };
        let read = |response: Response| async move {
            match response.status().as_u16() {
                200 | 201 => Ok(()),
                _ => Err(self.refused(response).await),
            }
        };
        let exchange = client.post(&self.target, fence, request, FencedBody::new(fence, body), read);
        let late = || HttpError::Timeout { target: self.target.clone() };
        tokio::select! {
            biased;
            () = fence.closed() => Err(CallError::Fenced(NotLeading)),
            done = tokio::time::timeout(self.within, exchange) => {
                let answer = done.unwrap_or_else(|_| Err(late()));
                // The transport's word for what the fence held back would be a broken connection.
                answer.map_err(|error| fence.check().err().map_or_else(|| self.failure(error), Into::into))?
            }
        }
    }

    /// The answer is not what the API promises.
    pub(super) fn malformed(&self, what: &'static str) -> CallError {
        CallError::Malformed { call: self.call, target: self.target.clone(), what }
    }

    /// The transport failed.
    pub(super) fn failed(&self, error: reqwest::Error) -> CallError {
        self.failure(failed(&self.target, error))
    }

    fn failure(&self, error: HttpError) -> CallError {
        let (call, target) = (self.call, self.target.clone());
        let (what, source) = match error {
            HttpError::Redirect { to, .. } => return CallError::Redirect { call, target, to },
            HttpError::Timeout { .. } => {
                return CallError::Timeout { call, target, within: self.within };
            }
            HttpError::Refused { .. } => ("connection refused", None),
            HttpError::Connect { source, .. } => ("could not connect", Some(source)),
            HttpError::Broken { source, .. } => ("connection broken", Some(source)),
            HttpError::Status { .. } | HttpError::TooLarge { .. } | HttpError::NotText { .. } => {
                ("no usable answer", None)
            }
        };
        CallError::Transport { call, target, what, source }
    }

    fn with_token(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.header(header::ACCEPT, "application/json").timeout(self.within);
        match &self.endpoint.token {
            Some(token) => request.header(header::AUTHORIZATION, token.header().clone()),
            None => request,
        }
    }

    /// The refusal with the beginning of its text, as much as comes at once.
    async fn refused(&self, mut response: Response) -> CallError {
        let code = response.status().as_u16();
        // A secret that begins within the part that is kept must be whole to be recognised.
        let enough = REFUSAL_BYTES + self.redactor.longest();
        let mut body: Vec<u8> = Vec::new();
        let reading = async {
            while body.len() < enough {
                let Ok(Some(chunk)) = response.chunk().await else { break };
                let room = enough - body.len();
                body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            }
        };
        // What came until then is shown.
        let in_time = tokio::time::timeout(REFUSAL_TIME, reading).await;
        drop(in_time);
        let mut body = self.redactor.apply(&body, REFUSAL_BYTES);
        let hint = hint(self.call, self.endpoint.dialect, code, &body);
        if hint.is_some() {
            body = cut(&body, WORDS_BYTES);
        }
        CallError::Status { call: self.call, code, body, hint }
    }
}

/// A body that leaves only while its term lasts.
pub(super) struct FencedBody {
    fence: Fence,
    body: Option<Bytes>,
}

impl FencedBody {
    pub(super) fn new(fence: &Fence, body: Vec<u8>) -> Self {
        Self { fence: fence.clone(), body: Some(Bytes::from(body)) }
    }
}

impl Body for FencedBody {
    type Data = Bytes;
    type Error = NotLeading;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NotLeading>>> {
        let Some(body) = self.body.take() else { return Poll::Ready(None) };
        Poll::Ready(Some(self.fence.check().map(|_| Frame::data(body))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.body.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(left).unwrap_or(u64::MAX))
    }
}
