// SPDX-License-Identifier: Apache-2.0
//! testkit

pub mod lease_store;
