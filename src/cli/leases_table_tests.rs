// SPDX-License-Identifier: Apache-2.0
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease};
use serde_json::{Value, json};

use super::leases_table::{Row, json as as_json, rows, table};

const KV: &str = "kv-cache-controller";
const STORM: &str = "stormservice-controller";

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

/// A Lease that its holder renewed 5 s ago, under foreign common labels; `controller` empty: without labels.
fn lease(name: &str, controller: &str) -> Value {
    let labels = match controller {
        "" => json!({}),
        "member" => json!({ "leaders.aibrix.ai/member": "true" }),
        controller => json!({
            "leaders.aibrix.ai/controller": controller,
            "app.kubernetes.io/managed-by": "platform",
            "app.kubernetes.io/component": "platform",
        }),
    };
    json!({
        "metadata": { "name": name, "labels": labels },
        "spec": {
            "holderIdentity": "manager-0_x", "leaseDurationSeconds": 15, "leaseTransitions": 3,
            "renewTime": "2026-11-24T11:59:55.000000Z",
        },
    })
}

fn manager(name: &str, args: &[&str]) -> Value {
    let container = json!({ "name": "manager", "image": "aibrix/controller-manager:v1", "args": args });
    let spec = json!({ "selector": {}, "template": { "spec": { "containers": [container] } } });
    json!({ "metadata": { "name": name }, "spec": spec })
}

fn seen(leases: &[Value], deployments: &[Value]) -> Vec<Row> {
    let leases: Vec<Lease> = leases.iter().map(|it| serde_json::from_value(it.clone()).unwrap()).collect();
    let deployments: Vec<Deployment> =
        deployments.iter().map(|it| serde_json::from_value(it.clone()).unwrap()).collect();
    rows(&leases, &deployments, now())
}

fn problems(leases: &[Value], deployments: &[Value]) -> Vec<String> {
    seen(leases, deployments).into_iter().flat_map(|row| row.problems).collect()
}

#[test]
fn a_healthy_lease_has_no_problems() {
    let got = seen(
        &[lease("aibrix-kv-cache-controller", KV)],
        &[manager("m", &["--controllers=kv-cache-controller"])],
    );
    let want = Row {
        controller: KV.into(),
        lease: "aibrix-kv-cache-controller".into(),
        holder: Some("manager-0_x".into()),
        renew_time: Some("2026-11-24T11:59:55Z".parse().unwrap()),
        age_seconds: Some(5),
        transitions: Some(3),
        problems: vec![],
    };
    assert_eq!(got, [want]);
}

#[test]
fn leases_of_others_and_of_members_are_left_out() {
    let leases =
        [lease("kube-scheduler", ""), lease("aibrix-controller-manager-1a2b", "member"), lease("x", STORM)];
    let names: Vec<_> = seen(&leases, &[]).into_iter().map(|row| row.lease).collect();
    assert_eq!(names, ["x"]);
}

#[test]
fn unlabelled_leases_are_known_by_the_default_names_and_by_arguments() {
    let leases =
        [lease("aibrix-kv-cache-controller", ""), lease("kv", ""), lease("aibrix-controller-manager", "")];
    let got =
        seen(&leases, &[manager("m", &["--controllers=stormservice-controller", "--leader-election-id=kv"])]);
    let got: Vec<_> = got.iter().map(|row| (row.controller.as_str(), row.lease.as_str())).collect();
    let want =
        [(KV, "aibrix-kv-cache-controller"), (STORM, "kv"), ("(upgrade guard)", "aibrix-controller-manager")];
    assert_eq!(got, want);
}

#[test]
fn unheld_expired_and_never_renewed_leases_are_flagged() {
    let name = "aibrix-kv-cache-controller";
    let mut released = lease(name, KV);
    released["spec"]["holderIdentity"] = json!("");
    assert_eq!(problems(&[released], &[]), ["unheld"]);
    let mut late = lease(name, KV);
    late["spec"]["renewTime"] = json!("2026-11-24T11:59:44.000000Z");
    assert_eq!(problems(&[late], &[]), ["expired: lasts 15s"]);
    let mut odd = lease(name, KV);
    odd["spec"].as_object_mut().unwrap().remove("renewTime");
    assert_eq!(problems(&[odd], &[]), ["expired: never renewed"]);
    let mut empty = lease(name, KV);
    empty.as_object_mut().unwrap().remove("spec");
    assert_eq!(problems(&[empty], &[]), ["unheld"]);
    let mut ahead = lease(name, KV);
    ahead["spec"]["renewTime"] = json!("2026-11-24T13:00:00.000000Z");
    assert_eq!(seen(&[ahead], &[])[0].age_seconds, Some(0), "a clock that is ahead");
}

// scenario: hardening 49
#[test]
fn claim_of_decades_is_told_with_its_end() {
    for (name, controller) in [("aibrix-kv-cache-controller", KV), ("aibrix-controller-manager", "")] {
        let mut long = lease(name, controller);
        long["spec"]["leaseDurationSeconds"] = json!(2_147_483_647);
        let want = "claimed until 2094-12-12T15:14:02Z unless renewed or released: lasts 2147483647s";
        assert_eq!(problems(&[long], &[]), [want]);
        let mut usual = lease(name, controller);
        usual["spec"]["leaseDurationSeconds"] = json!(150);
        assert_eq!(problems(&[usual], &[]), [] as [&str; 0]);
    }
}

