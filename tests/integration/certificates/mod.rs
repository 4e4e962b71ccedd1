// SPDX-License-Identifier: Apache-2.0
//! Webhook certificates that manage themselves: the built binary, the shipped roles, a real API server.

mod clients;
mod first;
mod rotation;
mod trouble;
mod world;
