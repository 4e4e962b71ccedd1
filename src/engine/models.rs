// SPDX-License-Identifier: Apache-2.0
//! `GET /v1/models`: what an engine says that it serves, base model and adapters alike.

use std::time::Duration;

use serde::Deserialize;

use super::{
    call::{Call, CallError, EngineRequest},
    endpoint::Endpoint,
    http::EngineClient,
};

/// Longest time for the list.
pub(crate) const LIST_TIME: Duration = Duration::from_secs(10);
/// Largest list in bytes; a thousand adapters take less than one.
const LIST_BYTES: usize = 4 << 20;

#[derive(Debug, Deserialize)]
struct List {
    /// Present even when null: an object without it is no list of models.
    #[serde(deserialize_with = "Option::deserialize")]
    data: Option<Vec<Model>>,
}

#[derive(Debug, Deserialize)]
struct Model {
    #[serde(default)]
    id: Option<String>,
}

impl EngineClient {
    /// The models that the engine lists, in its order.
    ///
    /// # Errors
    /// [`CallError`], never `Url` and `Fenced`: it is not known what the engine serves.
    pub(crate) async fn models(&self, endpoint: &Endpoint) -> Result<Vec<String>, CallError> {
        let exchange = EngineRequest::new(Call::Models, endpoint, "/v1/models", LIST_TIME)?;
        let mut response = exchange.read(self).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| exchange.failed(error))? {
            if body.len() + chunk.len() > LIST_BYTES {
                return Err(exchange.malformed("the answer is larger than 4 MiB"));
            }
            body.extend_from_slice(&chunk);
        }
        let list: List = serde_json::from_slice(&body)
            .map_err(|_| exchange.malformed("the answer is no list of models"))?;
        Ok(list.data.unwrap_or_default().into_iter().filter_map(|model| model.id).collect())
    }
}
