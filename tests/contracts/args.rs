// SPDX-License-Identifier: Apache-2.0
//! What manifests and documents say to the command line, it understands.

use std::{collections::BTreeSet, ffi::OsString};

use aibrix_controller_manager::internals::{Command, Env, Settings, flags, interpret};

use crate::manifests::{KUSTOMIZATIONS, args, controllers_in, read, render};

pub(crate) fn understood(arguments: &[String]) -> Settings {
    let env = Env::new(|_| None);
    match interpret(arguments.iter().map(OsString::from), &env) {
        Ok(Command::Run(settings)) => *settings,
        Ok(other) => panic!("{arguments:?} do not run the manager but {other:?}"),
        Err(answer) => panic!("{arguments:?} are refused: {}", answer.text),
    }
}

#[test]
fn the_arguments_of_every_manifest_are_understood() {
    for kustomization in KUSTOMIZATIONS {
        let settings = understood(&args(&render(kustomization)));
        assert!(settings.elect, "{kustomization} elects");
        let standalone = kustomization.contains("standalone");
        assert_eq!(settings.webhook.is_none(), standalone, "{kustomization}: webhooks");
        let enabled: Vec<_> = settings.controllers.iter().filter(|one| one.enabled).collect();
        assert_eq!(enabled.len(), controllers_in(kustomization), "{kustomization}");
        for controller in &settings.controllers {
            assert_eq!(controller.lease, format!("aibrix-{}", controller.name), "{kustomization}");
        }
    }
}

#[test]
fn each_watched_namespace_is_one_with_permissions() {
    let objects = render("overlays/namespaced");
    let bound: BTreeSet<_> = objects
        .iter()
        .filter(|it| it["kind"] == "RoleBinding" && it["roleRef"]["kind"] == "ClusterRole")
        .map(|it| {
            assert_eq!(it["roleRef"]["name"], "aibrix-controller-manager-role");
            it["metadata"]["namespace"].as_str().expect("a namespace").to_owned()
        })
        .collect();
    assert_eq!(bound.len(), 2);
    assert_eq!(understood(&args(&objects)).watch_namespaces, bound);
}

#[test]
fn the_ids_of_every_manifest_equal_the_defaults() {
    // So that dropping them, as older manifests do, changes nothing.
    for kustomization in KUSTOMIZATIONS.iter().filter(|it| controllers_in(it) > 0) {
        let shipped = args(&render(kustomization));
        let bare: Vec<_> =
            shipped.iter().filter(|arg| !arg.starts_with("--leader-election-id")).cloned().collect();
        assert!(bare.len() < shipped.len());
        let (shipped, bare) = (understood(&shipped), understood(&bare));
        assert_eq!(shipped.controllers, bare.controllers, "{kustomization}");
        assert_eq!(shipped.election, bare.election, "{kustomization}");
    }
}

/// Name → default of each flag that the golden file promises.
fn promised() -> Vec<(String, String)> {
    read("tests/golden/flags.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, default) = line.split_once(' ').expect("name and default");
            (name.to_owned(), if default == "-" { String::new() } else { default.to_owned() })
        })
        .collect()
}

#[test]
fn every_promised_flag_exists_with_its_default() {
    for (name, default) in promised() {
        let flag = flags::ALL.iter().find(|flag| flag.name() == name);
        let flag = flag.unwrap_or_else(|| panic!("-{name} does not exist"));
        // Several defaults depend on other flags.
        if default != "*" || name == "controllers" {
            assert!(
                flag.default_text() == default || flag.same(flag.default_text(), &default),
                "-{name}: default {:?}, promised {default:?}",
                flag.default_text()
            );
        }
    }
}

/// Flags that a document names: `--name` in code, and `-renew-deadline`, which continues the one before.
fn named(markdown: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    markdown
        .match_indices("`--")
        .map(|(at, start)| &markdown[at + start.len()..])
        .map(|rest| rest[..rest.find(|c| !word(c)).unwrap_or(rest.len())].to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn every_flag_in_the_documents_exists() {
    let known: BTreeSet<_> = flags::ALL.iter().map(|flag| flag.name().to_owned()).collect();
    let options = ["lib", "help"].map(String::from).into();
    for document in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let unknown: Vec<_> = named(&read(document))
            .difference(&known)
            .cloned()
            .collect::<BTreeSet<_>>()
            .difference(&options)
            .cloned()
            .collect();
        assert!(unknown.is_empty(), "{document} names {unknown:?}");
    }
}

#[test]
fn flags_are_found_in_code() {
    assert_eq!(named("`--a-b=c`, `--d`; --e and `-v`"), ["a-b", "d"].map(String::from).into());
}
