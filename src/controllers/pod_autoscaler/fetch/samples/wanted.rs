// SPDX-License-Identifier: Apache-2.0
//! What an autoscaler wants measured, where it is read, and which number of the answer counts.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    controllers::pod_autoscaler::snapshot::{PodReading, Reading, SampleError},
    engine::{
        exposition::{Combine, Families, NoValue, Query},
        http::Target,
    },
    validation::target_metric::Matchers,
};

/// Something that is read as a whole, at most once per period.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::controllers::pod_autoscaler) enum Origin {
    /// Prometheus text of a pod or an endpoint.
    Text(Target),
    /// Resource usage of the pods that a selector selects: one list for all of them.
    Usage {
        /// Namespace.
        namespace: String,
        /// Label selector as text, never empty.
        selector: String,
    },
    /// A custom metric of one pod.
    Custom {
        /// Namespace.
        namespace: String,
        /// Pod.
        pod: String,
        /// Metric.
        metric: String,
        /// Which of its series count.
        series: Matchers,
    },
    /// An external metric: the sum of its items.
    External {
        /// Namespace.
        namespace: String,
        /// Metric.
        metric: String,
        /// Which of its series count.
        series: Matchers,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(target) => write!(f, "GET {target}"),
            Self::Usage { namespace, selector } => {
                write!(f, "resource metrics of pods {selector:?} in namespace {namespace}")
            }
            Self::Custom { namespace, pod, metric, series } => {
                write!(f, "custom metric {metric}{series} of pod {namespace}/{pod}")
            }
            Self::External { namespace, metric, series } => {
                write!(f, "external metric {metric}{series} in namespace {namespace}")
            }
        }
    }
}

/// What a read brought.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::controllers::pod_autoscaler) enum Value {
    /// The wanted families.
    Text(Families),
    /// Usage by pod.
    Usage(BTreeMap<String, Usage>),
    /// One number.
    Number(f64),
}

/// Resource usage of one pod, summed over its containers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::controllers::pod_autoscaler) struct Usage {
    /// Milli-cores, rounded up for each container.
    pub(super) cpu_milli: f64,
    /// Bytes.
    pub(super) memory_bytes: f64,
}

/// A read's end, shared by all who wait for it.
pub(super) type Outcome = Result<Arc<Value>, SampleError>;

/// Which number of an answer counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::controllers::pod_autoscaler) enum Pick {
    /// The series of the first of these queries that has any in the answer.
    Series {
        /// Best first.
        queries: Vec<Query>,
        /// How they become one number.
        combine: Combine,
    },
    /// CPU of this pod in milli-cores.
    Cpu(String),
    /// Memory of this pod in bytes.
    Memory(String),
    /// The only number.
    Number,
}

impl Pick {
    /// Series that a read has to keep for this.
    pub(super) fn queries(&self) -> &[Query] {
        match self {
            Self::Series { queries, .. } => queries,
            Self::Cpu(_) | Self::Memory(_) | Self::Number => &[],
        }
    }

    fn of(&self, origin: &Origin, value: &Value) -> Result<f64, SampleError> {
        match (self, value) {
            (Self::Series { queries, combine }, Value::Text(families)) => {
                let number = |query| families.number(query, *combine).map_err(|why| (query, why));
                let has_any =
                    |number: &Result<f64, (&Query, NoValue)>| !matches!(number, Err((_, NoValue::Missing)));
                let found = queries.iter().map(number).find(has_any);
                let none = || queries.first().map(|query| Err((query, NoValue::Missing)));
                match found.or_else(none) {
                    Some(Ok(number)) => Ok(number),
                    Some(Err((query, why))) => {
                        Err(SampleError(format!("{origin}: metric {:?}: {why}", query.to_string())))
                    }
                    None => Err(SampleError(format!("{origin}: no metric is wanted"))),
                }
            }
            (Self::Cpu(pod), Value::Usage(pods)) => usage(origin, pods, pod).map(|usage| usage.cpu_milli),
            (Self::Memory(pod), Value::Usage(pods)) => {
                usage(origin, pods, pod).map(|usage| usage.memory_bytes)
            }
            (Self::Number, Value::Number(number)) => Ok(*number),
            // An item pairs an origin with a pick of its kind; anything else is unknown, not zero.
            (Self::Series { .. } | Self::Cpu(_) | Self::Memory(_) | Self::Number, _) => {
                Err(SampleError(format!("{origin}: unexpected answer")))
            }
        }
    }
}

fn usage(origin: &Origin, pods: &BTreeMap<String, Usage>, pod: &str) -> Result<Usage, SampleError> {
    pods.get(pod).copied().ok_or_else(|| SampleError(format!("{origin}: no usage of pod {pod}")))
}

/// One number of one origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::controllers::pod_autoscaler) struct Item {
    /// Where it is read.
    pub(in crate::controllers::pod_autoscaler) origin: Origin,
    /// Which number counts.
    pub(in crate::controllers::pod_autoscaler) pick: Pick,
}

/// What one metric source wants of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::controllers::pod_autoscaler) struct WantedPod {
    /// Its uid.
    pub(in crate::controllers::pod_autoscaler) uid: Box<str>,
    /// It is ready.
    pub(in crate::controllers::pod_autoscaler) ready: bool,
    /// The number; `Err`: it cannot be asked.
    pub(in crate::controllers::pod_autoscaler) item: Result<Item, SampleError>,
}

/// What one metric source wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::controllers::pod_autoscaler) enum Wanted {
    /// A number for each pod.
    PerPod(Vec<WantedPod>),
    /// A number for the whole target.
    Total(Item),
    /// The source cannot be asked at all.
    Failed(SampleError),
}

impl Wanted {
    /// What has to be read for it.
    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        let (pods, total) = match self {
            Self::PerPod(pods) => (pods.as_slice(), None),
            Self::Total(item) => (&[][..], Some(item)),
            Self::Failed(_) => (&[][..], None),
        };
        pods.iter().filter_map(|pod| pod.item.as_ref().ok()).chain(total)
    }

    /// What the reads say; `outcome_of` answers `None` for a read that did not end in time.
    pub(super) fn reading(&self, outcome_of: impl Fn(&Origin) -> Option<Outcome>) -> Reading {
        let number = |item: &Item| match outcome_of(&item.origin) {
            Some(Ok(value)) => item.pick.of(&item.origin, &value),
            Some(Err(error)) => Err(error),
            None => Err(SampleError(format!("{}: no answer in time", item.origin))),
        };
        match self {
            Self::PerPod(pods) => {
                let reading = |pod: &WantedPod| PodReading {
                    uid: pod.uid.clone(),
                    ready: pod.ready,
                    value: pod.item.as_ref().map_err(Clone::clone).and_then(number),
                };
                Reading::PerPod(pods.iter().map(reading).collect())
            }
            Self::Total(item) => Reading::Total(number(item)),
            Self::Failed(error) => Reading::Failed(error.clone()),
        }
    }
}
