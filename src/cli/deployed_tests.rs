// SPDX-License-Identifier: Apache-2.0
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;

use super::{
    controllers::NAMES,
    deployed::{Assignment, Guarded, read},
};

/// A Deployment with one container.
fn deployment(name: &str, image: &str, args: &[&str]) -> Deployment {
    let container = json!({ "name": "manager", "image": image, "command": ["/manager"], "args": args });
    let pod = json!({ "metadata": {}, "spec": { "containers": [container] } });
    let spec = json!({ "replicas": 1, "selector": {}, "template": pod });
    serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap()
}

const IMAGE: &str = "registry.example.com:5000/aibrix/controller-manager:v0.7.0@sha256:abc";

#[test]
fn arguments_are_read_by_our_own_rules() {
    let kv = ["--controllers=kv-cache-controller", "--leader-election-id=kv"];
    let got = read(&[deployment("one", IMAGE, &kv), deployment("all", IMAGE, &[])]);
    let (one, all) = got.assignments.split_first().unwrap();
    let want = Assignment {
        deployment: "one".into(),
        controller: "kv-cache-controller",
        lease: "kv".into(),
        running: true,
    };
    assert_eq!(*one, want);
    assert_eq!(all.iter().map(|it| it.controller).collect::<Vec<_>>(), NAMES);
    assert_eq!(got.guards, [Guarded { deployment: "all".into(), lease: "aibrix-controller-manager".into() }]);
}

#[test]
fn arguments_may_stand_in_the_command() {
    let mut moved = deployment("one", IMAGE, &[]);
    let pod = moved.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
    pod.containers[0].command = Some(vec!["/manager".into(), "--controllers=kv-cache-controller".into()]);
    assert_eq!(read(&[moved]).assignments.len(), 1);
}

#[test]
fn other_programs_say_nothing() {
    let other_operator = deployment(
        "kuberay",
        "kuberay/operator:v1",
        &["--leader-elect", "--health-probe-bind-address=:8081"],
    );
    let other_flags = deployment("odd", IMAGE, &["--no-such-flag"]);
    let help = deployment("help", IMAGE, &["--help"]);
    let gateway = deployment("gateway", "aibrix/gateway-plugins:v1", &[]);
    let empty = Deployment::default();
    assert_eq!(
        read(&[other_operator, other_flags, help, gateway, empty]),
        super::deployed::Deployed::default()
    );
}

#[test]
fn a_manager_under_another_image_is_known_by_the_controllers_that_it_names() {
    let got = read(&[deployment("mirror", "mirror/am:1", &["--controllers=kv-cache-controller"])]);
    assert_eq!(got.assignments.len(), 1);
}

#[test]
fn without_election_there_is_no_lease() {
    assert_eq!(read(&[deployment("one", IMAGE, &["--leader-elect=false"])]).assignments, []);
}

#[test]
fn a_deployment_scaled_to_zero_does_not_run() {
    let mut stopped = deployment("one", IMAGE, &["--controllers=kv-cache-controller"]);
    stopped.spec.as_mut().unwrap().replicas = Some(0);
    assert!(!read(&[stopped]).assignments[0].running);
}
