// SPDX-License-Identifier: Apache-2.0
//! The rules about where code may stand, checked on the text of the sources.
//!
//! A failure names file, line and the reason of the rule. To change a rule, change its table in
//! `tests/architecture/rules.rs` and say in the commit why the old reason no longer holds; to comply, move
//! the line to where the code map on the crate's page says that it belongs.
//!
//! The checkers are themselves tested on sources that break each rule.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a checker that trips over its own assumption must fail loudly"
)]

#[path = "architecture/layers.rs"]
mod layers;
#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/words.rs"]
mod words;

#[path = "architecture/layers_tests.rs"]
mod layers_tests;
#[path = "architecture/source_tests.rs"]
mod source_tests;
#[path = "architecture/words_tests.rs"]
mod words_tests;

use std::path::Path;

use source::{Source, Violation, mark_tests};

/// Where production code stands.
const OURS: &[&str] = &["src", "crates/kube-fenced-election/src", "crates/kube-loops/src"];

/// Every Rust source below the folders, with paths relative to the package.
fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in folders {
        collect(root, &root.join(folder), &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    mark_tests(&mut found);
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a folder of the package is readable").path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source is text");
            let relative = path.strip_prefix(root).expect("below the package").to_string_lossy().into_owned();
            found.push(Source::new(relative, &text));
        }
    }
}

fn assert_none(violations: &[Violation]) {
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} violations:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn sources_are_found() {
    let found = sources(OURS);
    assert!(found.iter().any(|source| source.path == "src/lib.rs"), "src/lib.rs was not read");
    assert!(found.len() > 10, "only {} sources were read", found.len());
}

#[test]
fn arrows_between_modules_point_down() {
    assert_none(&layers::check(&sources(OURS)));
}

#[test]
fn loops_do_not_name_each_other() {
    assert_none(&layers::check_loops(&sources(OURS)));
}

#[test]
fn every_module_has_a_place_in_the_layer_table() {
    assert_none(&layers::check_known(&sources(OURS)));
}

#[test]
fn foreign_crates_have_one_home() {
    assert_none(&words::check_homes(&sources(OURS)));
}

#[test]
fn pure_code_is_pure() {
    assert_none(&words::check_purity(&sources(OURS)));
}

#[test]
fn ambient_state_is_read_in_its_one_home() {
    assert_none(&words::check_ambient(&sources(OURS)));
}

#[test]
fn the_frame_names_no_kind_and_no_controller() {
    assert_none(&words::check_frame(&sources(OURS)));
}

#[test]
fn only_the_cluster_and_election_modules_write_to_the_api_server() {
    assert_none(&words::check_writes(&sources(OURS)));
}

#[test]
fn files_have_a_licence_line_a_fit_size_and_a_telling_name() {
    assert_none(&words::check_files(&sources(&["src", "crates", "tests", "examples"])));
}

#[test]
fn every_plan_has_its_tests_beside_it() {
    assert_none(&words::check_plans(&sources(OURS)));
}
