// SPDX-License-Identifier: Apache-2.0
//! Hosts controllers: one supervised life each, independent of the others.
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

mod fitness;
mod kind_gate;
mod lifecycle;
mod shutdown;
mod states;
mod supervisor;

#[cfg(test)]
mod fitness_tests;
#[cfg(test)]
mod kind_gate_tests;
#[cfg(test)]
mod lifecycle_tests;
#[cfg(test)]
mod supervisor_tests;

pub(crate) use fitness::Fitness;
pub(crate) use kind_gate::KindProbe;
pub(crate) use lifecycle::State;
pub(crate) use shutdown::Signals;
pub(crate) use states::States;
pub(crate) use supervisor::{Life, LifeDeps, Outlook, TermClient};
