// SPDX-License-Identifier: Apache-2.0
//! Another wall clock for a manager, by libfaketime; its monotonic clock stays true.

use std::path::{Path, PathBuf};

use super::manager::Launch;

impl Launch {
    /// The same with a wall clock that is off by `offset`, such as `+3600`: seconds.
    ///
    /// # Panics
    /// Without libfaketime: a test that cannot move the clock must not look as if it had passed.
    pub(crate) fn with_wall_clock(self, offset: &str) -> Self {
        let library = faketime().unwrap_or_else(|| {
            panic!("this moves the wall clock of a manager: install the package libfaketime (`.ci/run` does)")
        });
        self.with_faketime(&library, &[("FAKETIME", offset)])
    }

    /// The same with this library in front of the clock, which these variables of its own steer.
    pub(crate) fn with_faketime(mut self, library: &Path, variables: &[(&str, &str)]) -> Self {
        let library = library.display().to_string();
        let always = [
            ("LD_PRELOAD", library.as_str()),
            // The wall clock alone.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ];
        let all = always.iter().chain(variables);
        self.env.extend(all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }
}

/// The library that moves wall clocks; `None`: not installed.
pub(crate) fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut libraries = folders.map(|it| it.path().join("faketime/libfaketime.so.1"));
    libraries.find(|it| it.exists())
}
