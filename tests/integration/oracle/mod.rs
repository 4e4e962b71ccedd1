// SPDX-License-Identifier: Apache-2.0
//! The oracle on doctored audit logs: it must find each kind of violation, and nothing else.

mod older;
mod preconditions;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use aibrix_controller_manager::testkit::fake_engine::{Effect, journal};
use serde_json::{Value, json};

use crate::support::{
    audit::{AuditLog, Caller},
    doctored::{A, B, LEASE, Story, time, user_agent},
    doubles::{children_made, made_twice},
    engines::{Asked, asked_without_lease, placed_twice},
    leases::{self, notice},
    takes::{gave_it_away, was_there},
    write_gaps::holder_at,
};

#[test]
fn holder_may_write_from_the_moment_it_wins_until_its_lease_runs_out() {
    let story = Story::default().lease(0.0, A).write(0.5, A).lease(5.0, A).write(19.9, A);
    story.verdict().assert_clean();
    assert_eq!(story.verdict().judged, 2);
}

#[test]
fn write_before_the_first_term_is_found() {
    let found = Story::default().write(0.0, A).lease(1.0, A).verdict();
    assert_eq!(found.violations.len(), 1);
    assert_eq!(found.violations[0].reason, "it had never held the Lease");
}

#[test]
fn write_after_the_lease_ran_out_is_found_also_when_nobody_else_took_it() {
    assert_eq!(Story::default().lease(0.0, A).write(15.1, A).violations(), 1);
}

#[test]
fn frozen_holder_that_writes_after_a_take_over_is_found() {
    let story = Story::default().lease(0.0, A).lease(16.0, B).write(17.0, A).write(17.0, B);
    let found = story.verdict();
    assert_eq!(found.violations.len(), 1);
    assert!(found.violations[0].entry.is_by("kv-cache-controller"));
    assert_eq!(found.violations[0].entry.caller.as_ref().map(|it| it.identity.as_str()), Some(A));
}

#[test]
fn holder_that_writes_after_its_own_release_is_found_at_once() {
    let story = Story::default().lease(0.0, A).release(3.0, A).write(3.5, A);
    assert_eq!(story.violations(), 1);
    assert!(story.verdict().in_notice.is_empty(), "it knew");
}

#[test]
fn bystander_that_writes_while_another_leads_is_found() {
    assert_eq!(Story::default().lease(0.0, A).write(1.0, B).violations(), 1);
}

#[test]
fn refused_write_without_a_lease_is_a_violation_as_well() {
    let refused = Story::default().lease(0.0, A).line(
        1.0,
        "create",
        &user_agent(B),
        ("", "pods", "web-1"),
        (403, &Value::Null),
    );
    assert_eq!(refused.violations(), 1);
}

#[test]
fn robbed_holder_has_a_moment_to_learn_of_it_and_not_longer() {
    for rob in [Story::rob as fn(Story, f64, &str) -> Story, |story, at, _| story.delete_lease(at)] {
        let soon = rob(Story::default().lease(0.0, A), 2.0, "thief_x").write(3.0, A);
        assert_eq!((soon.violations(), soon.verdict().in_notice.len()), (0, 1));
        let end = 2.2 + notice(Duration::from_secs(15)).as_secs_f64();
        let late = rob(Story::default().lease(0.0, A), 2.0, "thief_x").write(end, A);
        assert_eq!((late.violations(), late.verdict().in_notice.len()), (0, 0));
        assert_eq!(late.verdict().unheard.len(), 1, "right only for one that was cut off");
        let over = rob(Story::default().lease(0.0, A), 2.0, "thief_x").write(15.1, A);
        assert_eq!((over.violations(), over.verdict().unheard.len()), (1, 0), "its own term is over");
        let taken = rob(Story::default().lease(0.0, A), 2.0, "thief_x").lease(end - 0.1, B).write(end, A);
        assert_eq!((taken.violations(), taken.verdict().unheard.len()), (1, 0), "somebody else leads");
    }
}

