// SPDX-License-Identifier: Apache-2.0
//! `make demo`: the main job on real input.
//!
//! A real control plane, the shipped manifests, three managers as their own ServiceAccount, engines that
//! answer at real pod addresses; an autoscaler follows their load, a LoRA is loaded and moves when its pod
//! dies, another one with a bad URL is refused, a Lease moves between managers when its holder is told to stop, and
//! a StormService is rolled and scaled while its leader stops. Ends by itself, with an error when something did not
//! happen.
#![allow(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a program for people that may end with a panic"
)]

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Command,
    time::Duration,
};

use aibrix_controller_manager::testkit::fake_engine::{Engine, FakeEngine, Load, LoraEngine, lora::Running};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use support::{
    ControlPlane, Options, eventually, http,
    install::{NAME, NAMESPACE},
    leases,
    manager::{Launch, Manager, binary},
    objects,
    wait::{instant, now},
};

#[path = "demo/storm_service.rs"]
mod storm_service;
#[path = "../tests/integration/support/mod.rs"]
mod support;

const NS: &str = "demo";
const LEASE: &str = "aibrix-pod-autoscaler-controller";
const MINUTE: Duration = Duration::from_mins(1);

#[tokio::main]
async fn main() -> Result<()> {
    let started = instant();
    say("a control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok");
    let plane = ControlPlane::start(Options::full()).await;
    say("the shipped CRDs, roles and Deployment, applied as a user applies them");
    plane.install_manager().await;
    let client = plane.client().await;
    objects::create(&client, &objects::namespace(NS)).await;

    say("engines: one process answers on port 8000 of every pod's address");
    let engine = FakeEngine::start(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8000))).await?;
    engine.pods.load(None, &load(10.0));
    engine.pods.engine(None, LoraEngine { base: "llama".to_owned(), ..LoraEngine::default() });

    say(
        "three managers at the addresses of the shipped Deployment's pods, with its arguments and ServiceAccount",
    );
    plane.kubectl(&["scale", "deployment", NAME, "-n", NAMESPACE, "--replicas=3"]).await?;
    let mut managers = Vec::new();
    for (pod, address) in manager_pods(&client).await {
        managers.push(Launch::in_pod(&plane, &pod, &address).await.start());
    }
    let holder = wait_for_holder(&client, &managers, LEASE, None).await;
    println!("    the pod autoscaler's Lease went to {}", managers[holder].pod_name());

    autoscale(&plane, &client, &engine).await?;
    adapt(&plane, &client, &engine).await?;
    refuse(&client, &managers).await?;
    hand_over(&plane, &client, &managers, holder).await?;
    let second = storm_service::roll(&plane, &client, &engine, &managers).await?;

    say("asking the last manager to stop");
    // Two were told already: a second signal would cut an orderly stop short.
    for (_, manager) in managers.iter().enumerate().filter(|(index, _)| ![holder, second].contains(index)) {
        manager.sigterm();
    }
    for manager in &managers {
        let code = manager.wait_exit(Duration::from_secs(10)).await;
        ensure!(code == Some(0), "{} ended with {code:?}:\n{}", manager.pod_name(), manager.log());
    }
    let verdict = leases::who_wrote_without_lease(plane.audit().entries());
    ensure!(verdict.violations.is_empty(), "writes without a Lease: {:?}", verdict.violations);
    println!(
        "    {} writes in the API server's audit log, none by a manager without its Lease",
        verdict.judged
    );
    say(&format!("done in {} s", started.elapsed().as_secs()));
    Ok(())
}

