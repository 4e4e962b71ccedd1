// SPDX-License-Identifier: Apache-2.0
//! What is logged about the command line once logging is up.

/// Something to log at the start. The message is constant; what varies stands in the detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupNotice {
    /// Whether it deserves attention.
    pub level: Level,
    /// Constant text.
    pub message: &'static str,
    /// What it is about, and what to write instead.
    pub detail: String,
}

/// Level of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For the record.
    Info,
    /// Works, but probably not as meant.
    Warning,
}

impl StartupNotice {
    /// Something for the record.
    pub fn info(message: &'static str, detail: impl Into<String>) -> Self {
        Self { level: Level::Info, message, detail: detail.into() }
    }

    /// Something that probably is not as meant.
    pub fn warning(message: &'static str, detail: impl Into<String>) -> Self {
        Self { level: Level::Warning, message, detail: detail.into() }
    }

    /// Logs it. To be called once logging is up.
    pub fn log(&self) {
        match self.level {
            Level::Info => tracing::info!(detail = %self.detail, "{}", self.message),
            Level::Warning => tracing::warn!(detail = %self.detail, "{}", self.message),
        }
    }
}
