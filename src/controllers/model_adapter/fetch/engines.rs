// SPDX-License-Identifier: Apache-2.0
//! Calls to real engines, under the fence of the term.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use crate::{
    controllers::model_adapter::{
        calls::{Answer, Call, Ended, Models, Order, What},
        load_retry::LoadFailure,
        load_tracker::LoadTracker,
        source::Source,
    },
    engine::{call::CallError, endpoint::Endpoint, http::EngineClient, lora::Load},
};
use kube_fenced_election::fence::Fence;
use kube_loops::{
    cluster::error::{Cause, ObjectRef, ReadError},
    runtime::requests::runner::SendRequest,
};

/// Longest load: it may have to download gigabytes.
const LOAD_TIME: Duration = Duration::from_mins(5);
/// Longest read of a Secret.
const SECRET_TIME: Duration = Duration::from_secs(10);

/// Engines, as a term may call them.
pub(in crate::controllers::model_adapter) struct Engines {
    /// Client towards engines.
    pub(in crate::controllers::model_adapter) engine: EngineClient,
    /// Reads Secrets.
    pub(in crate::controllers::model_adapter) client: Client,
    /// The right to change anything.
    pub(in crate::controllers::model_adapter) fence: Fence,
}

impl SendRequest<LoadTracker> for Engines {
    async fn send(&self, call: &Call) -> Answer {
        match call {
            Call::List(origin) => Answer::Models(self.models(&origin.endpoint).await),
            Call::Change(order) => Answer::Change(self.change(order).await),
        }
    }
}

impl Engines {
    async fn models(&self, endpoint: &Endpoint) -> Models {
        match self.engine.models(endpoint).await {
            Ok(models) => Models::Known(models),
            Err(error) => {
                let silent = matches!(error, CallError::Timeout { .. });
                Models::Unknown { error: error.to_string(), silent }
            }
        }
    }

    async fn change(&self, order: &Order) -> Ended {
        let endpoint = &order.origin.endpoint;
        match &order.what {
            What::Unload => ended(self.engine.unload_lora(&self.fence, endpoint, &order.key.name).await),
            What::Load { source, reload } => self.load(endpoint, source, *reload).await,
        }
    }

    async fn load(&self, endpoint: &Endpoint, source: &Source, reload: bool) -> Ended {
        // An engine without a sidecar finds the artifact by itself.
        let secret = source.secret.as_deref().filter(|_| endpoint.dialect.is_sidecar());
        let credentials = match secret {
            None => None,
            Some(name) => match self.credentials(&source.namespace, name).await {
                Ok(credentials) => Some(credentials),
                // Before anything is unloaded for it.
                Err(ended) => return ended,
            },
        };
        if reload {
            match self.engine.unload_lora(&self.fence, endpoint, &source.name).await {
                // What the engine does not know need not be unloaded.
                Ok(()) | Err(CallError::Status { .. }) => {}
                Err(error) => return ended(Err(error)),
            }
        }
        let load = Load {
            name: &source.name,
            url: &source.url,
            credentials: credentials.as_ref(),
            additional: source.additional.as_ref(),
        };
        ended(self.engine.load_lora(&self.fence, endpoint, &load, LOAD_TIME).await)
    }

    /// Read for each load, past any store: Secrets are not watched, and what they hold is not kept.
    async fn credentials(&self, namespace: &str, name: &str) -> Result<BTreeMap<String, String>, Ended> {
        let failed = |kind, error: String| Ended::Badly { kind, error, answered: true };
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let object = || ObjectRef {
            kind: "Secret".to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let secret = match tokio::time::timeout(SECRET_TIME, secrets.get(name)).await {
            Ok(Ok(secret)) => secret,
            Ok(Err(error)) => {
                let error = ReadError::new(object(), &error);
                let missing = matches!(error.cause, Cause::Answer { code: 404, .. });
                let kind = if missing { LoadFailure::Lasting } else { LoadFailure::Transient };
                return Err(failed(kind, error.to_string()));
            }
            Err(_) => {
                let error = format!("failed to read {}: no answer in time", object());
                return Err(failed(LoadFailure::Transient, error));
            }
        };
        let data = secret.data.unwrap_or_default().into_iter();
        Ok(data.map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned())).collect())
    }
}

fn ended(result: Result<(), CallError>) -> Ended {
    let Err(error) = result else { return Ended::Well };
    if error.is_already_loaded() {
        return Ended::Already { error: error.to_string() };
    }
    let (kind, answered) = match &error {
        CallError::Status { code: 400..=499, .. } | CallError::Url(_) => (LoadFailure::Lasting, true),
        CallError::Status { .. } | CallError::Malformed { .. } => (LoadFailure::Transient, true),
        CallError::Address { .. } => (LoadFailure::Lasting, false),
        CallError::Transport { .. }
        | CallError::Redirect { .. }
        | CallError::Timeout { .. }
        | CallError::Fenced(_) => (LoadFailure::Transient, false),
    };
    Ended::Badly { kind, error: error.to_string(), answered }
}
