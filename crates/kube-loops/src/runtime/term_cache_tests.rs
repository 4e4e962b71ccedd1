// SPDX-License-Identifier: Apache-2.0
use super::{reconciler::Key, term_cache::TermCache};

fn key(name: &str) -> Key {
    Key::new("ns", name)
}

#[test]
fn a_value_is_found_again_under_its_key_and_uid() {
    let mut memory = TermCache::new(10);
    memory.put(&key("a"), "uid-1", 7);
    assert_eq!(memory.get(&key("a"), "uid-1"), Some(&7));
    *memory.get_mut(&key("a"), "uid-1").unwrap() += 1;
    assert_eq!(memory.forget(&key("a")), Some(8));
    assert_eq!(memory.len(), 0);
}

#[test]
fn a_namesake_with_another_uid_starts_without_memory() {
    let mut memory = TermCache::new(10);
    memory.put(&key("a"), "uid-1", 7);
    assert_eq!(memory.get(&key("a"), "uid-2"), None);
    assert_eq!(memory.len(), 0, "the predecessor's value is gone for good");
}

#[test]
fn beyond_the_bound_the_value_goes_that_was_unused_the_longest() {
    let mut memory = TermCache::new(2);
    memory.put(&key("a"), "u", 1);
    memory.put(&key("b"), "u", 2);
    memory.get(&key("a"), "u");
    memory.put(&key("c"), "u", 3);
    let left = ["a", "b", "c"].map(|name| memory.get(&key(name), "u").copied());
    assert_eq!(left, [Some(1), None, Some(3)]);
}

#[test]
fn putting_again_replaces_and_does_not_push_others_out() {
    let mut memory = TermCache::new(2);
    memory.put(&key("a"), "u", 1);
    memory.put(&key("b"), "u", 2);
    memory.put(&key("b"), "u", 3);
    assert_eq!(memory.len(), 2);
    assert_eq!(memory.get(&key("a"), "u"), Some(&1));
}
