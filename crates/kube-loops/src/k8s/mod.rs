// SPDX-License-Identifier: Apache-2.0
//! Pure helpers over Kubernetes types. A helper moves here with its tests when a second loop needs it.

pub mod conditions;
pub mod names;
pub mod owner;
pub mod selector;
pub mod text;

#[cfg(test)]
mod conditions_tests;
#[cfg(test)]
mod names_tests;
#[cfg(test)]
mod owner_tests;
#[cfg(test)]
mod selector_tests;
#[cfg(test)]
mod text_tests;
