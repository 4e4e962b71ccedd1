// SPDX-License-Identifier: Apache-2.0
use std::net::IpAddr;

use serde_json::{Value, json};

use super::objects::{build_endpoint_slice, build_service, common_port};
use crate::api::model::ModelAdapter;

fn adapter(labels: &Value, spec: &Value) -> ModelAdapter {
    let metadata = json!({"name": "sql", "namespace": "ns", "uid": "u", "labels": labels});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn owners() -> Value {
    json!([{
        "apiVersion": "model.aibrix.ai/v1alpha1", "kind": "ModelAdapter", "name": "sql", "uid": "u",
        "controller": true, "blockOwnerDeletion": true,
    }])
}

#[test]
fn the_service_is_headless_and_has_no_selector() {
    let service = build_service(&adapter(&json!({}), &json!({"baseModel": "llama"})), 8000);
    let want = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "sql", "namespace": "ns", "ownerReferences": owners(),
            "labels": {"adapter.model.aibrix.ai/name": "sql", "model.aibrix.ai/name": "llama"},
        },
        "spec": {
            "clusterIP": "None", "publishNotReadyAddresses": true,
            "ports": [{"name": "http", "port": 8000, "targetPort": 8000, "protocol": "TCP"}],
        },
    });
    assert_eq!(serde_json::to_value(service).unwrap(), want);
}

#[test]
fn the_base_model_is_a_label_where_it_can_be_one() {
    let of = |spec: Value| {
        let meta = build_service(&adapter(&json!({}), &spec), 8000).metadata;
        (serde_json::to_value(meta.labels).unwrap(), serde_json::to_value(meta.annotations).unwrap())
    };
    let own = json!({"adapter.model.aibrix.ai/name": "sql"});
    assert_eq!(of(json!({})), (own.clone(), Value::Null));
    let empty = json!({"adapter.model.aibrix.ai/name": "sql", "model.aibrix.ai/name": ""});
    assert_eq!(of(json!({"baseModel": ""})), (empty, Value::Null));
    let slash = json!({"model.aibrix.ai/name": "org/llama"});
    assert_eq!(of(json!({"baseModel": "org/llama"})), (own, slash));
}

#[test]
fn the_service_listens_where_the_route_leads_and_the_slice_where_the_pods_listen() {
    let adapter = adapter(&json!({"model.aibrix.ai/port": "9000"}), &json!({}));
    let port = build_service(&adapter, 8100).spec.unwrap().ports.unwrap().remove(0);
    assert_eq!(serde_json::to_value((port.port, port.target_port)).unwrap(), json!([9000, 8100]));
    let slice = build_endpoint_slice(&adapter, &[], 8100);
    assert_eq!(slice.ports.unwrap()[0].port, Some(8100));
}

#[test]
fn the_slice_has_one_endpoint_per_address_in_their_order() {
    let slice =
        build_endpoint_slice(&adapter(&json!({}), &json!({})), &addresses(&["10.0.0.2", "10.0.0.1"]), 8000);
    let want = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "sql", "namespace": "ns", "ownerReferences": owners(),
            "labels": {"kubernetes.io/service-name": "sql"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.2"]}, {"addresses": ["10.0.0.1"]}],
        "ports": [{"name": "http", "protocol": "TCP", "port": 8000}],
    });
    let mut got = serde_json::to_value(slice).unwrap();
    for endpoint in got["endpoints"].as_array_mut().unwrap() {
        assert_eq!(endpoint.as_object().unwrap().keys().collect::<Vec<_>>(), ["addresses"]);
        endpoint.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    }
    assert_eq!(got, want);
}

#[test]
fn a_slice_has_one_family() {
    let of = |texts: &[&str]| {
        let slice = build_endpoint_slice(&adapter(&json!({}), &json!({})), &addresses(texts), 8000);
        let endpoints: Vec<_> = slice.endpoints.into_iter().flat_map(|endpoint| endpoint.addresses).collect();
        (slice.address_type, endpoints)
    };
    assert_eq!(of(&[]), ("IPv4".into(), vec![]));
    assert_eq!(of(&["fd00::2"]), ("IPv6".into(), vec!["fd00::2".into()]));
    assert_eq!(of(&["fd00::2", "10.0.0.1"]), ("IPv4".into(), vec!["10.0.0.1".into()]));
}

#[test]
fn the_most_common_port_wins_and_the_lowest_of_several() {
    for (ports, want) in
        [(&[][..], 8000), (&[9000], 9000), (&[8000, 9000, 9000], 9000), (&[9000, 8500, 8500, 9000, 1], 8500)]
    {
        assert_eq!(common_port(ports.iter().copied()), want, "{ports:?}");
    }
}
