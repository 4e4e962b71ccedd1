// SPDX-License-Identifier: Apache-2.0
//! Templates: when two of them mean the same, and what stands for one in a name or label.
//!
//! | Question | Answer |
//! |---|---|
//! | do two templates mean the same? | [`canonical::are_equal`] |
//! | what stands for a template, for ever? | [`hashes::template_digest`] of [`canonical::canonical`] |
//! | which suffix does a name get? | [`hashes::name_hash`], [`hashes::revision_hash`] |
//! | what did a program in Go write, or hash? | [`go_json`], [`go_hash`] |
//! | was this pod made from this template by somebody else? | [`contains::first_difference`] |
//! | did the inputs of a child change? | [`input_hash::input_hash`] |
//!
//! Templates stay raw JSON throughout; the types of [`layout`] only say how to read them.

pub mod canonical;
pub mod contains;
pub mod go_hash;
pub mod go_json;
pub mod hashes;
pub mod input_hash;
pub mod layout;
pub mod quantity;

#[cfg(test)]
mod canonical_tests;
#[cfg(test)]
mod contains_tests;
#[cfg(test)]
mod go_tests;
#[cfg(test)]
mod hashes_tests;
#[cfg(test)]
mod input_hash_tests;
#[cfg(test)]
mod layout_tests;
#[cfg(test)]
mod quantity_tests;
