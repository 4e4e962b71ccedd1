// SPDX-License-Identifier: Apache-2.0
use super::kv_cache::backend_error;

#[test]
fn the_three_backends_and_none_are_accepted() {
    for backend in ["", "vineyard", "hpkv", "infinistore"] {
        assert_eq!(backend_error(backend), None, "{backend}");
    }
}

#[test]
fn another_backend_is_refused_in_words_that_users_know() {
    assert_eq!(
        backend_error("unsupported_backend").unwrap(),
        "invalid backend \"unsupported_backend\" specified, supported backends are: vineyard, hpkv, infinistore"
    );
    assert!(backend_error("Vineyard").is_some(), "exact, lower case");
}

#[test]
fn a_message_repeats_only_so_much() {
    assert!(backend_error(&"é".repeat(100_000)).unwrap().len() < 512);
}
