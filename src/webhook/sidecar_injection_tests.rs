// SPDX-License-Identifier: Apache-2.0
use json_patch::{Patch, PatchOperation, jsonptr::PointerBuf};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::sidecar_injection::{Sidecar, injection};

const PLAIN: Sidecar<'_> = Sidecar { image: "aibrix/runtime:v0.5.0", engine: None };

fn injected(pod: &Value, wanted: Sidecar<'_>) -> Value {
    let mut object = json!({"at": pod});
    let operations = injection(&PointerBuf::from_tokens(["at"]), pod, wanted);
    json_patch::patch(&mut object, &Patch(operations)).unwrap();
    object["at"].take()
}

fn pod(image: &str) -> Value {
    json!({"containers": [{"name": "engine", "image": image}]})
}

/// As the specification puts it, field by field.
fn sidecar(image: &str, engine: &str) -> Value {
    json!({
        "name": "aibrix-runtime", "image": image,
        "command": ["aibrix_runtime", "--port", "8080"],
        "env": [
            {"name": "INFERENCE_ENGINE", "value": engine},
            {"name": "INFERENCE_ENGINE_ENDPOINT", "value": "http://localhost:8000"},
        ],
        "ports": [{"name": "metrics", "containerPort": 8080, "protocol": "TCP"}],
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"},
            "initialDelaySeconds": 3, "periodSeconds": 2,
        },
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"},
            "initialDelaySeconds": 5, "periodSeconds": 10,
        },
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"},
        },
        "volumeMounts": [{"name": "adapter-storage", "mountPath": "/tmp/aibrix/adapters"}],
    })
}

#[test]
fn sidecar_stands_first_and_shares_a_volume() {
    let mount = json!({"name": "adapter-storage", "mountPath": "/tmp/aibrix/adapters"});
    assert_eq!(
        injected(&pod("vllm/vllm-openai:v1"), Sidecar { image: "my/runtime:1", engine: None }),
        json!({
            "containers": [
                sidecar("my/runtime:1", "vllm"),
                {"name": "engine", "image": "vllm/vllm-openai:v1", "volumeMounts": [mount]},
            ],
            "volumes": [{"name": "adapter-storage", "emptyDir": {}}],
        })
    );
}

#[test]
fn what_is_asked_for_comes_from_annotations_that_are_not_empty() {
    assert_eq!(Sidecar::from_annotations(None, None), PLAIN);
    assert_eq!(Sidecar::from_annotations(Some(""), Some("")), PLAIN);
    assert_eq!(Sidecar::from_annotations(Some("i"), Some("e")), Sidecar { image: "i", engine: Some("e") });
}

fn engine(pod: &Value, wanted: Sidecar<'_>) -> Value {
    injected(pod, wanted)["containers"][0]["env"][0]["value"].clone()
}

// scenario: storm-service 42
#[test]
fn engine_is_what_the_annotation_or_the_first_telling_image_says() {
    let table = [
        ("vllm/vllm-openai:latest", "vllm"),
        ("registry.example/VLLM-Custom", "vllm"),
        ("lmsysorg/sglang:v0.5", "sglang"),
        ("ghcr.io/huggingface/text-generation-inference:3", "tgi"),
        ("example/tgi-server", "tgi"),
        ("nvcr.io/nvidia/tritonserver:24.01", "triton"),
        ("ghcr.io/ggml-org/llama.cpp:server", "llamacpp"),
        ("example/llama-runner", "unknown"),
        ("nginx:1.27", "unknown"),
    ];
    for (image, want) in table {
        assert_eq!(engine(&pod(image), PLAIN), want, "{image}");
        assert_eq!(engine(&pod(image), Sidecar { engine: Some("mine"), ..PLAIN }), "mine", "{image}");
    }
    let several = json!({"containers": [
        {"name": "proxy", "image": "nginx"}, {"name": "b", "image": "sglang"}, {"name": "a", "image": "vllm"},
    ]});
    assert_eq!(engine(&several, PLAIN), "sglang");
    assert_eq!(engine(&json!({"containers": [{"name": "a"}]}), PLAIN), "unknown");
    let only_init =
        json!({"initContainers": [{"name": "i", "image": "vllm"}], "containers": [{"name": "a"}]});
    assert_eq!(engine(&only_init, PLAIN), "unknown");
}

