// SPDX-License-Identifier: Apache-2.0
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::client::Body;
use serde_json::{Value, json};

use kube_fenced_election::clock::SystemClock;

use super::{EventDraft, Recorder, Severity};

type Seen = Arc<Mutex<Vec<(Method, String, Value)>>>;

/// A client whose answers have these codes, the last one for ever; what it was asked is recorded.
fn client(codes: &'static [u16]) -> (kube::Client, Seen) {
    let seen = Seen::default();
    let record = Arc::clone(&seen);
    let service = tower::service_fn(move |request: Request<Body>| {
        let record = Arc::clone(&record);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let turn = {
                let mut seen = record.lock().expect("not poisoned");
                seen.push((parts.method, parts.uri.to_string(), body.clone()));
                seen.len() - 1
            };
            let code = codes[turn.min(codes.len() - 1)];
            let answer = if code < 300 {
                let mut event =
                    json!({"apiVersion": "v1", "kind": "Event", "metadata": {}, "involvedObject": {}});
                event["metadata"]["name"] = body["metadata"]["name"].clone();
                event
            } else {
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                       "reason": "Whatever", "message": "no"})
            };
            let status = StatusCode::from_u16(code).expect("a code");
            let answer = Response::builder().status(status).body(Body::from(answer.to_string().into_bytes()));
            Ok::<_, kube::Error>(answer.expect("a response"))
        }
    });
    (kube::Client::new(service, "default"), seen)
}

fn draft(namespace: Option<&str>) -> EventDraft {
    let regarding = ObjectReference {
        kind: Some("PodAutoscaler".into()),
        name: Some("web".into()),
        namespace: namespace.map(str::to_owned),
        ..ObjectReference::default()
    };
    EventDraft { severity: Severity::Warning, reason: "Failed".into(), message: "why".into(), regarding }
}

async fn publish(codes: &'static [u16], drafts: Vec<EventDraft>) -> Vec<(Method, String, Value)> {
    let (client, seen) = client(codes);
    let (recorder, task) = Recorder::new(client, "PodAutoscaler", Arc::new(SystemClock));
    let sending = task.run();
    let publishing = async move {
        for draft in drafts {
            recorder.publish(draft);
        }
        recorder.flush(Duration::from_secs(3600)).await;
    };
    tokio::join!(sending, publishing);
    let seen = seen.lock().expect("not poisoned");
    seen.clone()
}

#[tokio::test(start_paused = true)]
async fn an_event_is_a_core_event_in_the_objects_namespace_with_the_component_as_source() {
    let seen = publish(&[201], vec![draft(Some("prod"))]).await;
    let [(method, uri, event)] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(*method, Method::POST);
    assert!(
        uri.starts_with("/api/v1/namespaces/prod/events?") && uri.contains("fieldManager=manager"),
        "{uri}"
    );
    assert_eq!(event["source"]["component"], "PodAutoscaler");
    assert_eq!(event["reportingComponent"], "PodAutoscaler");
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["count"], 1);
    let name = event["metadata"]["name"].as_str().expect("a name");
    let hex = name.strip_prefix("web.").expect("the object's name first");
    assert!(hex.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
}

#[tokio::test(start_paused = true)]
async fn events_about_cluster_scoped_objects_are_in_the_default_namespace() {
    let seen = publish(&[201], vec![draft(None)]).await;
    assert!(seen[0].1.starts_with("/api/v1/namespaces/default/events"), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn the_same_event_again_is_a_patch_of_its_count() {
    let seen = publish(&[201], vec![draft(Some("prod")), draft(Some("prod"))]).await;
    let (method, uri, patch) = &seen[1];
    assert_eq!(*method, Method::PATCH);
    assert!(uri.contains("/events/web."), "{uri}");
    assert_eq!(patch["count"], 2);
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_first_was_deleted_is_created_anew() {
    let seen = publish(&[201, 404, 201], vec![draft(Some("prod")), draft(Some("prod"))]).await;
    let methods: Vec<_> = seen.iter().map(|(method, ..)| method.clone()).collect();
    assert_eq!(methods, [Method::POST, Method::PATCH, Method::POST]);
}

#[tokio::test(start_paused = true)]
async fn trouble_is_retried_twelve_times_and_a_refusal_never() {
    assert_eq!(publish(&[500], vec![draft(Some("prod"))]).await.len(), 12);
    assert_eq!(publish(&[500, 500, 201], vec![draft(Some("prod"))]).await.len(), 3);
    assert_eq!(publish(&[403], vec![draft(Some("prod"))]).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn event_that_cannot_be_sent_keeps_no_other_waiting() {
    // The first event fails, whenever it is tried; the second is taken at once.
    let (client, seen) = client(&[500, 201, 500]);
    let (recorder, task) = Recorder::new(client, "PodAutoscaler", Arc::new(SystemClock));
    let mut running = tokio::task::JoinSet::new();
    running.spawn(task.run());
    recorder.publish(draft(Some("prod")));
    recorder.publish(draft(Some("test")));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let namespaces: Vec<bool> =
        seen.lock().expect("not poisoned").iter().map(|(_, uri, _)| uri.contains("/test/")).collect();
    assert_eq!(namespaces, [false, true]);
    recorder.flush(Duration::from_secs(3600)).await;
    assert_eq!(seen.lock().expect("not poisoned").len(), 13, "the first is given up after twelve tries");
}

#[tokio::test(start_paused = true)]
async fn more_events_than_the_queue_holds_are_dropped_without_waiting() {
    let (client, _) = client(&[201]);
    let (recorder, _task) = Recorder::new(client, "PodAutoscaler", Arc::new(SystemClock));
    for _ in 0..3000 {
        recorder.publish(draft(Some("prod")));
    }
}
