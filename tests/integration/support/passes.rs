// SPDX-License-Identifier: Apache-2.0
//! Passes of loops, one by one, as a manager's log tells them: what shows that an object was looked at again.
//!
//! Whoever wants to show that nothing happened waits for passes instead of waiting for time to pass: after a
//! pass that began later than the change, there is nothing left that could happen because of it.

use std::time::Duration;

use super::{
    manager::Manager,
    wait::{eventually, instant},
};

/// Makes a manager log each pass.
pub(crate) const LOG_PASSES: &str = "--vmodule=worker=8";

/// By then a pass has ended, of a loop whose period is ten seconds.
const BOUND: Duration = Duration::from_mins(1);

/// The passes for one key.
pub(crate) struct Passes<'a> {
    manager: &'a Manager,
    key: String,
}

impl<'a> Passes<'a> {
    /// Those for the key `namespace/name` of a manager with [`LOG_PASSES`] and one loop.
    pub(crate) fn of(manager: &'a Manager, namespace: &str, name: &str) -> Self {
        Self { manager, key: format!(" namespace={namespace:?} name={name:?} ") }
    }

    /// How many have ended.
    pub(crate) fn ended(&self) -> usize {
        let log = self.manager.log();
        let ends = |line: &&str| line.contains("] \"Reconcile") && line.contains(&self.key);
        log.lines().filter(ends).count()
    }

    /// Waits until `count` more have ended. One that runs now is the first of them: of two, the second has begun
    /// after this call.
    pub(crate) async fn wait(&self, count: usize) {
        self.until(self.ended() + count).await;
    }

    /// Waits until `count` have ended since the manager started.
    pub(crate) async fn until(&self, count: usize) {
        eventually(BOUND, &format!("{count} passes end"), async || {
            let ended = self.ended();
            if ended >= count { Ok(()) } else { Err(format!("{ended} for{}", self.key)) }
        })
        .await;
    }

    /// Asserts that `probe` answers `Ok` at every look until `count` more have ended, and then.
    ///
    /// # Panics
    /// At the first `Err`, or when there are no passes.
    pub(crate) async fn hold<F>(&self, count: usize, what: &str, mut probe: F)
    where
        F: AsyncFnMut() -> Result<(), String>,
    {
        let (from, start) = (instant(), self.ended());
        eventually(BOUND * u32::try_from(count).unwrap_or(u32::MAX), "passes end", async || {
            // Counted first: what the last of them did is looked at, too.
            let ended = self.ended() - start;
            if let Err(seen) = probe().await {
                panic!(
                    "did not hold for {count} passes: {what}; after {ended}, {:?}: {seen}",
                    from.elapsed()
                );
            }
            if ended >= count { Ok(()) } else { Err(format!("{ended} for{}", self.key)) }
        })
        .await;
    }
}
