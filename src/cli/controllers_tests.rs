// SPDX-License-Identifier: Apache-2.0
use super::controllers::{InvalidController, NAMES, Selection, default_lease, known, select};

fn all_but(left_out: &str) -> Vec<&'static str> {
    NAMES.into_iter().filter(|name| *name != left_out).collect()
}

#[test]
fn last_item_that_concerns_a_controller_wins() {
    let table: Vec<(&str, Vec<&'static str>, &str)> = vec![
        ("*", NAMES.to_vec(), "all seven"),
        ("*,-model-route-controller", all_but("model-route-controller"), "minus one"),
        ("-model-route-controller,*", NAMES.to_vec(), "the star comes last"),
        ("kv-cache-controller", vec!["kv-cache-controller"], "one"),
        (
            " kv-cache-controller , stormservice-controller ",
            vec!["kv-cache-controller", "stormservice-controller"],
            "spaces",
        ),
        (
            "stormservice-controller,pod-autoscaler-controller",
            vec!["pod-autoscaler-controller", "stormservice-controller"],
            "order of the table",
        ),
        ("kv-cache-controller,kv-cache-controller", vec!["kv-cache-controller"], "twice is once"),
        ("kv-cache-controller,-kv-cache-controller", vec![], "taken back"),
        ("-kv-cache-controller,kv-cache-controller", vec!["kv-cache-controller"], "given again"),
        ("-kv-cache-controller", vec![], "nothing enabled is valid"),
        ("*,*", NAMES.to_vec(), "twice all"),
    ];
    for (list, want, why) in table {
        assert_eq!(select(list), Selection { enabled: want, invalid: vec![] }, "{why}: {list:?}");
    }
}

#[test]
fn what_names_no_controller_is_refused_without_its_dash() {
    let table = [
        ("foo", "invalid controller specified: foo"),
        ("-foo", "invalid controller specified: foo"),
        ("", "invalid controller specified: "),
        (" ", "invalid controller specified: "),
        ("kv-cache-controller,,stormservice-controller", "invalid controller specified: "),
        ("*,", "invalid controller specified: "),
        ("-*", "invalid controller specified: *"),
        ("- kv-cache-controller", "invalid controller specified:  kv-cache-controller"),
        ("--kv-cache-controller", "invalid controller specified: -kv-cache-controller"),
        ("KV-cache-controller", "invalid controller specified: KV-cache-controller"),
        ("-", "invalid controller specified: "),
    ];
    for (list, want) in table {
        let errors = select(list).invalid;
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [want], "{list:?}");
    }
}

#[test]
fn every_wrong_item_is_named() {
    let selection = select("foo,*,-bar");
    assert_eq!(selection.invalid, [InvalidController("foo".into()), InvalidController("bar".into())]);
    assert_eq!(selection.enabled, NAMES, "the others still count for further checks");
}

#[test]
fn default_lease_is_the_name_behind_aibrix() {
    let want = [
        "aibrix-pod-autoscaler-controller",
        "aibrix-distributed-inference-controller",
        "aibrix-model-adapter-controller",
        "aibrix-model-route-controller",
        "aibrix-kv-cache-controller",
        "aibrix-model-claim-controller",
        "aibrix-stormservice-controller",
    ];
    assert_eq!(NAMES.map(default_lease), want);
}

#[test]
fn names_are_known_exactly() {
    assert_eq!(known("kv-cache-controller"), Some("kv-cache-controller"));
    assert_eq!(known("kv-cache"), None);
}
