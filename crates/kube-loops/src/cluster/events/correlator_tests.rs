// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;

use kube_fenced_election::clock::{Clock, Instant, SystemClock};

use super::{
    correlator::{Correlator, Verdict},
    draft::{EventDraft, Severity},
};

fn draft(message: &str) -> EventDraft {
    let regarding = ObjectReference {
        kind: Some("PodAutoscaler".into()),
        name: Some("web".into()),
        namespace: Some("prod".into()),
        uid: Some("u1".into()),
        ..ObjectReference::default()
    };
    EventDraft { severity: Severity::Normal, reason: "Rescaled".into(), message: message.into(), regarding }
}

fn send(correlator: &mut Correlator, message: &str, now: Instant) -> Verdict {
    let verdict = correlator.judge(&draft(message), now);
    if let Verdict::Create { key, .. } = &verdict {
        correlator.created(key.clone(), format!("web.{message}"), now);
    }
    verdict
}

fn start() -> Instant {
    SystemClock.instant()
}

#[test]
fn the_same_event_again_is_counted_up() {
    let mut correlator = Correlator::default();
    assert!(matches!(send(&mut correlator, "a", start()), Verdict::Create { .. }));
    for want in 2..5 {
        let verdict = send(&mut correlator, "a", start());
        let Verdict::CountUp { name, count, .. } = verdict else { panic!("{verdict:?}") };
        assert_eq!((name.as_str(), count), ("web.a", want));
    }
}

#[test]
fn from_the_tenth_different_message_on_they_are_combined() {
    let mut correlator = Correlator::default();
    for n in 0..9 {
        let verdict = send(&mut correlator, &format!("m{n}"), start());
        assert!(
            matches!(&verdict, Verdict::Create { message, .. } if *message == format!("m{n}")),
            "{verdict:?}"
        );
    }
    let verdict = send(&mut correlator, "m9", start());
    let Verdict::Create { message, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(message, "(combined from similar events): m9");
    let verdict = send(&mut correlator, "m10", start());
    let Verdict::CountUp { message, count, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!((message.as_str(), count), ("(combined from similar events): m10", 2));
}

#[test]
fn messages_of_ten_minutes_ago_are_not_alike_any_more() {
    let mut correlator = Correlator::default();
    for n in 0..9 {
        send(&mut correlator, &format!("m{n}"), start());
    }
    let verdict = send(&mut correlator, "m9", start() + Duration::from_secs(601));
    assert!(matches!(&verdict, Verdict::Create { message, .. } if message == "m9"), "{verdict:?}");
}

#[test]
fn an_object_causes_at_most_twenty_five_events_at_once_and_one_more_each_five_minutes() {
    let mut correlator = Correlator::default();
    let begin = start();
    for _ in 0..25 {
        assert_ne!(send(&mut correlator, "a", begin), Verdict::Drop);
    }
    assert_eq!(send(&mut correlator, "a", begin), Verdict::Drop);
    assert_ne!(send(&mut correlator, "a", begin + Duration::from_secs(301)), Verdict::Drop);
    assert_eq!(send(&mut correlator, "a", begin + Duration::from_secs(301)), Verdict::Drop);
}

#[test]
fn an_event_that_is_gone_is_created_again() {
    let mut correlator = Correlator::default();
    send(&mut correlator, "a", start());
    let Verdict::CountUp { key, .. } = send(&mut correlator, "a", start()) else { panic!("counted up") };
    correlator.gone(&key);
    assert!(matches!(send(&mut correlator, "a", start()), Verdict::Create { .. }));
}

#[test]
fn a_long_message_is_cut_on_a_character_boundary() {
    let fitting = draft(&"ä".repeat(600)).fitting();
    assert_eq!(fitting.message, format!("{}...", "ä".repeat(510)));
}
