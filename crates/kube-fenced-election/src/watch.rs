// SPDX-License-Identifier: Apache-2.0
//! A watch on one Lease as a stream of what it shows.

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};

use crate::watch_backoff::WatchBackoff;

use super::observation::Sight;

/// What a watch on one Lease delivers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Glimpse {
    /// The list with which the watch begins, also after a gap, shows this.
    Listed(Sight),
    /// The Lease has changed to this.
    Changed(Sight),
    /// The watch is broken; it is being set up anew.
    Broken(String),
}

/// Watches the Lease `name` for ever.
pub(super) fn watch_lease(api: Api<Lease>, name: &str) -> BoxStream<'static, Glimpse> {
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let events = watcher(api, only).backoff(WatchBackoff::default());
    // What the list under way has shown so far.
    let listed: Option<Box<Lease>> = None;
    events
        .scan(listed, |listed, event| {
            let glimpse = match event {
                Ok(watcher::Event::Init) => {
                    *listed = None;
                    None
                }
                Ok(watcher::Event::InitApply(lease)) => {
                    *listed = Some(Box::new(lease));
                    None
                }
                Ok(watcher::Event::InitDone) => {
                    Some(Glimpse::Listed(listed.take().map_or(Sight::Absent(None), Sight::Present)))
                }
                Ok(watcher::Event::Apply(lease)) => Some(Glimpse::Changed(Sight::Present(Box::new(lease)))),
                Ok(watcher::Event::Delete(lease)) => {
                    Some(Glimpse::Changed(Sight::Absent(lease.metadata.resource_version)))
                }
                Err(error) => Some(Glimpse::Broken(error.to_string())),
            };
            futures::future::ready(Some(stream::iter(glimpse)))
        })
        .flatten()
        .boxed()
}
