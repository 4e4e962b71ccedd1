// SPDX-License-Identifier: Apache-2.0
//! Errors of watches on one line.
//!
//! kube's watcher reads the answer to a watch line by line, whatever its status is, and the API server indents a
//! `Status` at times, for instance while it starts: each line would be an error of its own, followed by a wait of
//! its own.

use http::{Request, Response, header::CONTENT_LENGTH};
use http_body_util::BodyExt as _;
use kube::{Client, client::Body};
use tower::service_fn;

/// Longest error that is read; the API server's are a few hundred bytes.
const ERROR_BYTES: usize = 64 * 1024;

/// `client` for watches: answers that are no success have their body on one line.
pub fn whole_errors(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = service_fn(move |request: Request<Body>| {
        let client = client.clone();
        async move {
            let answer = client.send(request).await?;
            let ok = answer.status().is_success();
            Ok::<_, kube::Error>(if ok { answer } else { on_one_line(answer).await })
        }
    });
    Client::new(service, namespace)
}

/// A body that is no JSON, too long or broken off stays as far as it was read.
async fn on_one_line(answer: Response<Body>) -> Response<Body> {
    let (mut head, mut body) = answer.into_parts();
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        text.extend(frame.into_data().unwrap_or_default());
        if text.len() > ERROR_BYTES {
            break;
        }
    }
    let parsed = serde_json::from_slice::<serde_json::Value>(&text);
    let line = parsed.map_or(text, |status| status.to_string().into_bytes());
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, Body::from(line))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::{Value, json};

    use super::*;

    async fn answered(status: StatusCode, body: &str) -> String {
        let body = body.to_owned();
        let server = service_fn(move |_: Request<Body>| {
            let body = body.clone();
            async move {
                let mut answer = Response::new(Body::from(body.into_bytes()));
                *answer.status_mut() = status;
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        let client = whole_errors(Client::new(server, "default"));
        let answer = client.send(Request::new(Body::empty())).await.unwrap();
        assert_eq!(answer.status(), status);
        String::from_utf8(answer.into_body().collect_bytes().await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn indented_status_comes_on_one_line() {
        let status = json!({"kind": "Status", "code": 429, "details": {"retryAfterSeconds": 1}});
        let line = answered(StatusCode::TOO_MANY_REQUESTS, &format!("{status:#}\n")).await;
        assert!(!line.contains('\n'), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), status);
    }

    #[tokio::test]
    async fn everything_else_stays_as_it_is() {
        assert_eq!(answered(StatusCode::BAD_GATEWAY, "no\nJSON").await, "no\nJSON");
        assert_eq!(answered(StatusCode::OK, "{}\n{ }\n").await, "{}\n{ }\n", "the lines of a watch");
        assert_eq!(answered(StatusCode::UNAUTHORIZED, "").await, "");
    }
}
