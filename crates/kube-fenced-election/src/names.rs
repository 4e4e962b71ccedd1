// SPDX-License-Identifier: Apache-2.0
//! What a product writes into its Leases besides their specification: by it its processes know each other.

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease;

/// Label that names what an object is part of.
const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// Label that names the application.
const NAME_LABEL: &str = "app.kubernetes.io/name";
/// Label that names the writer.
const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Component of a presence Lease.
const MEMBER: &str = "member";

/// Names of one product. All its processes need the same: they find each other by them.
///
/// Elections go by names of Leases and by keys of [`Names::annotation_domain`]. The common labels
/// `app.kubernetes.io/…` are for people: tools stamp their own values onto them.
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

    /// Label of a controller's Lease: the controller for which one of ours wrote it last.
    pub(super) fn controller_label(&self) -> String {
        self.annotation("controller")
    }

    /// Label of a presence Lease.
    fn member_label(&self) -> String {
        self.annotation("member")
    }

    /// Whether this is the presence Lease of a member, by the label or, for older versions and where somebody has
    /// replaced the labels, by its name.
    pub(super) fn is_presence(&self, lease: &Lease) -> bool {
        let labels = lease.metadata.labels.as_ref();
        let labelled = |key: &str| labels.is_some_and(|labels| labels.contains_key(key));
        if labelled(&self.member_label()) || labelled(&self.controller_label()) {
            return labelled(&self.member_label());
        }
        let held = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref());
        let suffix = lease.metadata.name.as_deref().and_then(|name| name.strip_prefix(self.manager.as_str()));
        let fingerprint = suffix.and_then(|suffix| suffix.strip_prefix('-'));
        held.is_some_and(|holder| !holder.is_empty()) && fingerprint.is_some_and(is_fingerprint)
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

    /// Labels of the Lease of `controller`.
    pub(super) fn lease_labels(&self, controller: &str) -> BTreeMap<String, String> {
        let own = [(COMPONENT_LABEL.to_owned(), controller), (self.controller_label(), controller)];
        let own = own.into_iter().map(|(key, value)| (key, value.to_owned()));
        self.common_labels().into_iter().chain(own).collect()
    }

    /// Labels of a Lease that belongs to no component.
    pub(super) fn common_labels(&self) -> BTreeMap<String, String> {
        let pairs = [(NAME_LABEL, &self.application), (MANAGED_BY_LABEL, &self.manager)];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect()
    }

    /// Labels of a presence Lease.
    pub(super) fn member_labels(&self) -> BTreeMap<String, String> {
        let own = [(COMPONENT_LABEL.to_owned(), MEMBER), (self.member_label(), "true")];
        let own = own.into_iter().map(|(key, value)| (key, value.to_owned()));
        self.common_labels().into_iter().chain(own).collect()
    }
}

/// As [`super::presence::fingerprint`] writes them.
pub(super) fn is_fingerprint(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
