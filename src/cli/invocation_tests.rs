// SPDX-License-Identifier: Apache-2.0
use std::ffi::OsString;

use super::{
    invocation::{Command, EarlyExit, interpret},
    leases::Format,
    settings::Env,
    subcommands::version,
};

fn parsed(line: &[&str]) -> Result<Command, EarlyExit> {
    interpret(line.iter().map(OsString::from), &Env::new(|_| None))
}

#[test]
fn nothing_or_flags_run_the_manager() {
    for line in [&[][..], &["--leader-elect", "-v=4"], &["--"], &["--kubeconfig", "leases"]] {
        assert!(matches!(parsed(line), Ok(Command::Run(_))), "{line:?}");
    }
}

// scenario: hardening 58
#[test]
fn sub_commands_are_taken_before_and_behind_flags() {
    for line in [&["crds"][..], &["-v=4", "crds"], &["--leader-elect", "crds"], &["--", "crds"]] {
        assert!(matches!(parsed(line), Ok(Command::Crds)), "{line:?}");
    }
    for line in [&["version"][..], &["-v", "4", "version"], &["--leader-elect", "true", "version"]] {
        assert!(matches!(parsed(line), Ok(Command::Version)), "{line:?}");
    }
    for line in [
        &["leases", "--kubeconfig=/k", "-n", "ns"][..],
        &["--kubeconfig=/k", "leases", "-n", "ns"],
        &["-kubeconfig", "/k", "-v=4", "leases", "--namespace=ns"],
        &["--kubeconfig=/k", "--leader-election-namespace=ns", "leases"],
        &["-n", "ns", "--kubeconfig=/k", "leases"],
        &["--kubeconfig=/k", "-n", "ns", "leases", "-o", "table"],
    ] {
        let Ok(Command::Leases(options)) = parsed(line) else { panic!("{line:?} is not leases") };
        assert_eq!(options.kubeconfig.as_deref(), Some("/k"), "{line:?}");
        assert_eq!(options.namespace.as_deref(), Some("ns"), "{line:?}");
    }
    let Err(answer) = parsed(&["--no-such-flag", "leases"]) else { panic!("taken") };
    assert_eq!(answer.code, 2, "{}", answer.text);
}

// scenario: hardening 58
#[test]
fn unknown_word_starts_nothing_and_names_the_nearest_command() {
    for (line, word, nearest) in [
        (&["lease"][..], "lease", "leases"),
        (&["--kubeconfig=/k", "lease", "-n", "ns"], "lease", "leases"),
        (&["Leases"], "Leases", "leases"),
        (&["crd"], "crd", "crds"),
        (&["versoin"], "versoin", "version"),
        (&["help"], "help", "--help"),
        (&["completion", "bash"], "completion", "version"),
        (&["--leader-elect", "yes"], "yes", ""),
        (&["--debug-mode", "1"], "1", ""),
        (&["--leader-elect", "true", "lease"], "lease", "leases"),
        (&["--leader-elect=true", "true"], "true", ""),
        (&["-v=4", "--", "lease"], "lease", "leases"),
        (&["no-such-command", "--no-such-flag"], "no-such-command", ""),
        (&[""], "", ""),
    ] {
        let Err(EarlyExit { text, code }) = parsed(line) else { panic!("{line:?} was taken") };
        assert_eq!(code, 2, "{line:?}");
        let want = format!(
            "aibrix-controller-manager: unknown command {word:?}, nothing was started. Nearest command: {nearest}"
        );
        assert!(text.starts_with(&want), "{line:?}: {text}");
    }
}

// scenario: hardening 58
#[test]
fn true_and_false_behind_a_boolean_flag_end_the_flags_as_in_go() {
    for line in [
        &["--leader-elect", "false", "--debug-mode"][..],
        &["-debug-mode", "true"],
        &["--leader-elect", "false", "--no-such-flag"],
    ] {
        let Ok(Command::Run(settings)) = parsed(line) else { panic!("{line:?} not run") };
        let ignored = line[1..].join(" ");
        assert!(settings.notices.iter().any(|notice| notice.detail == ignored), "{line:?}");
    }
}

#[test]
fn malformed_lines_get_message_and_usage_and_code_2() {
    for line in [&["--no-such-flag"][..], &["-v=high"], &["--leader-elect=maybe"], &["--kubeconfig"]] {
        let Err(EarlyExit { text, code }) = parsed(line) else { panic!("{line:?} was taken") };
        assert_eq!(code, 2, "{line:?}");
        assert!(text.contains("\nUsage of aibrix-controller-manager:\n"), "{text}");
    }
}

#[test]
fn help_is_code_0() {
    for line in [["-h"], ["-help"], ["--help"]] {
        let Err(EarlyExit { text, code }) = parsed(&line) else { panic!("{line:?} was taken") };
        assert_eq!(code, 0);
        assert!(text.starts_with("Usage of aibrix-controller-manager:\n"), "{text}");
    }
}

#[test]
fn refused_lines_are_code_1_without_usage() {
    let Err(EarlyExit { text, code }) = parsed(&["--controllers=foo"]) else { panic!("was taken") };
    assert_eq!(code, 1);
    assert!(text.starts_with("aibrix-controller-manager: 1 problem with the command line:\n"), "{text}");
    assert!(text.contains("invalid controller specified: foo\n") && !text.contains("Usage"), "{text}");
}

#[cfg(unix)]
#[test]
fn arguments_that_are_no_text_are_malformed() {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = OsString::from_vec(vec![b'-', 0xff]);
    let answer = interpret([bytes], &Env::new(|_| None)).unwrap_err();
    assert_eq!(answer.code, 2);
    assert!(answer.text.starts_with("argument is not UTF-8"), "{}", answer.text);
}

#[test]
fn leases_has_options_of_its_own() {
    let Ok(Command::Leases(options)) = parsed(&["leases", "-n", "ns", "-o", "json", "--kubeconfig=/k"])
    else {
        panic!("not leases")
    };
    assert_eq!((options.namespace.as_deref(), options.format), (Some("ns"), Format::Json));
    assert_eq!(options.kubeconfig.as_deref(), Some("/k"));
    for (line, want) in [
        (&["leases", "--help"][..], 0),
        (&["leases", "-o", "xml"], 2),
        (&["crds", "x"], 2),
        (&["version", "-h"], 0),
    ] {
        let Err(answer) = parsed(line) else { panic!("{line:?} was taken") };
        assert_eq!(answer.code, want, "{line:?}: {}", answer.text);
        assert!(answer.text.ends_with('\n'));
    }
}

#[test]
fn leases_looks_where_the_manager_would() {
    let Ok(Command::Leases(options)) = parsed(&["leases"]) else { panic!("not leases") };
    let mut env = Env::new(|name| (name == "HOME").then(|| "/home/x".to_owned()));
    assert_eq!(options.namespace(&env), "aibrix-system");
    env.pod_namespace = Some("mine".into());
    assert_eq!(options.namespace(&env), "mine");
    assert_eq!(options.client_settings(&env).home, Some("/home/x".into()));
}

#[test]
fn version_names_program_number_and_platform() {
    let text = version();
    let rest = text.strip_prefix("aibrix-controller-manager 0.").unwrap();
    assert!(rest.trim_end().ends_with(')') && rest.contains(" (") && rest.contains('/'), "{text}");
}
