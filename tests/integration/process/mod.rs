// SPDX-License-Identifier: Apache-2.0
//! The manager as a process: flags, endpoints, signals, and controllers that do not disturb each other.

mod endpoints;
mod faults;
mod flags;
mod isolation;