#[test]
#[should_panic(expected = "long after a robbery")]
fn verdict_with_a_robbed_holder_that_goes_on_does_not_pass_as_clean() {
    Story::default().lease(0.0, A).delete_lease(1.0).write(0.5, A).write(12.0, A).verdict().assert_clean();
}

#[test]
fn second_term_of_the_same_process_counts_from_its_own_beginning() {
    let story = Story::default().lease(0.0, A).release(3.0, A).lease(60.0, A);
    assert_eq!(story.write(30.0, A).write(61.0, A).violations(), 1);
}

#[test]
fn event_about_the_end_of_a_term_is_not_judged() {
    let event = format!("{LEASE}.17a1b2c3");
    let story = Story::default().lease(0.0, A).release(3.0, A).line(
        3.2,
        "create",
        &user_agent(A),
        ("", "events", &event),
        (201, &Value::Null),
    );
    assert_eq!(story.verdict().judged, 0);
}

#[test]
fn change_in_the_name_of_the_process_needs_no_lease() {
    let agent = user_agent(A).replace("kv-cache-controller", "certificates");
    let story = Story::default().line(0.0, "update", &agent, ("", "secrets", "cert"), (200, &Value::Null));
    let found = story.verdict();
    assert_eq!((found.judged, found.violations.len(), found.by_processes.len()), (0, 0, 1));
}

#[test]
#[should_panic(expected = "no controller changed anything")]
fn verdict_about_nothing_does_not_pass_as_clean() {
    Story::default().lease(0.0, A).verdict().assert_clean();
}

#[test]
fn gap_without_a_leader_is_as_long_as_nobody_held_the_lease() {
    let story = Story::default().lease(0.0, A).release(3.0, A).lease(3.4, B).lease(8.0, B).lease(30.0, A);
    let history = leases::history(&story.entries());
    let changes = history.values().next().expect("one Lease");
    let gaps: Vec<_> = leases::gaps(changes, time(0.0), time(31.0)).iter().map(Duration::as_millis).collect();
    assert_eq!(gaps, [7_000, 400]);
}

#[test]
fn lease_taken_while_another_still_holds_it_is_found() {
    let early = Story::default().lease(0.0, A).lease(5.0, A).lease(19.9, B).takes();
    assert_eq!((early.len(), early[0].from.as_str(), early[0].by.as_str()), (1, A, B));
    assert!(early[0].by_ours && early[0].edited.is_none());
    assert_eq!(Story::default().lease(0.0, A).lease(5.0, A).lease(20.1, B).takes(), []);
    assert_eq!(Story::default().lease(0.0, A).release(5.0, A).lease(5.1, B).takes(), []);
}

#[test]
fn lease_that_somebody_deleted_or_edited_is_still_its_holders() {
    let taken = Story::default().lease(0.0, A).delete_lease(1.0).lease(2.0, B).takes();
    assert_eq!(taken.iter().map(|it| it.edited).collect::<Vec<_>>(), [Some(time(1.0))]);
    assert_eq!(Story::default().lease(0.0, A).delete_lease(1.0).lease(15.1, B).takes(), []);
    let edited = |seconds| Story::default().lease(0.0, A).lease_by(1.0, A, seconds, "kubectl/v1.36.3");
    assert_eq!(edited(1).lease(3.0, B).takes().len(), 1, "an edit does not shorten a term");
    assert_eq!(edited(100_000).lease(15.1, B).takes(), [], "nor does it lengthen one");
}

#[test]
fn theft_by_a_stranger_is_told_from_one_of_ours() {
    let takes = Story::default().lease(0.0, A).rob(1.0, "thief_x").lease(3.0, A).takes();
    assert_eq!(takes.iter().map(|it| it.by_ours).collect::<Vec<_>>(), [false, true]);
    let renewed = Story::default().rob(0.0, "thief_x").rob(10.0, "thief_x").lease(16.0, A).takes();
    assert_eq!(renewed.len(), 1, "a stranger's renewals count");
}

