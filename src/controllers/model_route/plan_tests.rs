// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use serde_json::{Value, json};

use kube_loops::runtime::watches::interner::Interner;

use super::{
    ModelRouteSettings,
    cases::{defaulted, deployment, hand_written, of_kind, seen, seen_grant, settings, stored, workload},
    objects::Wanted,
    plan::{FOREIGN, OUT_OF_SIGHT, Plan, RESERVED, Step, plan_grant, plan_route},
    routes::MadeRoute,
    snapshot::{GrantSnapshot, RouteSnapshot},
    sources::{Source, SourceKind},
};

const HASH: &str = "model.aibrix.ai/route-spec-hash";

fn plan(seen: &RouteSnapshot) -> Plan {
    plan_route("m-router", seen, &settings())
}

fn m(ns: &str, name: &str, age: u32) -> Source {
    deployment(&workload(ns, name, "m", age))
}

fn with_service(ns: &str, name: &str, service: &str, age: u32) -> Source {
    let mut object = workload(ns, name, "m", age);
    object["metadata"]["annotations"]["model.aibrix.ai/service-name"] = json!(service);
    deployment(&object)
}

/// The route that we make for this workload, as stored.
fn ours(source: &Source) -> Value {
    stored(&Wanted::of(source, &settings()).unwrap().object())
}

/// The route after the plan's only step, which must be a patch.
fn patched(route: &Value, plan: &Plan) -> Value {
    let [Step::PatchRoute { name, version, patch }] = plan.steps.as_slice() else { panic!("{plan:?}") };
    assert_eq!((name.as_str(), version.as_str()), ("m-router", "1"));
    let mut route = route.clone();
    json_patch::merge(&mut route, patch);
    defaulted(&mut route);
    route
}

fn deleted() -> Step {
    Step::DeleteRoute { name: "m-router".to_owned(), uid: "uid-m-router".to_owned() }
}

#[test]
fn a_model_without_a_route_gets_one_and_then_nothing_more() {
    let source = m("default", "d", 0);
    let made = plan(&seen(std::slice::from_ref(&source), None));
    let [Step::CreateRoute(object)] = made.steps.as_slice() else { panic!("{made:?}") };
    assert_eq!(*object, Wanted::of(&source, &settings()).unwrap().object());
    assert!(made.events.is_empty());
    assert_eq!(plan(&seen(&[source], Some(&stored(object)))), Plan::default());
    assert_eq!(plan(&seen(&[], None)), Plan::default());
}

#[test]
fn our_route_follows_its_workload() {
    let before = ours(&m("default", "d", 0));
    let mut object = workload("default", "d", "m", 0);
    object["metadata"]["labels"] =
        json!({"model.aibrix.ai/port": "9000", "app.kubernetes.io/managed-by": "aibrix-console"});
    let annotations = &mut object["metadata"]["annotations"];
    annotations["model.aibrix.ai/service-name"] = json!("svc");
    annotations["model.aibrix.ai/model-router-custom-paths"] = json!("/more");
    annotations["console.aibrix.ai/deployment-id"] = json!("1");
    let now = deployment(&object);
    let after = patched(&before, &plan(&seen(std::slice::from_ref(&now), Some(&before))));
    assert_eq!(after["spec"], ours(&now)["spec"]);
    assert_eq!(after["metadata"]["annotations"], ours(&now)["metadata"]["annotations"]);
    assert_eq!(after["metadata"]["labels"], json!({"app.kubernetes.io/managed-by": "aibrix-console"}));
    assert_eq!(plan(&seen(std::slice::from_ref(&now), Some(&after))), Plan::default());
    // And back.
    let back = patched(&after, &plan(&seen(&[m("default", "d", 0)], Some(&after))));
    assert_eq!(back["spec"], before["spec"]);
    assert_eq!(back["metadata"]["annotations"], before["metadata"]["annotations"]);
    assert_eq!(back["metadata"]["labels"], json!({}));
}

