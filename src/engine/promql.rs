// SPDX-License-Identifier: Apache-2.0
//! Queries to a Prometheus server.

use std::{fmt, time::Duration};

use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::http::EngineClient;

/// Largest answer in bytes: one number takes a few hundred.
const ANSWER_BYTES: usize = 1 << 20;

/// A Prometheus server, and how to log in. Printed without the login.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// Base URL.
    pub endpoint: String,
    /// User and password; `None`: no login.
    pub login: Option<(String, String)>,
    /// Longest query.
    pub within: Duration,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("within", &self.within).finish_non_exhaustive()
    }
}

/// An address for logs, events and conditions: without login, query and fragment.
pub(crate) fn address(endpoint: &str) -> String {
    let Ok(mut url) = Url::parse(endpoint) else { return "an address that is no URL".to_owned() };
    // Addresses that cannot have a login have none to remove.
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return url.scheme().to_owned();
    }
    url.set_query(None);
    url.set_fragment(None);
    url.to_string().trim_end_matches('/').to_owned()
}

/// A query brought no number. Never to be read as zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    /// The base URL is none.
    #[error("the address of the Prometheus server is no URL")]
    Address,
    /// No answer in time, or no connection.
    #[error("the Prometheus server does not answer")]
    Silent,
    /// It refuses, or its answer cannot be understood.
    #[error("the Prometheus server gives no usable answer")]
    Unusable,
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    value: (f64, String),
}

impl EngineClient {
    /// The sum over the vector that an instant query yields; `None`: the vector is empty, or holds something
    /// that is no finite number.
    ///
    /// # Errors
    /// [`QueryError`].
    pub(crate) async fn query(&self, server: &Server, query: &str) -> Result<Option<f64>, QueryError> {
        let base = format!("{}/api/v1/query", server.endpoint.trim_end_matches('/'));
        let url = Url::parse_with_params(&base, [("query", query)]).map_err(|_| QueryError::Address)?;
        let mut request = self.inner.get(url).timeout(server.within);
        if let Some((user, password)) = &server.login {
            request = request.basic_auth(user, Some(password));
        }
        let mut response = request.send().await.map_err(|_| QueryError::Silent)?;
        if response.status() != StatusCode::OK {
            return Err(QueryError::Unusable);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| QueryError::Silent)? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(QueryError::Unusable);
            }
            body.extend_from_slice(&chunk);
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| QueryError::Unusable)?;
        Ok(total(&answer.data.result))
    }
}

fn total(samples: &[Sample]) -> Option<f64> {
    let values = samples.iter().map(|sample| sample.value.1.parse::<f64>().ok().filter(|it| it.is_finite()));
    let values: Option<Vec<f64>> = values.collect();
    values.filter(|values| !values.is_empty()).map(|values| values.iter().sum())
}
