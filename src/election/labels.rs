// SPDX-License-Identifier: Apache-2.0
//! Labels and annotations of the Leases that this product writes.

use std::collections::BTreeMap;

use super::conflict::COMPONENT_LABEL;

/// Label and value that every Lease carries.
const NAME: (&str, &str) = ("app.kubernetes.io/name", "aibrix");
/// Label and value of the writer.
pub(super) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "aibrix-controller-manager");
/// Component of a presence Lease.
pub(super) const MEMBER: &str = "member";

/// Annotation of a controller's Lease: the identity of ours that wrote it last. Equal to the Lease's holder only
/// while a manager of this product holds it.
pub(super) const HOLDER_ANNOTATION: &str = "leaders.aibrix.ai/holder";
/// Annotation of a presence Lease: the Leases for which its member contends at present, separated by commas.
pub(super) const CONTENDS_FOR_ANNOTATION: &str = "leaders.aibrix.ai/contends-for";
/// Annotation of a presence Lease: all elections of its member as `controller=lease`, separated by commas.
pub(super) const ELECTIONS_ANNOTATION: &str = "leaders.aibrix.ai/elections";
/// Annotation of a presence Lease: the Lease that is its member's upgrade guard.
pub(super) const GUARDS_ANNOTATION: &str = "leaders.aibrix.ai/guards";
/// Annotation of a presence Lease: its member is shutting down.
pub(super) const LEAVING_ANNOTATION: &str = "leaders.aibrix.ai/leaving";

/// Labels of a Lease for `component`.
pub(super) fn lease_labels(component: &str) -> BTreeMap<String, String> {
    let mut labels = common_labels();
    labels.insert(COMPONENT_LABEL.to_owned(), component.to_owned());
    labels
}

/// Labels of a Lease that belongs to no component.
pub(super) fn common_labels() -> BTreeMap<String, String> {
    [NAME, MANAGED_BY].into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
