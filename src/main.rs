// SPDX-License-Identifier: Apache-2.0
//! The manager's binary: parse, run, exit code.

use std::process::ExitCode;

use aibrix_controller_manager::cli;

fn main() -> ExitCode {
    let wiring = cli::Wiring {
        run: |_| ExitCode::SUCCESS,
        connect: |settings| Box::pin(cli::leases::connect(settings)),
        crds: Vec::new,
    };
    cli::start(std::env::args_os().skip(1), wiring)
}
