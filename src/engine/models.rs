// SPDX-License-Identifier: Apache-2.0
//! `GET /v1/models`: what an engine says that it serves, base model and adapters alike.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

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
    #[serde(default)]
    root: Value,
    #[serde(default)]
    parent: Value,
}

/// A model that an engine lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ListedModel {
    /// What requests call it.
    pub id: String,
    /// Whether the engine says that it is an adapter: it has a base model.
    pub is_adapter: bool,
    /// From where an adapter was loaded; `None`: it is none, or the engine does not say.
    pub root: Option<String>,
}

impl From<Model> for Option<ListedModel> {
    fn from(Model { id, root, parent }: Model) -> Self {
        let is_adapter = parent.as_str().is_some_and(|parent| !parent.is_empty());
        // The root of a base model is where its weights are.
        let root = root.as_str().filter(|root| is_adapter && !root.is_empty()).map(str::to_owned);
        Some(ListedModel { id: id?, is_adapter, root })
    }
}

impl EngineClient {
    /// The models that the engine lists, in its order.
    ///
    /// # Errors
    /// [`CallError`], never `Url` and `Fenced`: it is not known what the engine serves.
    pub(crate) async fn models(&self, endpoint: &Endpoint) -> Result<Vec<ListedModel>, CallError> {
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
        Ok(list.data.unwrap_or_default().into_iter().filter_map(Option::from).collect())
    }
}
