// SPDX-License-Identifier: Apache-2.0
//! What a route looks like for which metadata.

use serde_json::{Value, json};

use super::world::{
    MARKER, SOON, annotated, backend, deployment, grant, labelled, paths, plane, route, start, stay, until,
    until_there, until_warned, warnings, workload, world,
};
use crate::support::{audit::Entry, eventually, install::NAMESPACE, objects};

const DEFAULT_PATHS: [&str; 11] = [
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/classify",
    "/generate",
    "/generatevideo",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
];

/// Annotations but the marker.
fn others(route: &Value) -> Value {
    let mut annotations = route["metadata"]["annotations"].clone();
    let marker = annotations.as_object_mut().expect("annotations").remove(MARKER);
    assert!(marker.is_some(), "it carries no marker: {route}");
    let owner = annotations.as_object_mut().expect("annotations").remove("model.aibrix.ai/route-owner");
    assert!(owner.is_some(), "it does not say whose it is: {route}");
    annotations
}

// scenario: model-adapter-and-router 53
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_gets_the_route_and_the_grant_that_aibrix_makes() {
    let client = world().await.plane.client().await;
    objects::create(&client, &deployment("default", "llama", "llama2-7b")).await;
    let seen = until_there(&client, &route("llama2-7b-router")).await;
    let matches = DEFAULT_PATHS.map(|path| {
        json!({
            "path": {"type": "PathPrefix", "value": path},
            "headers": [{"type": "Exact", "name": "model", "value": "llama2-7b"}],
        })
    });
    // With what the API server fills in.
    let spec = json!({
        "parentRefs": [{
            "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "aibrix-eg",
            "namespace": "aibrix-system",
        }],
        "rules": [{
            "matches": matches,
            "backendRefs": [{
                "group": "", "kind": "Service", "name": "llama2-7b", "namespace": "default", "port": 8000,
                "weight": 1,
            }],
            "timeouts": {"request": "120s"},
        }],
    });
    assert_eq!(seen["spec"], spec);
    assert_eq!(seen["metadata"].get("labels"), None);
    assert_eq!(others(&seen), json!({}));
    assert!(
        seen["metadata"].get("ownerReferences").is_none() && seen["metadata"].get("finalizers").is_none()
    );
    let seen = until_there(&client, &grant("default")).await;
    let spec = json!({
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "aibrix-system"}],
        "to": [{"group": "", "kind": "Service"}],
    });
    assert_eq!(seen["spec"], spec);
    assert!(seen["metadata"].get("labels").is_none() && seen["metadata"].get("annotations").is_none());
}

