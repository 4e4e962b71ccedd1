// SPDX-License-Identifier: Apache-2.0
//! Rollout arithmetic that several loops share: pure functions over facts, without clock, network or logging.

pub mod int_or_percent;
pub mod limits;
pub mod order;
pub mod pool;
pub mod replica;
pub mod template;

#[cfg(test)]
mod int_or_percent_tests;
#[cfg(test)]
mod limits_tests;
#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod pool_tests;
#[cfg(test)]
mod replica_cases;
