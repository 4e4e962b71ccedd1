// SPDX-License-Identifier: Apache-2.0
//! Host and port in one string.

use std::fmt::Display;

/// `host:port`, with brackets around a host that contains a colon or a percent sign, as Go's
/// `net.JoinHostPort`. The host is not checked.
pub(crate) fn join_host_port(host: &str, port: impl Display) -> String {
    if host.contains([':', '%']) && !(host.starts_with('[') && host.ends_with(']')) {
        return format!("[{host}]:{port}");
    }
    format!("{host}:{port}")
}