// scenario: model-adapter-and-router 54
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_only_an_annotation_can_hold_and_the_marks_of_the_console_are_followed() {
    let plane = &world().await.plane;
    let (client, ns) = (plane.client().await, plane.namespace("console").await);
    let mut it = workload("Deployment", &ns, "mock");
    it["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("aibrix-console");
    it["metadata"]["annotations"] = json!({
        "model.aibrix.ai/name": "/models/mock",
        "model.aibrix.ai/service-name": "console-mock-svc",
        "console.aibrix.ai/deployment-id": "17",
        "console.aibrix.ai/deployment-name": "Mine",
        "example.org/unrelated": "x",
    });
    objects::create(&client, &it).await;
    let seen = until_there(&client, &route("models-mock-46c4aacefda4-router")).await;
    assert_eq!(backend(&seen), (ns, "console-mock-svc".to_owned(), 8000));
    for it in seen["spec"]["rules"][0]["matches"].as_array().expect("matches") {
        assert_eq!(it["headers"], json!([{"type": "Exact", "name": "model", "value": "/models/mock"}]));
    }
    assert_eq!(seen["metadata"]["labels"], json!({"app.kubernetes.io/managed-by": "aibrix-console"}));
    let copied =
        json!({"console.aibrix.ai/deployment-id": "17", "console.aibrix.ai/deployment-name": "Mine"});
    assert_eq!(others(&seen), copied);
}

// scenario: model-adapter-and-router 55
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_label_wins_unless_it_is_empty() {
    let plane = &world().await.plane;
    let (client, ns) = (plane.client().await, plane.namespace("wins").await);
    let annotation = "model.aibrix.ai/name";
    let both = annotated(deployment(&ns, "both", &format!("{ns}-label")), annotation, &format!("{ns}-both"));
    let empty = annotated(deployment(&ns, "empty", ""), annotation, &format!("{ns}-empty"));
    objects::create(&client, &both).await;
    objects::create(&client, &empty).await;
    until_there(&client, &route(&format!("{ns}-label-router"))).await;
    until_there(&client, &route(&format!("{ns}-empty-router"))).await;
    stay(plane, &[&route(&format!("{ns}-both-router"))]).await;
    assert!(objects::get(&client, &route(&format!("{ns}-both-router"))).await.is_none());
}

// scenario: model-adapter-and-router 56
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_have_the_names_that_the_gateway_looks_for() {
    let plane = &world().await.plane;
    let (client, ns) = (plane.client().await, plane.namespace("names").await);
    let (a246, a247, many) = ("a".repeat(246), "a".repeat(247), "model/".repeat(100));
    let many_route = format!("{}-440e2ebae5be-router", "model-".repeat(39).trim_end_matches('-'));
    assert!(many_route.len() == 253, "{}", many_route.len());
    let vectors: [(&str, String); 13] = [
        ("vector-7b", "vector-7b-router".to_owned()),
        ("qwen2.5-7b", "qwen2.5-7b-router".to_owned()),
        ("foo-", "foo--router".to_owned()),
        ("/models/mock2", format!("models-mock2-{}-router", hash("/models/mock2"))),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen-qwen2-5-7b-instruct-0311af13fabf-router".to_owned()),
        ("Llama_2", "llama-2-eb54e5f8e5e5-router".to_owned()),
        ("MODEL", "model-c8b6c094bbbd-router".to_owned()),
        ("///", "model-732c4e971163-router".to_owned()),
        ("-foo", "foo-04bac3c81959-router".to_owned()),
        ("foo.", "foo-0bda519dc053-router".to_owned()),
        (&a246, format!("{a246}-router")),
        (&a247, format!("{}-d1c97f05a04d-router", "a".repeat(233))),
        (&many, many_route),
    ];
    for (n, (model, _)) in vectors.iter().enumerate() {
        let it = annotated(workload("Deployment", &ns, &format!("w{n}")), "model.aibrix.ai/name", model);
        objects::create(&client, &annotated(it, "model.aibrix.ai/service-name", "svc")).await;
    }
    for (model, name) in &vectors {
        let seen = until_there(&client, &route(name)).await;
        assert_eq!(seen["spec"]["rules"][0]["matches"][0]["headers"][0]["value"], *model);
    }
}

/// The hash in a route's name, reckoned apart from the code under test.
fn hash(model: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, model.as_bytes());
    let number = hash.as_ref()[..6].iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    format!("{number:012x}")
}

// scenario: model-adapter-and-router 57
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_none_becomes_8000_and_is_told() {
    let plane = &world().await.plane;
    let (client, ns) = (plane.client().await, plane.namespace("ports").await);
    let mut silent = Vec::new();
    for (name, label) in
        [("none", None), ("word", Some("abc")), ("large", Some("70000")), ("zero", Some("0"))]
    {
        let model = format!("{ns}-{name}");
        let mut it = deployment(&ns, name, &model);
        let labels = it["metadata"]["labels"].as_object_mut().expect("labels");
        labels.remove("model.aibrix.ai/port");
        labels.extend(label.map(|label| ("model.aibrix.ai/port".to_owned(), json!(label))));
        objects::create(&client, &it).await;
        let seen = until_there(&client, &route(&format!("{model}-router"))).await;
        assert_eq!(backend(&seen), (ns.clone(), model, 8000));
        match label {
            Some(label) => until_warned(&client, &it, &format!("model.aibrix.ai/port=\"{label}\"")).await,
            None => silent.push(it),
        }
    }
    // Those that came later are told by now.
    for it in silent {
        assert_eq!(warnings(&client, &it).await, Ok(vec![]));
    }
}

