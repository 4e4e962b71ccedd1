// SPDX-License-Identifier: Apache-2.0
//! What is missing, refused or undone by hand.

use std::time::Duration;

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::{
    clients::shown,
    world::{NO_CONTROLLERS, SOON, World, bundle_of, days_left, good},
};
use crate::support::{
    ControlPlane, Options,
    audit::Entry,
    authority::Authority,
    eventually,
    install::NAMESPACE,
    manager::{Launch, Manager},
    objects,
    tools::repository,
    wait::instant,
};

const ALONE: &str = "aibrix-webhook-controller-manager";

async fn not_ready(manager: &Manager, cause: &str) {
    eventually(SOON, &format!("it is not ready because of {cause:?}"), async || {
        let answer = manager.get("/readyz/readyz").await.map_err(|error| format!("{error:#}"))?;
        let start = "internal server error: webhook certificates are not ready";
        let said = answer.body.starts_with(start) && answer.body.contains(cause);
        if answer.code == 500 && said { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}

// scenario: manager-and-deployment 36
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cleared_bundle_is_restored_and_an_unrelated_entry_left_alone() {
    let world = World::new().await;
    let _managers = world.ready_managers(1).await;
    let ca = world.data().await["ca.crt"].clone();

    let foreign = good(days_left(2000), days_left(300))["ca.crt"].clone();
    let mut entries = world.configuration(1).await["webhooks"].clone();
    let mut unrelated = entries[0].clone();
    unrelated["name"] = json!("unrelated.example.com");
    unrelated["clientConfig"] = json!({
        "service": {"name": "another-service", "namespace": NAMESPACE, "path": "/x"},
        "caBundle": ByteString(foreign.clone().into_bytes()),
    });
    entries.as_array_mut().expect("entries").push(unrelated);
    entries[2]["clientConfig"]["caBundle"] = Value::Null;
    // Twice: the second time, it has looked at what it wrote itself.
    for _ in 0..2 {
        world.set_entries(1, &entries).await;
        let cleared = instant();
        let restored = async || {
            let entries = world.configuration(1).await["webhooks"].clone();
            let bundle = bundle_of(&entries[2]);
            if bundle == ca { Ok(entries) } else { Err(format!("{} bytes", bundle.len())) }
        };
        let seen = eventually(Duration::from_secs(10), "the bundle is restored", restored).await;
        println!("restored after {:?}", cleared.elapsed());
        let last = seen.as_array().and_then(|all| all.last()).cloned().unwrap_or_default();
        assert_eq!(bundle_of(&last), foreign, "the unrelated entry is left alone: {last}");
    }
}

// scenario: manager-and-deployment 37
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_secret_it_reconciles_and_becomes_ready_when_that_comes() {
    let world = World::new().await;
    world.delete_secret().await;
    let manager = Launch::new(&world.plane, &["--controllers=pod-autoscaler-controller"]).await.start();
    not_ready(&manager, "the Secret does not exist").await;

    let scaler = objects::pod_autoscaler("default", "scaler", "KPA");
    objects::create(&world.client, &scaler).await;
    eventually(SOON, "the autoscaler is reconciled", async || {
        let stored = objects::get(&world.client, &scaler).await.unwrap_or_default();
        if stored["status"]["conditions"].is_array() { Ok(()) } else { Err(stored["status"].to_string()) }
    })
    .await;
    assert_eq!(manager.exit_status(), None, "it runs");
    not_ready(&manager, "the Secret does not exist").await;
    let said = "could not manage webhook certificates";
    manager.wait_for_line(SOON, said).await;
    assert_eq!(manager.log().matches(said).count(), 1, "each cause is logged once");

    world.create_empty_secret().await;
    manager.wait_ready().await;
    shown(&manager, &world.data().await["ca.crt"]).await.expect("accepted");
    assert_eq!(manager.exit_status(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_configurations_are_filled_when_they_come() {
    let world = World::new().await;
    let (mutating, validating) = (world.configuration(0).await, world.configuration(1).await);
    world.delete_configuration(0).await;
    world.delete_configuration(1).await;
    let manager = world.manager().await;
    manager.wait_ready().await;
    manager.wait_for_line(SOON, "Webhook not found. Unable to update certificate.").await;
    for mut configuration in [mutating, validating] {
        let name = configuration["metadata"]["name"].clone();
        configuration["metadata"] = json!({"name": name});
        objects::create(&world.client, &configuration).await;
    }
    let ca = world.data().await["ca.crt"].clone();
    eventually(Duration::from_secs(5), "both are filled", async || world.all_hold(&ca).await).await;
    manager.wait_ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_permission_it_lives_on_and_recovers_when_that_is_granted() {
    let world = World::new().await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "nobody", "namespace": NAMESPACE}});
    objects::create(&world.client, &account).await;
    let mut launch = Launch::new(&world.plane, &[NO_CONTROLLERS]).await;
    launch.kubeconfig = world.plane.kubeconfig_for_service_account(NAMESPACE, "nobody").await;
    let manager = launch.start();
    not_ready(&manager, "secrets \"aibrix-webhook-server-cert\" is forbidden").await;
    manager.wait_for_line(SOON, "could not manage webhook certificates").await;
    let mut audit = world.plane.audit();
    eventually(SOON, "it has tried three times", async || {
        let refused =
            |it: &&Entry| it.code == 403 && it.user.ends_with(":nobody") && it.resource() == "secrets";
        let tries = audit.entries().iter().filter(refused).count();
        if tries >= 3 { Ok(()) } else { Err(format!("{tries} times")) }
    })
    .await;
    let said = manager.log().matches("could not manage webhook certificates").count();
    assert_eq!((said, manager.exit_status()), (1, None), "it lives and says so once");
    assert_eq!(manager.get("/healthz").await.expect("an answer").code, 200);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "nobody"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                    "name": "aibrix-controller-manager-role"},
        "subjects": [{"kind": "ServiceAccount", "name": "nobody", "namespace": NAMESPACE}],
    });
    objects::create(&world.client, &binding).await;
    eventually(Duration::from_secs(60), "it is ready", async || {
        let answer = manager.get("/readyz/readyz").await.map_err(|error| format!("{error:#}"))?;
        if answer.code == 200 { Ok(()) } else { Err(answer.body) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_of_the_webhook_only_overlay_suffice_and_name_their_objects() {
    let plane = ControlPlane::start(Options::bare()).await;
    let client = plane.client().await;
    objects::create(&client, &objects::namespace(NAMESPACE)).await;
    plane.apply_kustomization(&repository().join("deploy/kustomize/overlays/webhook-only")).await;
    let world = World { plane, client };
    // The overlay brings its own account; the usual one does not exist here.
    let launch = Launch {
        kubeconfig: world.plane.kubeconfig_for_service_account(NAMESPACE, ALONE).await,
        pod_name: "alone".to_owned(),
        args: vec![NO_CONTROLLERS.to_owned()],
        env: Vec::new(),
        binary: None,
        network: None,
        log: world.plane.new_path("alone.log"),
        address: "127.0.0.1".to_owned(),
        ports: None,
    };
    let manager = launch.start();
    manager.wait_ready().await;
    let ca = world.data().await["ca.crt"].clone();
    world.all_hold(&ca).await.expect("published");
    // By events, not by a look every now and then.
    let mut entries = world.configuration(0).await["webhooks"].clone();
    entries[0]["clientConfig"]["caBundle"] = Value::Null;
    world.set_entries(0, &entries).await;
    eventually(Duration::from_secs(5), "restored", async || world.all_hold(&ca).await).await;
    let mut audit = world.plane.audit();
    let refused = audit.entries().iter().filter(|it| it.user.ends_with(ALONE) && it.code == 403);
    let refused: Vec<_> = refused.map(|it| format!("{} {}", it.verb, it.uri)).collect();
    assert!(refused.is_empty(), "{refused:?}");

    let may = |what: &str| {
        let account = format!("system:serviceaccount:{NAMESPACE}:{ALONE}");
        let what: Vec<String> = what.split(' ').map(str::to_owned).collect();
        let plane = &world.plane;
        async move {
            let mut args = vec!["auth", "can-i"];
            args.extend(what.iter().map(String::as_str));
            args.extend(["--as", &account]);
            plane.kubectl(&args).await.is_ok_and(|answer| answer.trim() == "yes")
        }
    };
    assert!(may("update secrets/aibrix-webhook-server-cert -n aibrix-system").await);
    for denied in [
        "get secrets/another -n aibrix-system",
        "list secrets -n aibrix-system",
        "get secrets/aibrix-webhook-server-cert -n default",
        "update validatingwebhookconfigurations/another",
    ] {
        assert!(!may(denied).await, "{denied}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_somebody_else_manages_are_only_read() {
    let world = World::new().await;
    let (authority, folder) = (Authority::new(), world.plane.dir().join("mounted"));
    authority.write_certificate(&folder);
    authority.publish(&world.client).await;
    let before = world.bundles().await;
    let folder_flag = format!("--webhook-cert-dir={}", folder.display());
    let args = [NO_CONTROLLERS, "--manage-webhook-certs=false", &folder_flag];
    let manager = Launch::new(&world.plane, &args).await.start();
    manager.wait_ready().await;
    let trusted = x509_pem(&authority);
    let first = shown(&manager, &trusted).await.expect("accepted");
    authority.write_certificate(&folder);
    eventually(SOON, "the new file is served", async || {
        let now_shown = shown(&manager, &trusted).await?;
        if now_shown == first { Err("the old one".to_owned()) } else { Ok(()) }
    })
    .await;

    let same = world.bundles().await == before && world.data().await.is_empty();
    assert!(same, "nothing is written");
    let mut audit = world.plane.audit();
    let asked = audit.entries().iter().filter(|it| {
        let resource = it.resource();
        it.user.contains("controller-manager")
            && (resource == "secrets" || resource.contains("webhookconfigurations"))
    });
    assert_eq!(asked.count(), 0, "nor read");
}

fn x509_pem(authority: &Authority) -> String {
    aibrix_controller_manager::internals::x509::pem_of(&authority.der().to_vec().into())
}
