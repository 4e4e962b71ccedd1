// SPDX-License-Identifier: Apache-2.0
//! The ModelAdapter controller of the built binary against a real API server and engines that are played.
//!
//! | Module | Holds |
//! |---|---|
//! | [`world`] | a control plane with a manager, which tests share |
//! | [`scene`] | the namespace of one test with its pods and engines |
//! | [`lifecycle`], [`outages`] | adapters on all pods that match; loads that fail, engines that forget |
//! | [`children`] | Service and EndpointSlice |
//! | [`single`] | adapters on one pod: choice, migration, change of the number |
//! | [`contract`], [`sidecar`], [`real_sidecar`], [`flags`] | what engines are told; flags of the process |
//! | [`deletion`] | finalizers and unloading |
//! | [`hostile`], [`crowd`] | input that is wrong, engines that are dead |
//! | [`failover`] | change of leader: nothing is loaded twice, moved or unloaded |
//! | [`partition`] | a leader that is cut off under load |

mod children;
mod contract;
mod crowd;
mod deletion;
mod failover;
mod flags;
mod hostile;
mod lifecycle;
mod outages;
mod partition;
mod real_sidecar;
mod scene;
mod sidecar;
mod single;
mod world;