// scenario: model-adapter-and-router 57
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_request_time_out_and_the_gateway_come_from_the_environment() {
    let plane = plane().await;
    let (client, ns) = (plane.client().await, plane.namespace("env").await);
    objects::create(&client, &objects::namespace("gateways")).await;
    let timeout = "AIBRIX_GATEWAY_TIMEOUT_SECONDS";
    for (n, (env, want)) in [
        (vec![(timeout, "600")], "600s"),
        (vec![(timeout, "-1")], "120s"),
        (vec![(timeout, "x")], "120s"),
        (vec![("AIBRIX_GATEWAY_NAME", "eg"), ("AIBRIX_GATEWAY_NAMESPACE", "gateways")], "120s"),
    ]
    .into_iter()
    .enumerate()
    {
        let manager = start(&plane, &env).await;
        let model = format!("{ns}-{n}");
        objects::create(&client, &deployment(&ns, &model, &model)).await;
        let mut want_route = route(&format!("{model}-router"));
        let elsewhere = env.len() == 2;
        if elsewhere {
            want_route["metadata"]["namespace"] = json!("gateways");
        }
        let seen = until_there(&client, &want_route).await;
        assert_eq!(seen["spec"]["rules"][0]["timeouts"]["request"], want, "{env:?}");
        let parent = &seen["spec"]["parentRefs"][0];
        let gateway = if elsewhere { ("eg", "gateways") } else { ("aibrix-eg", "aibrix-system") };
        assert_eq!(
            (parent["name"].as_str(), parent["namespace"].as_str()),
            (Some(gateway.0), Some(gateway.1))
        );
        // What it has made with the value before follows.
        if n == 1 {
            let first = route(&format!("{ns}-0-router"));
            until(&client, &first, "120s", |it| it["spec"]["rules"][0]["timeouts"]["request"] == "120s")
                .await;
        }
        manager.sigterm();
        assert_eq!(manager.wait_exit(SOON).await, Some(0), "{}", manager.log());
    }
}

// scenario: model-adapter-and-router 58
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_paths_are_cleaned_and_appended() {
    let plane = &world().await.plane;
    let (client, ns) = (plane.client().await, plane.namespace("paths").await);
    let mut silent = Vec::new();
    let many = (0..80).map(|n| format!("/p{n}")).collect::<Vec<_>>().join(",");
    let fifty_three: Vec<String> = (0..53).map(|n| format!("/p{n}")).collect();
    let fifty_three: Vec<&str> = fifty_three.iter().map(String::as_str).collect();
    for (name, annotation, added, told) in [
        ("spaces", "/f oo, /bar , ,/ba z /", vec!["/foo", "/bar", "/baz/"], None),
        ("twice", "/foo,/foo,/v1/completions", vec!["/foo"], None),
        ("bad", "score", vec![], Some("left out: \"score\"")),
        ("worse", "/ok,/a//b,/a/../b,/a%2Fb,/a#b,/é", vec!["/ok"], Some("\"/a//b\", \"/a/../b\"")),
        ("many", many.as_str(), fifty_three, Some("and 22 more")),
    ] {
        let model = format!("{ns}-{name}");
        let it = deployment(&ns, name, &model);
        let it = annotated(it, "model.aibrix.ai/model-router-custom-paths", annotation);
        objects::create(&client, &it).await;
        let seen = until_there(&client, &route(&format!("{model}-router"))).await;
        assert_eq!(paths(&seen), [DEFAULT_PATHS.to_vec(), added].concat(), "{annotation}");
        let header = json!([{"type": "Exact", "name": "model", "value": model}]);
        let matches = seen["spec"]["rules"][0]["matches"].as_array().expect("matches");
        assert!(matches.iter().all(|it| it["headers"] == header && it["path"]["type"] == "PathPrefix"));
        match told {
            Some(told) => until_warned(&client, &it, told).await,
            None => silent.push(it),
        }
    }
    // Those that came later are told by now.
    for it in silent {
        assert_eq!(warnings(&client, &it).await, Ok(vec![]));
    }
}

