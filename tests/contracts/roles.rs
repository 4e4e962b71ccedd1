// SPDX-License-Identifier: Apache-2.0
//! Roles: enough for every loop, nothing less than AIBrix's, nothing more than needed where we promise that.

use std::collections::BTreeSet;

use aibrix_controller_manager::internals::permissions;
use serde_json::{Value, json};

use crate::{
    grants::{Grants, excess, missing, of_permissions, of_role, of_text},
    manifests::{KUSTOMIZATIONS, STANDALONE, object, prefixes, read, render, standalone},
};

const NONE: [String; 0] = [];

/// Everything that the account of a full install may do anywhere.
fn combined() -> Grants {
    of_role(&object(&render("base"), "ClusterRole", "aibrix-controller-manager-role"))
}

#[test]
fn the_combined_role_takes_nothing_away_from_a_go_manager_and_adds_what_it_lacks() {
    let promised = of_text(&read("tests/golden/aibrix_cluster_role.txt"));
    assert!(promised.len() > 200, "the golden file was not read: {} grants", promised.len());
    assert_eq!(missing(&combined(), &promised), NONE);
}

#[test]
fn the_combined_role_grants_nothing_else() {
    let promised = of_text(&read("tests/golden/aibrix_cluster_role.txt"));
    assert_eq!(excess(&combined(), &promised), NONE);
}

#[test]
fn what_aibrix_is_refused_is_not_granted_by_accident() {
    // The manager must work with AIBrix's own role, so a permission that slips in here would hide that it
    // does not.
    let granted = combined();
    for refused in [
        "core secrets create",
        "core secrets patch",
        "core serviceaccounts update",
        "core configmaps get",
        "core nodes get",
        "core namespaces get",
        "events.k8s.io events create",
        "admissionregistration.k8s.io validatingwebhookconfigurations patch",
        "apiextensions.k8s.io customresourcedefinitions watch",
        "rbac.authorization.k8s.io rolebindings update",
        "rbac.authorization.k8s.io roles patch",
        "coordination.k8s.io leases get",
    ] {
        assert_eq!(missing(&granted, &of_text(refused)), [refused]);
    }
}

#[test]
fn elections_are_granted_in_the_namespace_of_the_manager_only() {
    let want = of_text(
        "coordination.k8s.io leases create,delete,get,list,patch,update,watch\ncore events create,patch,update",
    );
    for (kustomization, prefix) in prefixes() {
        let name = format!("{prefix}controller-manager-leader-election-role");
        let role = object(&render(&kustomization), "Role", &name);
        assert_eq!(of_role(&role), want, "{kustomization}");
        assert_eq!(role["metadata"]["namespace"], "aibrix-system");
    }
}

#[test]
fn each_kind_has_a_role_for_editors_and_one_for_viewers() {
    let objects = render("base");
    let groups = [
        ("autoscaling", "podautoscaler"),
        ("model", "modeladapter"),
        ("model", "modelclaim"),
        ("orchestration", "kvcache"),
        ("orchestration", "podset"),
        ("orchestration", "rayclusterfleet"),
        ("orchestration", "rayclusterreplicaset"),
        ("orchestration", "roleset"),
        ("orchestration", "stormservice"),
    ];
    for (group, kind) in groups {
        let grants = |role: &str| {
            of_role(&object(&objects, "ClusterRole", &format!("aibrix-{group}-{kind}-{role}-role")))
        };
        let rows = |verbs: &str| {
            of_text(&format!("{group}.aibrix.ai {kind}s {verbs}\n{group}.aibrix.ai {kind}s/status get"))
        };
        assert_eq!(grants("editor"), rows("create,delete,get,list,patch,update,watch"), "{kind}");
        assert_eq!(grants("viewer"), rows("get,list,watch"), "{kind}");
    }
}

#[test]
fn the_combined_role_grants_what_every_loop_declares() {
    for (controller, declared) in permissions() {
        assert_eq!(missing(&combined(), &of_permissions(&declared)), NONE, "{controller}");
    }
}

#[test]
fn each_controller_of_this_build_has_a_kustomization_of_its_own() {
    let built: BTreeSet<_> = permissions().into_iter().map(|(name, _)| name).collect();
    assert_eq!(STANDALONE.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>(), built);
    for controller in built {
        assert!(KUSTOMIZATIONS.contains(&standalone(controller).as_str()), "{controller}");
    }
}

/// Grants of standalone roles that no loop declares: (controller, rows, why they are there).
const NOT_DECLARED: &[(&str, &str, &str)] = &[(
    "pod-autoscaler-controller",
    "orchestration.aibrix.ai rolesets,podsets get,patch,update",
    "scale targets like any other kind with replicas: read and patched by name, never watched",
)];

