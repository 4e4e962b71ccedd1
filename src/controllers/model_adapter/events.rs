// SPDX-License-Identifier: Apache-2.0
//! Events on ModelAdapters. Pure.

use crate::api::model::{API_VERSION, MODEL_ADAPTER, ModelAdapter};
use kube_loops::cluster::events::{EventDraft, Severity, regarding};

use super::steps;

/// The event that `draft` describes, on `adapter`.
pub(super) fn about(adapter: &ModelAdapter, draft: steps::EventDraft) -> EventDraft {
    EventDraft {
        severity: if draft.warning { Severity::Warning } else { Severity::Normal },
        reason: draft.reason.to_owned(),
        message: draft.message,
        regarding: regarding(API_VERSION, MODEL_ADAPTER, &adapter.metadata),
    }
}
