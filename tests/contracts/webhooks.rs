// SPDX-License-Identifier: Apache-2.0
//! Webhook configurations: what the API server is told to call is what the manager answers.

use std::{collections::BTreeSet, path::Path};

use aibrix_controller_manager::internals::{HOOKS, WebhookSettings};
use serde_json::{Value, json};

use crate::{
    args::understood,
    manifests::{args, deployment, documents, kustomize, object, render, root},
};

const KUSTOMIZATIONS: [&str; 4] = ["base", "overlays/release", "overlays/dev", "overlays/webhook-only"];
const CONFIGURATIONS: [(&str, &str); 2] = [
    ("MutatingWebhookConfiguration", "aibrix-mutating-webhook-configuration"),
    ("ValidatingWebhookConfiguration", "aibrix-validating-webhook-configuration"),
];

fn settings(objects: &[Value]) -> WebhookSettings {
    understood(&args(objects)).webhook.expect("webhooks are served")
}

/// Entries of a configuration.
fn entries(objects: &[Value], (kind, name): (&str, &str)) -> Vec<Value> {
    object(objects, kind, name)["webhooks"].as_array().expect("a list of webhooks").clone()
}

/// Name, path, group, version, resource of each entry, as AIBrix has them.
const PROMISED: [[(&str, &str, [&str; 3]); 5]; 2] = [
    [
        ("medeployment.aibrix.ai", "/mutate-apps-v1-deployment", ["apps", "v1", "deployments"]),
        (
            "mkvcache-v1alpha1.kb.io",
            "/mutate-orchestration-aibrix-ai-v1alpha1-kvcache",
            ["orchestration.aibrix.ai", "v1alpha1", "kvcaches"],
        ),
        (
            "mmodeladapter.kb.io",
            "/mutate-model-aibrix-ai-v1alpha1-modeladapter",
            ["model.aibrix.ai", "v1alpha1", "modeladapters"],
        ),
        (
            "mpodautoscaler-v1alpha1.kb.io",
            "/mutate-autoscaling-aibrix-ai-v1alpha1-podautoscaler",
            ["autoscaling.aibrix.ai", "v1alpha1", "podautoscalers"],
        ),
        (
            "mstormservice.kb.io",
            "/mutate-orchestration-aibrix-ai-v1alpha1-stormservice",
            ["orchestration.aibrix.ai", "v1alpha1", "stormservices"],
        ),
    ],
    [
        ("vedeployment.aibrix.ai", "/validate-apps-v1-deployment", ["apps", "v1", "deployments"]),
        (
            "vkvcache-v1alpha1.kb.io",
            "/validate-orchestration-aibrix-ai-v1alpha1-kvcache",
            ["orchestration.aibrix.ai", "v1alpha1", "kvcaches"],
        ),
        (
            "vmodeladapter.kb.io",
            "/validate-model-aibrix-ai-v1alpha1-modeladapter",
            ["model.aibrix.ai", "v1alpha1", "modeladapters"],
        ),
        (
            "vpodautoscaler-v1alpha1.kb.io",
            "/validate-autoscaling-aibrix-ai-v1alpha1-podautoscaler",
            ["autoscaling.aibrix.ai", "v1alpha1", "podautoscalers"],
        ),
        (
            "vstormservice.kb.io",
            "/validate-orchestration-aibrix-ai-v1alpha1-stormservice",
            ["orchestration.aibrix.ai", "v1alpha1", "stormservices"],
        ),
    ],
];

#[test]
fn the_api_server_is_told_what_aibrix_tells_it_and_waits_less_long() {
    for kustomization in KUSTOMIZATIONS {
        let objects = render(kustomization);
        for (configuration, promised) in CONFIGURATIONS.into_iter().zip(PROMISED) {
            let entry =
                |name: &str, path: &str, [group, version, resource]: [&str; 3], operations: &[&str]| {
                    json!({
                        "name": name, "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore",
                        "sideEffects": "None", "timeoutSeconds": 5,
                        "clientConfig": {"service": {
                            "name": "aibrix-webhook-service", "namespace": "aibrix-system", "path": path,
                        }},
                        "rules": [{
                            "apiGroups": [group], "apiVersions": [version], "resources": [resource],
                            "operations": operations,
                        }],
                    })
                };
            let mut want: Vec<_> = promised
                .into_iter()
                .map(|(name, path, of)| entry(name, path, of, &["CREATE", "UPDATE"]))
                .collect();
            if configuration == CONFIGURATIONS[1] {
                want.push(entry(
                    "vstormservicescale.kb.io",
                    "/validate-orchestration-aibrix-ai-v1alpha1-stormservice-scale",
                    ["orchestration.aibrix.ai", "v1alpha1", "stormservices/scale"],
                    &["UPDATE"],
                ));
            }
            assert_eq!(entries(&objects, configuration), want, "{kustomization}");
        }
    }
}

#[test]
fn every_path_that_is_called_is_answered_and_every_answer_is_called() {
    let objects = render("overlays/release");
    for (configuration, mutating) in CONFIGURATIONS.into_iter().zip([true, false]) {
        let entries = entries(&objects, configuration);
        let called: BTreeSet<_> =
            entries.iter().filter_map(|entry| entry["clientConfig"]["service"]["path"].as_str()).collect();
        let answered = HOOKS.iter().filter(|hook| hook.mutating == mutating).map(|hook| hook.path);
        assert_eq!(called, answered.collect());
    }
}

