// SPDX-License-Identifier: Apache-2.0
//! Restarts, kinds that come and go, change of leader, refusals, and what is asked at rest.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{
    ALONE, LEASE, SOON, backend, crd, deployment, grant, hand_written, install, labelled, plane, route,
    standalone, start, stay, until, until_gone, until_served, until_there, workload,
};
use crate::support::{
    ControlPlane, Options, eventually,
    holders::{holders, wait_all_held},
    install::NAMESPACE,
    leases::{history_of, who_wrote_without_lease},
    manager::{Manager, value_of},
    objects,
    tools::gateway_crd,
    wait::now,
};

/// Bound for what is looked up again each half minute.
const PROBED: Duration = Duration::from_mins(1);

async fn stop(manager: &Manager) {
    manager.sigterm();
    assert_eq!(manager.wait_exit(SOON).await, Some(0), "{}", manager.log());
}

/// Waits until this manager leads.
async fn leads(client: &kube::Client, manager: &Manager, within: Duration) {
    wait_all_held(client, NAMESPACE, within, &[LEASE], &[manager]).await;
}

// scenario: model-adapter-and-router 65-66
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_changes_nothing_but_tidies_up_what_was_left() {
    let plane = plane().await;
    let client = plane.client().await;
    install(&plane, "RayClusterFleet").await;
    let (ns, gone) = (plane.namespace("kept").await, plane.namespace("gone").await);
    let manager = start(&plane, &[]).await;
    let mut bad = deployment(&ns, "bad", &format!("{ns}-bad"));
    bad["metadata"]["labels"]["model.aibrix.ai/port"] = json!("bad");
    let workloads = [
        deployment(&ns, "web", &ns),
        bad,
        labelled(workload("ModelAdapter", &ns, "lora"), &format!("{ns}-lora")),
        labelled(workload("RayClusterFleet", &ns, "fleet"), &format!("{ns}-fleet")),
    ];
    let leaving = [deployment(&gone, "web", &gone), deployment(&gone, "more", &format!("{gone}-own"))];
    let mut own = hand_written(&format!("{gone}-own-router"), &format!("{gone}-own"), &gone);
    objects::create(&client, &own).await;
    for object in workloads.iter().chain(&leaving) {
        objects::create(&client, object).await;
    }
    let named = ["", "-bad", "-lora", "-fleet"].map(|it| route(&format!("{ns}{it}-router")));
    for object in &named {
        until_there(&client, object).await;
    }
    let left = route(&format!("{gone}-router"));
    for object in [&left, &grant(&ns), &grant(&gone)] {
        until_there(&client, object).await;
    }
    let kept: Vec<&Value> = named.iter().chain([&own]).collect();
    let versions = async || {
        let mut seen = Vec::new();
        for object in &kept {
            seen.push(until_there(&client, object).await["metadata"]["resourceVersion"].clone());
        }
        seen.push(until_there(&client, &grant(&ns)).await["metadata"]["resourceVersion"].clone());
        seen
    };
    let before = versions().await;
    stop(&manager).await;
    for object in &leaving {
        objects::delete(&client, object).await;
    }
    let mark = plane.audit().mark();
    let again = start(&plane, &[]).await;
    until_gone(&client, &left).await;
    until_gone(&client, &grant(&gone)).await;
    // It looks at all of them when it takes over.
    eventually(SOON, "all are looked at, and nothing is left to do", async || {
        let label = "controller=\"model-route-controller\"";
        let page = again.metrics().await.map_err(|error| error.to_string())?;
        let mut values = Vec::new();
        for series in [
            format!("controller_runtime_reconcile_time_seconds_count{{{label}}}"),
            format!("workqueue_depth{{{label},name=\"model-route-controller\"}}"),
            format!("controller_runtime_active_workers{{{label}}}"),
        ] {
            values.push(value_of(&page, &series).ok_or(series)?);
        }
        let looked_at = f64::from(u32::try_from(before.len()).unwrap_or(u32::MAX));
        if values[0] >= looked_at && values[1..] == [0.0, 0.0] { Ok(()) } else { Err(format!("{values:?}")) }
    })
    .await;
    assert_eq!(versions().await, before, "nothing else changes");
    // Nothing but those two was written, nor told.
    let mut log = plane.audit();
    let mut writes: Vec<_> = log
        .since(mark)
        .iter()
        .filter(|it| it.is_by("model-route-controller") && it.is_write() && !it.is_lease())
        .map(|it| (it.verb.clone(), it.resource(), it.code))
        .collect();
    writes.sort_unstable();
    let want = ["httproutes", "referencegrants"].map(|it| ("delete".to_owned(), it.to_owned(), 200));
    assert_eq!(writes, want);
    // The hand-written one has the shape, but no workload of it was seen to go.
    own["metadata"]["name"] = json!(format!("{gone}-own-router"));
    assert!(objects::get(&client, &own).await.is_some());
    drop(again);
}

