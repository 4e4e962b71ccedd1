// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use crate::cluster::error::{Cause, ObjectRef, WriteError};
use kube_fenced_election::fence::NotLeading;

use super::{
    reconciler::{Failure as _, Retry},
    steps::{StepError, StepOutcome, StepReport},
};

fn object() -> ObjectRef {
    ObjectRef { kind: "Pod".into(), namespace: "ns".into(), name: "a".into() }
}

fn invalid() -> WriteError {
    WriteError::Invalid { object: object(), message: "spec: no".into() }
}

fn conflict() -> WriteError {
    WriteError::Conflict { object: object(), message: "changed".into() }
}

fn trouble() -> WriteError {
    WriteError::Other { object: object(), verb: "patch", cause: Cause::Transport("refused".into()) }
}

#[test]
fn what_may_work_soon_is_tried_soon_and_what_is_refused_later() {
    let minute = Duration::from_mins(1);
    let gone = || WriteError::NotFound { object: object(), message: "gone".into() };
    let forbidden = || WriteError::Forbidden { object: object(), verb: "patch", message: "no".into() };
    let exists = || WriteError::AlreadyExists { object: object() };
    let ten = Retry::After(Duration::from_secs(10));
    let paced = Retry::After(minute);
    for (error, retry, with_wait) in [
        (&invalid as &dyn Fn() -> WriteError, ten, paced),
        (&gone, ten, paced),
        (&forbidden, ten, paced),
        (&trouble, Retry::Backoff, paced),
        (&conflict, Retry::Soon, Retry::Soon),
        (&exists, Retry::Soon, Retry::Soon),
        (&|| WriteError::NotLeading(NotLeading), Retry::TermOver, Retry::TermOver),
    ] {
        assert_eq!(StepError::new("try", error()).retry(), retry, "{}", error());
        assert_eq!(StepError::new("try", error()).after(minute).retry(), with_wait, "{}", error());
    }
}

#[test]
fn the_error_that_is_retried_first_is_kept_and_every_step_is_noted() {
    let mut report = StepReport::default();
    assert!(report.note("create it", Ok(1)));
    assert!(report.is_done(&[1]) && !report.is_done(&[1, 2]), "the second was not tried");
    assert!(!report.note("patch it", Err::<(), _>(invalid())));
    assert!(!report.note("scale it", Err::<(), _>(trouble())));
    assert!(!report.note("delete it", Err::<(), _>(trouble())));
    assert_eq!(report.error.as_ref().map(ToString::to_string).as_deref(), Some("failed to scale it"));
    assert!(!report.note("move it", Err::<(), _>(conflict())));
    assert_eq!(report.error.as_ref().map(|error| error.attempt), Some("move it"));
    let failed = |error: WriteError| StepOutcome::Failed(error.to_string());
    let want = [failed(invalid()), failed(trouble()), failed(trouble()), StepOutcome::Overtaken];
    assert_eq!(report.outcomes[0], StepOutcome::Done);
    assert_eq!(report.outcomes[1..], want);
    assert!(!report.is_done(&[1, 2, 3, 4, 5]), "all were tried");
}
