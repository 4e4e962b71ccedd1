// SPDX-License-Identifier: Apache-2.0
//! A thread that runs the elections and nothing else.
//!
//! Passes, reviews and scrapes may keep all other threads busy for seconds: what renews Leases does not wait for them.
//! Its clients have connections of their own, whose tasks run here as well.

use std::{io, thread};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The thread. It ends when this is dropped, with all that runs there.
#[derive(Debug)]
pub(super) struct ElectionThread {
    runtime: Handle,
    _end: DropGuard,
}

impl ElectionThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives none.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let end = CancellationToken::new();
        let ended = end.clone();
        thread::Builder::new().name("elections".to_owned()).spawn(move || {
            runtime.block_on(ended.cancelled());
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, _end: end.drop_guard() })
    }

    /// Where tasks of the elections are started.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Makes something whose own tasks run on the thread.
    pub(super) fn run_inside<T>(&self, make: impl FnOnce() -> T) -> T {
        let _inside = self.runtime.enter();
        make()
    }
}
