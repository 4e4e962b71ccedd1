// SPDX-License-Identifier: Apache-2.0
//! Logs what is wrong once for each change of the cause.

/// What was logged last.
#[derive(Debug, Default)]
pub(super) struct Told {
    complaint: Option<String>,
    missing: Vec<String>,
}

impl Told {
    /// What goes wrong now; `None`: nothing.
    pub(super) fn tell(&mut self, complaint: Option<String>) {
        if complaint == self.complaint {
            return;
        }
        if let Some(error) = &complaint {
            tracing::warn!(error, "could not manage webhook certificates, trying again");
        } else {
            tracing::info!("webhook certificates are managed again");
        }
        self.complaint = complaint;
    }

    /// Which configurations there are not.
    pub(super) fn tell_missing(&mut self, missing: Vec<String>) {
        for title in missing.iter().filter(|title| !self.missing.contains(title)) {
            tracing::info!(webhooks = title, "Webhook not found. Unable to update certificate.");
        }
        self.missing = missing;
    }
}