// scenario: model-adapter-and-router 59
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_workload_gets_a_route_if_it_names_a_model() {
    let plane = &world().await.plane;
    let (client, ns) = (plane.client().await, plane.namespace("kinds").await);
    for kind in ["ModelAdapter", "RayClusterFleet", "LeaderWorkerSet"] {
        let name = format!("{ns}-{}", kind.to_lowercase());
        let silent = format!("{name}-silent");
        objects::create(&client, &workload(kind, &ns, &silent)).await;
        objects::create(&client, &labelled(workload(kind, &ns, &name), &name)).await;
        let seen = until_there(&client, &route(&format!("{name}-router"))).await;
        assert_eq!(backend(&seen), (ns.clone(), name, 8000));
        assert!(objects::get(&client, &route(&format!("{silent}-router"))).await.is_none());
    }
    until_there(&client, &grant(&ns)).await;
}

// scenario: model-adapter-and-router 60-61
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_namespace_needs_no_grant_and_a_workload_without_model_nothing() {
    let plane = &world().await.plane;
    let (client, ns) = (plane.client().await, plane.namespace("home").await);
    objects::create(&client, &workload("Deployment", &ns, "silent")).await;
    objects::create(&client, &deployment(NAMESPACE, &ns, &ns)).await;
    let seen = until_there(&client, &route(&format!("{ns}-router"))).await;
    assert_eq!(backend(&seen), (NAMESPACE.to_owned(), ns.clone(), 8000));
    stay(plane, &[&grant(NAMESPACE), &grant(&ns), &route("silent-router")]).await;
    for absent in [grant(NAMESPACE), grant(&ns), route("silent-router")] {
        assert!(objects::get(&client, &absent).await.is_none(), "{absent}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_the_api_server_does_not_take_is_told_once() {
    let plane = &world().await.plane;
    let (client, ns) = (plane.client().await, plane.namespace("long").await);
    // Longer than the name of any Service.
    let it = annotated(workload("Deployment", &ns, "web"), "model.aibrix.ai/name", &"long/".repeat(60));
    objects::create(&client, &it).await;
    until_warned(&client, &it, "the API server refuses the route: ").await;
    let more = deployment(&ns, "more", &ns);
    objects::create(&client, &more).await;
    until_there(&client, &route(&format!("{ns}-router"))).await;
    // It is tried again every now and then, and not told again.
    let mut log = plane.audit();
    eventually(SOON, "it is tried three times", async || {
        let tried = |it: &&Entry| it.resource() == "httproutes" && it.verb == "create" && it.code == 422;
        let attempts = log.entries().iter().filter(tried).count();
        if attempts >= 3 { Ok(()) } else { Err(format!("{attempts} times")) }
    })
    .await;
    assert_eq!(warnings(&client, &it).await.map(|it| it.len()), Ok(1));
    let fix = json!({"metadata": {"annotations": {"model.aibrix.ai/service-name": "web"}}});
    objects::patch(&client, &it, &fix).await;
    let mut found = route("");
    found["metadata"]["name"] =
        json!(format!("{}-{}-router", "long-".repeat(46) + "lon", hash(&"long/".repeat(60))));
    until(&client, &found, "it is made", |it| backend(it).1 == "web").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_cannot_exist_is_told_once() {
    let plane = &world().await.plane;
    let (client, ns) = (plane.client().await, plane.namespace("dot").await);
    let model = format!("{ns}-2.5");
    let it = deployment(&ns, "web", &model);
    objects::create(&client, &it).await;
    let seen = until_there(&client, &route(&format!("{model}-router"))).await;
    assert_eq!(backend(&seen), (ns, model.clone(), 8000), "as AIBrix has it");
    until_warned(&client, &it, &format!("{model:?} is no name of a Service")).await;
    // A repair is no new reason to tell it.
    objects::delete(&client, &route(&format!("{model}-router"))).await;
    let fixed = annotated(it.clone(), "model.aibrix.ai/service-name", "web");
    objects::patch(&client, &it, &json!({"metadata": {"annotations": fixed["metadata"]["annotations"]}}))
        .await;
    until(&client, &route(&format!("{model}-router")), "it leads to web", |it| backend(it).1 == "web").await;
}
