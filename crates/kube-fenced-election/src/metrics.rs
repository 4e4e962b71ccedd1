// SPDX-License-Identifier: Apache-2.0
//! Figures of elections, handed to the user of the library. The crate depends on no metrics library.

use std::{fmt, sync::Arc, time::Duration};

use super::events::LeaseRef;

/// Makes the figures of each election. They begin at zero with its call.
pub trait Metrics: Send + Sync + fmt::Debug + 'static {
    /// Figures of the Lease for which `controller` stands.
    fn of_lease(&self, lease: &LeaseRef, controller: &str) -> Arc<dyn LeaseMetrics>;
    /// Figures of the upgrade guard on this Lease.
    fn of_guard(&self, lease: &LeaseRef) -> Arc<dyn GuardMetrics>;
}

/// Figures of one Lease. Calls return at once.
pub trait LeaseMetrics: Send + Sync + fmt::Debug + 'static {
    /// This process began (`true`) or stopped leading.
    fn leading(&self, leading: bool);
    /// An attempt needed to read the Lease from the API server before it could write.
    fn slow_path(&self);
    /// The Lease has another holder than before.
    fn holder_changed(&self);
    /// An attempt to acquire or renew has ended, well or not, after this time.
    fn attempt_took(&self, took: Duration);
    /// Whether the Lease is held for another controller.
    fn conflict(&self, conflict: bool);
    /// Whether the Lease is the upgrade guard of another manager of this product.
    fn guard_conflict(&self, conflict: bool);
    /// The Lease was given away because its controller could not work; `reason` is the manager's.
    fn gave_way(&self, reason: &str);
}

/// Figures of the upgrade guard. Calls return at once.
pub trait GuardMetrics: Send + Sync + fmt::Debug + 'static {
    /// Whether controllers wait for an older manager.
    fn waiting(&self, waiting: bool);
    /// Whether a manager of this product holds the guard's Lease for one of its controllers.
    fn conflict(&self, conflict: bool);
    /// A request about the guard's Lease has failed.
    fn failed(&self);
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMetrics;

impl Metrics for NoMetrics {
    fn of_lease(&self, _: &LeaseRef, _: &str) -> Arc<dyn LeaseMetrics> {
        Arc::new(Self)
    }

    fn of_guard(&self, _: &LeaseRef) -> Arc<dyn GuardMetrics> {
        Arc::new(Self)
    }
}

impl LeaseMetrics for NoMetrics {
    fn leading(&self, _: bool) {}
    fn slow_path(&self) {}
    fn holder_changed(&self) {}
    fn attempt_took(&self, _: Duration) {}
    fn conflict(&self, _: bool) {}
    fn guard_conflict(&self, _: bool) {}
    fn gave_way(&self, _: &str) {}
}

impl GuardMetrics for NoMetrics {
    fn waiting(&self, _: bool) {}
    fn conflict(&self, _: bool) {}
    fn failed(&self) {}
}
