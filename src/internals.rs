// SPDX-License-Identifier: Apache-2.0
//! What tests of the built binary compare it with. Release builds lack it.

pub use crate::{
    api::crds,
    certs::{issue, x509},
    cli::{
        consumers::WebhookSettings,
        flags,
        invocation::{Asked, interpret},
        settings::{Settings, Surroundings},
    },
    controllers::cards,
    webhook::HOOKS,
};
