// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use serde_json::{Value, json};

use super::{
    annotations::parse_parameters,
    bounds,
    cases::{at, pa, ready_pods, unread},
    contest::{Attempt, Contest, in_words, other_writer},
    hpa::build_hpa,
    plan::plan,
    snapshot::{HpaSeen, Snapshot},
    state::State,
    status::conclude,
    steps::Step,
    world::{World, scale_of},
};
use kube_loops::runtime::steps::StepOutcome;

/// Looks each second for so long at an object that says `of(second)`, and writes `4` when it is not there; answers
/// when.
fn writes(
    contest: &mut Contest,
    seconds: std::ops::Range<i64>,
    of: impl Fn(Option<i64>, i64) -> bool,
) -> Vec<i64> {
    let mut sent: Vec<i64> = Vec::new();
    for second in seconds {
        let is_kept = of(sent.last().copied(), second);
        contest.look(at(second), "kubectl", |_| is_kept);
        if is_kept {
            contest.rest(at(second));
        } else if contest.attempt(at(second), "4", "v") == Attempt::Now {
            contest.wrote(at(second), "4".to_owned());
            sent.push(second);
        }
    }
    sent
}

#[test]
fn writes_that_somebody_undoes_each_five_seconds_become_rarer_up_to_five_minutes() {
    let mut contest = Contest::default();
    let undone = |last: Option<i64>, now: i64| last.is_some_and(|last| now < last + 5);
    let sent = writes(&mut contest, 0..2000, undone);
    let distances: Vec<i64> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(distances[..6], [5, 20, 40, 80, 160, 300], "{sent:?}");
    assert!(distances[6..].iter().all(|distance| *distance == 300), "{sent:?}");
    assert_eq!(contest.undone_by(), Some("kubectl"));
}

#[test]
fn a_write_that_lasts_a_minute_ends_it() {
    let mut contest = Contest::default();
    let undone = |last: Option<i64>, now: i64| last.is_some_and(|last| now < last + 5 || last > 20);
    let sent = writes(&mut contest, 0..200, undone);
    assert_eq!(sent, [0, 5, 25]);
    assert_eq!(contest, Contest::default());
}

#[test]
fn what_is_changed_back_now_and_then_is_written_at_once() {
    let mut contest = Contest::default();
    let sent = writes(&mut contest, 0..1000, |last, now| last.is_some_and(|last| now < last + 180));
    assert_eq!(sent, [0, 180, 360, 540, 720, 900]);
    assert_eq!(contest.undone_by(), None);
}

#[test]
fn what_two_others_change_one_after_the_other_is_written_at_once() {
    let mut contest = Contest::default();
    for (second, by) in [(0, "kubectl"), (5, "somebody who deletes it"), (10, "kubectl")] {
        contest.wrote(at(second), "4".to_owned());
        contest.look(at(second + 1), by, |_| false);
        assert_eq!((contest.attempt(at(second + 1), "4", "v"), contest.undone_by()), (Attempt::Now, None));
    }
}

#[test]
fn whoever_comes_to_want_the_same_ends_it_too() {
    let mut contest = Contest::default();
    writes(&mut contest, 0..100, |last, now| last.is_some_and(|last| now < last + 5));
    assert!(contest.undone_by().is_some());
    // Undone once more, and then as we want it without our doing.
    contest.look(at(100), "kubectl", |_| false);
    contest.rest(at(101));
    assert!(contest.undone_by().is_some());
    contest.rest(at(1000));
    assert_eq!(contest, Contest::default());
}

#[test]
fn a_write_that_changes_nothing_waits_for_another_content_or_object() {
    let mut contest = Contest::default();
    contest.wrote_in_vain(at(0), "20".to_owned(), "v1".to_owned(), "a policy".to_owned());
    assert_eq!((contest.in_vain(), contest.undone_by()), (Some("a policy"), None));
    assert_eq!(contest.attempt(at(9999), "20", "v1"), Attempt::Never);
    assert_eq!(contest.attempt(at(1), "8", "v1"), Attempt::Now);
    assert_eq!(contest.attempt(at(1), "20", "v2"), Attempt::Now);
    // An object that changes all the time is not written all the time.
    contest.wrote_in_vain(at(1), "20".to_owned(), "v2".to_owned(), "a policy".to_owned());
    assert_eq!(contest.attempt(at(2), "20", "v3"), Attempt::Later);
    contest.wrote(at(30), "20".to_owned());
    assert_eq!(contest.in_vain(), None);
}

