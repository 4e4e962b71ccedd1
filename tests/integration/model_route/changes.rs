// SPDX-License-Identifier: Apache-2.0
//! What follows when workloads, routes and grants change.

use serde_json::{Value, json};

use super::world::{
    MARKER, annotated, backend, deployment, grant, hand_written, labelled, paths, route, stay, until,
    until_gone, until_there, workload, world,
};
use crate::support::objects;

/// Creates a Deployment `ns/name` that serves `model`.
async fn created(client: &kube::Client, ns: &str, name: &str, model: &str) -> Value {
    let it = deployment(ns, name, model);
    objects::create(client, &it).await;
    it
}

// scenario: model-adapter-and-router 62
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_follows_the_labels_and_annotations_of_its_workload() {
    let plane = &world().await.plane;
    let (client, ns) = (plane.client().await, plane.namespace("follow").await);
    let it = created(&client, &ns, "web", &ns).await;
    let ours = route(&format!("{ns}-router"));
    let first = until_there(&client, &ours).await;
    let labels = |labels: Value| json!({"metadata": {"labels": labels}});
    let annotations = |annotations: Value| json!({"metadata": {"annotations": annotations}});

    objects::patch(&client, &it, &labels(json!({"model.aibrix.ai/port": "9000"}))).await;
    until(&client, &ours, "the port follows", |it| backend(it) == (ns.clone(), ns.clone(), 9000)).await;
    objects::patch(&client, &it, &annotations(json!({"model.aibrix.ai/service-name": "svc"}))).await;
    until(&client, &ours, "the Service follows", |it| backend(it).1 == "svc").await;
    let key = "model.aibrix.ai/model-router-custom-paths";
    objects::patch(&client, &it, &annotations(json!({key: "/more"}))).await;
    let grown = until(&client, &ours, "the paths follow", |it| paths(it).last().unwrap() == "/more").await;
    assert_eq!(paths(&grown).len(), 12);
    objects::patch(&client, &it, &labels(json!({"app.kubernetes.io/managed-by": "aibrix-console"}))).await;
    let marked = "/metadata/labels/app.kubernetes.io~1managed-by";
    until(&client, &ours, "the console's label follows", |it| {
        it.pointer(marked) == Some(&json!("aibrix-console"))
    })
    .await;
    // Back to what it was.
    let none = annotations(json!({key: null, "model.aibrix.ai/service-name": null}));
    objects::patch(&client, &it, &none).await;
    let back = labels(json!({"model.aibrix.ai/port": "8000", "app.kubernetes.io/managed-by": null}));
    objects::patch(&client, &it, &back).await;
    let last = until(&client, &ours, "it is as at first", |it| it["spec"] == first["spec"]).await;
    assert_eq!(last["metadata"]["uid"], first["metadata"]["uid"], "always the same object");
    until(&client, &ours, "without the label", |it| it.pointer(marked).is_none()).await;

    let renamed = format!("{ns}-b");
    objects::patch(&client, &it, &labels(json!({"model.aibrix.ai/name": renamed}))).await;
    until_gone(&client, &ours).await;
    let new = route(&format!("{renamed}-router"));
    until_there(&client, &new).await;
    until_there(&client, &grant(&ns)).await;
    objects::patch(&client, &it, &labels(json!({"model.aibrix.ai/name": null}))).await;
    until_gone(&client, &new).await;
    until_gone(&client, &grant(&ns)).await;
}

