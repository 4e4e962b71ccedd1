// SPDX-License-Identifier: Apache-2.0
//! What a product writes into its Leases besides their specification: by it its processes know each other.

use std::collections::BTreeMap;

use super::conflict::COMPONENT_LABEL;

/// Label that names the application.
const NAME_LABEL: &str = "app.kubernetes.io/name";
/// Label that names the writer.
const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Component of a presence Lease.
const MEMBER: &str = "member";

/// Names of one product. All its processes need the same: they find each other by them.
#[derive(Debug, Clone)]
pub struct Names {
    /// Value of `app.kubernetes.io/name` on every Lease, such as `example`.
    pub application: String,
    /// Field manager of all writes of Leases, value of `app.kubernetes.io/managed-by`, and beginning of the names of
    /// presence Leases. A DNS label of at most 46 bytes.
    pub manager: String,
    /// Domain of the annotations, such as `leaders.example.com`.
    pub annotation_domain: String,
    /// What a user does to give a controller a Lease of its own, for messages about conflicts: usually a flag.
    pub own_lease_advice: fn(controller: &str) -> String,
    /// What a user does to give a controller another Lease than the one that it shares with another controller.
    pub other_lease_advice: fn(controller: &str) -> String,
    /// What a user does to start without [`crate::Settings::legacy_lease`].
    pub guard_off_advice: &'static str,
}

impl Names {
    /// Names whose advice is in general terms.
    pub fn new(application: &str, manager: &str, annotation_domain: &str) -> Self {
        Self {
            application: application.to_owned(),
            manager: manager.to_owned(),
            annotation_domain: annotation_domain.to_owned(),
            own_lease_advice: |controller| format!("a Lease of its own for {controller}"),
            other_lease_advice: |controller| format!("another Lease for {controller}"),
            guard_off_advice: "no legacy Lease",
        }
    }

    /// Annotation of a controller's Lease: the identity of ours that wrote it last. Equal to the Lease's holder only
    /// while a manager of this product holds it.
    pub(super) fn holder_annotation(&self) -> String {
        self.annotation("holder")
    }

    /// Annotation of a presence Lease: the Leases for which its member contends at present, separated by commas.
    pub(super) fn contends_for_annotation(&self) -> String {
        self.annotation("contends-for")
    }

    /// Annotation of a presence Lease: all elections of its member as `controller=lease`, separated by commas.
    pub(super) fn elections_annotation(&self) -> String {
        self.annotation("elections")
    }

    /// Annotation of a presence Lease: the Lease that is its member's upgrade guard.
    pub(super) fn guards_annotation(&self) -> String {
        self.annotation("guards")
    }

    /// Annotation of a presence Lease: its member is shutting down.
    pub(super) fn leaving_annotation(&self) -> String {
        self.annotation("leaving")
    }

    /// An annotation of this product.
    pub(super) fn annotation(&self, name: &str) -> String {
        format!("{}/{name}", self.annotation_domain)
    }

    /// Holder identity as which all managers of this product hold the Lease of an older one.
    pub(crate) fn group(&self) -> String {
        format!("{}-group", self.manager)
    }

    /// Labels of a Lease for `component`.
    pub(super) fn lease_labels(&self, component: &str) -> BTreeMap<String, String> {
        let mut labels = self.common_labels();
        labels.insert(COMPONENT_LABEL.to_owned(), component.to_owned());
        labels
    }

    /// Labels of a Lease that belongs to no component.
    pub(super) fn common_labels(&self) -> BTreeMap<String, String> {
        let pairs = [(NAME_LABEL, &self.application), (MANAGED_BY_LABEL, &self.manager)];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect()
    }

    /// Labels of a presence Lease.
    pub(super) fn member_labels(&self) -> BTreeMap<String, String> {
        self.lease_labels(MEMBER)
    }

    /// Label selector of all presence Leases.
    pub(super) fn member_selector(&self) -> String {
        format!("{COMPONENT_LABEL}={MEMBER},{MANAGED_BY_LABEL}={}", self.manager)
    }
}
