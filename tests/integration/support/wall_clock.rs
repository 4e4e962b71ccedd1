// SPDX-License-Identifier: Apache-2.0
//! Another wall clock for a manager, by libfaketime; its monotonic clock stays true.

use std::path::PathBuf;

use super::manager::Launch;

impl Launch {
    /// The same with a wall clock that is off by `offset`, such as `+3600`: seconds.
    ///
    /// # Panics
    /// Without libfaketime: a test that cannot move the clock must not look as if it had passed.
    pub(crate) fn with_wall_clock(mut self, offset: &str) -> Self {
        let variables = [
            ("LD_PRELOAD", library().display().to_string()),
            ("FAKETIME", offset.to_owned()),
            // The wall clock alone.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        self.env.extend(variables.map(|(name, value)| (name.to_owned(), value)));
        self
    }
}

fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut libraries = folders.map(|it| it.path().join("faketime/libfaketime.so.1"));
    libraries.find(|it| it.exists()).unwrap_or_else(|| {
        panic!("this moves the wall clock of a manager: install the package libfaketime (`.ci/run` does)")
    })
}
