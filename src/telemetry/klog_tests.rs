// SPDX-License-Identifier: Apache-2.0

use std::sync::Arc;

use jiff::{Timestamp, tz::TimeZone};
use parking_lot::Mutex;

use kube_fenced_election::clock::{Clock, Instant, SystemClock};

use kube_loops::chain::Chain;

use super::klog::{LogError, LogSettings, subscriber};

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2026-11-24T12:00:00.5Z".parse().unwrap()
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }
}

/// What `say` logs under the settings, line by line.
fn logged(settings: &LogSettings, say: impl FnOnce()) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let lines = Arc::clone(&lines);
        Arc::new(move |line: &str| lines.lock().push(line.trim_end().to_owned()))
    };
    let subscriber = subscriber(settings, Arc::new(Noon), TimeZone::UTC, sink).unwrap();
    tracing::subscriber::with_default(subscriber, say);
    let lines = lines.lock();
    lines.clone()
}

fn bare() -> LogSettings {
    LogSettings { skip_headers: true, ..LogSettings::default() }
}

#[test]
fn lines_carry_time_process_and_place() {
    let lines = logged(&LogSettings::default(), || tracing::warn!(lease = "ns/x", "failed to renew lease"));
    let pid = std::process::id();
    let start = format!("W1124 12:00:00.500000 {pid:>7} klog_tests.rs:");
    assert!(lines[0].starts_with(&start), "{}", lines[0]);
    assert!(lines[0].ends_with("] \"failed to renew lease\" lease=\"ns/x\""), "{}", lines[0]);
}

#[test]
fn fields_of_the_spans_follow_from_outer_to_inner() {
    let lines = logged(&bare(), || {
        let term = tracing::info_span!("term", controller = "kv-cache-controller");
        let _term = term.enter();
        let pass = tracing::info_span!(
            "pass",
            r#loop = "kv-cache",
            namespace = "ns",
            name = "a",
            reconcile_id = "1"
        );
        let _pass = pass.enter();
        tracing::info!(child = "pod-0", "created");
    });
    assert_eq!(
        lines,
        [
            "\"created\" child=\"pod-0\" controller=\"kv-cache-controller\" loop=\"kv-cache\" namespace=\"ns\" \
          name=\"a\" reconcile_id=\"1\""
        ]
    );
}

#[test]
fn an_event_wins_over_its_spans() {
    let lines = logged(&bare(), || {
        let span = tracing::info_span!("a", name = "outer", attempt = 1);
        let _span = span.enter();
        let span = tracing::info_span!("b", attempt = 2);
        let _span = span.enter();
        tracing::info!(name = "own", "m");
    });
    assert_eq!(lines, ["\"m\" name=\"own\" attempt=2"]);
}

#[test]
fn a_field_recorded_later_is_shown() {
    let lines = logged(&bare(), || {
        let span = tracing::info_span!("a", holder = tracing::field::Empty);
        span.record("holder", "x");
        span.in_scope(|| tracing::info!("m"));
    });
    assert_eq!(lines, ["\"m\" holder=\"x\""]);
}

#[test]
fn verbosity_decides_about_debug() {
    let say = || {
        tracing::debug!("decided");
        tracing::trace!("body");
    };
    assert!(logged(&bare(), say).is_empty());
    assert_eq!(logged(&LogSettings { verbosity: 4, ..bare() }, say), ["\"decided\""]);
    assert_eq!(logged(&LogSettings { vmodule: "klog_*=6".into(), ..bare() }, say).len(), 2);
}

#[test]
fn json_lines_parse() {
    let lines = logged(&LogSettings { json: true, ..bare() }, || tracing::info!(attempt = 3, "m"));
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&line["msg"], &line["attempt"]), (&"m".into(), &3.into()));
}

#[test]
fn settings_without_sense_are_refused() {
    let settings = LogSettings { vmodule: "x".into(), ..bare() };
    let result = subscriber(&settings, Arc::new(Noon), TimeZone::UTC, Arc::new(|_| ()));
    assert!(matches!(result.err(), Some(LogError::VModule { .. })));
}

#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Layered {
    text: &'static str,
    source: Option<Box<Layered>>,
}

#[test]
fn a_chain_shows_every_cause_once() {
    let root = Layered { text: "refused", source: None };
    let middle = Layered { text: "connect: refused", source: Some(Box::new(root)) };
    let top = Layered { text: "could not list pods", source: Some(Box::new(middle)) };
    assert_eq!(Chain(&top).to_string(), "could not list pods: connect: refused");
    let lines = logged(&bare(), || tracing::error!(error = &top as &dyn std::error::Error, "m"));
    assert_eq!(lines, ["\"m\" error=\"could not list pods: connect: refused\""]);
}