#[test]
fn release_that_the_server_stored_and_answered_with_an_error_is_no_theft() {
    let lost = |code| {
        let lease = json!({"metadata": {"name": LEASE}});
        let mut story = Story::default().lease(0.0, A);
        story = story.line(
            5.0,
            "patch",
            &user_agent(A),
            ("coordination.k8s.io", "leases", LEASE),
            (code, &lease),
        );
        story.asks(&json!({"spec": {"holderIdentity": null}})).lease(6.0, B)
    };
    let story = lost(504);
    assert_eq!(story.takes().len(), 1, "the history knows of no release");
    let in_term = (time(0.0), time(6.0));
    assert!(gave_it_away(A, LEASE, &story.entries(), in_term));
    assert!(!gave_it_away(B, LEASE, &story.entries(), in_term), "it was not asked for by the taker");
    assert!(!gave_it_away(A, "another", &story.entries(), in_term));
    assert!(!gave_it_away(A, LEASE, &story.entries(), (time(0.0), time(4.0))), "nor before that");
    assert!(!gave_it_away(A, LEASE, &lost(409).entries(), in_term), "a refusal stores nothing");
    let renewed = Story::default().lease(0.0, A).lease_by(5.0, A, 15, &user_agent(A));
    assert!(!gave_it_away(A, LEASE, &renewed.entries(), in_term), "a renewal is no release");
}

#[test]
fn who_came_after_an_edit_cannot_have_seen_the_holder() {
    let entries = Story::default().lease(0.0, A).write(5.0, B).entries();
    assert!(was_there(B, time(7.0), &entries));
    assert!(!was_there(B, time(5.5), &entries), "it had just started");
    assert!(!was_there(B, time(4.0), &entries));
    assert!(!was_there("nobody", time(9.0), &entries));
}

#[test]
fn silence_of_a_lease_is_as_long_as_no_holder_wrote_it() {
    let story = Story::default().lease(0.0, A).lease(5.0, A).lease(22.5, B).release(23.0, B).lease(24.0, A);
    assert_eq!(story.write_gaps(&[]), [5_000, 17_500, 1_500], "a release is no sign of a leader");
    let edited = Story::default().lease(0.0, A).lease_by(9.0, A, 15, "kubectl/v1.36.3").lease(18.0, B);
    assert_eq!(edited.write_gaps(&[]), [9_000], "whoever watches waits for a whole duration after an edit");
}

#[test]
fn only_what_nobody_could_help_is_excused_and_only_once() {
    let story = Story::default().lease(0.0, A).lease(30.0, B);
    assert_eq!(story.write_gaps(&[(5.0, 15.0)]), [20_000]);
    assert_eq!(story.write_gaps(&[(5.0, 15.0), (10.0, 20.0), (40.0, 50.0)]), [15_000], "they overlap");
}

#[test]
fn lease_that_nobody_holds_in_the_end_is_found() {
    let story = Story::default().lease(0.0, A).lease(5.0, A);
    assert_eq!(holder_at(&story.changes(), time(19.0)).as_deref(), Some(A));
    assert_eq!(holder_at(&story.changes(), time(21.0)), None, "expired");
    assert_eq!(holder_at(&story.release(6.0, A).changes(), time(7.0)), None, "released");
}

#[test]
fn child_that_is_made_again_by_a_successor_is_found() {
    let story = Story::default().lease(0.0, A).child(1.0, A, "p-1", 1).child(1.1, A, "p-1", 2);
    let story = story.child(1.2, A, "p-2", 3).lease(16.0, B);
    assert_eq!((made_twice(&story.entries(), 2), children_made(&story.entries())), (Vec::new(), 3));
    let doubled = made_twice(&story.child(17.0, B, "p-1", 4).entries(), 2);
    assert_eq!(doubled.len(), 1);
    assert_eq!((doubled[0].parent.as_str(), doubled[0].made), ("p-1", 3));
    assert_eq!(doubled[0].by, [A, A, B], "it says who");
}

