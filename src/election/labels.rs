// SPDX-License-Identifier: Apache-2.0
//! Labels of the Leases that this product writes.

use std::collections::BTreeMap;

use super::conflict::COMPONENT_LABEL;

/// Label and value that every Lease carries.
const NAME: (&str, &str) = ("app.kubernetes.io/name", "aibrix");
/// Label and value of the writer.
pub(super) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "aibrix-controller-manager");
/// Component of a presence Lease.
pub(super) const MEMBER: &str = "member";

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
