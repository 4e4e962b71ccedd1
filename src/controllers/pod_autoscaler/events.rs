// SPDX-License-Identifier: Apache-2.0
//! Events on PodAutoscalers. Pure.

use crate::api::autoscaling::{API_VERSION, POD_AUTOSCALER, PodAutoscaler};
use kube_loops::cluster::events::{EventDraft, Severity, regarding};

use super::steps;

/// The event that `draft` describes, on `pa`.
pub(super) fn about(pa: &PodAutoscaler, draft: steps::EventDraft) -> EventDraft {
    EventDraft {
        severity: if draft.warning { Severity::Warning } else { Severity::Normal },
        reason: draft.reason.to_owned(),
        message: draft.message,
        regarding: regarding(API_VERSION, POD_AUTOSCALER, &pa.metadata),
    }
}
