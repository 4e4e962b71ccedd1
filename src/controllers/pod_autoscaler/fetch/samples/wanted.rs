// SPDX-License-Identifier: Apache-2.0
//! What an autoscaler wants measured, where it is read, and which number of the answer counts.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    controllers::pod_autoscaler::snapshot::{Reading, SampleError},
    engine::{
        exposition::{Families, NoValue},
        http::Target,
    },
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
    },
    /// An external metric: the sum of its items.
    External {
        /// Namespace.
        namespace: String,
        /// Metric.
        metric: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(target) => write!(f, "GET {target}"),
            Self::Usage { namespace, selector } => {
                write!(f, "resource metrics of pods {selector:?} in namespace {namespace}")
            }
            Self::Custom { namespace, pod, metric } => {
                write!(f, "custom metric {metric} of pod {namespace}/{pod}")
            }
            Self::External { namespace, metric } => {
                write!(f, "external metric {metric} in namespace {namespace}")
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
    /// The first series of this family.
    First(String),
    /// The sum over the series of the first of these families that the answer has.
    Sum(Vec<String>),
    /// CPU of this pod in milli-cores.
    Cpu(String),
    /// Memory of this pod in bytes.
    Memory(String),
    /// The only number.
    Number,
}

impl Pick {
    /// Families that a read has to keep for this.
    pub(super) fn families(&self) -> &[String] {
        match self {
            Self::First(family) => std::slice::from_ref(family),
            Self::Sum(families) => families,
            Self::Cpu(_) | Self::Memory(_) | Self::Number => &[],
        }
    }

    fn of(&self, origin: &Origin, value: &Value) -> Result<f64, SampleError> {
        match (self, value) {
            (Self::First(family), Value::Text(families)) => {
                families.first(family).map_err(|why| no_value(origin, family, why))
            }
            (Self::Sum(names), Value::Text(families)) => {
                let name = names.iter().find(|name| families.get(name).is_some()).or_else(|| names.first());
                let name = name.map_or("", String::as_str);
                families.sum(name).map_err(|why| no_value(origin, name, why))
            }
            (Self::Cpu(pod), Value::Usage(pods)) => usage(origin, pods, pod).map(|usage| usage.cpu_milli),
            (Self::Memory(pod), Value::Usage(pods)) => {
                usage(origin, pods, pod).map(|usage| usage.memory_bytes)
            }
            (Self::Number, Value::Number(number)) => Ok(*number),
            // An item pairs an origin with a pick of its kind; anything else is unknown, not zero.
            (Self::First(_) | Self::Sum(_) | Self::Cpu(_) | Self::Memory(_) | Self::Number, _) => {
                Err(SampleError(format!("{origin}: unexpected answer")))
            }
        }
    }
}

fn no_value(origin: &Origin, family: &str, why: NoValue) -> SampleError {
    SampleError(format!("{origin}: metric {family:?}: {why}"))
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

/// What one metric source wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::controllers::pod_autoscaler) enum Wanted {
    /// A number for each pod; `Err`: the pod cannot be asked.
    PerPod(Vec<Result<Item, SampleError>>),
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
        pods.iter().filter_map(|pod| pod.as_ref().ok()).chain(total)
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
                let numbers = pods.iter().map(|pod| pod.as_ref().map_err(Clone::clone).and_then(number));
                Reading::PerPod(numbers.collect())
            }
            Self::Total(item) => Reading::Total(number(item)),
            Self::Failed(error) => Reading::Failed(error.clone()),
        }
    }
}
