// SPDX-License-Identifier: Apache-2.0
//! The objects that publish an adapter: a headless Service without selector, and its EndpointSlice. Both carry
//! the name of the ModelAdapter and belong to it.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::{
    api::{
        core::v1::{Service, ServicePort, ServiceSpec},
        discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::{
        apis::meta::v1::{ObjectMeta, OwnerReference},
        util::intstr::IntOrString,
    },
};

use crate::{
    api::{
        keys::{DEFAULT_ENGINE_PORT, MODEL_NAME, SERVICE_NAME_LABEL, model_adapter::NAME_LABEL},
        model::{API_VERSION, MODEL_ADAPTER, ModelAdapter},
    },
    k8s::served_model::engine_port_of,
};
use kube_loops::k8s::names::is_label_value;

const PORT_NAME: &str = "http";
const PROTOCOL: &str = "TCP";

/// The Service of an adapter whose pods listen on `pod_port`. Its own port is the one that a route to it uses:
/// the label `model.aibrix.ai/port` of the ModelAdapter, 8000 by default.
pub(crate) fn build_service(adapter: &ModelAdapter, pod_port: u16) -> Service {
    let name = adapter.metadata.name.clone().unwrap_or_default();
    let mut labels = BTreeMap::from([(NAME_LABEL.to_owned(), name)]);
    let mut annotations = BTreeMap::new();
    if let Some(base) = &adapter.spec.base_model {
        // A base model with a slash is no label value: as a label it would make the Service impossible.
        let place = if is_label_value(base) { &mut labels } else { &mut annotations };
        place.insert(MODEL_NAME.to_owned(), base.clone());
    }
    Service {
        metadata: ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
            ..child_meta(adapter)
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            ports: Some(vec![ServicePort {
                name: Some(PORT_NAME.to_owned()),
                port: engine_port_of(&adapter.metadata).into(),
                target_port: Some(IntOrString::Int(pod_port.into())),
                protocol: Some(PROTOCOL.to_owned()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The EndpointSlice of an adapter, one endpoint per address, in the order of the instances. A slice has one
/// family: IPv4 if there is any such address or none at all. Addresses of the other family are left out.
pub(crate) fn build_endpoint_slice(
    adapter: &ModelAdapter,
    addresses: &[IpAddr],
    pod_port: u16,
) -> EndpointSlice {
    let name = adapter.metadata.name.clone().unwrap_or_default();
    let is_v4 = addresses.is_empty() || addresses.iter().any(IpAddr::is_ipv4);
    let endpoint =
        |address: &IpAddr| Endpoint { addresses: vec![address.to_string()], ..Endpoint::default() };
    EndpointSlice {
        metadata: ObjectMeta {
            labels: Some([(SERVICE_NAME_LABEL.to_owned(), name)].into()),
            ..child_meta(adapter)
        },
        address_type: if is_v4 { "IPv4" } else { "IPv6" }.to_owned(),
        endpoints: addresses.iter().filter(|address| address.is_ipv4() == is_v4).map(endpoint).collect(),
        ports: Some(vec![EndpointPort {
            name: Some(PORT_NAME.to_owned()),
            protocol: Some(PROTOCOL.to_owned()),
            port: Some(pod_port.into()),
            ..EndpointPort::default()
        }]),
    }
}

/// The port that most pods listen on, the lowest of several; 8000 without pods.
pub(crate) fn common_port(ports: impl IntoIterator<Item = u16>) -> u16 {
    let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
    for port in ports {
        *counts.entry(port).or_default() += 1;
    }
    // The last maximum wins, so the lowest port comes last.
    let common = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    common.map_or(DEFAULT_ENGINE_PORT, |(port, _)| port)
}

fn child_meta(adapter: &ModelAdapter) -> ObjectMeta {
    let name = adapter.metadata.name.clone().unwrap_or_default();
    let owner = OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: MODEL_ADAPTER.to_owned(),
        name: name.clone(),
        uid: adapter.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    ObjectMeta {
        name: Some(name),
        namespace: adapter.metadata.namespace.clone(),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    }
}
