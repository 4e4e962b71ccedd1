// SPDX-License-Identifier: Apache-2.0
//! Which Lease the Deployments of a namespace give to which controller, pure: their arguments are read by
//! the same rules as our own.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Container};

use super::{
    controllers::{self, NAMES},
    flags,
    go_flags::{self, Given, Parsed},
    lease_ids,
};

/// A Deployment runs a controller on a Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Name of the Deployment.
    pub deployment: String,
    /// The controller.
    pub controller: &'static str,
    /// Name of its Lease.
    pub lease: String,
    /// Whether the Deployment wants pods.
    pub running: bool,
}

/// A Deployment waits for a Go manager's Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guarded {
    /// Name of the Deployment.
    pub deployment: String,
    /// Name of the Lease.
    pub lease: String,
}

/// The elections that the arguments of all Deployments ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Deployed {
    /// Controllers and Leases, in the order of the Deployments.
    pub assignments: Vec<Assignment>,
    /// Guards of upgrades.
    pub guards: Vec<Guarded>,
}

/// Reads the arguments of every container that is a manager. Containers of other programs, and arguments
/// that no manager would start with, say nothing.
pub(crate) fn read(deployments: &[Deployment]) -> Deployed {
    let mut deployed = Deployed::default();
    for deployment in deployments {
        let name = deployment.metadata.name.as_deref().unwrap_or_default();
        let spec = deployment.spec.as_ref();
        let running = spec.and_then(|spec| spec.replicas) != Some(0);
        let containers =
            spec.and_then(|spec| spec.template.spec.as_ref()).map(|pod| pod.containers.as_slice());
        for container in containers.unwrap_or_default() {
            if let Some(given) = manager_arguments(container) {
                deployed.add(name, running, &given);
            }
        }
    }
    deployed
}

impl Deployed {
    fn add(&mut self, deployment: &str, running: bool, given: &Given) {
        let controllers::Selection { enabled, invalid } =
            controllers::select(&given.get(&flags::CONTROLLERS));
        if !invalid.is_empty() || !given.get(&flags::LEADER_ELECT) {
            return;
        }
        let legacy = given.given(&flags::LEGACY_LEADER_ELECTION_ID);
        let ids = lease_ids::resolve(&lease_ids::Request {
            enabled: &enabled,
            ids: given.all(&flags::LEADER_ELECTION_ID),
            legacy: legacy.as_deref(),
        });
        for controller in enabled {
            let lease = ids.by_controller.get(controller).cloned().unwrap_or_default();
            self.assignments.push(Assignment {
                deployment: deployment.to_owned(),
                controller,
                lease,
                running,
            });
        }
        self.guards.extend(ids.legacy.map(|lease| Guarded { deployment: deployment.to_owned(), lease }));
    }
}

/// The arguments of a container if it is a manager.
fn manager_arguments(container: &Container) -> Option<Given> {
    let command = container.command.as_deref().unwrap_or_default();
    let arguments = container.args.as_deref().unwrap_or_default();
    let arguments: Vec<_> = command.iter().skip(1).chain(arguments).cloned().collect();
    // Many operators are called "manager" and take some of these flags: a name of ours is needed.
    let named = arguments.iter().any(|argument| NAMES.iter().any(|name| argument.contains(name)));
    if !named && !is_manager_image(container.image.as_deref().unwrap_or_default()) {
        return None;
    }
    match go_flags::parse(flags::ALL, &arguments) {
        Ok(Parsed::Given(given)) => Some(given),
        Ok(Parsed::Help) | Err(_) => None,
    }
}

/// Whether the last part of an image's name, without tag and digest, is that of the manager.
fn is_manager_image(image: &str) -> bool {
    let without_digest = image.split('@').next().unwrap_or(image);
    let last = without_digest.rsplit('/').next().unwrap_or(without_digest);
    let name = last.split(':').next().unwrap_or(last);
    matches!(name, "controller-manager" | "aibrix-controller-manager")
}