// scenario: model-adapter-and-router 68
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_that_are_absent_are_waited_for_and_used_when_they_come() {
    let plane = ControlPlane::start(Options::bare()).await;
    let client = plane.client().await;
    // Not even our own CRDs.
    plane
        .apply_kustomization(&crate::support::tools::repository().join("deploy/kustomize/overlays/release"))
        .await;
    plane.apply_kustomization(&standalone()).await;
    let ns = plane.namespace("late").await;
    let manager = start(&plane, &[]).await;
    objects::create(&client, &deployment(&ns, "web", &ns)).await;
    let waits = "aibrix_controller_state{controller=\"model-route-controller\",state=\"waitingForCRD\"}";
    eventually(SOON, "it waits for the Gateway API", async || {
        let value = manager.metric(waits).await.map_err(|error| error.to_string())?;
        if value == Some(1.0) { Ok(()) } else { Err(format!("{value:?}")) }
    })
    .await;
    let installed = now();
    plane.install_gateway_api().await;
    leads(&client, &manager, PROBED).await;
    let taken = history_of(plane.audit().entries(), NAMESPACE, LEASE);
    assert!(taken.iter().all(|it| it.received > installed), "it took no Lease before: {taken:?}");
    until_there(&client, &route(&format!("{ns}-router"))).await;
    until_there(&client, &grant(&ns)).await;

    plane.apply_crds(&crate::support::tools::repository().join("deploy/crds")).await;
    for kind in ["RayClusterFleet", "LeaderWorkerSet"] {
        install(&plane, kind).await;
    }
    let kinds = ["ModelAdapter", "RayClusterFleet", "LeaderWorkerSet"];
    for kind in kinds {
        let name = format!("{ns}-{}", kind.to_lowercase());
        objects::create(&client, &labelled(workload(kind, &ns, &name), &name)).await;
    }
    for kind in kinds {
        let found = route(&format!("{ns}-{}-router", kind.to_lowercase()));
        eventually(PROBED, &format!("{kind} is found"), async || {
            objects::get(&client, &found).await.map(drop).ok_or_else(|| "no route".to_owned())
        })
        .await;
    }
    assert!(manager.exit_status().is_none());

    // The Gateway API goes, and with it all routes: a Lease would be of no use.
    for plural in ["httproutes", "referencegrants"] {
        let path = gateway_crd(plural).display().to_string();
        plane.kubectl(&["delete", "-f", &path]).await.expect("delete the CRD");
    }
    eventually(2 * PROBED, "it gives its Lease back", async || {
        let held = holders(&client, NAMESPACE).await.map_err(|error| error.to_string())?;
        let value = manager.metric(waits).await.map_err(|error| error.to_string())?;
        let free = held.get(LEASE).is_none_or(String::is_empty);
        if free && value == Some(1.0) { Ok(()) } else { Err(format!("{held:?} {value:?}")) }
    })
    .await;
    plane.install_gateway_api().await;
    eventually(2 * PROBED, "its routes are made again", async || {
        objects::get(&client, &route(&format!("{ns}-router")))
            .await
            .map(drop)
            .ok_or_else(|| "no route".to_owned())
    })
    .await;
    until_there(&client, &grant(&ns)).await;
    assert!(manager.exit_status().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_goes_out_of_sight_takes_no_route_with_it() {
    let plane = plane().await;
    let client = plane.client().await;
    install(&plane, "RayClusterFleet").await;
    let (ns, other) = (plane.namespace("sight").await, plane.namespace("sight").await);
    let manager = start(&plane, &[]).await;
    let fleet = |name: &str| labelled(workload("RayClusterFleet", &ns, name), &format!("{ns}-{name}"));
    for name in ["stays", "goes", "shared"] {
        objects::create(&client, &fleet(name)).await;
    }
    let routes = ["stays", "goes", "shared"].map(|it| route(&format!("{ns}-{it}-router")));
    for object in &routes {
        until_there(&client, object).await;
    }
    until_there(&client, &grant(&ns)).await;
    // Another workload, in sight: the route is not led there while the first may be alive.
    objects::create(&client, &deployment(&other, "shared", &format!("{ns}-shared"))).await;
    until_there(&client, &grant(&other)).await;

    let serve = async |served: bool| {
        let mut it = crd("RayClusterFleet");
        it["spec"]["versions"][0]["served"] = json!(served);
        objects::patch(&client, &it, &json!({"spec": {"versions": it["spec"]["versions"]}})).await;
        until_served(&client, "RayClusterFleet", served).await;
    };
    let hidden = now();
    serve(false).await;
    let mut log = plane.audit();
    eventually(SOON, "its watch has ended, and it has asked again", async || {
        let since = log.entries().iter().filter(|it| it.received > hidden && it.caller.is_some());
        let mut absent = since.filter(|it| it.uri.contains("/v1alpha1/rayclusterfleets") && it.code == 404);
        absent.next().map(drop).ok_or_else(|| "not yet".to_owned())
    })
    .await;
    let absent = "aibrix_controller_state{controller=\"model-route-controller\",state=\"running\"}";
    assert_eq!(manager.metric(absent).await.expect("metrics"), Some(1.0));
    let kept: Vec<&Value> = routes.iter().collect();
    stay(&plane, &kept).await;
    // Nor does a manager tidy up that starts now.
    stop(&manager).await;
    let again = start(&plane, &[]).await;
    leads(&client, &again, SOON).await;
    stay(&plane, &kept).await;
    assert!(objects::get(&client, &grant(&ns)).await.is_some());
    // One goes in the meantime.
    let mut hidden = fleet("goes");
    hidden["apiVersion"] = json!("orchestration.aibrix.ai/v1alpha0");
    objects::delete(&client, &hidden).await;
    stay(&plane, &kept).await;

    serve(true).await;
    eventually(PROBED, "the route of the lost one is gone", async || {
        objects::get(&client, &routes[1]).await.map_or(Ok(()), |seen| Err(seen.to_string()))
    })
    .await;
    stay(&plane, &[&routes[0], &routes[2], &grant(&ns)]).await;
    assert_eq!(backend(&until_there(&client, &routes[2]).await).0, ns);
    objects::delete(&client, &fleet("shared")).await;
    until(&client, &routes[2], "it is led to the other", |it| backend(it).0 == other).await;
    objects::delete(&client, &fleet("stays")).await;
    until_gone(&client, &routes[0]).await;
    until_gone(&client, &grant(&ns)).await;
}

// scenario: model-adapter-and-router 69
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_leader_writes_and_another_goes_on_when_it_dies() {
    let plane = plane().await;
    let (client, ns) = (plane.client().await, plane.namespace("leader").await);
    let managers = [start(&plane, &[]).await, start(&plane, &[]).await];
    for manager in &managers {
        manager.wait_ready().await;
    }
    let both: Vec<&Manager> = managers.iter().collect();
    let held = wait_all_held(&client, NAMESPACE, SOON, &[LEASE], &both).await;
    let leader = usize::from(!managers[0].is(&held[LEASE]));
    let (leader, other) = (&managers[leader], &managers[1 - leader]);
    for n in 0..5 {
        objects::create(&client, &deployment(&ns, &format!("web-{n}"), &format!("{ns}-{n}"))).await;
    }
    for n in 0..5 {
        until_there(&client, &route(&format!("{ns}-{n}-router"))).await;
    }
    objects::delete(&client, &route(&format!("{ns}-0-router"))).await;
    until_there(&client, &route(&format!("{ns}-0-router"))).await;
    until_there(&client, &grant(&ns)).await;
    let mut log = plane.audit();
    let by = |manager: &Manager, entries: &[crate::support::audit::Entry]| {
        let ours = |it: &&crate::support::audit::Entry| {
            let caller = it.caller.as_ref().is_some_and(|it| manager.is(&it.identity));
            caller && it.is_write() && !it.is_lease() && it.is_by("model-route-controller")
        };
        entries.iter().filter(ours).count()
    };
    assert!(by(leader, log.entries()) >= 7);
    assert_eq!(by(other, log.entries()), 0);

    let before = until_there(&client, &route(&format!("{ns}-1-router"))).await;
    leader.sigkill();
    leads(&client, other, Duration::from_secs(40)).await;
    objects::create(&client, &deployment(&ns, "late", &format!("{ns}-late"))).await;
    until_there(&client, &route(&format!("{ns}-late-router"))).await;
    assert_eq!(
        until_there(&client, &route(&format!("{ns}-1-router"))).await,
        before,
        "the heir changes nothing"
    );
    who_wrote_without_lease(plane.audit().entries()).assert_clean();
}

// scenario: model-adapter-and-router 71
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_create_is_tried_again_and_does_not_hold_up_others() {
    let plane = plane().await;
    let (client, ns) = (plane.client().await, plane.namespace("refused").await);
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "no-routes"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["gateway.networking.k8s.io"], "apiVersions": ["*"], "operations": ["CREATE"],
                "resources": ["httproutes"],
            }]},
            "validations": [{"expression": format!("object.metadata.name != '{ns}-router'"), "message": "not today"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "no-routes"},
        "spec": {"policyName": "no-routes", "validationActions": ["Deny"]},
    });
    objects::create(&client, &policy).await;
    objects::create(&client, &binding).await;
    eventually(SOON, "the policy works", async || {
        match objects::try_create(&client, &hand_written(&format!("{ns}-router"), &ns, &ns)).await {
            Err(error) if error.to_string().contains("not today") => Ok(()),
            Err(error) => Err(error.to_string()),
            Ok(made) => {
                objects::delete(&client, &serde_json::to_value(made).expect("JSON")).await;
                Err("a route was made".to_owned())
            }
        }
    })
    .await;
    let manager = start(&plane, &[]).await;
    objects::create(&client, &deployment(&ns, "web", &ns)).await;
    let mut log = plane.audit();
    let refused = |log: &mut crate::support::audit::AuditLog| {
        let creates = log.entries().iter().filter(|it| {
            it.is_by("model-route-controller")
                && it.verb == "create"
                && it.resource() == "httproutes"
                && !it.is_ok()
        });
        creates.map(|it| it.received).collect::<Vec<_>>()
    };
    eventually(SOON, "it was refused three times", async || {
        let count = refused(&mut log).len();
        if count >= 3 { Ok(()) } else { Err(count.to_string()) }
    })
    .await;
    objects::create(&client, &deployment(&ns, "more", &format!("{ns}-more"))).await;
    until_there(&client, &route(&format!("{ns}-more-router"))).await;
    let times = refused(&mut log);
    let waits: Vec<f64> =
        times.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs_f64()).collect();
    // Doubled each time; a busy machine adds to it.
    for (wait, want) in waits.iter().zip([1.0, 2.0, 4.0]) {
        assert!((want..2.0 * want + 1.0).contains(wait), "{waits:?}");
    }
    let line = manager.wait_for_line(SOON, "not today").await;
    assert!(line.contains("failed to create the HTTPRoute"), "{line}");
    objects::delete(&client, &binding).await;
    until_there(&client, &route(&format!("{ns}-router"))).await;
    until_there(&client, &grant(&ns)).await;
}

