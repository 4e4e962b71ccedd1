// SPDX-License-Identifier: Apache-2.0
//! While nobody answers, nobody is held up; afterwards, what got in stays editable.

use serde_json::json;

use super::world::{endpoint, launch, plane, rejects_change, wait_called};
use crate::support::{Options, authority::Authority, objects};

// scenario: model-adapter-and-router 8
// scenario: storm-service 46
// scenario: kv-cache 50
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outage_lets_everything_in_and_what_is_in_stays_editable() {
    let plane = plane(Options::bare()).await;
    let client = plane.client().await;
    let ns = plane.namespace("outage").await;
    // Nobody listens there yet.
    let address = endpoint(&client).await;

    let meta = |name: &str| json!({"name": name, "namespace": ns});
    let adapter = json!({
        "apiVersion": "model.aibrix.ai/v1alpha1", "kind": "ModelAdapter", "metadata": meta("adapter"),
        "spec": {"artifactURL": "aabbcc", "podSelector": {}},
    });
    objects::create(&client, &adapter).await;
    objects::create(&client, &objects::deployment(&ns, "web", 0)).await;
    let storm = json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "StormService", "metadata": meta("storm"),
        "spec": {
            "replicas": 1, "selector": {}, "updateStrategy": {"maxSurge": "abc"},
            "template": {"spec": {"roles": []}},
        },
    });
    objects::create(&client, &storm).await;
    let backend = "kvcache.orchestration.aibrix.ai/backend";
    let mut cache = json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "KVCache", "metadata": meta("bogus"), "spec": {},
    });
    cache["metadata"]["annotations"] = json!({backend: "bogus"});
    objects::create(&client, &cache).await;
    let mut valid = cache.clone();
    valid["metadata"] = meta("valid");
    objects::create(&client, &valid).await;

    let (authority, folder) = (Authority::new(), plane.dir().join("webhook-certs"));
    authority.write_certificate(&folder);
    let manager = launch(&plane, &client, &folder, "only", &address).await.start();
    manager.wait_ready().await;
    authority.publish(&client).await;
    wait_called(&plane).await;

    let changed = json!(objects::patch(&client, &cache, &json!({"spec": {"cache": {"replicas": 3}}})).await);
    assert_eq!(changed["spec"]["cache"]["replicas"], 3);
    assert_eq!(changed["metadata"]["annotations"][backend], "bogus");
    let bogus = json!({"metadata": {"annotations": {backend: "bogus"}}});
    let status = rejects_change(&client, &valid, &bogus).await;
    assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"), "{status:?}");
    assert!(status.message.contains("invalid backend \"bogus\""), "{}", status.message);
    objects::patch(&client, &adapter, &json!({"metadata": {"labels": {"a": "b"}}})).await;
    objects::patch(&client, &storm, &json!({"spec": {"replicas": 2}})).await;
}
