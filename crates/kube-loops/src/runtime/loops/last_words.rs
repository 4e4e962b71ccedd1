// SPDX-License-Identifier: Apache-2.0
//! The loops of a controller together with the task that sends their events.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tokio::select;

use crate::{
    cluster::events::Recorder,
    runtime::controller::{RunError, Term},
};

use super::{BuiltLoop, run_loops};

/// How long the last events of a term may take to be sent.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs what `build` makes, as [`run_loops`] does, beside the task that sends the events of its recorder;
/// `source` is their `source.component`. What the last passes had to say is sent before this ends, and the Lease
/// is given away.
///
/// # Errors
/// Those of [`run_loops`]; [`RunError::Ended`] when the sending ends.
pub fn run_with_events(
    term: &Term,
    source: &'static str,
    build: impl FnOnce(&Term, &Recorder) -> Vec<BuiltLoop>,
) -> BoxFuture<'static, Result<(), RunError>> {
    let (recorder, task) = Recorder::new(term.client.0.clone(), source, Arc::clone(&term.clock));
    let (term, loops) = (term.clone(), build(term, &recorder));
    async move {
        let mut sending = pin!(task.run());
        let ended = select! {
            biased;
            ended = run_loops(&term, loops) => ended,
            () = &mut sending => Err(RunError::Ended { part: "events" }),
        };
        select! {
            () = recorder.flush(LAST_WORDS) => {}
            () = &mut sending => {}
        }
        ended
    }
    .boxed()
}
