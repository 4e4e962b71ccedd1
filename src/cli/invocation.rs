// SPDX-License-Identifier: Apache-2.0
//! From the raw arguments to a command, without running it.

use std::ffi::OsString;

use super::{
    PROGRAM, flags,
    go_flags::{self, Parsed},
    help, leases,
    settings::{self, Env, Settings},
};

/// What to run.
#[derive(Debug)]
pub enum Command {
    /// The manager.
    Run(Box<Settings>),
    /// The table of Leases.
    Leases(leases::Options),
    /// The CRDs.
    Crds,
    /// The version.
    Version,
}

/// A text to print instead of running a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlyExit {
    /// Ends with a newline.
    pub text: String,
    /// Exit code; text of code 0 goes to stdout, other text to stderr.
    pub code: u8,
}

impl EarlyExit {
    fn help(text: String) -> Self {
        Self { text, code: 0 }
    }

    fn malformed(message: &str, usage: &str) -> Self {
        Self { text: format!("{message}\n{usage}"), code: 2 }
    }
}

/// Parses the arguments, without the program's name. A sub-command is one only as the very first
/// argument, so that the arguments of existing manifests keep their meaning.
///
/// # Errors
/// An [`EarlyExit`]: help (code 0), a refused command line (1) or a malformed one (2).
pub fn interpret(arguments: impl IntoIterator<Item = OsString>, env: &Env) -> Result<Command, EarlyExit> {
    let mut texts = Vec::new();
    for argument in arguments {
        texts.push(argument.into_string().map_err(|argument| {
            let message = format!("argument is not UTF-8: {}", argument.display());
            EarlyExit::malformed(&message, &help::usage(flags::ALL))
        })?);
    }
    match texts.split_first() {
        Some((first, rest)) if first == "leases" => leases::Options::parse(rest).map(Command::Leases),
        Some((first, rest)) if first == "crds" => {
            parse_without_options("crds", "Prints the CRDs as YAML.", rest, Command::Crds)
        }
        Some((first, rest)) if first == "version" => {
            parse_without_options("version", "Prints the version.", rest, Command::Version)
        }
        _ => run(&texts, env),
    }
}

fn run(arguments: &[String], env: &Env) -> Result<Command, EarlyExit> {
    match go_flags::parse(flags::ALL, arguments) {
        Ok(Parsed::Help) => Err(EarlyExit::help(help::usage(flags::ALL))),
        Err(error) => Err(EarlyExit::malformed(&error.to_string(), &help::usage(flags::ALL))),
        Ok(Parsed::Given(given)) => settings::resolve(&given, env)
            .map(|settings| Command::Run(Box::new(settings)))
            .map_err(|invalid| EarlyExit { text: format!("{PROGRAM}: {invalid}\n"), code: 1 }),
    }
}

/// A sub-command without options.
fn parse_without_options(
    name: &'static str,
    about: &'static str,
    rest: &[String],
    command: Command,
) -> Result<Command, EarlyExit> {
    let parser = clap::Command::new(name).bin_name(format!("{PROGRAM} {name}")).about(about);
    parse_subcommand(parser, name, rest).map(|_| command)
}

/// Parses the options of a sub-command with clap, whose messages and exit codes are kept.
pub(super) fn parse_subcommand(
    command: clap::Command,
    name: &str,
    rest: &[String],
) -> Result<clap::ArgMatches, EarlyExit> {
    let arguments = std::iter::once(name).chain(rest.iter().map(String::as_str));
    command.try_get_matches_from(arguments).map_err(|error| EarlyExit {
        text: error.render().to_string(),
        code: error.exit_code().try_into().unwrap_or(2),
    })
}
