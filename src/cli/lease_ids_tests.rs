// SPDX-License-Identifier: Apache-2.0
use super::{
    controllers::{NAMES, default_lease},
    lease_ids::{LeaseIds, Problem, Request, resolve},
    notice::Level,
};

const KV: &str = "kv-cache-controller";
const STORM: &str = "stormservice-controller";
const KV_DEFAULT: (&str, &str) = (KV, "aibrix-kv-cache-controller");
const STORM_DEFAULT: (&str, &str) = (STORM, "aibrix-stormservice-controller");

fn resolved(enabled: &[&'static str], ids: &[&str], legacy: Option<&str>) -> LeaseIds {
    let ids: Vec<_> = ids.iter().map(|&id| id.to_owned()).collect();
    resolve(&Request { enabled, ids: &ids, legacy })
}

fn problems(enabled: &[&'static str], ids: &[&str], legacy: Option<&str>) -> Vec<Problem> {
    resolved(enabled, ids, legacy).problems
}

/// A row of the table in the specification, or of its corners.
struct Case {
    enabled: &'static [&'static str],
    ids: &'static [&'static str],
    want: &'static [(&'static str, &'static str)],
    guard: Option<&'static str>,
    why: &'static str,
}

const DEFAULT_GUARD: Option<&str> = Some("aibrix-controller-manager");

const TABLE: &[Case] = &[
    Case { enabled: &[KV], ids: &["b"], want: &[(KV, "b")], guard: None, why: "one, bare" },
    Case { enabled: &[KV], ids: &[], want: &[KV_DEFAULT], guard: DEFAULT_GUARD, why: "one, nothing" },
    Case {
        enabled: &[KV, STORM],
        ids: &["b"],
        want: &[KV_DEFAULT, STORM_DEFAULT],
        guard: Some("b"),
        why: "several, bare",
    },
    Case {
        enabled: &[KV, STORM],
        ids: &[],
        want: &[KV_DEFAULT, STORM_DEFAULT],
        guard: DEFAULT_GUARD,
        why: "several, nothing",
    },
    Case {
        enabled: &[KV, STORM],
        ids: &["kv-cache-controller=kv,stormservice-controller=storm"],
        want: &[(KV, "kv"), (STORM, "storm")],
        guard: DEFAULT_GUARD,
        why: "pairs between commas",
    },
    Case {
        enabled: &[KV, STORM],
        ids: &["kv-cache-controller=kv", "stormservice-controller=storm"],
        want: &[(KV, "kv"), (STORM, "storm")],
        guard: DEFAULT_GUARD,
        why: "pairs accumulate",
    },
    Case {
        enabled: &[KV, STORM],
        ids: &["kv-cache-controller=kv", "b"],
        want: &[(KV, "kv"), STORM_DEFAULT],
        guard: Some("b"),
        why: "a pair and a bare id",
    },
    Case {
        enabled: &[KV],
        ids: &["kv-cache-controller=kv"],
        want: &[(KV, "kv")],
        guard: DEFAULT_GUARD,
        why: "one, pair",
    },
    Case {
        enabled: &[KV],
        ids: &["b", "kv-cache-controller=kv"],
        want: &[(KV, "kv")],
        guard: Some("b"),
        why: "the pair wins; the old pod still uses the bare id",
    },
    Case { enabled: &[KV], ids: &["a", "b"], want: &[(KV, "b")], guard: None, why: "last bare id wins" },
    Case {
        enabled: &[KV],
        ids: &["kv-cache-controller=a", "kv-cache-controller=b"],
        want: &[(KV, "b")],
        guard: DEFAULT_GUARD,
        why: "last pair of a controller wins",
    },
    Case {
        enabled: &[KV],
        ids: &[" kv-cache-controller = kv "],
        want: &[(KV, "kv")],
        guard: DEFAULT_GUARD,
        why: "spaces",
    },
    Case {
        enabled: &[STORM],
        ids: &["aibrix-controller-manager"],
        want: &[(STORM, "aibrix-controller-manager")],
        guard: None,
        why: "AIBrix's stormservice overlay keeps its id",
    },
    Case {
        enabled: &[STORM],
        ids: &["stormservice-controller=aibrix-controller-manager"],
        want: &[(STORM, "aibrix-controller-manager")],
        guard: None,
        why: "nobody waits for the Lease on which it is elected",
    },
    Case { enabled: &[], ids: &["b"], want: &[], guard: None, why: "nothing runs" },
];

#[test]
fn resolution_follows_the_table() {
    for Case { enabled, ids, want, guard, why } in TABLE {
        let got = resolved(enabled, ids, None);
        assert_eq!(got.problems, [], "{why}");
        for (controller, lease) in *want {
            assert_eq!(got.by_controller.get(controller).map(String::as_str), Some(*lease), "{why}");
        }
        assert_eq!(got.legacy.as_deref(), *guard, "{why}");
    }
}