#[test]
fn where_some_namespaces_are_watched_the_routes_of_others_are_left_alone() {
    let restricted = ModelRouteSettings { watched: ["default".to_owned()].into(), ..settings() };
    let (watched, elsewhere) = (m("default", "d", 0), m("elsewhere", "d", 0));
    for (owner, source, is_ours) in [
        (Some("aibrix-system"), &watched, true),
        (Some("aibrix-system"), &elsewhere, true),
        (Some("others"), &watched, false),
        (Some("others"), &elsewhere, false),
        (None, &watched, true),
        (None, &elsewhere, false),
    ] {
        let mut route = ours(source);
        let annotations = route["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.remove("model.aibrix.ai/route-owner");
        annotations.extend(owner.map(|owner| ("model.aibrix.ai/route-owner".to_owned(), json!(owner))));
        let gone = seen(&[], Some(&route));
        let steps = plan_route("m-router", &gone, &restricted).steps;
        assert_eq!(steps, if is_ours { vec![deleted()] } else { Vec::new() }, "{owner:?} {source:?}");
        assert_eq!(plan(&gone).steps, [deleted()], "everywhere, nobody else has our marker");
        let served = plan_route("m-router", &seen(std::slice::from_ref(&watched), Some(&route)), &restricted);
        assert_eq!(served.left_alone, (!is_ours).then_some(FOREIGN), "{owner:?} {source:?}");
        assert!(is_ours || served.steps.is_empty(), "{served:?}");
    }
}

#[test]
fn what_others_put_on_our_route_beside_our_things_stays() {
    let source = m("default", "d", 0);
    let mut route = ours(&source);
    route["metadata"]["labels"] = json!({"team": "a", "app.kubernetes.io/managed-by": "Helm"});
    route["metadata"]["annotations"]["note"] = json!("x");
    route["spec"]["rules"][0]["retry"] = json!({"attempts": 2});
    route["status"] = json!({"parents": []});
    assert_eq!(plan(&seen(std::slice::from_ref(&source), Some(&route))), Plan::default());
    route["spec"]["rules"][0]["backendRefs"][0]["port"] = json!(1);
    let repair = plan(&seen(&[source], Some(&route)));
    assert!(repair.repair);
    let [Step::PatchRoute { patch, .. }] = repair.steps.as_slice() else { panic!("{repair:?}") };
    assert_eq!(patch.as_object().unwrap().keys().collect::<Vec<_>>(), ["spec"]);
    assert_eq!(patch["spec"].as_object().unwrap().keys().collect::<Vec<_>>(), ["rules"]);
    let repaired = patched(&route, &repair);
    assert_eq!(repaired["spec"]["rules"][0]["retry"], json!({"attempts": 2}));
    assert_eq!(repaired["spec"]["rules"][0]["backendRefs"][0]["port"], 8000);
}

#[test]
fn a_route_as_we_would_make_it_is_adopted_by_the_marker_alone() {
    let source = m("default", "d", 0);
    let mut route = ours(&source);
    let marker = route["metadata"].as_object_mut().unwrap().remove("annotations").unwrap();
    let plan = plan(&seen(std::slice::from_ref(&source), Some(&route)));
    let [Step::PatchRoute { patch, .. }] = plan.steps.as_slice() else { panic!("{plan:?}") };
    assert_eq!(*patch, json!({"metadata": {"annotations": marker}}));
    assert!(!plan.repair);
}

#[test]
fn another_route_of_the_name_is_left_alone_whatever_it_differs_in() {
    let source = m("default", "d", 0);
    let mut equal = ours(&source);
    equal["metadata"].as_object_mut().unwrap().remove("annotations");
    let edit = |place: &str, value: Value| {
        let mut route = equal.clone();
        *route.pointer_mut(place).unwrap() = value;
        route
    };
    for route in [
        hand_written("m-router", "m"),
        edit("/spec/rules/0/timeouts/request", json!("60s")),
        edit("/spec/rules/0/backendRefs/0/port", json!(1)),
        edit("/spec/rules/0/matches", json!([])),
    ] {
        let want = Plan { left_alone: Some(FOREIGN), ..Plan::default() };
        assert_eq!(plan(&seen(std::slice::from_ref(&source), Some(&route))), want, "{route}");
    }
}

#[test]
fn our_route_goes_with_the_last_workload_whoever_saw_it_go() {
    let route = ours(&m("default", "d", 0));
    for source_lost in [false, true] {
        let seen = RouteSnapshot { source_lost, ..seen(&[], Some(&route)) };
        assert_eq!(plan(&seen).steps, [deleted()]);
    }
}

#[test]
fn a_route_that_is_not_ours_goes_only_when_a_workload_is_seen_to_go_and_it_has_the_shape() {
    let good = hand_written("m-router", "m");
    let mut case = good.clone();
    case["spec"]["rules"][0]["matches"][0]["headers"][0]["name"] = json!("Model");
    let mut relative = good.clone();
    relative["spec"]["parentRefs"] = json!([{"name": "aibrix-eg"}]);
    for route in [&good, &case, &relative] {
        assert_eq!(plan(&seen(&[], Some(route))).steps, [], "a start is no reason");
        let lost = RouteSnapshot { source_lost: true, ..seen(&[], Some(route)) };
        assert_eq!(plan(&lost).steps, [deleted()]);
        let lost = RouteSnapshot { source_lost: true, ..seen(&[m("default", "d", 0)], Some(route)) };
        assert_eq!(plan(&lost).steps, [], "another one still serves the model");
    }
    for (place, value) in [
        ("/spec/parentRefs", json!([])),
        ("/spec/parentRefs", json!([{"name": "aibrix-eg"}, {"name": "b"}])),
        ("/spec/parentRefs/0/name", json!("other")),
        ("/spec/parentRefs/0/namespace", json!("other")),
        ("/spec/rules", json!([])),
        ("/spec/rules", json!([good["spec"]["rules"][0], good["spec"]["rules"][0]])),
        ("/spec/rules/0/matches", json!([])),
        ("/spec/rules/0/matches/0/headers", json!([])),
        ("/spec/rules/0/matches/0/headers/0/value", json!("n")),
        ("/spec/rules/0/matches/0/headers/0/name", json!("x")),
        ("/spec/rules/0/matches/0/headers/0/type", json!("RegularExpression")),
        (
            "/spec/rules/0/matches/0/headers",
            json!([{"name": "model", "value": "m"}, {"name": "b", "value": "c"}]),
        ),
    ] {
        let mut route = good.clone();
        *route.pointer_mut(place).unwrap() = value;
        let lost = RouteSnapshot { source_lost: true, ..seen(&[], Some(&route)) };
        assert_eq!(plan(&lost).steps, [], "{route}");
    }
}

#[test]
fn a_route_leads_to_the_oldest_and_stays_where_it_leads() {
    let (old, new) = (m("a", "d", 1), m("b", "d", 2));
    let both = [new.clone(), old.clone()];
    let plan_for = |sources: &[Source], route: Option<&Value>| plan(&seen(sources, route));
    let made = plan_for(&both, None);
    assert_eq!(made.steps, [Step::CreateRoute(Wanted::of(&old, &settings()).unwrap().object())]);
    assert_eq!(plan_for(&both, Some(&ours(&new))), Plan::default(), "not the oldest, but it leads there");
    // The one that it leads to goes.
    let moved = patched(&ours(&old), &plan_for(std::slice::from_ref(&new), Some(&ours(&old))));
    assert_eq!(moved["spec"], ours(&new)["spec"]);
    // Of several behind one Service the oldest counts.
    let mut cheap = workload("a", "e", "m", 0);
    cheap["metadata"]["labels"]["model.aibrix.ai/port"] = json!("9000");
    let older = deployment(&cheap);
    let after = patched(&ours(&old), &plan_for(&[old.clone(), older.clone()], Some(&ours(&old))));
    assert_eq!(after["spec"], ours(&older)["spec"]);
}

#[test]
fn of_one_age_kind_namespace_and_name_decide() {
    let object = |ns: &str, name: &str| workload(ns, name, "m", 0);
    let kinds = SourceKind::ALL.map(|kind| of_kind(kind, &object("a", "a")));
    let order = [
        kinds[0].clone(),
        deployment(&object("a", "b")),
        deployment(&object("b", "a")),
        kinds[1].clone(),
        kinds[2].clone(),
        kinds[3].clone(),
    ];
    let mut sorted = order.to_vec();
    sorted.reverse();
    sorted.sort_by(|one, other| one.age().cmp(&other.age()));
    assert_eq!(sorted, order);
    let names = SourceKind::ALL.map(|kind| kind.kind().kind);
    assert!(names.is_sorted(), "{names:?}");
}

#[test]
fn what_cannot_be_seen_takes_no_route_with_it() {
    let fleet = of_kind(SourceKind::RayClusterFleet, &workload("a", "f", "m", 0));
    let route = ours(&fleet);
    let out = |sources: &[Source]| RouteSnapshot {
        origin_in_sight: false,
        source_lost: true,
        last_use_of: Some(seen_grant("a")),
        ..seen(sources, Some(&route))
    };
    let left = Plan { left_alone: Some(OUT_OF_SIGHT), ..Plan::default() };
    assert_eq!(plan(&out(&[])), left);
    assert_eq!(plan(&out(&[m("b", "d", 0)])), left, "nor is it led elsewhere");
    // A workload behind the same Service is as good.
    let beside = with_service("a", "d", "m", 5);
    assert_eq!(patched(&route, &plan(&out(std::slice::from_ref(&beside))))["spec"], ours(&beside)["spec"]);
    // In sight again, and gone.
    let back = RouteSnapshot { origin_in_sight: true, ..out(&[]) };
    assert_eq!(plan(&back).steps.last(), Some(&deleted()));
}

#[test]
fn reserved_routes_are_nobodys() {
    for name in ["aibrix-reserved-router", "aibrix-reserved-router-metadata-endpoint"] {
        let source = deployment(&workload("default", "d", "aibrix-reserved", 0));
        let mut route = hand_written(name, "aibrix-reserved");
        for marked in [false, true] {
            if marked {
                route["metadata"]["annotations"] = json!({HASH: "x.Deployment"});
            }
            for sources in [vec![], vec![source.clone()]] {
                for route in [None, Some(&route)] {
                    let seen = RouteSnapshot { source_lost: true, ..seen(&sources, route) };
                    let plan = plan_route(name, &seen, &settings());
                    assert_eq!(plan.steps, []);
                    assert_eq!(plan.left_alone.is_some(), !sources.is_empty());
                    assert!(plan.left_alone.is_none_or(|why| why == RESERVED));
                }
            }
        }
    }
}

#[test]
fn a_route_that_is_being_deleted_is_waited_for() {
    let source = m("default", "d", 0);
    let mut route = ours(&source);
    route["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    route["spec"]["rules"] = json!([]);
    assert_eq!(plan(&seen(&[source], Some(&route))), Plan::default());
    assert_eq!(plan(&seen(&[], Some(&route))), Plan::default());
}

#[test]
fn the_grant_goes_before_the_route_that_tells_a_restart_about_it() {
    let route = ours(&m("a", "d", 0));
    let grant = Step::DeleteGrant {
        namespace: "a".to_owned(),
        name: "aibrix-system-reserved-referencegrant-in-a".to_owned(),
        uid: "uid-a".to_owned(),
    };
    let last = |sources: &[Source]| RouteSnapshot {
        last_use_of: Some(seen_grant("a")),
        ..seen(sources, Some(&route))
    };
    assert_eq!(plan(&last(&[])).steps, [grant.clone(), deleted()]);
    let moved = plan(&last(&[m("b", "d", 0)])).steps;
    assert!(moved.len() == 2 && moved[0] == grant, "{moved:?}");
    // Another Service of the same namespace.
    let moved = plan(&last(&[with_service("a", "d", "s", 0)])).steps;
    assert!(matches!(moved.as_slice(), [Step::PatchRoute { .. }]), "{moved:?}");
}

#[test]
fn bad_metadata_is_told_once_and_not_again_by_a_repair() {
    let mut object = workload("default", "d", "m", 0);
    object["metadata"]["labels"]["model.aibrix.ai/port"] = json!("abc");
    let source = deployment(&object);
    let sources = std::slice::from_ref(&source);
    let made = plan(&seen(sources, None));
    let [event] = made.events.as_slice() else { panic!("{made:?}") };
    assert_eq!((event.reason.as_str(), event.severity.name()), ("InvalidRouteConfig", "Warning"));
    assert!(event.message.contains("model.aibrix.ai/port=\"abc\""), "{}", event.message);
    let about = &event.regarding;
    assert_eq!((about.kind.as_deref(), about.name.as_deref()), (Some("Deployment"), Some("d")));
    assert_eq!(about.uid.as_deref(), Some("uid-default-d"));
    let mut route = ours(&source);
    assert!(plan(&seen(sources, Some(&route))).events.is_empty());
    route["spec"]["rules"][0]["timeouts"]["request"] = json!("1s");
    let repair = plan(&seen(sources, Some(&route)));
    assert!(repair.repair && repair.events.is_empty());
    // It was good, and is bad now: the route stays the same but for its marker.
    let was = ours(&m("default", "d", 0));
    let now = plan(&seen(sources, Some(&was)));
    assert_eq!(now.events.len(), 1);
    assert_eq!(patched(&was, &now)["spec"], was["spec"]);
}

#[test]
fn a_grant_is_made_for_every_namespace_with_a_workload() {
    for bits in 0..16_u8 {
        let [needed, used, source_lost, there] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
        let grant = there.then(|| seen_grant("a"));
        let seen = GrantSnapshot { namespace: "a".to_owned(), needed, used, source_lost, grant };
        let steps = plan_grant(&seen, &settings());
        match steps.steps.as_slice() {
            [Step::CreateGrant(grant)] => {
                assert!(needed && !there);
                assert_eq!(grant["metadata"]["namespace"], "a");
            }
            [Step::DeleteGrant { uid, .. }] => {
                assert_eq!(uid, "uid-a");
                assert!(there && !needed && !used && source_lost, "{seen:?}");
            }
            [] => assert!(if there { needed || used || !source_lost } else { !needed }, "{seen:?}"),
            other => panic!("{other:?}"),
        }
    }
}

// scenario: hardening 40
#[test]
fn a_grant_admits_our_routes_and_whomever_else_it_admits() {
    let ours =
        json!({"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "aibrix-system"});
    let services = json!({"group": "", "kind": "Service"});
    let elsewhere = json!({"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "envoy"});
    let other_kind =
        json!({"group": "gateway.networking.k8s.io", "kind": "SecurityPolicy", "namespace": "aibrix-system"});
    let one = json!({"group": "", "kind": "Service", "name": "mine"});
    for (from, to) in [
        (vec![&elsewhere], vec![&services]),
        (vec![&other_kind], vec![&services]),
        (vec![&ours, &elsewhere], vec![&one]),
        (vec![], vec![]),
    ] {
        let mut grant = (*seen_grant("a")).clone();
        (grant.from, grant.to) =
            (from.iter().map(|it| (*it).clone()).collect(), to.iter().map(|it| (*it).clone()).collect());
        let mut seen = GrantSnapshot {
            namespace: "a".to_owned(),
            needed: true,
            used: true,
            source_lost: false,
            grant: Some(Arc::new(grant.clone())),
        };
        let plan = plan_grant(&seen, &settings());
        let [Step::PatchGrant { version, patch, .. }] = plan.steps.as_slice() else { panic!("{plan:?}") };
        assert_eq!((version.as_str(), plan.repair), ("3", true));
        for (field, list, ours) in [("from", &mut grant.from, &ours), ("to", &mut grant.to, &services)] {
            if let Some(patched) = patch["spec"][field].as_array() {
                assert_eq!(patched[..list.len()], list[..], "what others wrote stays");
                list.clone_from(patched);
            }
            assert!(list.contains(ours), "{field}: {list:?}");
        }
        seen.grant = Some(Arc::new(grant.clone()));
        assert_eq!(plan_grant(&seen, &settings()), Plan::default());
        // When nobody serves a model there any more, only what is ours goes.
        (seen.needed, seen.used, seen.source_lost) = (false, false, true);
        let others: Vec<&Value> = grant.from.iter().filter(|it| **it != ours).collect();
        match plan_grant(&seen, &settings()).steps.as_slice() {
            [Step::DeleteGrant { .. }] => assert!(others.is_empty()),
            [Step::PatchGrant { patch, .. }] => assert_eq!(patch["spec"]["from"], json!(others)),
            steps => panic!("{steps:?}"),
        }
    }
}

// scenario: hardening 48
#[test]
fn routes_of_a_former_gateway_go_once_their_successors_are_accepted() {
    let source = m("default", "d", 0);
    let sources = std::slice::from_ref(&source);
    let made = |owner: Option<&str>, namespace: &str| {
        let mut route = ours(&source);
        route["metadata"]["namespace"] = json!(namespace);
        let annotations = route["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.remove("model.aibrix.ai/route-owner");
        annotations.extend(owner.map(|owner| ("model.aibrix.ai/route-owner".to_owned(), json!(owner))));
        let object = serde_json::from_value(route).unwrap();
        Arc::new(MadeRoute::keep(object, &Interner::new()))
    };
    let left = made(Some("aibrix-system"), "old-gateway");
    assert!(left.is_left(&settings()));
    for other in [
        made(Some("aibrix-system"), "aibrix-system"),
        made(Some("another-installation"), "old-gateway"),
        made(None, "old-gateway"),
    ] {
        assert!(!other.is_left(&settings()), "{other:?}");
    }
    let gone = Step::DeleteLeft {
        namespace: "old-gateway".to_owned(),
        name: "m-router".to_owned(),
        uid: "uid-m-router".to_owned(),
    };
    let seen = |route: Option<&Value>, sources: &[Source]| RouteSnapshot {
        left: vec![Arc::clone(&left)],
        ..seen(sources, route)
    };
    let mut route = ours(&source);
    assert!(matches!(plan(&seen(None, sources)).steps.as_slice(), [Step::CreateRoute(_)]));
    assert_eq!(plan(&seen(Some(&route), sources)).steps, []);
    let said = |status: &str| json!({"parents": [{"conditions": [{"type": "Accepted", "status": status}]}]});
    route["status"] = said("False");
    assert_eq!(plan(&seen(Some(&route), sources)).steps, []);
    route["status"] = said("True");
    assert_eq!(plan(&seen(Some(&route), sources)).steps, std::slice::from_ref(&gone));
    // With its last workload, nothing follows it.
    assert_eq!(plan(&seen(None, &[])).steps, [gone]);
}