/// A Deployment of two replicas follows its load to four.
async fn autoscale(plane: &ControlPlane, client: &kube::Client, engine: &FakeEngine) -> Result<()> {
    say("a Deployment of two replicas, and a PodAutoscaler: 10 running requests per pod, strategy APA");
    let deployment = objects::deployment(NS, "llama", 2);
    objects::create(client, &deployment).await;
    let mut autoscaler = objects::pod_autoscaler(NS, "llama", "APA");
    // The played engines go on with 20 requests each however many there are: the bound ends the growth.
    autoscaler["spec"]["maxReplicas"] = json!(4);
    objects::create(client, &autoscaler).await;
    wait_for_replicas(client, &deployment, 2).await;
    eventually(MINUTE, "the autoscaler is settled", async || {
        let seen = objects::get(client, &autoscaler).await.ok_or("the autoscaler is gone")?;
        let status = &seen["status"];
        if status["actualScale"] == 2 && status["desiredScale"] == 2 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    println!("{}", indent(&plane.kubectl(&["get", "podautoscalers,deployments,pods", "-n", NS]).await?));

    say("the load doubles: 20 running requests per pod");
    engine.pods.load(None, &load(20.0));
    let doubled = instant();
    wait_for_replicas(client, &deployment, 4).await;
    println!("    four replicas ready after {:.1} s", doubled.elapsed().as_secs_f64());
    engine.pods.load(None, &load(10.0));
    println!("{}", indent(&plane.kubectl(&["get", "podautoscalers,deployments", "-n", NS]).await?));
    let events = plane
        .kubectl(&["get", "events", "-n", NS, "--field-selector=involvedObject.kind=PodAutoscaler"])
        .await?;
    println!("{}", indent(&events));
    ensure!(events.contains("SuccessfulRescale"), "an event tells of the rescale");
    Ok(())
}

/// A LoRA is loaded on one of the pods, and on another one when that dies.
async fn adapt(plane: &ControlPlane, client: &kube::Client, engine: &FakeEngine) -> Result<()> {
    say("a LoRA: a ModelAdapter of one replica on the pods of that Deployment");
    let adapter = json!({
        "apiVersion": "model.aibrix.ai/v1alpha1", "kind": "ModelAdapter",
        "metadata": {"name": "sql", "namespace": NS},
        "spec": {
            "baseModel": "llama", "replicas": 1, "artifactURL": "huggingface://demo/llama-sql-lora",
            "podSelector": {"matchLabels": {"app": "llama"}},
        },
    });
    objects::create(client, &adapter).await;
    let first = wait_for_instance(client, &adapter, None).await;
    let address = show_adapter(plane, client, &first).await?;

    say(&format!("its pod {first} dies"));
    let died = instant();
    // The next pod may get its address, and must not find its adapters there.
    engine.pods.change(address, Running::restart);
    plane.kubectl(&["delete", "pod", "-n", NS, &first, "--wait=false"]).await?;
    let second = wait_for_instance(client, &adapter, Some(&first)).await;
    println!("    loaded on {second} after {:.1} s", died.elapsed().as_secs_f64());
    show_adapter(plane, client, &second).await?;
    Ok(())
}

/// An adapter with a bad URL is refused by the webhook, which the API server calls through its Service.
async fn refuse(client: &kube::Client, managers: &[Manager]) -> Result<()> {
    say("another LoRA, with a slip in its URL: any replica refuses it");
    for manager in managers {
        // Which includes: it has made or read the certificate, and the API server trusts it.
        manager.wait_ready().await;
    }
    let adapter = json!({
        "apiVersion": "model.aibrix.ai/v1alpha1", "kind": "ModelAdapter",
        "metadata": {"name": "typo", "namespace": NS},
        "spec": {"artifactURL": "hugingface://demo/llama-sql-lora", "podSelector": {"matchLabels": {"app": "llama"}}},
    });
    let object = serde_json::from_value(adapter.clone()).context("an object")?;
    let api = objects::api_of(client, &adapter).await;
    // The API server takes a moment to see a new webhook, and would store the object until then.
    let attempt = PostParams { dry_run: true, ..PostParams::default() };
    let message = eventually(MINUTE, "the webhook refuses the adapter", async || {
        match api.create(&attempt, &object).await {
            Err(kube::Error::Api(status)) => Ok(status.message.clone()),
            Err(other) => Err(other.to_string()),
            Ok(_) => Err("it was taken".to_owned()),
        }
    })
    .await;
    println!("    {message}");
    ensure!(message.contains("supported schemas are"), "the message tells what would do");
    Ok(())
}

/// Names and addresses of the pods of the shipped Deployment.
async fn manager_pods(client: &kube::Client) -> Vec<(String, String)> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    eventually(MINUTE, "three pods have addresses", async || {
        let list = pods.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let ours = list.iter().filter(|pod| pod.name_any().starts_with(NAME));
        let found: Vec<_> =
            ours.filter_map(|pod| Some((pod.name_any(), pod.status.as_ref()?.pod_ip.clone()?))).collect();
        if found.len() == 3 { Ok(found) } else { Err(format!("{found:?}")) }
    })
    .await
}

/// The pod on which the adapter runs, another one than `not`.
async fn wait_for_instance(client: &kube::Client, adapter: &Value, not: Option<&str>) -> String {
    eventually(MINUTE, "the adapter runs", async || {
        let seen = objects::get(client, adapter).await.ok_or("the adapter is gone")?;
        let status = &seen["status"];
        let on = status["instances"][0].as_str().filter(|on| Some(*on) != not);
        match on {
            Some(on) if status["phase"] == "Running" => Ok(on.to_owned()),
            Some(_) | None => Err(status.to_string()),
        }
    })
    .await
}

/// The adapter by its status, its engine and its EndpointSlice; answers with the pod's address.
async fn show_adapter(plane: &ControlPlane, client: &kube::Client, on: &str) -> Result<IpAddr> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": on, "namespace": NS}});
    let pod = objects::get(client, &pod).await.context("the pod is there")?;
    let ip = pod["status"]["podIP"].as_str().context("the pod has an address")?;
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "sql", "namespace": NS}});
    eventually(MINUTE, "the EndpointSlice leads to the pod", async || {
        let seen = objects::get(client, &slice).await.ok_or("there is no slice")?;
        let leads = seen["endpoints"].as_array().is_some_and(|all| all.len() == 1)
            && seen["endpoints"][0]["addresses"] == json!([ip]);
        if leads { Ok(()) } else { Err(seen["endpoints"].to_string()) }
    })
    .await;
    println!("{}", indent(&plane.kubectl(&["get", "modeladapters,endpointslices", "-n", NS]).await?));
    let url = format!("http://{ip}:8000/v1/models");
    let models = http::get(&url).await?.json();
    let ids: Vec<_> = models["data"].as_array().into_iter().flatten().map(|it| it["id"].clone()).collect();
    println!("    GET {url}: {}", json!(ids));
    ensure!(ids == ["llama", "sql"], "the engine lists base model and adapter");
    ip.parse().context("a pod's address")
}

