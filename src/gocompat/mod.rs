// SPDX-License-Identifier: Apache-2.0
//! What Go prints and parses, byte for byte.
//!
//! Users write annotations, flags and specs for a program in Go; whatever its standard library accepts
//! has to be accepted here, and with the same result. Nothing in this folder knows Kubernetes.

pub(crate) mod duration;
pub(crate) mod number;
pub(crate) mod quote;
pub(crate) mod url;

#[cfg(test)]
mod duration_tests;
#[cfg(test)]
mod number_tests;
#[cfg(test)]
mod quote_tests;
#[cfg(test)]
mod url_tests;
