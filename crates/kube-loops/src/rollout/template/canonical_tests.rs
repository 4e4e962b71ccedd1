// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    canonical::{Leniency, are_equal, canonical},
    go_json::{go_json, revision_data},
    hashes::template_digest,
    layout::{Layout, POD_TEMPLATE},
};
use crate::rollout::replica_cases::cases;

const ROLE_SET: &str = "aibrix.RoleSetTemplate";
const RAY_CLUSTER: &str = "ray.RayClusterTemplate";

fn layout() -> Layout {
    let role_set = include_str!("testdata/role_set_types.txt");
    Layout::core().with(role_set).with(include_str!("testdata/ray_cluster_types.txt"))
}

/// A pod template around one container and further members of its spec.
fn pod(container: Value, spec: Value) -> Value {
    let mut container = container;
    container["name"] = json!("main");
    let mut spec = spec;
    spec["containers"] = json!([container]);
    json!({"spec": spec})
}

fn same(a: &Value, b: &Value, go_type: &'static str) -> (bool, bool) {
    let equal = |leniency| are_equal(a, b, &layout(), go_type, leniency);
    (equal(Leniency::Exact), equal(Leniency::Lenient))
}

#[test]
fn members_that_mean_the_same_are_equal() {
    let plain = pod(json!({}), json!({}));
    let table = [
        (
            json!({"stdin": false, "tty": false}),
            json!({"hostNetwork": false, "hostPID": false, "hostIPC": false}),
        ),
        (json!({"resources": {}}), json!({"nodeSelector": {}, "overhead": {}})),
        (json!({"resources": {"limits": {}, "requests": {}}}), json!({"tolerations": [], "volumes": null})),
        (json!({"env": [], "args": [], "workingDir": ""}), json!({"schedulerName": "", "subdomain": ""})),
    ];
    for (container, spec) in table {
        let other = pod(container, spec);
        assert_eq!(same(&plain, &other, POD_TEMPLATE), (true, true), "{other}");
    }
    let bare = json!({"metadata": {"creationTimestamp": null, "labels": {}}, "spec": plain["spec"]});
    assert_eq!(same(&plain, &bare, POD_TEMPLATE), (true, true));
}

#[test]
fn quantities_are_equal_by_value() {
    let limits = |limits: Value| pod(json!({"resources": {"limits": limits}}), json!({}));
    let a = limits(json!({"cpu": "1000m", "memory": "1024Mi", "gpu": 1}));
    let b = limits(json!({"cpu": 1, "memory": "1Gi", "gpu": "1"}));
    assert_eq!(same(&a, &b, POD_TEMPLATE), (true, true));
    assert_eq!(
        same(&a, &limits(json!({"cpu": "1001m", "memory": "1Gi", "gpu": 1})), POD_TEMPLATE),
        (false, false)
    );
    assert_eq!(
        same(&limits(json!({"cpu": "0"})), &limits(json!({})), POD_TEMPLATE),
        (false, false),
        "an entry counts"
    );
    let divisor = |divisor: Value| {
        pod(
            json!({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "r",
                "divisor": divisor}}}]}),
            json!({}),
        )
    };
    assert_eq!(same(&divisor(json!("0")), &divisor(Value::Null), POD_TEMPLATE), (true, true));
    assert_eq!(same(&divisor(json!("1")), &divisor(Value::Null), POD_TEMPLATE), (false, false));
}

#[test]
fn members_that_mean_something_else_differ() {
    let plain = pod(json!({}), json!({}));
    let table = [
        pod(json!({"image": "x"}), json!({})),
        pod(json!({"args": [""]}), json!({})),
        pod(json!({"brandNew": false}), json!({})),
        pod(json!({"restartPolicy": ""}), json!({})),
        pod(json!({"stdin": true}), json!({})),
        pod(json!({}), json!({"automountServiceAccountToken": false})),
        pod(json!({}), json!({"enableServiceLinks": false})),
        pod(json!({}), json!({"terminationGracePeriodSeconds": 0})),
        pod(json!({}), json!({"priority": 0})),
        pod(json!({}), json!({"nodeSelector": {"a": ""}})),
        json!({"metadata": {"annotations": {"a": ""}}, "spec": plain["spec"]}),
    ];
    for other in table {
        assert_eq!(same(&plain, &other, POD_TEMPLATE), (false, false), "{other}");
    }
}

#[test]
fn empty_pointers_count_exactly_and_do_not_leniently() {
    let plain = pod(json!({}), json!({"volumes": [{"name": "v"}]}));
    for other in [
        pod(json!({"securityContext": {}}), json!({"volumes": [{"name": "v"}]})),
        pod(json!({}), json!({"affinity": {"podAffinity": {}}, "volumes": [{"name": "v"}]})),
        pod(json!({}), json!({"volumes": [{"name": "v", "emptyDir": {}}]})),
    ] {
        assert_eq!(same(&plain, &other, POD_TEMPLATE), (false, true), "{other}");
    }
    let term = |selector: Value| {
        let mut term = json!({"topologyKey": "k"});
        term["labelSelector"] = selector;
        let affinity = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
        pod(json!({}), json!({"affinity": affinity}))
    };
    assert_eq!(
        same(&term(json!({})), &term(Value::Null), POD_TEMPLATE),
        (false, false),
        "it selects everything"
    );
}