// scenario: model-adapter-and-router 63
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workloads_that_share_a_model_share_its_route() {
    let plane = &world().await.plane;
    let client = plane.client().await;
    let (one, two) = (plane.namespace("share").await, plane.namespace("share").await);
    let ours = route(&format!("{one}-router"));
    // Of one namespace and Service: nothing changes when one goes.
    let first = created(&client, &one, "first", &one).await;
    let second = created(&client, &one, "second", &one).await;
    until_there(&client, &ours).await;
    until_there(&client, &grant(&one)).await;
    objects::delete(&client, &first).await;
    stay(plane, &[&ours, &grant(&one)]).await;
    // Of another namespace: the route stays where it leads while that is there, then is led to the other.
    let third = created(&client, &two, "third", &one).await;
    until_there(&client, &grant(&two)).await;
    let before = objects::get(&client, &ours).await.expect("the route");
    assert_eq!(backend(&before).0, one);
    objects::delete(&client, &second).await;
    let moved = until(&client, &ours, "it is led elsewhere", |it| backend(it).0 == two).await;
    assert_eq!(moved["metadata"]["uid"], before["metadata"]["uid"]);
    until_gone(&client, &grant(&one)).await;
    // Of another Service.
    let fourth = annotated(deployment(&two, "fourth", &one), "model.aibrix.ai/service-name", "other");
    objects::create(&client, &fourth).await;
    stay(plane, &[&ours]).await;
    objects::delete(&client, &third).await;
    until(&client, &ours, "it is led to the other Service", |it| backend(it).1 == "other").await;
    objects::delete(&client, &fourth).await;
    until_gone(&client, &ours).await;
    until_gone(&client, &grant(&two)).await;
}

// scenario: model-adapter-and-router 64
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_stays_for_whatever_kind_needs_it_and_keeps_what_others_wrote() {
    let plane = &world().await.plane;
    let (client, ns) = (plane.client().await, plane.namespace("grant").await);
    let model = |name: &str| format!("{ns}-{name}");
    let web = created(&client, &ns, "web", &model("web")).await;
    let lora = labelled(workload("ModelAdapter", &ns, "lora"), &model("lora"));
    objects::create(&client, &lora).await;
    until_there(&client, &route(&format!("{}-router", model("lora")))).await;
    until_there(&client, &grant(&ns)).await;
    objects::delete(&client, &web).await;
    until_gone(&client, &route(&format!("{}-router", model("web")))).await;
    stay(plane, &[&grant(&ns)]).await;
    assert!(objects::get(&client, &grant(&ns)).await.is_some());
    objects::delete(&client, &lora).await;
    until_gone(&client, &grant(&ns)).await;
    until_gone(&client, &route(&format!("{}-router", model("lora")))).await;

    // Somebody's own grant of that name.
    let other = plane.namespace("grant").await;
    let mut own = grant(&other);
    own["spec"] = json!({
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "elsewhere"}],
        "to": [{"group": "", "kind": "Service", "name": "mine"}],
    });
    objects::create(&client, &own).await;
    let web = created(&client, &other, "web", &other).await;
    until_there(&client, &route(&format!("{other}-router"))).await;
    let admitted = json!({
        "from": [own["spec"]["from"][0],
            {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "aibrix-system"}],
        "to": [own["spec"]["to"][0], {"group": "", "kind": "Service"}],
    });
    until(&client, &grant(&other), "it admits our routes, too", |it| it["spec"] == admitted).await;
    objects::patch(&client, &own, &json!({"spec": own["spec"]})).await;
    until(&client, &grant(&other), "it does so again", |it| it["spec"] == admitted).await;
    stay(plane, &[&grant(&other)]).await;
    objects::delete(&client, &web).await;
    until(&client, &grant(&other), "what is ours goes", |it| it["spec"]["from"] == own["spec"]["from"]).await;
}

// scenario: model-adapter-and-router 65
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_or_edited_by_hand_is_repaired() {
    let plane = &world().await.plane;
    let (client, ns) = (plane.client().await, plane.namespace("repair").await);
    created(&client, &ns, "web", &ns).await;
    let ours = route(&format!("{ns}-router"));
    let first = until_there(&client, &ours).await;
    until_there(&client, &grant(&ns)).await;
    for object in [&ours, &grant(&ns)] {
        let uid = until_there(&client, object).await["metadata"]["uid"].clone();
        objects::delete(&client, object).await;
        until(&client, object, "it is made again", |it| it["metadata"]["uid"] != uid).await;
    }
    let edit = json!({
        "metadata": {"annotations": {"note": "mine"}, "labels": {"team": "a"}},
        "spec": {"hostnames": ["wrong.example"], "rules": [{"backendRefs": [{"name": "wrong", "port": 1}]}]},
    });
    objects::patch(&client, &ours, &edit).await;
    let seen = until(&client, &ours, "it is as wanted", |it| it["spec"] == first["spec"]).await;
    assert_eq!(seen["metadata"]["annotations"]["note"], "mine", "what is not ours stays");
    assert_eq!(seen["metadata"]["labels"], json!({"team": "a"}));
    // Without its marker it is somebody's, and is adopted because it is as we would make it.
    objects::patch(&client, &ours, &json!({"metadata": {"annotations": {MARKER: null}}})).await;
    until(&client, &ours, "it is adopted", |it| it["metadata"]["annotations"].get(MARKER).is_some()).await;
}

