// SPDX-License-Identifier: Apache-2.0
//! Where adapters of a pod are managed: address, remote API, token.

use std::{fmt, net::IpAddr};

use reqwest::header::HeaderValue;

use super::http::{Scheme, Target, TargetError};

/// Which remote API answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Dialect {
    /// vLLM itself.
    Vllm,
    /// `SGLang` itself.
    Sglang,
    /// AIBrix's runtime sidecar, which downloads artifacts and asks the engine.
    Sidecar,
    /// The same in front of `SGLang`.
    SglangSidecar,
}

impl Dialect {
    /// What an engine speaks by the label `model.aibrix.ai/engine` of its pod; absent or unknown: vLLM.
    pub(crate) fn of_engine(label: Option<&str>) -> Self {
        match label {
            Some("sglang") => Self::Sglang,
            Some(_) | None => Self::Vllm,
        }
    }

    /// The runtime sidecar in front of this engine.
    pub(crate) fn behind_sidecar(self) -> Self {
        if self.is_sglang() { Self::SglangSidecar } else { Self::Sidecar }
    }

    /// Whether a runtime sidecar answers.
    pub(crate) fn is_sidecar(self) -> bool {
        matches!(self, Self::Sidecar | Self::SglangSidecar)
    }

    /// Whether the engine is `SGLang`, whose older releases never list adapters.
    pub(crate) fn is_sglang(self) -> bool {
        matches!(self, Self::Sglang | Self::SglangSidecar)
    }

    pub(super) fn load_path(self) -> &'static str {
        match self {
            Self::Vllm => "/v1/load_lora_adapter",
            Self::Sglang => "/load_lora_adapter",
            Self::Sidecar | Self::SglangSidecar => "/v1/lora_adapter/load",
        }
    }

    pub(super) fn unload_path(self) -> &'static str {
        match self {
            Self::Vllm => "/v1/unload_lora_adapter",
            Self::Sglang => "/unload_lora_adapter",
            Self::Sidecar | Self::SglangSidecar => "/v1/lora_adapter/unload",
        }
    }
}

/// A bearer token. Its value is printed nowhere.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Token {
    header: HeaderValue,
    value: String,
}

/// A token cannot be sent: it holds line ends or other characters that no header may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the API key holds characters that cannot be sent in an HTTP header")]
pub(crate) struct TokenError;

impl Token {
    /// The token `value`, which may be empty.
    ///
    /// # Errors
    /// [`TokenError`].
    pub(crate) fn new(value: &str) -> Result<Self, TokenError> {
        let mut header = HeaderValue::from_str(&format!("Bearer {value}")).map_err(|_| TokenError)?;
        header.set_sensitive(true);
        Ok(Self { header, value: value.to_owned() })
    }

    pub(super) fn header(&self) -> &HeaderValue {
        &self.header
    }

    pub(super) fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Where adapters of a pod are managed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    /// IP address, IPv6 without brackets; or `localhost`, for the debug mode. Anything else is refused.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Which remote API.
    pub dialect: Dialect,
    /// Sent with every call; `None`: no header.
    pub token: Option<Token>,
}

impl Endpoint {
    pub(super) fn target(&self, path: &str) -> Result<Target, TargetError> {
        if self.host == "localhost" {
            return Target::endpoint(Scheme::Http, &format!("localhost:{}", self.port), path);
        }
        let bad = || TargetError::Url { endpoint: self.host.clone(), path: path.to_owned() };
        let ip: IpAddr = self.host.parse().map_err(|_| bad())?;
        Target::pod(Scheme::Http, ip, &self.port.to_string(), path)
    }
}
