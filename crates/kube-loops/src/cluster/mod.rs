// SPDX-License-Identifier: Apache-2.0
//! Everything generic that talks to the API server.
//!
//! | Module | Yields |
//! |---|---|
//! | [`client`] | clients from layers: user agent, rate limit, fence, time limit, counting |
//! | [`writer`] | the verbs of a loop; the only callers of create, patch, replace and delete |
//! | [`dry_run`] | what a writer notes instead of sending it |
//! | [`finalizers`] | adding and removing one finalizer |
//! | [`status`] | whether a status has to be written |
//! | [`events`] | events of the core group |
//! | [`discovery`] | which kinds are served |
//! | [`error`] | what went wrong, in words for people |
//!
//! Deliberately absent: decisions about any kind.

pub mod client;
pub mod discovery;
pub mod dry_run;
pub mod error;
pub mod events;
pub mod finalizers;
pub mod status;
pub mod writer;

#[cfg(test)]
mod discovery_tests;
#[cfg(test)]
mod dry_run_tests;
#[cfg(test)]
mod error_tests;
#[cfg(test)]
mod finalizers_tests;
#[cfg(test)]
mod status_tests;
#[cfg(test)]
mod writer_tests;
