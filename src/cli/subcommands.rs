// SPDX-License-Identifier: Apache-2.0
//! Runs a command: the outermost function of the program below `main`.

use std::{
    error::Error,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::{
    Command, EarlyExit, PROGRAM, VERSION, interpret,
    leases::{self, Options},
    settings::{Env, Settings},
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

/// Parses the arguments (without the program's name) and runs the command.
pub(crate) fn start(arguments: impl IntoIterator<Item = OsString>, wiring: Wiring) -> ExitCode {
    let env = Env::of_this_process();
    match interpret(arguments, &env) {
        Ok(Command::Run(settings)) => (wiring.run)(*settings),
        Ok(Command::Version) => print(&version()),
        Ok(Command::Crds) => match crd_documents(&(wiring.crds)()) {
            Ok(text) => print(&text),
            Err(error) => fail(&error),
        },
        Ok(Command::Leases(options)) => show_leases(&options, &env),
        Err(EarlyExit { text, code: 0 }) => print(&text),
        Err(EarlyExit { text, code }) => {
            print_error(&text);
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

/// Why CRDs could not be printed.
#[derive(Debug, thiserror::Error)]
#[error("could not print the CRD {name}")]
pub(crate) struct CrdError {
    /// Name of the CRD.
    pub name: String,
    /// What the encoder says.
    #[source]
    pub source: serde_yaml_ng::Error,
}

/// The documents in the given order, each behind a line `---`, ready for `kubectl apply --server-side -f -`.
///
/// # Errors
/// A definition that cannot be encoded: a defect of ours.
pub(crate) fn crd_documents(definitions: &[CustomResourceDefinition]) -> Result<String, CrdError> {
    let mut text = String::new();
    for definition in definitions {
        let yaml = serde_yaml_ng::to_string(definition).map_err(|source| CrdError {
            name: definition.metadata.name.clone().unwrap_or_default(),
            source,
        })?;
        text.push_str("---\n");
        text.push_str(&yaml);
    }
    Ok(text)
}

fn show_leases(options: &Options, env: &Env) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let settings = options.client_settings(env);
    let namespace = options.namespace(env);
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

/// Prints to stderr; a failure of that is ignored.
fn print_error(text: &str) {
    io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
}

fn fail(error: &dyn Error) -> ExitCode {
    print_error(&format!("{PROGRAM}: {}\n", Chain(error)));
    ExitCode::FAILURE
}