/// The experimental channel, and fields of versions to come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_of_another_channel_survive_a_write() {
    let plane = plane().await;
    let (client, ns) = (plane.client().await, plane.namespace("channel").await);
    let name = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "httproutes.gateway.networking.k8s.io"},
    });
    let mut versions = objects::get(&client, &name).await.expect("the CRD")["spec"]["versions"].clone();
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    for version in versions.as_array_mut().expect("versions") {
        let spec = version.pointer_mut("/schema/openAPIV3Schema/properties/spec/properties").expect("a spec");
        // One that the API server fills in by itself, as it does for every route once the channel changes.
        spec["useDefaultGateways"] = json!({"type": "string", "default": "None"});
        spec["rules"]["items"]["properties"]["sessionPersistence"] = open.clone();
    }
    objects::patch(&client, &name, &json!({"spec": {"versions": versions}})).await;
    let manager = start(&plane, &[]).await;
    let web = deployment(&ns, "web", &ns);
    objects::create(&client, &web).await;
    let ours = route(&format!("{ns}-router"));
    // The API server may still know the old schema for a moment.
    let seen = until(&client, &ours, "the route is there", |it| it["spec"].get("rules").is_some()).await;
    eventually(SOON, "the new schema holds", async || {
        let mut rules = seen["spec"]["rules"].clone();
        rules[0]["sessionPersistence"] = json!({"sessionName": "s"});
        objects::patch(&client, &ours, &json!({"spec": {"rules": rules}})).await;
        let seen = objects::get(&client, &ours).await.ok_or("gone")?;
        let rule = &seen["spec"]["rules"][0];
        if rule.get("sessionPersistence").is_some() { Ok(()) } else { Err(rule.to_string()) }
    })
    .await;
    let before = until_there(&client, &ours).await;
    assert_eq!(before["spec"]["useDefaultGateways"], "None");
    stay(&plane, &[&ours]).await;
    objects::patch(&client, &web, &json!({"metadata": {"labels": {"model.aibrix.ai/port": "9000"}}})).await;
    let after = until(&client, &ours, "it follows", |it| backend(it).2 == 9000).await;
    assert_eq!(after["spec"]["rules"][0]["sessionPersistence"], json!({"sessionName": "s"}));
    assert_eq!(after["spec"]["useDefaultGateways"], "None");
    drop(manager);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_asked_or_written_at_rest() {
    let plane = plane().await;
    let (client, ns) = (plane.client().await, plane.namespace("rest").await);
    // Under the account of the full install this time.
    let manager = Manager::start(&plane, &ALONE).await;
    let web = deployment(&ns, "web-0", &format!("{ns}-0"));
    objects::create(&client, &web).await;
    for n in 1..20 {
        objects::create(&client, &deployment(&ns, &format!("web-{n}"), &format!("{ns}-{n}"))).await;
    }
    for n in 0..20 {
        until_there(&client, &route(&format!("{ns}-{n}-router"))).await;
    }
    let mut log = plane.audit();
    eventually(SOON, "a second without requests", async || {
        let mark = log.mark();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ours = log.since(mark).iter().filter(|it| it.caller.is_some() && !it.is_lease()).count();
        if ours == 0 { Ok(()) } else { Err(ours.to_string()) }
    })
    .await;
    let mark = log.mark();
    // What the gateway says about a route, and what a Deployment's own controller says, wakes nobody.
    let status = json!({"status": {"observedGeneration": 1, "replicas": 0}});
    let deployments = kube::Api::<k8s_openapi::api::apps::v1::Deployment>::namespaced(client.clone(), &ns);
    let merge = kube::api::Patch::Merge(&status);
    deployments
        .patch_status("web-0", &kube::api::PatchParams::default(), &merge)
        .await
        .expect("write a status");
    let passes = "controller_runtime_reconcile_time_seconds_count{controller=\"model-route-controller\"}";
    let before = manager.metric(passes).await.expect("metrics");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(manager.metric(passes).await.expect("metrics"), before);
    let asked: Vec<_> = log
        .since(mark)
        .iter()
        .filter(|it| {
            it.caller.is_some() && !it.is_lease() && it.verb != "watch" && !it.uri.ends_with("limit=1")
        })
        .filter(|it| it.code != 404) // kinds that this cluster has not are asked for each half minute
        .map(|it| (it.verb.clone(), it.uri.clone()))
        .collect();
    assert!(asked.is_empty(), "{asked:?}");
    // Streaming lists of metadata work.
    assert!(!manager.log().contains("streaming lists are not available"), "{}", manager.log());
}