#[test]
fn pod_that_has_the_sidecar_is_left_alone() {
    let once = injected(&pod("vllm"), PLAIN);
    let again = injection(&PointerBuf::new(), &once, Sidecar { image: "newer", engine: Some("other") });
    assert_eq!(again, [], "not even the image changes");
}

#[test]
fn volume_of_the_same_name_becomes_empty_unless_it_is() {
    let volumes = |source: Value| {
        let mut pod = pod("vllm");
        let mut volume = json!({"name": "adapter-storage"});
        volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        pod["volumes"] = json!([{"name": "other", "newSource": {"a": 1}}, volume]);
        injected(&pod, PLAIN)["volumes"].clone()
    };
    let other = json!({"name": "other", "newSource": {"a": 1}});
    let empty = json!({"name": "adapter-storage", "emptyDir": {}});
    assert_eq!(volumes(json!({"hostPath": {"path": "/data"}})), json!([other, empty]));
    assert_eq!(volumes(json!({})), json!([other, empty]));
    let kept = json!({"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}});
    assert_eq!(
        volumes(kept.clone()),
        json!([other, {"name": "adapter-storage", "emptyDir": kept["emptyDir"]}])
    );
}

#[test]
fn mount_is_added_once_and_not_at_a_path_that_is_taken() {
    let mounts = |given: Value| {
        let mut pod = pod("vllm");
        pod["containers"][0]["volumeMounts"] = given;
        injected(&pod, PLAIN)["containers"][1]["volumeMounts"].clone()
    };
    let ours = json!({"name": "adapter-storage", "mountPath": "/tmp/aibrix/adapters"});
    let elsewhere = json!({"name": "adapter-storage", "mountPath": "/data"});
    let taken = json!({"name": "mine", "mountPath": "/tmp/aibrix/adapters/"});
    assert_eq!(mounts(json!(null)), json!([ours]));
    assert_eq!(mounts(json!([elsewhere])), json!([elsewhere, ours]));
    assert_eq!(mounts(json!([ours])), json!([ours]));
    assert_eq!(mounts(json!([taken])), json!([taken]));
}

#[test]
fn operations_name_nothing_but_what_is_added() {
    let pod = json!({
        "newField": {"z": 1, "a": [null]}, "terminationGracePeriodSeconds": 5,
        "containers": [
            {"name": "a", "image": "vllm", "restartPolicyRules": [{"action": "Restart"}]},
            {"name": "b", "volumeMounts": [{"name": "x", "mountPath": "/x", "newField": true}]},
        ],
        "volumes": [{"name": "x", "emptyDir": {}}],
    });
    let operations = injection(&PointerBuf::from_tokens(["spec"]), &pod, PLAIN);
    let paths: Vec<_> = operations
        .iter()
        .map(|operation| match operation {
            PatchOperation::Add(add) => add.path.to_string(),
            other => panic!("only additions: {other:?}"),
        })
        .collect();
    assert_eq!(
        paths,
        [
            "/spec/containers/0/volumeMounts",
            "/spec/containers/1/volumeMounts/1",
            "/spec/volumes/1",
            "/spec/containers/0",
        ]
    );
}

#[test]
fn strange_shapes_are_left_to_the_api_server() {
    let strange = [
        json!(null),
        json!([]),
        json!({}),
        json!({"containers": null}),
        json!({"containers": []}),
        json!({"containers": {"name": "a"}}),
        json!({"containers": ["a"]}),
    ];
    for pod in &strange {
        assert_eq!(injection(&PointerBuf::new(), pod, PLAIN), [], "{pod}");
    }
    let odd = json!({"containers": [{"name": 1, "image": [], "volumeMounts": "x"}], "volumes": {"a": 1}});
    let out = injected(&odd, PLAIN);
    assert_eq!((&out["volumes"], &out["containers"][1]), (&odd["volumes"], &odd["containers"][0]));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let key = prop_oneof![
            Just("name".to_owned()),
            Just("containers".to_owned()),
            Just("volumes".to_owned()),
            Just("volumeMounts".to_owned()),
            Just("emptyDir".to_owned()),
            "[a-z]{1,4}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_the_pod_is_the_patch_applies_and_a_second_one_is_empty(
        containers in any_json(), volumes in any_json(), other in any_json(),
    ) {
        let pod = json!({"containers": containers, "volumes": volumes, "other": other});
        let once = injected(&pod, PLAIN);
        prop_assert_eq!(&once["other"], &pod["other"]);
        prop_assert_eq!(injection(&PointerBuf::new(), &once, PLAIN), vec![]);
    }
}