#[test]
fn seven_controllers_have_seven_leases_whatever_the_bare_id() {
    for ids in [&[][..], &["aibrix-controller-manager"], &["my-lease"]] {
        let got = resolved(&NAMES, ids, None);
        let want = NAMES.map(|name| (name, default_lease(name)));
        assert_eq!(got.by_controller, want.into_iter().collect());
        assert_eq!(got.problems, []);
    }
}

#[test]
fn legacy_flag_overrides_the_guard_and_empty_switches_it_off() {
    for (enabled, ids) in [(&[KV][..], &["b"][..]), (&[KV], &[]), (&[KV, STORM], &["b"]), (&[KV, STORM], &[])]
    {
        assert_eq!(resolved(enabled, ids, Some("old")).legacy.as_deref(), Some("old"), "{enabled:?} {ids:?}");
        assert_eq!(resolved(enabled, ids, Some("")).legacy, None, "{enabled:?} {ids:?}");
    }
}

#[test]
fn two_controllers_never_get_one_lease() {
    let pairs = "kv-cache-controller=same,stormservice-controller=same";
    let got = problems(&[KV, STORM], &[pairs], None);
    assert_eq!(got, [Problem::Shared { lease: "same".into(), controllers: vec![KV, STORM] }]);
    let want = "controllers kv-cache-controller and stormservice-controller have the same lease id \"same\": give each its own \
                with --leader-election-id=kv-cache-controller=aibrix-kv-cache-controller \
                --leader-election-id=stormservice-controller=aibrix-stormservice-controller";
    assert_eq!(got[0].to_string(), want);
    let others_default =
        problems(&[KV, STORM], &["kv-cache-controller=aibrix-stormservice-controller"], None);
    assert!(matches!(others_default[..], [Problem::Shared { .. }]), "{others_default:?}");
    assert_eq!(problems(&[KV], &[pairs], None), [], "only one of the two is enabled");
}

#[test]
fn lease_of_one_of_several_is_not_the_guard() {
    let want = Problem::EqualsLegacy { lease: "aibrix-controller-manager".into(), controller: KV };
    assert_eq!(problems(&[KV, STORM], &["kv-cache-controller=aibrix-controller-manager"], None), [want]);
    let want = Problem::EqualsLegacy { lease: "aibrix-kv-cache-controller".into(), controller: KV };
    assert_eq!(
        problems(&[KV, STORM], &["aibrix-kv-cache-controller"], None),
        std::slice::from_ref(&want),
        "bare id"
    );
    assert_eq!(problems(&[KV, STORM], &[], Some("aibrix-kv-cache-controller")), [want], "legacy flag");
    assert_eq!(problems(&[KV, STORM], &["aibrix-kv-cache-controller"], Some("")), [], "guard off");
    assert_eq!(problems(&[KV], &["kv-cache-controller=old"], Some("old")), [], "one controller");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let ids = ["foo=x", "kv-cache-controller=UPPER", "stormservice-controller=", ""];
    let got = problems(&[KV, STORM], &ids, Some("-old"));
    let want = [
        Problem::UnknownController("foo".into()),
        Problem::EmptyOf(STORM),
        Problem::Empty,
        Problem::Name { lease: "UPPER".into(), flag: "leader-election-id" },
        Problem::Name { lease: "-old".into(), flag: "legacy-leader-election-id" },
    ];
    assert_eq!(got, want);
    for problem in got {
        let text = problem.to_string();
        assert!(
            text.contains("--leader-election-id") || text.contains("--legacy-leader-election-id"),
            "{text}"
        );
    }
}

#[test]
fn bare_id_with_several_controllers_is_warned_about_with_the_flags_to_write() {
    let notices = resolved(&[KV, STORM], &["my-lease"], None).notices;
    let [notice] = &notices[..] else { panic!("{notices:?}") };
    assert_eq!(notice.level, Level::Warning);
    assert_eq!(
        notice.detail,
        "my-lease: every controller keeps a lease of its own; write \
         --leader-election-id=kv-cache-controller=aibrix-kv-cache-controller \
         --leader-election-id=stormservice-controller=aibrix-stormservice-controller"
    );
}

#[test]
fn bare_id_of_one_controller_is_warned_about_unless_it_is_the_default() {
    let notices = resolved(&[KV], &["my-lease"], None).notices;
    assert!(
        matches!(&notices[..], [notice] if notice.level == Level::Warning && notice.detail.contains("my-lease"))
    );
    assert_eq!(resolved(&[KV], &["aibrix-kv-cache-controller"], None).notices, []);
}

#[test]
fn pair_for_a_disabled_controller_is_allowed_and_told() {
    let got = resolved(&[KV], &["stormservice-controller=storm"], None);
    assert_eq!(got.problems, []);
    assert!(matches!(&got.notices[..], [notice] if notice.level == Level::Info), "{:?}", got.notices);
}
