// SPDX-License-Identifier: Apache-2.0
//! The command line: flags in Go's style, sub-commands, and the settings that come out of them.
//!
//! Promised: every argument list that AIBrix's manifests contain is accepted with its old meaning; whatever
//! is wrong with a command line is reported before anything contacts the cluster, all of it at once. Two
//! controllers never get one Lease ([`lease_ids`]).
//!
//! Exit codes: 0 help and sub-commands that did their work, 1 well-formed but refused, 2 malformed.
//!
//! Deliberately absent: a configuration file, and flags that are read anywhere else than here. The rest of
//! the process sees the structs of [`consumers`] only.

pub(crate) mod consumers;
pub(crate) mod controllers;
pub(crate) mod deployed;
pub(crate) mod election_settings;
pub(crate) mod env_vars;
pub mod flags;
pub(crate) mod go_flags;
pub(crate) mod help;
pub(crate) mod invocation;
pub(crate) mod klog_flags;
pub(crate) mod lease_ids;
pub(crate) mod leases;
pub(crate) mod leases_table;
pub(crate) mod notice;
pub(crate) mod problems;
pub(crate) mod settings;
pub(crate) mod subcommands;

#[cfg(test)]
mod controllers_tests;
#[cfg(test)]
mod deployed_tests;
#[cfg(test)]
mod effects_tests;
#[cfg(test)]
mod env_vars_tests;
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
#[cfg(test)]
mod subcommands_tests;

pub(crate) use invocation::{Command, EarlyExit, interpret};
pub(crate) use subcommands::{Wiring, start};

/// Name of the program in its usage text, its version and its user agent.
pub(crate) const PROGRAM: &str = "aibrix-controller-manager";
/// Version of the program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
