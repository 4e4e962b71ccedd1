// SPDX-License-Identifier: Apache-2.0

use crate::source::{Source, Token, mark_tests};

fn paths(path: &str, text: &str) -> Vec<(usize, String)> {
    Source::new(path, text).mentions().into_iter().map(|m| (m.line, m.segments.join("::"))).collect()
}

#[test]
fn nested_use_lists_are_read_member_by_member() {
    let text = "use crate::{\n    api::{keys, model::A as B},\n    k8s::owner,\n    fence,\n};\n";
    let want = [(2, "api::keys"), (2, "api::model::A"), (3, "k8s::owner"), (4, "fence")];
    assert_eq!(paths("src/runtime/x.rs", text), want.map(|(line, path)| (line, path.to_owned())));
}

#[test]
fn relative_paths_are_resolved() {
    let text = "use super::queue::Queue;\nuse super::super::election::Won;\nfn f() { self::a::b() }\n";
    let want = [(1, "runtime::queue::Queue"), (2, "election::Won"), (3, "runtime::worker::a::b")];
    assert_eq!(paths("src/runtime/worker.rs", text), want.map(|(line, path)| (line, path.to_owned())));
}

#[test]
fn super_in_a_folder_page_is_the_folder_above() {
    assert_eq!(paths("src/runtime/mod.rs", "use super::api::keys;"), [(1, "api::keys".to_owned())]);
}

#[test]
fn paths_in_code_count_and_visibility_does_not() {
    let text = "pub(crate) fn f(x: &crate::api::A) -> bool { crate::k8s::pods::is_ready(x) }";
    let want = [(1, "api::A"), (1, "k8s::pods::is_ready")];
    assert_eq!(paths("src/cluster/x.rs", text), want.map(|(line, path)| (line, path.to_owned())));
}

#[test]
fn comments_and_strings_are_not_code() {
    let text = r##"
/// See [`crate::election::Won`].
// use crate::app;
/* use crate::app; /* nested */ use crate::cli; */
const A: &str = "crate::app::x \" crate::cli";
const B: &str = r#"crate::app::"x" "#;
const C: [char; 2] = ['"', '\''];
fn f<'a>(x: &'a str) -> &'a str { crate::clock::x(x) }
"##;
    assert_eq!(paths("src/fence.rs", text), [(8, "clock::x".to_owned())]);
}

#[test]
fn string_literals_are_kept_apart() {
    let source = Source::new("src/x.rs", "const A: &str = \"one\";\nconst B: &[u8] = br#\"two\"#;");
    let texts: Vec<_> = source
        .tokens
        .iter()
        .filter_map(|(line, token)| match token {
            Token::Text(text) => Some((*line, text.as_str())),
            Token::Word(_) | Token::Path | Token::Mark(_) => None,
        })
        .collect();
    assert_eq!(texts, [(1, "one"), (2, "two")]);
}

#[test]
fn a_string_over_several_lines_keeps_the_count() {
    assert_eq!(paths("src/x.rs", "const A: &str = \"a\n\nb\";\nuse crate::api;"), [(4, "api".to_owned())]);
}

#[test]
fn modules_that_only_tests_compile_are_tests() {
    let mut tree = [
        Source::new(
            "src/election/mod.rs",
            "mod guard;\n#[cfg(test)]\nmod harness;\n#[cfg(test)]\nmod fakes;",
        ),
        Source::new("src/election/guard.rs", ""),
        Source::new("src/election/harness.rs", ""),
        Source::new("src/election/fakes/store.rs", ""),
        Source::new("src/election/guard_tests.rs", ""),
        Source::new("src/runtime/harness.rs", ""),
    ];
    mark_tests(&mut tree);
    assert_eq!(tree.map(|source| source.is_test), [false, false, true, true, true, false]);
}