/// The holder of the autoscaler's Lease is told to stop; another replica goes on.
async fn hand_over(
    plane: &ControlPlane,
    client: &kube::Client,
    managers: &[Manager],
    holder: usize,
) -> Result<()> {
    say("who holds which Lease, told by `leases`");
    println!("{}", indent(&leases_table(plane)?));
    let leader = &managers[holder];
    say(&format!("SIGTERM to {}", leader.pod_name()));
    let asked = now();
    leader.sigterm();
    let heir = wait_for_holder(client, managers, LEASE, Some(leader)).await;
    let mut log = plane.audit();
    let history = leases::history(log.entries());
    let changes = history.get(&(NAMESPACE.to_owned(), LEASE.to_owned())).context("the Lease's history")?;
    let released = changes.iter().find(|it| it.finished > asked && it.holder.is_empty());
    let taken = changes.iter().find(|it| it.finished > asked && managers[heir].is(&it.holder));
    let (released, taken) = (released.context("it was not released")?, taken.context("it was not taken")?);
    let gap = taken.finished.duration_since(released.received).as_millis();
    println!("    {} leads; by the audit log {gap} ms after the release", managers[heir].pod_name());
    ensure!(gap < 1000, "a hand-over takes less than a second");
    println!("{}", indent(&leases_table(plane)?));
    Ok(())
}

fn load(running: f64) -> Load {
    Load::of(Engine::Vllm).with("num_requests_running", running)
}

async fn wait_for_replicas(client: &kube::Client, deployment: &Value, want: i64) {
    eventually(MINUTE, &format!("{want} replicas are ready"), async || {
        let seen = objects::get(client, deployment).await.ok_or("the Deployment is gone")?;
        let ready = json!([seen["spec"]["replicas"], seen["status"]["readyReplicas"]]);
        if ready == json!([want, want]) { Ok(()) } else { Err(ready.to_string()) }
    })
    .await;
}

/// Which manager holds the Lease, another one than `not`.
async fn wait_for_holder(
    client: &kube::Client,
    managers: &[Manager],
    lease: &str,
    not: Option<&Manager>,
) -> usize {
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": lease, "namespace": NAMESPACE}});
    eventually(MINUTE, "the Lease is held", async || {
        let seen = objects::get(client, &lease).await.ok_or("no Lease yet")?;
        let holder = seen["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let index =
            managers.iter().position(|it| it.is(holder)).ok_or_else(|| format!("held by {holder:?}"))?;
        match not {
            Some(old) if old.is(holder) => Err("still held by the old one".to_owned()),
            Some(_) | None => Ok(index),
        }
    })
    .await
}

fn leases_table(plane: &ControlPlane) -> Result<String> {
    let output = Command::new(binary())
        .args(["leases", "--kubeconfig"])
        .arg(plane.admin_kubeconfig())
        .args(["-n", NAMESPACE])
        .output()
        .context("run `leases`")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "leases: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn say(text: &str) {
    println!("\n==> {text}");
}

fn indent(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}
