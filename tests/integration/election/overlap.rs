// SPDX-License-Identifier: Apache-2.0
//! Two installations in two namespaces that work on the same objects.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Event};
use kube::{Api, Client, api::ListParams};
use serde_json::json;

use crate::support::{
    ControlPlane, eventually,
    install::{NAME, NAMESPACE},
    manager::{Launch, Manager},
    objects,
};

use super::{SOON, default_leases, plane, wait_held};

const PHRASE: &str = "another installation works on the same objects";
const GAUGE: &str = "leader_election_overlap";
const SECOND: &str = "second";
/// Two that start at once see each other at the second look, a minute after the first.
const SECOND_LOOK: Duration = Duration::from_secs(60 + 15);

/// An installation with its Leases in `namespace`, as the pod `pod`.
async fn installation(plane: &ControlPlane, namespace: &str, pod: &str) -> Manager {
    let election = format!("--leader-election-namespace={namespace}");
    let mut launch = Launch::new(plane, &["--probe-loops", "--disable-webhook", &election]).await;
    pod.clone_into(&mut launch.pod_name);
    launch.start()
}

async fn wait_event(client: &Client, uid: &str) {
    let events: Api<Event> = Api::namespaced(client.clone(), NAMESPACE);
    eventually(SOON, "an event on the Deployment", async || {
        let list = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let told = list.iter().any(|event| {
            let about = &event.involved_object;
            event.reason.as_deref() == Some("OverlappingInstallation")
                && (about.kind.as_deref(), about.name.as_deref(), about.uid.as_deref())
                    == (Some("Deployment"), Some(NAME), Some(uid))
        });
        if told { Ok(()) } else { Err(format!("{} events, none of them it", list.items.len())) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_of_two_installations_say_that_they_work_on_the_same_objects() {
    let plane = plane().await;
    let client = plane.client().await;
    objects::create(&client, &objects::namespace(SECOND)).await;
    plane.allow_elections_in(SECOND).await;
    let first = installation(&plane, NAMESPACE, &format!("{NAME}-6d4cf56db6-x7k2p")).await;
    let second = installation(&plane, SECOND, "elsewhere").await;
    wait_held(&client, SOON, &default_leases(), &[&first]).await;
    for (one, other) in [(&first, SECOND), (&second, NAMESPACE)] {
        let line = one.wait_for_line(SECOND_LOOK, PHRASE).await;
        assert!(line.starts_with('E'), "an error: {line}");
        for part in [other, "kv-cache-controller"] {
            assert!(line.contains(part), "{part} is not in: {line}");
        }
        assert_eq!(one.metric(GAUGE).await.expect("metrics"), Some(1.0));
    }
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let uid = deployments.get(NAME).await.expect("the Deployment").metadata.uid.expect("a uid");
    wait_event(&client, &uid).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manager_that_may_not_look_for_other_installations_says_so_and_works() {
    let plane = plane().await;
    let client = plane.client().await;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": format!("{NAME}-installations-rolebinding")},
    });
    objects::delete(&client, &binding).await;
    let manager = installation(&plane, NAMESPACE, "alone").await;
    let line = manager.wait_for_line(SOON, "could not look for other installations").await;
    assert!(line.starts_with('I') && line.contains("forbidden"), "{line}");
    wait_held(&client, SOON, &default_leases(), &[&manager]).await;
    assert_eq!(manager.metric(GAUGE).await.expect("metrics"), Some(0.0));
}
