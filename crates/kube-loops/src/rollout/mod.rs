// SPDX-License-Identifier: Apache-2.0
//! Rollout arithmetic that several loops share: pure functions over facts, without clock, network or
//! logging.
//!
//! | Question | Module |
//! |---|---|
//! | does this object belong to that owner, and may it be adopted? | [`controller_ref`] |
//! | how much is `25%`, and how far may a rollout go? | [`int_or_percent`], [`limits`] |
//! | what is a replica to this arithmetic, and which goes first? | [`replica`], [`order`] |
//! | what does a pass create and delete? | interchangeable replicas: [`pool`]; with indexes: [`slots`] |
//! | how do several roles advance together? | [`interleave`] |
//! | how does a rollout stop half-way? | [`partition`]; paused: [`proportional`] |
//! | how do replicas move from old sets to a new one? | [`replica_sets`], [`proportional`] |
//! | which revision is wanted, current, surplus? | [`revisions`] |
//! | do two templates mean the same, and what stands for one? | [`template`] |
//!
//! A loop takes [`replica::Replica`]s from its objects, asks for a step, and carries it out. All steps are
//! functions of what exists, so a pass may be repeated, and another process may go on, at any point.

pub mod controller_ref;
pub mod int_or_percent;
pub mod interleave;
pub mod limits;
pub mod order;
pub mod partition;
pub mod pool;
pub mod proportional;
pub mod replica;
pub mod replica_sets;
pub mod revisions;
pub mod slots;
pub mod template;

#[cfg(test)]
mod controller_ref_tests;
#[cfg(test)]
mod int_or_percent_tests;
#[cfg(test)]
mod interleave_tests;
#[cfg(test)]
mod limits_tests;
#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod partition_tests;
#[cfg(test)]
mod pool_tests;
#[cfg(test)]
mod proportional_tests;
#[cfg(test)]
mod replica_cases;
#[cfg(test)]
mod replica_sets_tests;
#[cfg(test)]
mod replica_tests;
#[cfg(test)]
mod revisions_tests;
#[cfg(test)]
mod slots_tests;