// scenario: model-adapter-and-router 67
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_of_somebody_else_is_not_modified_and_goes_with_its_last_workload_if_it_has_the_shape() {
    let plane = &world().await.plane;
    let (client, ns) = (plane.client().await, plane.namespace("hand").await);
    let other = format!("{ns}-own");
    let shaped = hand_written(&format!("{ns}-router"), &ns, &ns);
    let mut own = hand_written(&format!("{other}-router"), &other, &ns);
    own["spec"]["rules"][0]["matches"][0]["headers"] = json!([]);
    for object in [&shaped, &own] {
        objects::create(&client, object).await;
    }
    let web = created(&client, &ns, "web", &ns).await;
    let more = created(&client, &ns, "more", &other).await;
    until_there(&client, &grant(&ns)).await;
    stay(plane, &[&shaped, &own]).await;
    assert_eq!(objects::get(&client, &shaped).await.expect("there")["metadata"].get("annotations"), None);
    objects::delete(&client, &web).await;
    until_gone(&client, &shaped).await;
    objects::delete(&client, &more).await;
    until_gone(&client, &grant(&ns)).await;
    stay(plane, &[&own]).await;
    assert!(objects::get(&client, &own).await.is_some());
}

/// What an older manager made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_is_as_we_would_make_it_is_adopted_and_then_kept() {
    let plane = &world().await.plane;
    let (client, ns) = (plane.client().await, plane.namespace("adopt").await);
    let it = created(&client, &ns, "web", &ns).await;
    let ours = route(&format!("{ns}-router"));
    let seen = until_there(&client, &ours).await;
    objects::delete(&client, &it).await;
    until_gone(&client, &ours).await;
    let mut older = ours.clone();
    older["spec"] = seen["spec"].clone();
    objects::create(&client, &older).await;
    let it = created(&client, &ns, "web", &ns).await;
    let adopted =
        until(&client, &ours, "it is adopted", |it| it.pointer("/metadata/annotations").is_some()).await;
    assert_eq!(adopted["metadata"]["annotations"], seen["metadata"]["annotations"], "the marker alone");
    assert_eq!(adopted["spec"], seen["spec"]);
    objects::patch(&client, &it, &json!({"metadata": {"labels": {"model.aibrix.ai/port": "9000"}}})).await;
    until(&client, &ours, "it follows", |it| backend(it).2 == 9000).await;
}

// scenario: model-adapter-and-router 70
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reserved_routes_are_neither_altered_nor_deleted_nor_made() {
    let plane = &world().await.plane;
    let (client, ns) = (plane.client().await, plane.namespace("reserved").await);
    let reserved = route("aibrix-reserved-router");
    // It is not made.
    let web = created(&client, &ns, "web", "aibrix-reserved").await;
    until_there(&client, &grant(&ns)).await;
    stay(plane, &[&reserved]).await;
    assert!(objects::get(&client, &reserved).await.is_none());
    objects::delete(&client, &web).await;
    until_gone(&client, &grant(&ns)).await;
    // It is not altered, whatever it looks like, and not deleted.
    let mut own = hand_written("aibrix-reserved-router", "aibrix-reserved", &ns);
    own["metadata"]["annotations"] = json!({MARKER: "0123456789abcdef.Deployment"});
    objects::create(&client, &own).await;
    let web = created(&client, &ns, "web", "aibrix-reserved").await;
    until_there(&client, &grant(&ns)).await;
    stay(plane, &[&reserved]).await;
    objects::delete(&client, &web).await;
    until_gone(&client, &grant(&ns)).await;
    stay(plane, &[&reserved]).await;
    assert_eq!(
        objects::get(&client, &reserved).await.expect("there")["spec"]["rules"].as_array().unwrap().len(),
        1
    );
}
