// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;
use serde_json::json;

use super::hashes::*;
use crate::rollout::replica_cases::cases;

/// Printed by `rand.SafeEncodeString(fmt.Sprint(n))` of `k8s.io/apimachinery` v0.36.3.
#[test]
fn numbers_are_encoded_as_kubernetes_encodes_them() {
    let vectors = [
        (0, "4", "000004"),
        (42, "86", "000086"),
        (12_345, "56789", "056789"),
        (117_674_653, "55cbc8b97", "55cbc8"),
        (3_581_977_330, "79d5fcc774", "79d5fc"),
        (4_294_967_295, "86f8fbc6f9", "86f8fb"),
    ];
    for (number, full, short) in vectors {
        assert_eq!(
            (safe_encode(number).as_str(), short_safe_encode(number).as_str()),
            (full, short),
            "{number}"
        );
    }
}

/// The numbers are those of the reference's own tests.
#[test]
fn revision_hash_is_fnv_one_over_data_and_collisions() {
    assert_eq!(fnv1(b"test-data0"), 3_581_977_330);
    assert_eq!(revision_hash(b"test-data", 0), "79d5fc");
}

/// Known values of FNV itself.
#[test]
fn both_kinds_of_fnv_have_their_published_values() {
    assert_eq!((fnv1(b""), fnv1a(b"")), (0x811c_9dc5, 0x811c_9dc5));
    assert_eq!((fnv1(b"a"), fnv1a(b"a")), (0x050c_5d7e, 0xe40c_292c));
    assert_eq!((fnv1(b"foobar"), fnv1a(b"foobar")), (0x31f0_b262, 0xbf9c_f968));
}

#[test]
fn sorted_json_sorts_by_bytes_and_escapes_no_more_than_it_must() {
    let value = json!({"b": [1, {"z": null, "a": true}], "B": "<&>\u{2028}\u{1}\"\\é", "": 1});
    assert_eq!(
        sorted_json(&value),
        "{\"\":1,\"B\":\"<&>\u{2028}\\u0001\\\"\\\\é\",\"b\":[1,{\"a\":true,\"z\":null}]}",
    );
}

/// Literal values: stored digests and names must never change. SHA-256 as printed by `sha256sum`.
#[test]
fn digests_and_name_hashes_are_fixed_for_ever() {
    let template = json!({"spec": {"containers": [{"image": "nginx:1", "name": "main"}]}});
    assert_eq!(
        template_digest(&template),
        "77ebb80140281ee3b2083764783ddf3355f77650431d060ab9a401109433723e",
    );
    assert_eq!(sha256_prefix("abc", 16), "ba7816bf8f01cfea");
    assert_eq!(name_hash(&template, None), "4rx4kg");
    assert_eq!(name_hash(&template, Some(0)), "b92c9m");
    assert_eq!(name_hash(&template, Some(1)), "zxvhfd");
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn name_hashes_can_stand_in_names(text in ".{0,20}", count in prop::option::of(any::<u32>())) {
        let hash = name_hash(&json!({"a": text}), count);
        prop_assert_eq!(hash.len(), 6);
        prop_assert!(hash.chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c)));
        let next = name_hash(&json!({"a": text}), Some(count.map_or(0, |count| count.wrapping_add(1))));
        prop_assert_ne!(hash, next);
    }

    #[test]
    fn order_of_members_does_not_count(keys in prop::collection::vec("[a-z]{1,3}", 0..6)) {
        let members = |keys: &mut dyn Iterator<Item = &String>| {
            let pairs: Vec<_> = keys.map(|key| format!("{}:1",
                serde_json::Value::from(key.as_str()))).collect();
            serde_json::from_str::<serde_json::Value>(&format!("{{{}}}", pairs.join(","))).unwrap()
        };
        let (one, other) = (members(&mut keys.iter()), members(&mut keys.iter().rev()));
        prop_assert_eq!(template_digest(&one), template_digest(&other));
    }
}
