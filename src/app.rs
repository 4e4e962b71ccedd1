// SPDX-License-Identifier: Apache-2.0
//! Composition root: the only file that knows everything.
