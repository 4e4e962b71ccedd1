// SPDX-License-Identifier: Apache-2.0
//! From the raw arguments to a command, without running it.
//!
//! A word that is no flag is a sub-command, wherever it stands, or a slip: then nothing is started. Go programs ignore
//! such words and what follows them. That is kept where a manifest may rely on it: for `true` and `false` behind a
//! boolean flag.

use std::ffi::OsString;

use super::{
    PROGRAM, flags,
    go_flags::{self, Given, Parsed},
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

    fn unknown_word(word: &str) -> Self {
        let nearest = COMMANDS.into_iter().chain(["help"]).min_by_key(|command| distance(word, command));
        let nearest = nearest.filter(|command| *command != "help").unwrap_or("--help");
        let commands = COMMANDS.join(", ");
        let text = format!(
            "{PROGRAM}: unknown command {word:?}, nothing was started. Nearest command: {nearest}\n\
             Commands: {commands}; without one the manager runs. Values of boolean flags need '='. See --help.\n"
        );
        Self { text, code: 2 }
    }
}

/// The sub-commands.
const COMMANDS: [&str; 3] = ["leases", "crds", "version"];

/// Parses the arguments, without the program's name. A sub-command may stand before or behind flags.
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
    if let Some((first, rest)) = texts.split_first()
        && is_command(first)
    {
        return subcommand(first, rest);
    }
    match go_flags::parse(flags::ALL, &texts) {
        Ok(Parsed::Help) => Err(EarlyExit::help(help::usage(flags::ALL))),
        // Perhaps flags of a sub-command that stands behind them.
        Err(error) => match texts.iter().position(|text| is_command(text)) {
            Some(at) => {
                let name = texts.remove(at);
                subcommand(&name, &texts)
            }
            None => Err(EarlyExit::malformed(&error.to_string(), &help::usage(flags::ALL))),
        },
        Ok(Parsed::Given(given)) => match stray_word(&texts, given.ignored.len()) {
            Some((word, rest)) if is_command(word) => {
                let before = if word == "leases" { options_of_leases(&given) } else { Vec::new() };
                subcommand(word, &[&before, rest].concat())
            }
            Some((word, _)) => Err(EarlyExit::unknown_word(word)),
            None => settings::resolve(&given, env)
                .map(|settings| Command::Run(Box::new(settings)))
                .map_err(|invalid| EarlyExit { text: format!("{PROGRAM}: {invalid}\n"), code: 1 }),
        },
    }
}

fn is_command(word: &str) -> bool {
    COMMANDS.contains(&word)
}

fn subcommand(name: &str, rest: &[String]) -> Result<Command, EarlyExit> {
    match name {
        "leases" => leases::Options::parse(rest).map(Command::Leases),
        "crds" => parse_without_options("crds", "Prints the CRDs as YAML.", rest, Command::Crds),
        _ => parse_without_options("version", "Prints the version.", rest, Command::Version),
    }
}

/// The first word that is neither a flag nor a flag's value, and what follows it, of a command line whose last `ignored`
/// arguments no flag takes. `true` and `false` behind a boolean flag are skipped: what follows them is looked at alike.
fn stray_word(arguments: &[String], ignored: usize) -> Option<(&str, &[String])> {
    let (taken, left) = arguments.split_at(arguments.len() - ignored);
    let (word, rest) = left.split_first()?;
    let behind_boolean = taken.last().is_some_and(|last| is_bare_boolean(last));
    if !(behind_boolean && ["true", "false"].contains(&word.as_str())) {
        return Some((word, rest));
    }
    match go_flags::parse(flags::ALL, rest) {
        Ok(Parsed::Given(given)) => stray_word(rest, given.ignored.len()),
        // Ignored as Go does.
        Ok(Parsed::Help) | Err(_) => None,
    }
}

fn is_bare_boolean(argument: &str) -> bool {
    let name = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
    let flag = name.and_then(|name| flags::ALL.iter().find(|flag| flag.name() == name));
    flag.is_some_and(|flag| flag.is_bool())
}

/// What the manager's flags in front of `leases` mean for it.
fn options_of_leases(given: &Given) -> Vec<String> {
    let kubeconfig = given.given(&flags::KUBECONFIG).map(|file| format!("--kubeconfig={file}"));
    let namespace =
        given.given(&flags::LEADER_ELECTION_NAMESPACE).map(|namespace| format!("--namespace={namespace}"));
    kubeconfig.into_iter().chain(namespace).collect()
}

/// How many letters have to be changed, added or left out to get from one word to the other.
fn distance(one: &str, other: &str) -> usize {
    let first: Vec<usize> = (0..=other.chars().count()).collect();
    let last = one.chars().enumerate().fold(first, |above, (n, letter)| {
        let mut row = vec![n + 1];
        for (same, pair) in other.chars().map(|it| it == letter).zip(above.windows(2)) {
            let [diagonal, up] = pair else { continue };
            let left = row.last().copied().unwrap_or_default();
            row.push((diagonal + usize::from(!same)).min(up + 1).min(left + 1));
        }
        row
    });
    last.last().copied().unwrap_or_default()
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
