// SPDX-License-Identifier: Apache-2.0
//! The `process_*` families, read from `/proc` at each scrape.
//!
//! The collector of the metrics crate counts CPU time in whole seconds and lacks
//! `process_virtual_memory_max_bytes`; dashboards take rates of the former.

use kube_loops::metrics::families::{Counter, Gauge};
use procfs::process::{LimitValue, Process};

use kube_loops::metrics::{Metrics, MetricsError};

struct Families {
    cpu: Counter,
    resident: Gauge,
    virtual_size: Gauge,
    virtual_max: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    start_time: Gauge,
}

/// Registers the families.
///
/// # Errors
/// [`MetricsError`]; none is known to occur.
pub(crate) fn register(metrics: &Metrics) -> Result<(), MetricsError> {
    let none: [&str; 0] = [];
    let gauge = |name, help| {
        metrics.gauge(name, help, &none)?.get_metric_with_label_values(&none).map_err(MetricsError::Labels)
    };
    let cpu = metrics.counter(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        &none,
    )?;
    let families = Families {
        cpu: cpu.get_metric_with_label_values(&none).map_err(MetricsError::Labels)?,
        resident: gauge("process_resident_memory_bytes", "Resident memory size in bytes.")?,
        virtual_size: gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")?,
        virtual_max: gauge(
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
        )?,
        open_fds: gauge("process_open_fds", "Number of open file descriptors.")?,
        max_fds: gauge("process_max_fds", "Maximum number of open file descriptors.")?,
        start_time: gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
        )?,
    };
    // What cannot be read keeps its last value: a scrape never fails for it.
    metrics.on_render(Box::new(move || drop(families.refresh())));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "sizes and times far below 2^53, or 'unlimited'")]
impl Families {
    fn refresh(&self) -> procfs::ProcResult<()> {
        let limit = |value: LimitValue| match value {
            // What Go reads for "unlimited".
            LimitValue::Unlimited => u64::MAX as f64,
            LimitValue::Value(value) => value as f64,
        };
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks = procfs::ticks_per_second() as f64;
        let spent = (stat.utime + stat.stime) as f64 / ticks;
        self.cpu.inc_by((spent - self.cpu.get()).max(0.0));
        self.resident.set(stat.rss as f64 * procfs::page_size() as f64);
        self.virtual_size.set(stat.vsize as f64);
        self.start_time.set(procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks);
        let limits = process.limits()?;
        self.virtual_max.set(limit(limits.max_address_space.soft_limit));
        self.max_fds.set(limit(limits.max_open_files.soft_limit));
        self.open_fds.set(process.fd_count()? as f64);
        Ok(())
    }
}
