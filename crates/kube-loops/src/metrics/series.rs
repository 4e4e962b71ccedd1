// SPDX-License-Identifier: Apache-2.0
//! Series that vanish with their owner: an object of the cluster, or a term.

use std::{collections::HashMap, fmt, ops::Deref, sync::Arc};

use parking_lot::Mutex;
use prometheus::core::{Metric, MetricVec, MetricVecBuilder};

use super::MetricsError;

/// A family whose labels name objects. Its series exist as long as somebody holds their [`Series`].
///
/// Every user of a family shares one value of this type (it is cheap to clone): owners are counted here.
pub struct SeriesFamily<B: MetricVecBuilder> {
    family: MetricVec<B>,
    owners: Owners,
}

type Owners = Arc<Mutex<HashMap<Vec<String>, usize>>>;

/// One series, usable as the metric itself. Dropping the last handle of the same label values removes
/// the series from the output.
pub struct Series<B: MetricVecBuilder> {
    of: SeriesFamily<B>,
    labels: Vec<String>,
    metric: B::M,
}

impl<B: MetricVecBuilder> SeriesFamily<B> {
    /// Owns the series of `family` from now on.
    pub fn new(family: MetricVec<B>) -> Self {
        Self { family, owners: Owners::default() }
    }

    /// The series of these label values, created at zero if nobody holds it yet.
    ///
    /// # Errors
    /// [`MetricsError::Labels`] when their number is not the family's: a defect of the caller.
    pub fn series(&self, labels: &[&str]) -> Result<Series<B>, MetricsError> {
        // Under the lock, or a handle dropped meanwhile would remove what this one shows.
        let mut owners = self.owners.lock();
        let metric = self.family.get_metric_with_label_values(labels).map_err(MetricsError::Labels)?;
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        *owners.entry(labels.clone()).or_default() += 1;
        drop(owners);
        Ok(Series { of: self.clone(), labels, metric })
    }
}

impl<B: MetricVecBuilder> Clone for SeriesFamily<B> {
    fn clone(&self) -> Self {
        Self { family: self.family.clone(), owners: Arc::clone(&self.owners) }
    }
}

impl<B: MetricVecBuilder> fmt::Debug for SeriesFamily<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeriesFamily").field("owned", &self.owners.lock().len()).finish_non_exhaustive()
    }
}

impl<B: MetricVecBuilder> Deref for Series<B> {
    type Target = B::M;

    fn deref(&self) -> &B::M {
        &self.metric
    }
}

impl<B: MetricVecBuilder> fmt::Debug for Series<B>
where
    B::M: Metric,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Series").field(&self.labels).finish()
    }
}

impl<B: MetricVecBuilder> Drop for Series<B> {
    fn drop(&mut self) {
        let mut owners = self.of.owners.lock();
        let Some(count) = owners.get_mut(&self.labels) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            owners.remove(&self.labels);
            // Gone already: nothing to remove.
            drop(self.of.family.remove_label_values(&self.labels));
        }
    }
}
