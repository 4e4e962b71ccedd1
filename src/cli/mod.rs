// SPDX-License-Identifier: Apache-2.0
//! The command line: flags in Go's style, sub-commands, and the settings that come out of them.
//!
//! Promised: every argument list that AIBrix's manifests contain is accepted with its old meaning; whatever
//! is wrong with a command line is said before anything contacts the cluster, all of it at once. Two
//! controllers never get one Lease ([`lease_ids`]).
//!
//! Exit codes: 0 help and sub-commands that did their work, 1 well-formed but refused, 2 malformed.
//!
//! Deliberately absent: a configuration file, and flags that are read anywhere else than here. The rest of
//! the process sees the structs of [`consumers`] only.

pub mod consumers;
pub mod controllers;
pub mod crds;
pub mod deployed;
pub mod election_settings;
pub mod environment;
pub mod flags;
pub mod go_flags;
pub mod help;
pub mod invocation;
pub mod klog_flags;
pub mod lease_ids;
pub mod leases;
pub mod leases_table;
pub mod notice;
pub mod problems;
pub mod settings;
pub mod subcommands;

#[cfg(test)]
mod controllers_tests;
#[cfg(test)]
mod crds_tests;
#[cfg(test)]
mod deployed_tests;
#[cfg(test)]
mod effects_tests;
#[cfg(test)]
mod environment_tests;
#[cfg(test)]
mod flags_tests;
#[cfg(test)]
mod go_flags_tests;
#[cfg(test)]
mod help_tests;
#[cfg(test)]
mod invocation_tests;
#[cfg(test)]
mod lease_ids_tests;
#[cfg(test)]
mod leases_table_tests;
#[cfg(test)]
mod leases_tests;
#[cfg(test)]
mod manifests_tests;
#[cfg(test)]
mod settings_tests;

pub use invocation::{Answer, Asked, interpret};
pub use settings::{Settings, Surroundings};
pub use subcommands::{Wiring, start};

/// Name of the program in its usage text, its version and its user agent.
pub const PROGRAM: &str = "aibrix-controller-manager";
/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
