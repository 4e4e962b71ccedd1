// SPDX-License-Identifier: Apache-2.0
//! The manager's binary: run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    aibrix_controller_manager::run(std::env::args_os().skip(1))
}