/// What the account of a controller's own kustomization may do anywhere.
fn alone(controller: &str, prefix: &str) -> Grants {
    let name = format!("{prefix}controller-manager-role");
    of_role(&object(&render(&standalone(controller)), "ClusterRole", &name))
}

#[test]
fn a_standalone_role_grants_what_its_loops_declare_and_nothing_else() {
    for (controller, prefix) in STANDALONE {
        let granted = alone(controller, prefix);
        let declared = permissions().into_iter().find(|(name, _)| name == controller);
        let declared = of_permissions(&declared.expect("a controller of this build").1);
        assert_eq!(missing(&granted, &declared), NONE);

        let mut accounted = declared;
        for (of, rows, why) in NOT_DECLARED {
            assert!(!why.is_empty());
            if of == controller {
                accounted.extend(of_text(rows));
            }
        }
        assert_eq!(excess(&granted, &accounted), NONE);
        assert_eq!(missing(&granted, &accounted), NONE, "an exception that the role does not grant is stale");
    }
}

/// What a role grants on objects of these names; it must restrict every rule to them.
fn of_named(mut role: Value, names: &[&str]) -> Grants {
    let rules = role["rules"].as_array_mut().expect("a role has rules");
    for granted in rules.iter_mut() {
        let granted = granted.as_object_mut().expect("a rule");
        assert_eq!(granted.remove("resourceNames"), Some(json!(names)), "{granted:?}");
    }
    of_role(&role)
}

#[test]
fn webhooks_alone_may_keep_certificates_read_what_is_scaled_and_nothing_else() {
    let objects = render("overlays/webhook-only");
    let mut role = object(&objects, "ClusterRole", "aibrix-webhook-controller-manager-role");
    // A review of a scale says nothing of the StormService.
    let reads = role["rules"].as_array_mut().and_then(Vec::pop).expect("a rule without names");
    assert_eq!(of_role(&json!({"rules": [reads]})), of_text("orchestration.aibrix.ai stormservices get"));
    let names = ["aibrix-mutating-webhook-configuration", "aibrix-validating-webhook-configuration"];
    let granted = of_named(role, &names);
    let configurations = "admissionregistration.k8s.io \
         mutatingwebhookconfigurations,validatingwebhookconfigurations get,list,update,watch";
    assert_eq!(granted, of_text(configurations));
    let secrets = object(&objects, "Role", "aibrix-webhook-controller-manager-certificate-role");
    assert_eq!(secrets["metadata"]["namespace"], "aibrix-system", "in its own namespace only");
    let granted_there = of_named(secrets, &["aibrix-webhook-server-cert"]);
    assert_eq!(granted_there, of_text("core secrets get,list,update,watch"));
    assert_eq!(missing(&combined(), &granted), NONE);
}

#[test]
fn a_restricted_manager_may_little_outside_its_namespaces() {
    let objects = render("overlays/namespaced");
    let bound: BTreeSet<_> = objects
        .iter()
        .filter(|it| it["kind"] == "ClusterRoleBinding")
        .map(|it| it["roleRef"]["name"].as_str().unwrap_or_default())
        .collect();
    let (leases, webhooks) = (
        "aibrix-controller-manager-installations-role",
        "aibrix-controller-manager-webhook-configurations-role",
    );
    assert_eq!(bound, [leases, webhooks].into());
    assert_eq!(of_role(&object(&objects, "ClusterRole", leases)), of_text("coordination.k8s.io leases list"));
    let names = ["aibrix-mutating-webhook-configuration", "aibrix-validating-webhook-configuration"];
    let configurations = "admissionregistration.k8s.io \
         mutatingwebhookconfigurations,validatingwebhookconfigurations get,list,update,watch";
    assert_eq!(of_named(object(&objects, "ClusterRole", webhooks), &names), of_text(configurations));
    let home = object(&objects, "Role", "aibrix-controller-manager-home-role");
    let rules = home["rules"].as_array().expect("rules");
    let [routes, secrets, deployment] = rules.as_slice() else { panic!("{home}") };
    let verbs = "create,delete,get,list,patch,update,watch";
    let routes = of_role(&json!({"rules": [routes]}));
    assert_eq!(routes, of_text(&format!("gateway.networking.k8s.io httproutes {verbs}")));
    let secrets = of_named(json!({"rules": [secrets]}), &["aibrix-webhook-server-cert"]);
    assert_eq!(secrets, of_text("core secrets get,list,update,watch"));
    let deployment = of_named(json!({"rules": [deployment]}), &["aibrix-controller-manager"]);
    assert_eq!(deployment, of_text("apps deployments get"));
}

#[test]
fn a_standalone_role_is_part_of_the_combined_one() {
    // Both may be installed side by side: neither may do what the other would be refused.
    for (controller, prefix) in STANDALONE {
        assert_eq!(missing(&combined(), &alone(controller, prefix)), NONE);
    }
}
