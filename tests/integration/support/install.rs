// SPDX-License-Identifier: Apache-2.0
//! Installing the manager into a control plane, as a user does it: the shipped CRDs and kustomization.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::ServiceAccount,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::json;

use super::{
    ControlPlane, kubeconfig, objects,
    tools::{gateway_crd, repository},
    wait::eventually,
};

/// Namespace of the manager.
pub(crate) const NAMESPACE: &str = "aibrix-system";
/// `ServiceAccount`, Deployment and prefix of the manager's roles.
pub(crate) const NAME: &str = "aibrix-controller-manager";
/// How long a `ServiceAccount`'s token is good for: longer than any run.
const TOKEN_SECONDS: i64 = 12 * 3600;

impl ControlPlane {
    /// Applies a file or folder of manifests, server-side as administrator.
    pub(crate) async fn apply(&self, path: &Path) {
        let path = path.display().to_string();
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &path])
            .await
            .unwrap_or_else(|error| panic!("apply {path}: {error:#}"));
    }

    /// Applies a kustomization, server-side as administrator.
    pub(crate) async fn apply_kustomization(&self, path: &Path) {
        let path = path.display().to_string();
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-k", &path])
            .await
            .unwrap_or_else(|error| panic!("apply the kustomization {path}: {error:#}"));
    }

    /// Applies a file or folder of CRDs and waits until all CRDs of the cluster are served.
    pub(crate) async fn apply_crds(&self, dir: &Path) {
        self.apply(dir).await;
        let crds: Api<CustomResourceDefinition> = Api::all(self.client().await);
        eventually(Duration::from_mins(1), "all CRDs are established", async || {
            let list = crds.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let waiting: Vec<_> = list.iter().filter(|crd| !is_established(crd)).collect();
            let names = waiting.iter().filter_map(|crd| crd.metadata.name.as_deref());
            if waiting.is_empty() { Ok(()) } else { Err(names.collect::<Vec<_>>().join(", ")) }
        })
        .await;
    }

    /// Installs the CRDs of the Gateway API that the manager's routes need.
    pub(crate) async fn install_gateway_api(&self) {
        for plural in ["referencegrants", "httproutes"] {
            self.apply_crds(&gateway_crd(plural)).await;
        }
    }

    /// Installs what a user installs: the Gateway API, the shipped CRDs and the overlay `release`. With
    /// kube-controller-manager the Deployment makes pods too, which kwok pretends to run.
    pub(crate) async fn install_manager(&self) {
        self.install_gateway_api().await;
        self.install_manager_alone().await;
    }

    /// The same without the Gateway API.
    pub(crate) async fn install_manager_alone(&self) {
        self.apply_crds(&repository().join("deploy/crds")).await;
        self.apply_kustomization(&repository().join("deploy/kustomize/overlays/release")).await;
    }

    /// What [`Self::install_manager`] installs, but the definitions of StormServices, RoleSets and PodSets: each holds a pod
    /// template, which costs an API server seconds of a processor. Their controller waits then, or a probe loop plays it.
    pub(crate) async fn install_without_storm_services(&self) {
        self.install_gateway_api().await;
        for kind in ["autoscaling.aibrix.ai_podautoscalers", "model.aibrix.ai_modeladapters"] {
            self.apply_crds(&repository().join(format!("deploy/crds/{kind}.yaml"))).await;
        }
        self.apply_kustomization(&repository().join("deploy/kustomize/overlays/release")).await;
    }

    /// The arguments of the manager's container in the installed Deployment.
    pub(crate) async fn shipped_arguments(&self) -> Vec<String> {
        let deployments: Api<Deployment> = Api::namespaced(self.client().await, NAMESPACE);
        let deployment = deployments.get(NAME).await.expect("the Deployment is installed");
        let template = deployment.spec.and_then(|spec| spec.template.spec).expect("a pod template");
        let manager = template.containers.into_iter().find(|it| it.name == "manager");
        manager.and_then(|it| it.args).expect("a container `manager` with arguments")
    }

    /// Grants the manager's `ServiceAccount` its Leases and Events in another namespace too, by copies of the
    /// shipped Role and `RoleBinding`: for tests that elect in a namespace of their own.
    pub(crate) async fn allow_elections_in(&self, ns: &str) {
        let client = self.client().await;
        for kind in ["Role", "RoleBinding"] {
            let suffix = if kind == "Role" { "role" } else { "rolebinding" };
            let mut copy = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": kind,
                "metadata": {"name": format!("{NAME}-leader-election-{suffix}"), "namespace": NAMESPACE},
            });
            let shipped = objects::get(&client, &copy).await;
            let shipped = shipped.unwrap_or_else(|| panic!("the manager's election {kind} is not installed"));
            for field in ["rules", "subjects", "roleRef"] {
                if let Some(value) = shipped.get(field) {
                    copy[field] = value.clone();
                }
            }
            copy["metadata"]["namespace"] = json!(ns);
            objects::create(&client, &copy).await;
        }
    }

    /// A kubeconfig with a token of a `ServiceAccount`, made through the API as a pod's is.
    ///
    /// # Panics
    /// When there is no such `ServiceAccount`.
    pub(crate) async fn kubeconfig_for_service_account(&self, ns: &str, name: &str) -> PathBuf {
        self.kubeconfig_through(self.port(), ns, name).await
    }

    /// The same, for an API server that is reached at another port of 127.0.0.1: a proxy's.
    pub(crate) async fn kubeconfig_through(&self, port: u16, ns: &str, name: &str) -> PathBuf {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await, ns);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
        let answer = answer.unwrap_or_else(|error| panic!("make a token for {ns}/{name}: {error}"));
        let token = answer.status.expect("a token request is answered with a token").token;
        let path = self.new_path(&format!("{name}.kubeconfig"));
        let server = format!("https://127.0.0.1:{port}");
        kubeconfig::write(&path, &server, &self.dir().join("certs/apiserver.crt"), &token)
            .unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// A kubeconfig of the manager's own `ServiceAccount`.
    pub(crate) async fn manager_kubeconfig(&self) -> PathBuf {
        self.kubeconfig_for_service_account(NAMESPACE, NAME).await
    }
}

fn is_established(crd: &CustomResourceDefinition) -> bool {
    let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|it| it.type_ == "Established" && it.status == "True"))
}
