// SPDX-License-Identifier: Apache-2.0
//! Settings over HTTP, for fakes that run as a process of their own.
//!
//! | Request | Effect |
//! |---|---|
//! | `PUT /__fake/pods/<ip or *>/load` `{"engine":"vllm","values":{"num_requests_running":3}}` | the engine's metrics page |
//! | `PUT /__fake/pods/<ip or *>/page` `{"path":"/x","status":503,"body":"…","delayMs":50,"fault":"hang"}` | any page; faults are `none`, `hang`, `reset`, `endless` |
//! | `PUT /__fake/pods/<ip or *>/optimizer` `{"path":"/x","model":"m","replicas":4}` | a GPU optimizer's page |
//! | `PUT /__fake/pods/<ip or *>/engine` `{"base":"llama","maxLoras":4,"loadMs":500,"token":"t"}` | an engine that loads adapters; fields of [`LoraEngine`] |
//! | `DELETE /__fake/pods/<ip>/adapters` | the engine restarts and forgets them |
//! | `GET /__fake/adapters` | what engines have loaded: `{"10.244.0.3":{"sql":"/models/sql"}}` |
//! | `GET /__fake/journal` | what pods with such engines were asked |
//! | `DELETE /__fake/journal` | the journal starts again |
//! | `DELETE /__fake/pods/<ip or *>` | the pod answers 404 again, or what `*` answers |
//! | `GET /__fake/counts` | requests by pod and path: `{"10.244.0.3":{"/metrics":5}}` |
//! | `DELETE /__fake/counts` | counts start again |

use std::{net::IpAddr, time::Duration};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    lora::{LoraEngine, Running},
    render::{Load, optimizer},
    serve::{self, Body},
    state::{Fault, Page, Pods},
};

/// Paths below this are settings.
pub const PREFIX: &str = "/__fake/";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PageSetting {
    path: String,
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    body: String,
    #[serde(default)]
    delay_ms: u64,
    #[serde(default)]
    fault: Fault,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OptimizerSetting {
    path: String,
    model: String,
    replicas: f64,
}

fn ok() -> u16 {
    200
}

pub(super) async fn handle(pods: &Pods, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let words: Vec<&str> = path.split('/').collect();
    let done = match (&parts.method, words.as_slice()) {
        (&Method::GET, ["counts"]) => return serve::json(StatusCode::OK, &json!(pods.counts())),
        (&Method::DELETE, ["counts"]) => {
            pods.clear_counts();
            Ok(())
        }
        (&Method::GET, ["adapters"]) => {
            let loaded = pods.engines().into_iter().map(|pod| (pod.to_string(), json!(pods.loaded(pod))));
            return serve::json(StatusCode::OK, &loaded.collect());
        }
        (&Method::GET, ["journal"]) => {
            return serve::json(StatusCode::OK, &json!(pods.journal.entries()));
        }
        (&Method::DELETE, ["journal"]) => {
            pods.journal.clear();
            Ok(())
        }
        (&Method::DELETE, ["pods", pod, "adapters"]) => match named(pod) {
            Ok(Some(pod)) => {
                pods.change(pod, Running::restart);
                Ok(())
            }
            Ok(None) => Err("one pod at a time".to_owned()),
            Err(error) => Err(error),
        },
        (&Method::DELETE, ["pods", pod]) => named(pod).map(|pod| pods.clear(pod)),
        (&Method::PUT, ["pods", pod, what]) => named(pod).and_then(|pod| put(pods, pod, what, &body)),
        _ => Err("no such setting".to_owned()),
    };
    match done {
        Ok(()) => serve::json(StatusCode::OK, &json!({})),
        Err(error) => serve::json(StatusCode::BAD_REQUEST, &json!({ "error": error })),
    }
}

fn put(pods: &Pods, pod: Option<IpAddr>, what: &str, body: &[u8]) -> Result<(), String> {
    match what {
        "load" => pods.load(pod, &read::<Load>(body)?),
        "engine" => pods.engine(pod, read::<LoraEngine>(body)?),
        "page" => {
            let setting: PageSetting = read(body)?;
            let status = StatusCode::from_u16(setting.status).map_err(|error| error.to_string())?;
            let delay = Duration::from_millis(setting.delay_ms);
            let page = Page { status, body: setting.body.into_bytes(), delay, fault: setting.fault };
            pods.set(pod, &setting.path, page);
        }
        "optimizer" => {
            let setting: OptimizerSetting = read(body)?;
            pods.set(pod, &setting.path, Page::ok(optimizer(&setting.model, setting.replicas)));
        }
        _ => return Err("no such setting".to_owned()),
    }
    Ok(())
}

fn named(pod: &str) -> Result<Option<IpAddr>, String> {
    match pod {
        "*" => Ok(None),
        ip => ip.parse().map(Some).map_err(|_| format!("{ip} is no IP address")),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}