#[test]
fn adapter_that_a_deposed_leader_loads_is_found() {
    let changes = Story::default().lease(0.0, A).lease(16.0, B).changes();
    let agent = |identity: &str| user_agent(identity).replace("kv-cache-controller", "engines");
    let ask = |at, identity, method, path| Asked::of(time(at), &agent(identity), method, path);
    let load = |at, identity| ask(at, identity, "POST", "/v1/load_lora_adapter").expect("a change");
    let asked = [load(1.0, A), load(17.0, B), load(17.0, A), load(14.9, B)];
    let found = asked_without_lease(&asked, &changes);
    assert_eq!(found, [&asked[2], &asked[3]], "after its term, and before its term");
    assert_eq!(ask(17.0, A, "GET", "/v1/models"), None, "a look changes nothing");
    assert_eq!(Asked::of(time(1.0), "curl/8", "POST", "/v1/load_lora_adapter"), None, "nobody of ours");
}

#[test]
fn adapter_that_is_wanted_once_and_loaded_on_two_living_pods_is_found() {
    let [first, second] = ["10.244.0.1", "10.244.0.2"].map(|it| it.parse::<IpAddr>().expect("an address"));
    let did = |at, pod, effect: fn(String) -> Effect, name: &str| journal::Entry {
        at: time(at),
        pod,
        port: 8000,
        method: "POST".to_owned(),
        path: "/v1/load_lora_adapter".to_owned(),
        headers: BTreeMap::new(),
        body: Some(String::new()),
        effect: Some(effect(name.to_owned())),
        status: Some(200),
    };
    let twice = |journal: &[journal::Entry], deaths: &[(IpAddr, f64)]| {
        let deaths = deaths.iter().map(|(pod, at)| (*pod, time(*at))).collect();
        placed_twice(journal, |name| name.starts_with("one"), &deaths).len()
    };
    let moved = [did(1.0, first, Effect::Loaded, "one"), did(2.0, second, Effect::Loaded, "one")];
    assert_eq!(twice(&moved, &[]), 1);
    assert_eq!(twice(&moved, &[(first, 1.5)]), 0, "the first pod has died");
    assert_eq!(twice(&moved, &[(first, 2.5)]), 1, "it died later");
    let mut unloaded = moved.to_vec();
    unloaded.insert(1, did(1.5, first, Effect::Unloaded, "one"));
    assert_eq!(twice(&unloaded, &[]), 0);
    let other = moved.map(|it| journal::Entry { effect: Some(Effect::Loaded("all".to_owned())), ..it });
    assert_eq!(twice(&other, &[]), 0, "wanted on all pods");
}

#[test]
fn user_agent_names_controller_and_process() {
    let agent = "aibrix-controller-manager/v0.1.0 (linux/arm64) pod-autoscaler-controller/web-0_1/2";
    let caller = Caller::parse(agent).expect("one of ours");
    assert_eq!(
        (caller.controller.as_str(), caller.identity.as_str()),
        ("pod-autoscaler-controller", "web-0_1/2")
    );
    for foreign in ["kubectl/v1.36.3 (linux/amd64) kubernetes/abc", "", "aibrix-controller-manager/v1"] {
        assert_eq!(Caller::parse(foreign), None, "{foreign}");
    }
}

#[test]
fn log_is_read_in_pieces_as_it_grows() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("audit.log");
    let mut log = AuditLog::open(path.clone());
    assert!(log.entries().is_empty(), "the file does not exist yet");
    let story = Story::default().lease(0.0, A).write(1.0, A);
    let (first, second) = (&story.lines[0], &story.lines[1]);
    let (head, tail) = second.split_at(second.len() / 2);
    std::fs::write(&path, format!("{first}\n{head}")).expect("write");
    let mark = log.mark();
    assert_eq!(mark, 1, "half a line is none");
    std::fs::write(&path, format!("{first}\n{head}{tail}\n")).expect("write");
    assert_eq!(log.since(mark).len(), 1);
}