#[test]
fn stale_guard_is_no_problem() {
    let mut stale = lease("aibrix-controller-manager", "");
    stale["spec"]["renewTime"] = json!("2025-11-24T11:59:44.000000Z");
    assert_eq!(problems(&[stale], &[]), [] as [&str; 0]);
}

#[test]
fn a_lease_that_arguments_ask_for_must_exist() {
    let args = ["--controllers=kv-cache-controller"];
    assert_eq!(problems(&[], &[manager("m", &args)]), ["no such Lease"]);
    let mut stopped = manager("m", &args);
    stopped["spec"]["replicas"] = json!(0);
    assert_eq!(seen(&[], &[stopped]), []);
}

#[test]
fn label_and_arguments_must_agree() {
    let args = ["--controllers=stormservice-controller", "--leader-election-id=aibrix-kv-cache-controller"];
    let got = problems(&[lease("aibrix-kv-cache-controller", KV)], &[manager("m", &args)]);
    let want = "conflict: labelled for kv-cache-controller, used by stormservice-controller (Deployment m)";
    assert_eq!(got, [want]);
}

#[test]
fn one_id_for_several_controllers_is_flagged_across_deployments() {
    let of =
        |controller: &str| [format!("--controllers={controller}"), "--leader-election-id=same".to_owned()];
    let (kv, storm) = (of(KV), of(STORM));
    let deployments = [
        manager("kv", &kv.each_ref().map(String::as_str)),
        manager("storm", &storm.each_ref().map(String::as_str)),
    ];
    let got = seen(&[lease("same", "")], &deployments);
    let [row] = &got[..] else { panic!("{got:?}") };
    assert_eq!(row.controller, "kv-cache-controller,stormservice-controller");
    assert_eq!(
        row.problems,
        [
            "several controllers with one id: kv-cache-controller (Deployment kv) and stormservice-controller (Deployment storm)"
        ]
    );
}

#[test]
fn one_controller_on_two_leases_is_flagged_on_both() {
    let deployments = [
        manager("a", &["--controllers=kv-cache-controller"]),
        manager("b", &["--controllers=kv-cache-controller", "--leader-election-id=kv"]),
    ];
    let got = problems(&[lease("aibrix-kv-cache-controller", KV), lease("kv", KV)], &deployments);
    let want = [
        "kv-cache-controller is elected on kv in Deployment b: both may run",
        "kv-cache-controller is elected on aibrix-kv-cache-controller in Deployment a: both may run",
    ];
    assert_eq!(got, want);
}

#[test]
fn a_guard_that_is_somebodys_lease_is_flagged() {
    let deployments = [
        manager("all", &["--controllers=*,-stormservice-controller"]),
        manager(
            "storm",
            &["--controllers=stormservice-controller", "--leader-election-id=aibrix-controller-manager"],
        ),
    ];
    let got = seen(&[lease("aibrix-controller-manager", STORM)], &deployments);
    let row = got.iter().find(|row| row.lease == "aibrix-controller-manager").unwrap();
    assert_eq!(row.problems, ["also the upgrade guard of Deployment all"]);
}

#[test]
fn table_is_aligned_as_kubectl_does() {
    let mut released = lease("storm", STORM);
    released["spec"] = json!({ "holderIdentity": "", "leaseDurationSeconds": 1 });
    let mut old = lease("aibrix-kv-cache-controller", KV);
    old["spec"]["renewTime"] = json!("2026-11-24T11:55:55.000000Z");
    let got = table(&seen(&[released, old], &[]));
    let want = "\
CONTROLLER                LEASE                        HOLDER        RENEWED    TRANSITIONS   PROBLEMS
kv-cache-controller       aibrix-kv-cache-controller   manager-0_x   4m5s ago   3             expired: lasts 15s
stormservice-controller   storm                        <none>        <none>     <none>        unheld
";
    assert_eq!(got, want);
    assert_eq!(table(&[]), "No Leases of controllers found.\n");
}

#[test]
fn json_is_an_array_of_objects() {
    let value: Value = serde_json::from_str(&as_json(&seen(&[lease("kv", KV)], &[]))).unwrap();
    let want = json!([{
        "controller": KV, "lease": "kv", "holder": "manager-0_x", "renewTime": "2026-11-24T11:59:55Z",
        "ageSeconds": 5, "transitions": 3, "problems": [],
    }]);
    assert_eq!(value, want);
}

#[test]
fn ages_are_short() {
    let table_of = [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (10_799, "179m"),
    ];
    let more = [
        (10_800, "3h"),
        (12_000, "3h20m"),
        (28_800, "8h"),
        (172_800, "2d"),
        (180_000, "2d2h"),
        (8 * 86_400, "8d"),
    ];
    for (seconds, want) in table_of.into_iter().chain(more) {
        let mut row = seen(&[lease("kv", KV)], &[]).remove(0);
        row.age_seconds = Some(seconds);
        assert!(table(&[row]).contains(&format!("   {want} ago   ")), "{seconds}: {want}");
    }
}
