// SPDX-License-Identifier: Apache-2.0
//! Names of pods, `PodSets` and RoleSets. Pure.
//!
//! Long names are shortened as AIBrix does, so that what exists keeps its name and DNS record.

use kube_loops::rollout::template::hashes::sha256_prefix;

/// Longest name of a pod that is also a host name.
const LONGEST: usize = 63;
/// Longest prefix of a generated name: five characters and a dash follow.
const LONGEST_PREFIX: usize = 58;
/// Characters behind the prefix of a generated name.
const SUFFIX: usize = 5;

/// The name, or its first byte and its last 62 where it is longer than 63.
pub(super) fn shorten_keeping_end(name: &str) -> String {
    keep_end(name, LONGEST)
}

/// The prefix of a generated name, or its first byte and its last 57 where it is longer than 58.
pub(super) fn shorten_prefix_keeping_end(prefix: &str) -> String {
    keep_end(prefix, LONGEST_PREFIX)
}

/// The prefix of a generated name, or its first 58 bytes.
pub(super) fn shorten_prefix_keeping_start(prefix: &str) -> String {
    prefix.get(..prefix.floor_char_boundary(LONGEST_PREFIX)).unwrap_or(prefix).to_owned()
}

fn keep_end(name: &str, longest: usize) -> String {
    if name.len() <= longest {
        return name.to_owned();
    }
    let first: String = name.chars().take(1).collect();
    let start = name.ceil_char_boundary(name.len() - (longest - first.len()));
    format!("{first}{}", name.get(start..).unwrap_or_default())
}

/// Name of a replica with an index: a pod or a `PodSet`.
pub(super) fn indexed(role_set: &str, role: &str, hash: &str, index: usize) -> String {
    shorten_keeping_end(&format!("{role_set}-{role}-{hash}-{index}"))
}

/// Name of a pod of a `PodSet`.
pub(super) fn of_group(pod_set: &str, index: usize) -> String {
    shorten_keeping_end(&format!("{pod_set}-{index}"))
}

/// What `generateName` says for children of this owner: `<owner>-`, or the owner where that is no prefix of a name.
pub(super) fn generate_name(owner: &str) -> String {
    let prefix = format!("{owner}-");
    if prefix.len() <= LONGEST_PREFIX { prefix } else { owner.to_owned() }
}

/// A name under this prefix as the API server would generate it, but known before the object is created: the same
/// `seed` and `place` yield the same name.
pub(super) fn generated(prefix: &str, seed: &str, place: usize) -> String {
    // The alphabet of the API server has no vowels and no digits that look like letters.
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let digest = sha256_prefix(&format!("{prefix}\0{seed}\0{place}"), 2 * SUFFIX);
    let bytes = (0..SUFFIX).filter_map(|at| u8::from_str_radix(digest.get(2 * at..2 * at + 2)?, 16).ok());
    let suffix = bytes.filter_map(|byte| ALPHABET.get(usize::from(byte) % ALPHABET.len()));
    format!("{prefix}{}", suffix.map(|byte| char::from(*byte)).collect::<String>())
}