#[test]
fn revision_written_by_go_equals_the_template_that_a_user_wrote() {
    let written = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"roles": [
        {"name": "a", "replicas": 0, "stateful": false, "podGroupSize": null,
            "template": {"spec": {"containers": [
            {"name": "c", "resources": {"limits": {"cpu": "1000m"}}}, {"name": "d", "env": [{"name": "E",
                "value": ""}]},
        ]}}},
        {"name": "without-template"},
    ]}});
    let data: Value = serde_json::from_str(&revision_data(&written, &layout(), ROLE_SET)).unwrap();
    let recorded = &data["spec"]["template"];
    assert_eq!(recorded["$patch"], "replace");
    assert_eq!(same(&written, recorded, ROLE_SET), (true, true), "{recorded}");

    for (pointer, value) in [
        ("/spec/roles/0/replicas", json!(1)),
        ("/spec/roles/0/stateful", json!(true)),
        ("/spec/roles/0/updateStrategy", json!({"type": "InPlaceIfPossible"})),
        ("/spec/roles/0/template/spec/automountServiceAccountToken", json!(false)),
        ("/spec/updateStrategy", json!("Parallel")),
        ("/metadata/labels/app", json!("")),
    ] {
        let mut changed = written.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[name] = value;
        assert_eq!(same(&changed, recorded, ROLE_SET), (false, false), "{pointer}");
    }
}

#[test]
fn defaults_of_a_role_set_count_as_absent() {
    let plain = json!({"spec": {"roles": [{"name": "a"}]}});
    let spelled = json!({"spec": {"updateStrategy": "Sequential", "roles": [{
        "name": "a", "updateStrategy": {"type": "Recreate"}, "disruptionTolerance": {},
            "template": {"spec": {"containers": null}},
    }]}});
    assert_eq!(same(&plain, &spelled, ROLE_SET), (true, true));
}

#[test]
fn ray_template_is_recognised_in_the_form_that_go_gave_it() {
    let written = json!({"spec": {"headGroupSpec": {"rayStartParams": {}, "template": {"spec": {
        "hostNetwork": false, "containers": [{"name": "h", "env": [],
            "resources": {"limits": {"memory": "1024Mi", "cpu": "1000m"}}}],
    }}}, "workerGroupSpecs": [{"groupName": "w", "replicas": 0, "minReplicas": 0, "maxReplicas": 3,
        "rayStartParams": {},
        "template": {"spec": {"containers": [{"name": "w"}]}}}]}});
    let stored = json!({"metadata": {}, "spec": {"headGroupSpec": {"rayStartParams": {},
        "template": {"metadata": {}, "spec": {
        "containers": [{"name": "h", "resources": {"limits": {"memory": "1Gi", "cpu": "1"}}}],
    }}}, "workerGroupSpecs": [{"groupName": "w", "replicas": 0, "minReplicas": 0, "maxReplicas": 3,
        "rayStartParams": {},
        "scaleStrategy": {}, "template": {"metadata": {}, "spec": {"containers": [{"name": "w",
            "resources": {}}]}}}]}});
    assert_eq!(same(&written, &stored, RAY_CLUSTER), (true, true));
    let mut other = stored;
    other["spec"]["workerGroupSpecs"][0].as_object_mut().unwrap().remove("replicas");
    assert_eq!(same(&written, &other, RAY_CLUSTER), (false, false), "replicas is a pointer");
}

#[test]
fn digest_of_a_template_is_fixed_for_ever() {
    let template = pod(
        json!({"image": "nginx:1", "resources": {"limits": {"cpu": "1000m"}}, "env": []}),
        json!({"hostIPC": false}),
    );
    let canonical = canonical(&template, &layout(), POD_TEMPLATE, Leniency::Exact);
    assert_eq!(
        canonical,
        json!({"spec": {"containers": [{"name": "main", "image": "nginx:1",
            "resources": {"limits": {"cpu": "1"}}}]}}),
    );
    // sha256sum of that, compact and sorted.
    assert_eq!(
        template_digest(&canonical),
        "83acb8ca934dce24765ce1504ea66045748d2ac81dc983d71644dc7b95310ba4"
    );
}

/// JSON in the shape of templates: names that the types know, and others.
fn any_template() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0_i64..3).prop_map(Value::from),
        prop_oneof![Just(""), Just("1"), Just("1000m"), Just("x"), Just("0")].prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "metadata",
        "spec",
        "containers",
        "labels",
        "name",
        "env",
        "resources",
        "limits",
        "cpu",
        "stdin",
        "priority",
        "emptyDir",
        "volumes",
        "sizeLimit",
        "labelSelector",
        "$patch",
        "creationTimestamp",
        "ports",
        "hostPort",
        "new",
    ]);
    scalar.prop_recursive(6, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..5).prop_map(|members| {
                Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn canonical_form_is_its_own_canonical_form(template in any_template()) {
        for leniency in [Leniency::Exact, Leniency::Lenient] {
            let once = canonical(&template, &layout(), POD_TEMPLATE, leniency);
            let twice = canonical(&once, &layout(), POD_TEMPLATE, leniency);
            prop_assert_eq!(&once, &twice);
        }
    }

    #[test]
    fn equal_templates_are_leniently_equal(a in any_template(), b in any_template()) {
        let (exact, lenient) = same(&a, &b, POD_TEMPLATE);
        prop_assert!(lenient || !exact);
    }

    #[test]
    fn garbage_is_written_without_panic(template in any_template()) {
        let text = go_json(&template, &layout(), POD_TEMPLATE);
        prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
    }
}
