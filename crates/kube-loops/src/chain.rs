// SPDX-License-Identifier: Apache-2.0
//! Errors with their causes.

use std::{error::Error, fmt};

/// Prints an error with its whole chain of causes, `what failed: why: root cause`, leaving out a cause
/// whose text the line above it already ends with.
///
/// For the log field `error = %Chain(&error)`.
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !last.ends_with(&text) {
                write!(f, ": {text}")?;
                last = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}
