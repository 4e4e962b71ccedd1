// SPDX-License-Identifier: Apache-2.0
//! What the command line gives reason to say once logging is up.

/// Something to log at the start. The message is constant; what varies stands in the detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether it deserves attention.
    pub weight: Weight,
    /// Constant text.
    pub message: &'static str,
    /// What it is about, and what to write instead.
    pub detail: String,
}

/// Level of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// For the record.
    Info,
    /// Works, but probably not as meant.
    Warning,
}

impl Notice {
    /// Something for the record.
    pub fn info(message: &'static str, detail: impl Into<String>) -> Self {
        Self { weight: Weight::Info, message, detail: detail.into() }
    }

    /// Something that probably is not as meant.
    pub fn warning(message: &'static str, detail: impl Into<String>) -> Self {
        Self { weight: Weight::Warning, message, detail: detail.into() }
    }

    /// Logs it. To be called once logging is up.
    pub fn log(&self) {
        match self.weight {
            Weight::Info => tracing::info!(detail = %self.detail, "{}", self.message),
            Weight::Warning => tracing::warn!(detail = %self.detail, "{}", self.message),
        }
    }
}
