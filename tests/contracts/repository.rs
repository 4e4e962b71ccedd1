// SPDX-License-Identifier: Apache-2.0
//! Documents and build files say what is true.

use std::{collections::BTreeSet, path::Path};

use crate::manifests::{read, root};

/// Text files of the repository, relative to its root.
fn texts() -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(root(), &mut found);
    assert!(found.len() > 20, "only {} files were read", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<(String, String)>) {
    // What git ignores, and lock files, whose sources are checked by their own tools.
    const SKIPPED: &[&str] = &[".git", "target", ".tools", ".run", "Cargo.lock", "go.sum"];
    for entry in std::fs::read_dir(folder).expect("a folder of the repository is readable") {
        let path = entry.expect("readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            collect(&path, found);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let relative = path.strip_prefix(root()).expect("below the root");
            found.push((relative.to_string_lossy().into_owned(), text));
        }
    }
}

/// Hosts of URLs in a line.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("://").map(|(at, separator)| {
        let rest = &line[at + separator.len()..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')));
        &rest[..end.unwrap_or(rest.len())]
    })
}

/// Names that lead nowhere or stay inside a cluster, and the few public pages that we cite.
fn is_harmless(host: &str) -> bool {
    const CITED: &[&str] = &["www.apache.org", "www.w3.org", "kubernetes.io", "github.com"];
    let reserved =
        ["example.com", "example.org", ".example", ".invalid", ".test", ".local", ".svc", ".internal"];
    let address = host.chars().all(|c| c.is_ascii_digit() || c == '.');
    !host.contains('.') || address || CITED.contains(&host) || reserved.iter().any(|end| host.ends_with(end))
}

#[test]
fn no_file_names_a_registry_or_a_path_of_the_machine_that_it_was_written_on() {
    let checkout = root().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for (path, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            let foreign = hosts(line).any(|host| !is_harmless(host));
            let private = ["/home/", "/Users/"].iter().any(|start| {
                line.match_indices(start).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    let owner = line[at + start.len()..].split(|c: char| !c.is_alphanumeric()).next();
                    before.is_none_or(|c| " \"'`=(".contains(c))
                        && owner.is_some_and(|owner| !["", "x", "me", "user"].contains(&owner))
                })
            });
            if foreign || private || line.contains(&checkout) {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "hosts or paths that mean nothing elsewhere:\n{}", found.join("\n"));
}

#[test]
fn hosts_are_recognised() {
    let found: Vec<_> =
        hosts("see https://a.example.com/x and http://10.0.0.1:80, http://{host}:1").collect();
    assert_eq!(found, ["a.example.com", "10.0.0.1", ""]);
    assert!(is_harmless("x.default.svc") && is_harmless("localhost") && !is_harmless("index.somewhere.net"));
}

#[test]
fn exactly_one_version_of_the_kubernetes_types_is_locked() {
    let count = read("Cargo.lock").lines().filter(|line| *line == "name = \"k8s-openapi\"").count();
    assert_eq!(
        count, 1,
        "two versions of k8s-openapi: kube and the lease library would not understand each other"
    );
}

#[test]
fn the_image_is_built_by_the_pinned_compiler() {
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).expect("a channel");
    let image = read("Dockerfile");
    let version = image.lines().find_map(|line| line.strip_prefix("ARG RUST=")).expect("ARG RUST");
    assert_eq!(channel.trim_matches('"'), version);
}

#[test]
fn the_image_runs_the_manager_as_nobody_in_particular() {
    let image = read("Dockerfile");
    for line in ["FROM scratch", "USER 65532:65532", "ENTRYPOINT [\"/manager\"]"] {
        assert!(image.lines().any(|found| found == line), "Dockerfile lacks `{line}`");
    }
    // What the image is built with is what the documents say and what the tests of the image run.
    assert!(image.contains("cargo build --release --locked"));
}

/// `make TARGET` in the documents, wherever it stands in code.
fn targets(markdown: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut found = BTreeSet::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let pieces: Vec<&str> =
            if fenced { vec![line] } else { line.split('`').skip(1).step_by(2).collect() };
        for piece in pieces {
            let mut words = piece.split_whitespace();
            while let Some(word) = words.next() {
                if word == "make" {
                    let target = words.next().unwrap_or_default();
                    let plain = target.chars().all(|c| c.is_ascii_lowercase() || c == '-');
                    if plain && !target.is_empty() {
                        found.insert(target.to_owned());
                    }
                }
            }
        }
    }
    found
}

#[test]
fn make_targets_are_found_in_code_only() {
    let text =
        "Run `make demo` to make things move.\n```\nMANAGER=x make bench\n```\nmake nothing `make test`";
    assert_eq!(targets(text), ["bench", "demo", "test"].map(String::from).into());
}

#[test]
fn every_command_in_the_documents_exists() {
    let makefile = read("Makefile");
    let known: BTreeSet<String> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', '#', '.', ' ']))
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(names, _)| names.split_whitespace().map(Into::into).collect::<Vec<String>>())
        .collect();
    for document in ["README.md", "CONTRIBUTING.md"] {
        let named = targets(&read(document));
        assert!(!named.is_empty(), "{document} names no command");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{document}: not in the Makefile: {unknown:?}");
    }
}

#[test]
fn every_path_that_the_documents_link_exists() {
    for document in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let text = read(document);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") {
                assert!(root().join(path).exists(), "{document} links {target}");
            }
        }
    }
}

/// The sources without tests, as one text.
fn production() -> String {
    let texts = texts().into_iter();
    let sources = texts.filter(|(path, _)| {
        (path.starts_with("src/") || path.starts_with("crates/")) && !path.ends_with("_tests.rs")
    });
    sources.map(|(_, text)| text).collect()
}

#[test]
fn every_metric_in_documents_and_alerts_exists() {
    let families = |text: &str| -> BTreeSet<String> {
        text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
            .filter(|word| {
                ["leader_election_", "controller_runtime_", "workqueue_"].iter().any(|p| word.starts_with(p))
            })
            .map(Into::into)
            .collect()
    };
    let sources = production();
    for document in ["README.md", "deploy/observability/alert_rules.yaml"] {
        let named = families(&read(document));
        assert!(!named.is_empty(), "{document} names no metric");
        for family in named {
            assert!(sources.contains(&format!("\"{family}\"")), "{document} names {family}");
        }
    }
}

#[test]
fn every_log_phrase_in_the_readme_is_written_somewhere() {
    let readme = read("README.md");
    let table = readme.lines().skip_while(|line| !line.starts_with("| Look for")).skip(2);
    let rows: Vec<&str> = table.take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 5, "the table of log phrases was not found");
    let sources = production();
    for row in rows {
        let phrases = row.split('|').nth(1).unwrap_or_default();
        for phrase in phrases.split('`').skip(1).step_by(2) {
            assert!(sources.contains(phrase), "no log line says `{phrase}`");
        }
    }
}
