// SPDX-License-Identifier: Apache-2.0
use serde_json::json;

use crate::engine::endpoint::Dialect;

use super::{simulated::World, snapshot::PodSeen};

fn first(world: &mut World) -> PodSeen {
    world.adapter("sql", &json!({}));
    world.look("sql").pods.remove(0)
}

fn called(world: &mut World) -> (String, u16, Dialect) {
    let endpoint = first(world).endpoint.unwrap();
    (endpoint.host, endpoint.port, endpoint.dialect)
}

#[test]
fn the_engine_is_called_where_its_labels_say() {
    for (labels, port, dialect) in [
        (json!({"app": "base"}), 8000, Dialect::Vllm),
        (json!({"app": "base", "model.aibrix.ai/port": "9000"}), 9000, Dialect::Vllm),
        (json!({"app": "base", "model.aibrix.ai/port": "70000"}), 8000, Dialect::Vllm),
        (json!({"app": "base", "model.aibrix.ai/engine": "sglang"}), 8000, Dialect::Sglang),
        (json!({"app": "base", "model.aibrix.ai/engine": "xllm"}), 8000, Dialect::Vllm),
    ] {
        let mut world = World::new();
        world.pod("a", 60, &labels);
        assert_eq!(called(&mut world), ("10.0.0.2".to_owned(), port, dialect), "{labels}");
    }
}

#[test]
fn the_sidecar_is_called_where_it_is_and_wanted() {
    for (wanted, has, want) in [(true, true, 8080), (true, false, 8000), (false, true, 8000)] {
        let mut world = World::new();
        world.settings.runtime_sidecar = wanted;
        world.pods(&["a"]);
        world.change_pod("a", |pod| pod.has_sidecar = has);
        let (_, port, dialect) = called(&mut world);
        assert_eq!((port, dialect == Dialect::Sidecar), (want, want == 8080), "{wanted} {has}");
    }
}

#[test]
fn debug_mode_calls_localhost_in_the_dialect_of_the_pod() {
    let mut world = World::new();
    world.settings.debug_mode = true;
    world.pod("a", 60, &json!({"app": "base", "model.aibrix.ai/engine": "sglang"}));
    assert_eq!(called(&mut world), ("localhost".to_owned(), 30081, Dialect::Sglang));
}

#[test]
fn a_token_that_no_header_can_hold_makes_pods_unreachable() {
    let mut world = World::new();
    world.pods(&["a"]);
    world.adapter("sql", &json!({"additionalConfig": {"api-key": "a\nb"}}));
    world.settle();
    assert_eq!(world.calls, []);
    let (_, reason, message) = world.condition("sql", "Ready").unwrap();
    assert_eq!(reason, "ModelAdapterLoadingError");
    assert!(message.contains("API key") && !message.contains("a\nb"), "{message}");
}

#[test]
fn models_are_counted_by_name_without_the_adapter_itself() {
    let mut world = World::new();
    world.pod("a", 60, &json!({"app": "base", "model.aibrix.ai/name": "llama"}));
    for name in ["sql", "legal"] {
        world.adapter(name, &json!({}));
        let status = json!({"phase": "Running", "instances": ["a"]});
        world.adapters.get_mut(name).unwrap().adapter.status = Some(serde_json::from_value(status).unwrap());
    }
    world.change_pod("a", |pod| pod.claimed_models = vec!["claimed".into(), "llama".into()]);
    // llama, claimed and legal.
    assert_eq!(world.look("sql").pods[0].models, 3);
}
