// SPDX-License-Identifier: Apache-2.0
//! What others rely on, compared with what we ship: manifests, roles, arguments, definitions, documents.
//!
//! Golden files under `tests/golden` are written from what is promised, never copied from our own output.
//! The manifests are rendered by the pinned kubectl: run `make tools` once, or name one in `KUBECTL`.
//! Without it these tests fail; they are not skipped.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a check that trips over its own assumption must fail loudly"
)]

#[path = "contracts/args.rs"]
mod args;
#[path = "contracts/crds.rs"]
mod crds;
#[path = "contracts/deployment.rs"]
mod deployment;
#[path = "contracts/grants.rs"]
mod grants;
#[path = "contracts/image.rs"]
mod image;
#[path = "contracts/manifests.rs"]
mod manifests;
#[path = "contracts/names.rs"]
mod names;
#[path = "contracts/repository.rs"]
mod repository;
#[path = "contracts/roles.rs"]
mod roles;
#[path = "contracts/samples.rs"]
mod samples;
#[path = "contracts/webhooks.rs"]
mod webhooks;
