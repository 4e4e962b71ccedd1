// SPDX-License-Identifier: Apache-2.0
//! What a process uses, from `/proc`.

use std::time::Duration;

/// Memory and processor time of one process, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Resident memory, in bytes.
    pub(crate) resident_bytes: u64,
    /// The most resident memory so far, in bytes.
    pub(crate) peak_bytes: u64,
    /// Processor time so far, of all threads, in user and system mode.
    pub(crate) cpu: Duration,
    /// Threads.
    pub(crate) threads: u64,
}

/// Reads the usage of a process; `None` when it is gone.
pub(crate) fn of(pid: u32) -> Option<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(Usage {
        resident_bytes: field(&status, "VmRSS:")? * 1024,
        peak_bytes: field(&status, "VmHWM:")? * 1024,
        cpu: cpu(&stat)?,
        threads: field(&status, "Threads:")?,
    })
}

/// Forgets the peak, so that the next reading tells the peak since now.
pub(crate) fn reset_peak(pid: u32) {
    // Not everybody may; then the peak is that of the whole life.
    drop(std::fs::write(format!("/proc/{pid}/clear_refs"), "5"));
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn cpu(stat: &str) -> Option<Duration> {
    // The program's name, in parentheses, may contain anything; what follows is numbers.
    let mut numbers = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = numbers.next()?.parse().ok()?;
    let system: u64 = numbers.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / rustix::param::clock_ticks_per_second()))
}
