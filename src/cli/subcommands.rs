// SPDX-License-Identifier: Apache-2.0
//! Does what was asked: the outermost function of the program below `main`.

use std::{
    error::Error,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::{
    Answer, Asked, PROGRAM, VERSION, crds, interpret,
    leases::{self, Options},
    settings::{Settings, Surroundings},
};
use kube_fenced_election::clock::{Clock as _, SystemClock};
use kube_loops::chain::Chain;

/// Parts of the program that sub-commands need and that stand elsewhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wiring {
    /// Runs the manager.
    pub run: fn(Settings) -> ExitCode,
    /// The CRDs of the Rust types.
    pub crds: fn() -> Vec<CustomResourceDefinition>,
}

/// Understands the arguments (without the program's name) and does what they ask for.
pub(crate) fn start(arguments: impl IntoIterator<Item = OsString>, wiring: Wiring) -> ExitCode {
    let surroundings = Surroundings::of_this_process();
    match interpret(arguments, &surroundings) {
        Ok(Asked::Run(settings)) => (wiring.run)(*settings),
        Ok(Asked::Version) => print(&version()),
        Ok(Asked::Crds) => match crds::documents(&(wiring.crds)()) {
            Ok(text) => print(&text),
            Err(error) => fail(&error),
        },
        Ok(Asked::Leases(options)) => show_leases(&options, &surroundings),
        Err(Answer { text, code: 0 }) => print(&text),
        Err(Answer { text, code }) => {
            complain(&text);
            ExitCode::from(code)
        }
    }
}

/// `aibrix-controller-manager 0.1.0 (linux/amd64)`, with the names that Go gives to systems.
pub(crate) fn version() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{PROGRAM} {VERSION} ({}/{architecture})\n", std::env::consts::OS)
}

fn show_leases(options: &Options, surroundings: &Surroundings) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let settings = options.client_settings(surroundings);
    let namespace = options.namespace(surroundings);
    match runtime.block_on(leases::read(&settings, &namespace)) {
        Ok(seen) => print(&options.format.render(&seen.rows(SystemClock.now()))),
        Err(error) => fail(&error),
    }
}

/// Prints to stdout. A reader that left early (`| head`) is no failure.
fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints to stderr; when even that fails nobody can be told.
fn complain(text: &str) {
    io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
}

fn fail(error: &dyn Error) -> ExitCode {
    complain(&format!("{PROGRAM}: {}\n", Chain(error)));
    ExitCode::FAILURE
}
