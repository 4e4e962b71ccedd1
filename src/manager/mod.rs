// SPDX-License-Identifier: Apache-2.0
//! Hosts controllers: each runs and ends independently of the others.
//!
//! # Guarantees
//! - A controller works only between winning and losing its Lease: its future is made from a term's
//!   fenced client and dropped when the fence closes, which aborts its tasks.
//! - No state of one controller (lost Lease, missing CRD, forbidden watch, panic) stops another or ends
//!   the process.
//! - A Lease is released only after the last task of the controller has ended; what may still run keeps it until
//!   it expires.
//!
//! # Absent on purpose
//! Names of controllers and kinds: this layer sees `dyn Controller` and its `ControllerSpec` only.

mod controller_runner;
mod health_gate;
mod kind_gate;
mod lifecycle;
mod signals;

#[cfg(test)]
mod controller_runner_tests;
#[cfg(test)]
mod health_gate_tests;
#[cfg(test)]
mod kind_gate_tests;
#[cfg(test)]
mod lifecycle_tests;

pub(crate) use controller_runner::{ControllerRunner, RunnerContext, ShutdownOutcome, TermClient};
pub(crate) use health_gate::HealthGate;
pub(crate) use kind_gate::KindProbe;
pub(crate) use lifecycle::{ControllerState, ControllerStates};
pub(crate) use signals::Signals;
