// SPDX-License-Identifier: Apache-2.0
//! The model route controller of the built binary against a real API server with the real CRDs of the Gateway
//! API, as the ServiceAccount of its own kustomization, with its own role.
//!
//! | Module | Holds |
//! |---|---|
//! | [`world`] | control planes, the manager that tests share, workloads and routes |
//! | [`shapes`] | what a route looks like for which metadata |
//! | [`changes`] | what follows when workloads, routes and grants change |
//! | [`lifecycle`] | restarts, kinds that come and go, change of leader, refusals, rest |

mod changes;
mod lifecycle;
mod shapes;
mod world;
