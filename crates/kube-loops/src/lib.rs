// SPDX-License-Identifier: Apache-2.0
//! Runs reconcilers on shared watches, with every write under a fence.
