// SPDX-License-Identifier: Apache-2.0
use super::names::*;

const LONG: &str = "abcdefghijklmnopqrstuvwxyz-1234567890-1234567890-1234567890-1234567890";

// scenario: role-set-and-pod-set 6
#[test]
fn long_names_keep_the_first_byte_and_the_end() {
    assert_eq!(LONG.len(), 70);
    assert_eq!(shorten_keeping_end(LONG), "aijklmnopqrstuvwxyz-1234567890-1234567890-1234567890-1234567890");
    assert_eq!(
        shorten_prefix_keeping_end(LONG),
        "anopqrstuvwxyz-1234567890-1234567890-1234567890-1234567890"
    );
    assert_eq!(shorten_prefix_keeping_start(LONG), &LONG[..58]);
    for length in 1..=63 {
        assert_eq!(shorten_keeping_end(&LONG[..length]), &LONG[..length]);
    }
    assert_eq!(shorten_keeping_end(&LONG[..64]).len(), 63);
    assert_eq!(indexed(&LONG[..50], "decode", "86f8fb", 12).len(), 63);
    assert_eq!(indexed("llm", "decode", "86f8fb", 0), "llm-decode-86f8fb-0");
    assert_eq!(of_group("llm-decode-86f8fb-0", 3), "llm-decode-86f8fb-0-3");
}

#[test]
fn names_that_are_not_ascii_are_cut_between_characters() {
    let name = "ü".repeat(40);
    assert!(shorten_keeping_end(&name).len() <= 63);
    assert!(shorten_prefix_keeping_start(&name).len() <= 58);
}

#[test]
fn generated_names_follow_from_their_seed() {
    let name = generated("llm-prefill-", "uid/1", 0);
    assert_eq!(name.len(), "llm-prefill-".len() + 5);
    assert_eq!(generated("llm-prefill-", "uid/1", 0), name);
    let others = [("llm-prefill-", "uid/1", 1), ("llm-prefill-", "uid/2", 0), ("llm-decode-", "uid/1", 0)];
    for (prefix, seed, place) in others {
        assert_ne!(generated(prefix, seed, place)[prefix.len()..], name["llm-prefill-".len()..]);
    }
    assert_eq!(generate_name("llm"), "llm-");
    assert_eq!(generate_name(&LONG[..58]), &LONG[..58]);
}
