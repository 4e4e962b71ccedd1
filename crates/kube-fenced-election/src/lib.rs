// SPDX-License-Identifier: Apache-2.0
//! Leader election for Kubernetes controllers: one Lease per controller, every write fenced.
