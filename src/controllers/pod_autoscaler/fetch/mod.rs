// SPDX-License-Identifier: Apache-2.0
//! Reads for a pass: stores, the few live reads, and the measurements that others took.

pub(super) mod samples;
