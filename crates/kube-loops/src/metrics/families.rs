// SPDX-License-Identifier: Apache-2.0
//! The types of metric families, for modules that own families: the metrics crate is named here only.

pub use prometheus::{
    Counter, Error, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, Result, TextEncoder,
    core::{Collector, Desc},
    proto::MetricFamily,
};
