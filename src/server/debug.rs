// SPDX-License-Identifier: Apache-2.0
//! `GET /debug/leases`: what the electors of this process think, as JSON.

use std::sync::Arc;

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};

/// Tells the state of every election now: an array with an object per controller.
pub(crate) type LeaseReport = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// The path and its answer.
pub(super) fn router(report: LeaseReport) -> Router {
    let answer = move || {
        let report = report();
        async move {
            match serde_json::to_string_pretty(&report) {
                Ok(text) => ([(CONTENT_TYPE, "application/json")], text + "\n").into_response(),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
            }
        }
    };
    Router::new().route("/debug/leases", get(answer))
}
