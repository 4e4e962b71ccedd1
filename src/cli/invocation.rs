// SPDX-License-Identifier: Apache-2.0
//! From the raw arguments to what is asked for, without doing anything.

use std::ffi::OsString;

use super::{
    PROGRAM, flags,
    go_flags::{self, Parsed},
    help, leases,
    settings::{self, Settings, Surroundings},
};

/// What the user wants.
#[derive(Debug)]
pub enum Asked {
    /// The manager.
    Run(Box<Settings>),
    /// The table of Leases.
    Leases(leases::Options),
    /// The CRDs.
    Crds,
    /// The version.
    Version,
}

/// Something to print instead of working.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Ends with a newline.
    pub text: String,
    /// Exit code; text of code 0 goes to stdout, other text to stderr.
    pub code: u8,
}

impl Answer {
    fn help(text: String) -> Self {
        Self { text, code: 0 }
    }

    fn malformed(message: &str, usage: &str) -> Self {
        Self { text: format!("{message}\n{usage}"), code: 2 }
    }
}

/// Understands the arguments, without the program's name. A sub-command is one only as the very first
/// argument, so that the arguments of existing manifests keep their meaning.
///
/// # Errors
/// An [`Answer`]: help (code 0), a refused command line (1) or a malformed one (2).
pub fn interpret(
    arguments: impl IntoIterator<Item = OsString>,
    surroundings: &Surroundings,
) -> Result<Asked, Answer> {
    let mut texts = Vec::new();
    for argument in arguments {
        texts.push(argument.into_string().map_err(|argument| {
            let message = format!("argument is not UTF-8: {}", argument.display());
            Answer::malformed(&message, &help::usage(flags::ALL))
        })?);
    }
    match texts.split_first() {
        Some((first, rest)) if first == "leases" => leases::Options::parse(rest).map(Asked::Leases),
        Some((first, rest)) if first == "crds" => {
            alone("crds", "Prints the CRDs as YAML.", rest, Asked::Crds)
        }
        Some((first, rest)) if first == "version" => {
            alone("version", "Prints the version.", rest, Asked::Version)
        }
        _ => run(&texts, surroundings),
    }
}

fn run(arguments: &[String], surroundings: &Surroundings) -> Result<Asked, Answer> {
    match go_flags::parse(flags::ALL, arguments) {
        Ok(Parsed::Help) => Err(Answer::help(help::usage(flags::ALL))),
        Err(error) => Err(Answer::malformed(&error.to_string(), &help::usage(flags::ALL))),
        Ok(Parsed::Given(given)) => settings::resolve(&given, surroundings)
            .map(|settings| Asked::Run(Box::new(settings)))
            .map_err(|invalid| Answer { text: format!("{PROGRAM}: {invalid}\n"), code: 1 }),
    }
}

/// A sub-command without options.
fn alone(name: &'static str, about: &'static str, rest: &[String], asked: Asked) -> Result<Asked, Answer> {
    let command = clap::Command::new(name).bin_name(format!("{PROGRAM} {name}")).about(about);
    parse_subcommand(command, name, rest).map(|_| asked)
}

/// Parses the options of a sub-command with clap, whose messages and exit codes are kept.
pub(super) fn parse_subcommand(
    command: clap::Command,
    name: &str,
    rest: &[String],
) -> Result<clap::ArgMatches, Answer> {
    let arguments = std::iter::once(name).chain(rest.iter().map(String::as_str));
    command.try_get_matches_from(arguments).map_err(|error| Answer {
        text: error.render().to_string(),
        code: error.exit_code().try_into().unwrap_or(2),
    })
}
