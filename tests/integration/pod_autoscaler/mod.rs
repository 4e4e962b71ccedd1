// SPDX-License-Identifier: Apache-2.0
//! The PodAutoscaler controller of the built binary against a real API server.
//!
//! | Module | Holds |
//! |---|---|
//! | [`world`] | control planes with a manager, which tests share |
//! | [`scene`] | the namespace of one test, with an engine of its own |
//! | [`spec`], [`claims`] | what is said about a spec; who may drive a target |
//! | [`hpa`] | strategy HPA |
//! | [`bounds`], [`scaling`], [`sources`], [`targets`] | strategies APA and KPA |
//! | [`lifecycle`] | restarts, deletion, shutdown, change of leader |
//! | [`late_writes`] | writes of a leader that arrive once more after its successor's |
//! | [`restore`] | a database that is restored from a backup while the manager runs |
//! | [`steady`] | what is asked and written while nothing changes |
//! | [`bad_input`], [`crowd`] | input that is wrong, and a thousand autoscalers of a dead engine |
//! | [`overload`] | engines that answer late |
//! | [`undone`] | somebody else, or admission, changes what it writes |
//!
//! Most of them run with a sync period of 2 s ([`world::PERIOD`]), so that several syncs fit into a test;
//! figures are taken with the period that is shipped.

mod bad_input;
mod bounds;
mod claims;
mod crowd;
mod hpa;
mod late_writes;
mod lifecycle;
mod overload;
mod restore;
mod scaling;
mod scene;
mod sources;
mod spec;
mod steady;
mod targets;
mod undone;
mod world;
