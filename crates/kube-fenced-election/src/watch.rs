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

use super::observation::LeaseSnapshot;

/// What a watch on one Lease delivers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum LeaseEvent {
    /// The list with which the watch begins, also after a gap, shows this.
    Listed(LeaseSnapshot),
    /// The Lease has changed to this.
    Changed(LeaseSnapshot),
    /// The watch is broken; it is being set up anew.
    Broken(String),
}

/// Watches the Lease `name` for ever.
pub(super) fn watch_lease(api: Api<Lease>, name: &str) -> BoxStream<'static, LeaseEvent> {
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let events = watcher(api, only).backoff(WatchBackoff::default());
    // What the list under way has shown so far.
    let listed: Option<Box<Lease>> = None;
    events
        .scan(listed, |listed, event| {
            let lease_event = match event {
                Ok(watcher::Event::Init) => {
                    *listed = None;
                    None
                }
                Ok(watcher::Event::InitApply(lease)) => {
                    *listed = Some(Box::new(lease));
                    None
                }
                Ok(watcher::Event::InitDone) => Some(LeaseEvent::Listed(
                    listed.take().map_or(LeaseSnapshot::Absent(None), LeaseSnapshot::Present),
                )),
                Ok(watcher::Event::Apply(lease)) => {
                    Some(LeaseEvent::Changed(LeaseSnapshot::Present(Box::new(lease))))
                }
                Ok(watcher::Event::Delete(lease)) => {
                    Some(LeaseEvent::Changed(LeaseSnapshot::Absent(lease.metadata.resource_version)))
                }
                Err(error) => Some(LeaseEvent::Broken(error.to_string())),
            };
            futures::future::ready(Some(stream::iter(lease_event)))
        })
        .flatten()
        .boxed()
}