#[test]
fn the_last_of_the_others_is_named() {
    let entry = |manager: &str, second: i64, subresource: Option<&str>| ManagedFieldsEntry {
        manager: Some(manager.to_owned()),
        time: Some(Time(at(second))),
        subresource: subresource.map(str::to_owned),
        ..ManagedFieldsEntry::default()
    };
    let entries = [
        entry("kubectl", 1, None),
        entry("argocd-controller", 3, Some("scale")),
        entry("kube-controller-manager", 9, Some("status")),
        entry("manager", 8, None),
        entry("helm", 2, None),
    ];
    assert_eq!(other_writer(&entries, |_| true), Some("argocd-controller"));
    assert_eq!(other_writer(&entries, |it| it.subresource.is_none()), Some("helm"));
    assert_eq!(other_writer(&entries[3..4], |_| true), None);
    assert_eq!(in_words(Some("helm")), "field manager \"helm\"");
}

#[test]
fn replicas_that_somebody_resets_are_told_once_and_written_ever_more_rarely() {
    let mut world = World::new(pa(json!({"minReplicas": 4, "maxReplicas": 4})), 2);
    let (mut writes, mut events) = (Vec::new(), Vec::new());
    for _ in 0..12 {
        let second = world.second;
        let (plan, told) = world.round(vec![ready_pods(vec![Ok(10.0)])]);
        writes.extend(scale_of(&plan).map(|_| second));
        events.extend(told.events.into_iter().map(|event| event.reason));
        world.replicas = 2;
    }
    assert_eq!(writes, [0, 10, 30, 70]);
    let told = |reason: &str| events.iter().filter(|it| **it == reason).count();
    assert_eq!((told("WritesUndone"), told("SuccessfulRescale")), (1, 2), "{events:?}");
    let (status, reason, message) = world.condition("AbleToScale");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "WritesUndone"));
    assert!(message.starts_with("the replicas were changed by somebody"), "{message}");
}

#[test]
fn an_hpa_that_admission_changes_is_told_and_left_alone_until_the_spec_changes() {
    let mut seen: Snapshot = unread(pa(json!({"scalingStrategy": "HPA", "maxReplicas": 20})));
    let (bounds, _) = bounds::resolve(&seen.pa, at(0));
    let built = build_hpa(&seen.pa, &bounds, &parse_parameters(&seen.pa));
    let mut stored: Value = serde_json::to_value(built).unwrap();
    stored["spec"]["maxReplicas"] = json!(8);
    stored["metadata"]["resourceVersion"] = json!("5");
    seen.hpa = HpaSeen::Ours(Box::new(serde_json::from_value(stored).unwrap()));
    let first = plan(&seen, &State::default(), at(0));
    assert!(matches!(first.steps[..], [Step::PatchHpa { .. }]), "{:?}", first.steps);
    let concluded = conclude(&first, &[StepOutcome::InVain], at(0));
    let message = "a webhook or policy of the API server changes what is written to spec.maxReplicas";
    assert_eq!(concluded.events.iter().map(|event| &*event.message).collect::<Vec<_>>(), [message]);
    Arc::make_mut(&mut seen.pa).status.clone_from(&concluded.status);
    for minutes in 1..10 {
        let next = plan(&seen, &concluded.remember, at(60 * minutes));
        assert_eq!(next.steps, []);
        let next = conclude(&next, &[], at(60 * minutes));
        assert_eq!((next.status, next.events), (concluded.status.clone(), Vec::new()));
    }
    Arc::make_mut(&mut seen.pa).spec.max_replicas = 8;
    let last = plan(&seen, &concluded.remember, at(0));
    assert_eq!(last.steps, [], "it is as it is asked for now");
}
