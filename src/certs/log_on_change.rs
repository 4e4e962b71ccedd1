// SPDX-License-Identifier: Apache-2.0
//! Logs what is wrong once for each change of the cause.

/// What was logged last.
#[derive(Debug, Default)]
pub(super) struct LogOnChange {
    problem: Option<String>,
    missing: Vec<String>,
}

impl LogOnChange {
    /// Logs the present problem, or that it is over (`None`), if that has changed.
    pub(super) fn log_problem(&mut self, problem: Option<String>) {
        if problem == self.problem {
            return;
        }
        if let Some(error) = &problem {
            tracing::warn!(error, "could not manage webhook certificates, trying again");
        } else {
            tracing::info!("webhook certificates are managed again");
        }
        self.problem = problem;
    }

    /// Logs configurations that do not exist, each once.
    pub(super) fn log_missing(&mut self, missing: Vec<String>) {
        for title in missing.iter().filter(|title| !self.missing.contains(title)) {
            tracing::info!(webhooks = title, "Webhook not found. Unable to update certificate.");
        }
        self.missing = missing;
    }
}
