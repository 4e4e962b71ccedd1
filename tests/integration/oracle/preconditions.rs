// SPDX-License-Identifier: Apache-2.0
//! Changes without a precondition, in doctored audit logs and planted on a real API server.

use std::time::Duration;

use http::{
    Request,
    header::{CONTENT_TYPE, USER_AGENT},
};
use serde_json::{Value, json};

use crate::support::{
    ControlPlane, Options,
    doctored::{A, Story, user_agent},
    eventually,
    install::NAMESPACE,
    kubeconfig, objects,
    preconditions::unguarded,
    probes::allow_probes,
};

const SOON: Duration = Duration::from_secs(30);

/// How many of these requests by a process of ours are without a precondition.
fn found(verb: &str, object: (&str, &str, &str), code: u16, bodies: &[Value]) -> usize {
    let agent = user_agent(A);
    let story = bodies.iter().fold(Story::default(), |story, body| {
        story.line(0.0, verb, &agent, object, (code, &Value::Null)).asks(body)
    });
    story.entries().iter().filter_map(unguarded).count()
}

#[test]
fn change_that_would_undo_what_was_written_since_is_found() {
    let pod = ("", "pods", "web-0");
    let test = |path: &str, value: Value| json!({"op": "test", "path": path, "value": value});
    let (uid, version) = (test("/metadata/uid", json!("u")), test("/metadata/resourceVersion", json!("7")));
    let (count, add) =
        (test("/spec/replicas", json!(1)), json!({"op": "add", "path": "/spec/replicas", "value": 2}));
    let guarded = json!({"metadata": {"resourceVersion": "7"}});
    let bare =
        [json!({"metadata": {"name": "web-0"}}), json!({"metadata": {"resourceVersion": ""}}), json!({})];
    assert_eq!(
        (found("update", pod, 200, &bare), found("update", pod, 200, std::slice::from_ref(&guarded))),
        (3, 0)
    );
    assert_eq!((found("patch", pod, 200, &bare), found("patch", pod, 409, &[guarded])), (3, 0));
    let bare = [
        json!([add]),
        json!([uid, add]),
        json!([count, add]),
        json!([test("/metadata/resourceVersion", Value::Null), add]),
    ];
    let guarded = [json!([version, add]), json!([uid, count, add])];
    assert_eq!((found("patch", pod, 200, &bare), found("patch", pod, 200, &guarded)), (4, 0));
    let bare = [json!({}), json!({"preconditions": {"resourceVersion": "7"}})];
    assert_eq!(
        (
            found("delete", pod, 200, &bare),
            found("delete", pod, 200, &[json!({"preconditions": {"uid": "u"}})])
        ),
        (2, 0)
    );
    assert_eq!(found("deletecollection", pod, 200, &[json!({})]), 1);
    assert_eq!(found("patch", pod, 403, &[json!({})]), 1, "refused for another reason");
    assert_eq!(found("patch", pod, 200, &[Value::Null]), 1, "nobody knows");
    assert_eq!(found("patch", pod, 403, &[Value::Null]), 0, "it was not read");
    assert_eq!(found("create", pod, 201, &[json!({})]), 0);
    assert_eq!(found("patch", ("", "events", "web-0.1"), 200, &[json!({"count": 2})]), 0);
    let lease = |name| ("coordination.k8s.io", "leases", name);
    assert_eq!(found("patch", lease("aibrix-controller-manager-0a1b"), 200, &[json!({})]), 0, "its own");
    assert_eq!(found("patch", lease("aibrix-kv-cache-controller"), 200, &[json!({})]), 1);
    let other =
        Story::default().line(0.0, "patch", "kubectl/v1.36.3", pod, (200, &Value::Null)).asks(&json!({}));
    assert_eq!(other.entries().iter().filter_map(unguarded).count(), 0, "nobody of ours");
}

// scenario: hardening 7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_without_a_precondition_is_found_in_the_log_of_a_real_api_server() {
    let plane = ControlPlane::start(Options::bare()).await;
    plane.install_without_storm_services().await;
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": NAMESPACE}});
    objects::create(&plane.client().await, &map).await;
    allow_probes(&plane).await;
    let ours = kubeconfig::client(&plane.manager_kubeconfig().await).await.expect("a client");
    let patch = async |body: &str| {
        let request = Request::patch(format!("/api/v1/namespaces/{NAMESPACE}/configmaps/a"))
            .header(CONTENT_TYPE, "application/merge-patch+json")
            .header(USER_AGENT, user_agent(A));
        let request = request.body(body.as_bytes().to_vec()).expect("a request");
        ours.request_text(request).await.map_err(|error| error.to_string())
    };
    // The role may be a moment old.
    let stored =
        eventually(SOON, "it is changed", async || patch(r#"{"data":{"planted":"yes"}}"#).await).await;
    let stored: Value = serde_json::from_str(&stored).expect("a ConfigMap");
    let unguarded = plane.unguarded();
    assert!(!unguarded.is_empty() && unguarded.iter().all(|it| it.contains("planted")), "{unguarded:?}");
    let version = &stored["metadata"]["resourceVersion"];
    patch(&json!({"metadata": {"resourceVersion": version}, "data": {"a": "b"}}).to_string())
        .await
        .expect("patch");
    assert_eq!(plane.unguarded(), Vec::<String>::new());
}
