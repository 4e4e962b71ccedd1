// SPDX-License-Identifier: Apache-2.0
use super::paths::{DEFAULT_PATHS, paths_for};

/// What an annotation adds to the default paths, and what is refused.
fn added(annotation: &str) -> (Vec<String>, Vec<String>) {
    let mut paths = paths_for(annotation);
    let added = paths.matched.split_off(DEFAULT_PATHS.len());
    assert_eq!(paths.matched, DEFAULT_PATHS);
    (added, paths.refused)
}

#[test]
fn spaces_empty_entries_and_repetitions_are_dropped() {
    let none: Vec<String> = Vec::new();
    let list = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    assert_eq!(added("/f oo, /bar , ,/ba z /"), (list(&["/foo", "/bar", "/baz/"]), none.clone()));
    assert_eq!(added("/foo,/foo,/v1/completions"), (list(&["/foo"]), none.clone()));
    assert_eq!(added("score,score,/ok"), (list(&["/ok"]), list(&["score"])));
    assert_eq!(added(""), (none.clone(), none));
}

#[test]
fn paths_that_no_route_can_match_are_refused() {
    let long = format!("/{}", "a".repeat(1024));
    for bad in [
        "score",
        "//",
        "/a//b",
        "/a/./b",
        "/a/../b",
        "/a%2fb",
        "/a%2Fb",
        "/a#b",
        "/a/..",
        "/a/.",
        "/é",
        "/a\tb",
        "/a\r\nX:1",
        "/a%",
        "/a%g0",
        "/a%4",
        "/{a}",
        "/a?b",
        "\u{0}",
        &long,
    ] {
        assert_eq!(added(bad), (vec![], vec![bad.to_owned()]), "{bad:?}");
    }
    for good in ["/", "/a.b/..c/", "/a%20b", "/a:b@c;d=e", "/..a"] {
        assert_eq!(added(good), (vec![good.to_owned()], vec![]), "{good}");
    }
}

#[test]
fn a_route_has_at_most_sixty_four_paths() {
    let annotation = (0..100).map(|i| format!("/p{i}")).collect::<Vec<_>>().join(",");
    let (added, refused) = added(&annotation);
    assert_eq!((added.len(), refused.len()), (53, 47));
    assert_eq!((added[52].as_str(), refused[0].as_str()), ("/p52", "/p53"));
}
