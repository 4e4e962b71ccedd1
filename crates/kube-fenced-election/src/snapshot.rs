// SPDX-License-Identifier: Apache-2.0
//! One Lease as a read or a watch showed it, and which of two is newer. Pure.

use std::hash::{Hash, Hasher};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};

/// What a read or a watch showed.
#[derive(Debug, Clone, PartialEq)]
pub enum LeaseSnapshot {
    /// The Lease exists.
    Present(Box<Lease>),
    /// The Lease does not exist. With the `resourceVersion` of its deletion where that is known.
    Absent(Option<String>),
}

/// By what decisions depend on; labels and the like do not count.
impl Hash for LeaseSnapshot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (std::mem::discriminant(self), self.version()).hash(state);
        let Self::Present(lease) = self else { return };
        lease.metadata.uid.hash(state);
        let Some(spec) = &lease.spec else { return };
        spec.holder_identity.hash(state);
        (spec.lease_duration_seconds, spec.lease_transitions).hash(state);
        spec.renew_time.as_ref().map(|time| time.0).hash(state);
    }
}

impl LeaseSnapshot {
    /// The Lease; `None` when it does not exist.
    pub fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Present(lease) => Some(lease),
            Self::Absent(_) => None,
        }
    }

    pub(super) fn spec(&self) -> Option<&LeaseSpec> {
        self.lease()?.spec.as_ref()
    }

    fn version(&self) -> Option<&str> {
        match self {
            Self::Present(lease) => lease.metadata.resource_version.as_deref(),
            Self::Absent(version) => version.as_deref(),
        }
    }

    pub(super) fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent(_), Self::Absent(_)) => true,
            (Self::Present(_), Self::Present(_)) => {
                // After a restore of etcd a version can be used again.
                self.has_spec_of(other) && self.version() == other.version()
            }
            (Self::Present(_), Self::Absent(_)) | (Self::Absent(_), Self::Present(_)) => false,
        }
    }

    /// Whether both are the same object with the same spec: nobody renewed, acquired or released in between.
    pub(super) fn has_spec_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Present(known), Self::Present(new)) => {
                known.metadata.uid == new.metadata.uid && known.spec == new.spec
            }
            (Self::Present(_) | Self::Absent(_), Self::Absent(_)) | (Self::Absent(_), Self::Present(_)) => {
                false
            }
        }
    }

    /// Resource versions of one resource type are ordered (as decimal numbers of any length).
    /// Anything else has no order and is taken as it comes.
    pub(super) fn is_older_than(&self, known: &Self) -> bool {
        match (self.version().and_then(ordinal), known.version().and_then(ordinal)) {
            (Some(new), Some(known)) => new < known,
            (Some(_) | None, Some(_) | None) => false,
        }
    }
}

fn ordinal(version: &str) -> Option<(usize, &str)> {
    let digits = version.trim_start_matches('0');
    (!version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
        .then_some((digits.len(), digits))
}
