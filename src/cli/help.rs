// SPDX-License-Identifier: Apache-2.0
//! The usage text, pure: a Go program's list of flags, with its sub-commands on top.

use super::{PROGRAM, go_flags::AnyFlag};
use crate::gocompat::quote::quote;

/// Longest line of a meaning, without its indent.
const WIDTH: usize = 90;
/// Indent of a meaning, as Go prints it.
const INDENT: &str = "\n    \t";

/// Usage of the manager: sub-commands, then each flag with its type, meaning and default.
pub(crate) fn usage(flags: &[&dyn AnyFlag]) -> String {
    let mut text = format!(
        "Usage of {PROGRAM}:\n\
         \x20 {PROGRAM} [flags]\n\
         \x20   \tRun controllers, webhooks, metrics and probes.\n\
         \x20 {PROGRAM} leases [-n NAMESPACE] [-o table|json] [--kubeconfig FILE]\n\
         \x20   \tShow who holds which Lease, and what is wrong with them.\n\
         \x20 {PROGRAM} crds\n\
         \x20   \tPrint the CustomResourceDefinitions as YAML.\n\
         \x20 {PROGRAM} version\n\
         \x20   \tPrint the version.\n\
         \n\
         Flags (one dash or two; a boolean takes a value only with '='; the last one of a kind counts):\n"
    );
    for flag in flags.iter().filter(|flag| !flag.usage().is_empty()) {
        push_flag(&mut text, *flag);
    }
    text
}

fn push_flag(text: &mut String, flag: &dyn AnyFlag) {
    text.push_str("  -");
    text.push_str(flag.name());
    if !flag.type_name().is_empty() {
        text.push(' ');
        text.push_str(flag.type_name());
    }
    let default = flag.default_text();
    let shown = (!default.is_empty() && default != flag.zero()).then(|| {
        let quoted = flag.type_name() == "string";
        format!("(default {})", if quoted { quote(default) } else { default.to_owned() })
    });
    for line in wrap(flag.usage().split(' ').chain(shown.as_deref())) {
        text.push_str(INDENT);
        text.push_str(&line);
    }
    text.push('\n');
}

/// Breaks between words only.
fn wrap<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