#[test]
fn the_service_leads_to_the_port_that_the_manager_listens_on() {
    for kustomization in KUSTOMIZATIONS {
        let objects = render(kustomization);
        let settings = settings(&objects);
        let service = object(&objects, "Service", &settings.service_name);
        assert_eq!(service["metadata"]["namespace"], json!(settings.namespace));
        // Port 443 is what a configuration means that names none.
        let port = json!([{"port": 443, "targetPort": settings.port, "protocol": "TCP"}]);
        assert_eq!(service["spec"]["ports"], port);
        let selector = json!({"control-plane": "controller-manager", "aibrix.ai/serves-webhooks": "true"});
        assert_eq!(service["spec"]["selector"], selector);
        let pod = deployment(&objects)["spec"]["template"].clone();
        assert_eq!(pod["metadata"]["labels"]["aibrix.ai/serves-webhooks"], "true");
        let ports = pod["spec"]["containers"][0]["ports"].as_array().expect("ports").clone();
        let open = json!({"name": "webhook-server", "containerPort": settings.port, "protocol": "TCP"});
        assert!(ports.contains(&open), "{ports:?}");
    }
    for standalone in crate::manifests::KUSTOMIZATIONS.iter().filter(|it| it.contains("standalone")) {
        let objects = render(standalone);
        let pod = deployment(&objects)["spec"]["template"].clone();
        assert_eq!(pod["metadata"]["labels"].get("aibrix.ai/serves-webhooks"), None, "{standalone}");
        assert!(objects.iter().all(|it| !it["kind"].as_str().unwrap_or_default().contains("Webhook")));
    }
}

#[test]
fn the_manager_keeps_the_objects_that_are_shipped_with_it() {
    for kustomization in KUSTOMIZATIONS {
        let objects = render(kustomization);
        let settings = settings(&objects);
        assert!(settings.manage_certs);
        let names = [settings.mutating_configuration, settings.validating_configuration];
        for ((kind, name), configured) in CONFIGURATIONS.into_iter().zip(names) {
            assert_eq!(name, configured);
            object(&objects, kind, name);
        }
        let secret = object(&objects, "Secret", &settings.secret_name);
        assert_eq!(secret["metadata"]["namespace"], json!(settings.namespace));
        assert!(secret.get("data").is_none() && secret.get("stringData").is_none(), "the manager fills it");
        let pod = deployment(&objects)["spec"]["template"]["spec"].clone();
        let volume = json!({"name": "cert", "secret": {
            "secretName": settings.secret_name, "optional": true, "defaultMode": 420,
        }});
        assert_eq!(pod["volumes"], json!([volume]));
        let mount = json!({"name": "cert", "mountPath": settings.cert_dir, "readOnly": true});
        assert_eq!(pod["containers"][0]["volumeMounts"], json!([mount]));
    }
}

/// The release with one of the optional components.
fn release_with(component: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(component);
    std::fs::create_dir_all(&folder).expect("a folder");
    let up = "../".repeat(folder.strip_prefix(root()).map_or(0, |below| below.components().count()));
    // A build folder elsewhere has no relative way to the manifests that kustomize would take.
    let base = if up.is_empty() { root().display().to_string() + "/" } else { up };
    let text = format!(
        "resources: [{base}deploy/kustomize/overlays/release]\n\
         components: [{base}deploy/kustomize/components/{component}]\n"
    );
    std::fs::write(folder.join("kustomization.yaml"), text).expect("write");
    documents(&kustomize(&folder))
}

#[test]
fn match_conditions_can_be_added_to_the_webhooks_of_deployments() {
    let objects = release_with("deployment-match-conditions");
    for configuration in CONFIGURATIONS {
        for entry in entries(&objects, configuration) {
            let deployments = entry["rules"][0]["resources"] == json!(["deployments"]);
            let condition = entry["matchConditions"][0]["expression"].as_str();
            assert_eq!(condition.is_some(), deployments, "{entry}");
            let expression = "has(object.metadata.annotations) && \
                              'model.aibrix.ai/sidecar-injection' in object.metadata.annotations";
            assert!(condition.is_none_or(|it| it == expression), "{condition:?}");
        }
    }
}

#[test]
fn cert_manager_can_make_the_certificates() {
    let objects = release_with("cert-manager");
    let settings = settings(&objects);
    assert!(!settings.manage_certs);
    let certificate = object(&objects, "Certificate", "aibrix-webhook-server-cert");
    let namespace = json!(settings.namespace);
    assert_eq!(certificate["metadata"]["namespace"], namespace);
    // The Secret that the pods mount.
    assert_eq!(certificate["spec"]["secretName"], json!(settings.secret_name));
    let name = format!("{}.{}.svc", settings.service_name, settings.namespace);
    assert_eq!(certificate["spec"]["dnsNames"], json!([name]));
    let issuer = certificate["spec"]["issuerRef"]["name"].as_str().expect("an issuer");
    assert_eq!(object(&objects, "Issuer", issuer)["metadata"]["namespace"], namespace);
    for (kind, name) in CONFIGURATIONS {
        let configuration = object(&objects, kind, name);
        let from = &configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
        assert_eq!(*from, json!(format!("{}/aibrix-webhook-server-cert", settings.namespace)));
    }
}
