// SPDX-License-Identifier: Apache-2.0
//! controllers

pub mod pod_autoscaler;
