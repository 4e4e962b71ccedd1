// SPDX-License-Identifier: Apache-2.0
//! How the steps of a plan went, and which failure decides when the key comes back. Pure.

use std::time::Duration;

use crate::cluster::error::WriteError;

use super::reconciler::{Failure, Retry};

/// Wait after a write that was refused for what it is, which another spec, another role or another cluster may change.
const REFUSED: Duration = Duration::from_secs(10);

/// A change, or a status, that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to {attempt}")]
pub struct StepError {
    /// What was tried, such as `patch the Service`.
    pub attempt: &'static str,
    /// Why it failed.
    #[source]
    pub source: WriteError,
    wait: Option<Duration>,
}

impl StepError {
    /// What was tried, and why it failed.
    pub fn new(attempt: &'static str, source: WriteError) -> Self {
        Self { attempt, source, wait: None }
    }

    /// Comes back after `wait`, in place of the back-off of the loop, unless somebody else was faster.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self { wait: Some(wait), ..self }
    }
}

impl Failure for StepError {
    fn retry(&self) -> Retry {
        match self.source {
            WriteError::NotLeading(_) => Retry::TermOver,
            // Somebody was faster: the store will show it.
            WriteError::Conflict { .. } | WriteError::AlreadyExists { .. } => Retry::Soon,
            WriteError::Invalid { .. } | WriteError::NotFound { .. } | WriteError::Forbidden { .. } => {
                Retry::After(self.wait.unwrap_or(REFUSED))
            }
            WriteError::Other { .. } => self.wait.map_or(Retry::Backoff, Retry::After),
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepOutcome {
    /// It is done.
    Done,
    /// It is not: somebody else was faster, and the store will show what is so. Nothing to tell people.
    Overtaken,
    /// The API server has taken it, and stored something else or nothing: admission changes what is written.
    InVain,
    /// It failed, for this reason.
    Failed(String),
}

/// How the steps of a plan went.
#[derive(Debug, Default)]
pub struct StepReport {
    /// Those that were tried, in order.
    pub outcomes: Vec<StepOutcome>,
    /// The error that is retried first: what is refused for good must not delay what may work soon. Of equals the first.
    pub error: Option<StepError>,
}

impl StepReport {
    /// Notes how the next step ended. Yields whether it is done.
    pub fn note<T>(&mut self, attempt: &'static str, result: Result<T, WriteError>) -> bool {
        let Err(source) = result else {
            self.outcomes.push(StepOutcome::Done);
            return true;
        };
        let failed = source.is_news().then(|| StepOutcome::Failed(source.to_string()));
        self.outcomes.push(failed.unwrap_or(StepOutcome::Overtaken));
        let error = StepError::new(attempt, source);
        if self.error.as_ref().is_none_or(|first| error.retry() < first.retry()) {
            self.error = Some(error);
        }
        false
    }

    /// Notes that the next step was taken and changed nothing: it is not tried again for that.
    pub fn note_in_vain(&mut self) {
        self.outcomes.push(StepOutcome::InVain);
    }

    /// Whether all of these steps are done.
    pub fn is_done<Step>(&self, steps: &[Step]) -> bool {
        self.outcomes.len() == steps.len() && self.error.is_none()
    }
}
