// SPDX-License-Identifier: Apache-2.0
//! The flags of klog, pure. Existing manifests pass some of them.
//!
//! Three act: `-v`, `-vmodule`, `-skip_headers`. The others steer files and stack traces of the Go
//! library; they are accepted, and one warning says that they do nothing.

use super::go_flags::{AnyFlag, Flag, FlagValue, ValueError};
use crate::gocompat::number::parse_int;

/// A verbosity: a whole number of 32 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Level(pub i32);

impl FlagValue for Level {
    const TYPE_NAME: &'static str = "int";
    const ZERO: &'static str = "0";

    fn parse(text: &str) -> Result<Self, ValueError> {
        i32::try_from(parse_int(text)?).map(Self).map_err(|_| ValueError::Range)
    }
}

/// Verbosities by file: `pattern=N` pairs between commas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Vmodule(pub String);

impl FlagValue for Vmodule {
    const TYPE_NAME: &'static str = "pattern=N,...";

    fn parse(text: &str) -> Result<Self, ValueError> {
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (pattern, level) = pair.split_once('=').ok_or(ValueError::Vmodule)?;
            let Level(number) = Level::parse(level).map_err(|_| ValueError::Vmodule)?;
            if pattern.is_empty() {
                return Err(ValueError::Vmodule);
            }
            if number < 0 {
                return Err(ValueError::NegativeLevel);
            }
        }
        Ok(Self(text.to_owned()))
    }
}

/// A severity by name or number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Severity(pub i32);

impl FlagValue for Severity {
    const TYPE_NAME: &'static str = "severity";

    fn parse(text: &str) -> Result<Self, ValueError> {
        let names = ["INFO", "WARNING", "ERROR", "FATAL"];
        let by_name = (0..).zip(names).find(|(_, name)| name.eq_ignore_ascii_case(text));
        by_name.map_or_else(|| Level::parse(text).map(|level| Self(level.0)), |(number, _)| Ok(Self(number)))
    }
}

/// A place in a Go source, `file.go:N`, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Location(pub String);

impl FlagValue for Location {
    const TYPE_NAME: &'static str = "file:N";

    fn parse(text: &str) -> Result<Self, ValueError> {
        let line = |line: &str| line.parse::<u32>().is_ok_and(|line| line > 0);
        let holds = text.split_once(':').is_some_and(|(file, rest)| file.contains('.') && line(rest));
        if !text.is_empty() && !holds {
            return Err(ValueError::Location);
        }
        Ok(Self(text.to_owned()))
    }
}

/// `-v`
pub(crate) static V: Flag<Level> =
    Flag::new("v", "0", "Number for the log level verbosity: lines at this verbosity or below are shown.");
/// `-vmodule`
pub(crate) static VMODULE: Flag<Vmodule> =
    Flag::new("vmodule", "", "Verbosity by source file, as comma-separated pattern=N pairs.");
/// `-skip_headers`
pub(crate) static SKIP_HEADERS: Flag<bool> =
    Flag::new("skip_headers", "false", "Leave the header (severity, time, process, place) out of log lines.");

/// `-logtostderr`
pub(crate) static LOGTOSTDERR: Flag<bool> = Flag::new("logtostderr", "true", IGNORED);
/// `-alsologtostderr`
pub(crate) static ALSOLOGTOSTDERR: Flag<bool> = Flag::new("alsologtostderr", "false", IGNORED);
/// `-stderrthreshold`
pub(crate) static STDERRTHRESHOLD: Flag<Severity> = Flag::new("stderrthreshold", "2", IGNORED);
/// `-log_dir`
pub(crate) static LOG_DIR: Flag<String> = Flag::new("log_dir", "", IGNORED);
/// `-log_file`
pub(crate) static LOG_FILE: Flag<String> = Flag::new("log_file", "", IGNORED);
/// `-log_file_max_size`
pub(crate) static LOG_FILE_MAX_SIZE: Flag<u64> = Flag::new("log_file_max_size", "1800", IGNORED);
/// `-log_backtrace_at`
pub(crate) static LOG_BACKTRACE_AT: Flag<Location> = Flag::new("log_backtrace_at", "", IGNORED);
/// `-add_dir_header`
pub(crate) static ADD_DIR_HEADER: Flag<bool> = Flag::new("add_dir_header", "false", IGNORED);
/// `-skip_log_headers`
pub(crate) static SKIP_LOG_HEADERS: Flag<bool> = Flag::new("skip_log_headers", "false", IGNORED);
/// `-one_output`
pub(crate) static ONE_OUTPUT: Flag<bool> = Flag::new("one_output", "false", IGNORED);

const IGNORED: &str = "Accepted for compatibility and ignored: logs go to stderr.";

/// The flags that do nothing.
pub(crate) static WITHOUT_EFFECT: &[&dyn AnyFlag] = &[
    &ADD_DIR_HEADER,
    &ALSOLOGTOSTDERR,
    &LOG_BACKTRACE_AT,
    &LOG_DIR,
    &LOG_FILE,
    &LOG_FILE_MAX_SIZE,
    &LOGTOSTDERR,
    &ONE_OUTPUT,
    &SKIP_LOG_HEADERS,
    &STDERRTHRESHOLD,
];
