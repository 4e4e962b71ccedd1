// SPDX-License-Identifier: Apache-2.0
use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    clock::{Clock, Instant, SystemClock},
    testkit::names,
};

use super::{
    super::{
        observation::{LeaseSnapshot, Observation, Source},
        registry::{Member, Members},
    },
    holder::{GuardHolder, guard_holder_of},
};

const LEASE: &str = "old";
const HOLDER: &str = "pod_x";

/// The Lease as first seen at `at`, written for `seconds` and last annotated by `annotated`.
fn seen(seconds: i32, annotated: Option<&str>, at: Instant) -> Observation {
    let annotations: BTreeMap<&str, Value> =
        annotated.map(|identity| ("leaders.example.com/holder", json!(identity))).into_iter().collect();
    let lease = json!({
        "metadata": { "name": LEASE, "resourceVersion": "1", "annotations": annotations },
        "spec": { "holderIdentity": HOLDER, "leaseDurationSeconds": seconds },
    });
    let mut seen = Observation::new(at);
    seen.observe(LeaseSnapshot::Present(serde_json::from_value(lease).unwrap()), Source::List, at);
    seen
}

/// One other member, which contends for `lease` with the controller `kv`.
fn members(identity: &str, lease: &str, at: Instant) -> Members {
    let member = Member {
        identity: identity.to_owned(),
        seen_since: at,
        leaving: false,
        contends_for: None,
        elections: [(lease.to_owned(), "kv".to_owned())].into(),
        guards: None,
    };
    Members { known_since: Some(at), others: [("member".to_owned(), member)].into(), ..Members::default() }
}

// scenario: hardening 60
#[test]
fn holder_is_a_member_only_if_the_lease_and_the_member_both_say_so() {
    let at = SystemClock.instant();
    for (annotated, identity, lease, ours) in [
        (Some(HOLDER), HOLDER, LEASE, true),
        (None, HOLDER, LEASE, false),
        (Some("pod_y"), HOLDER, LEASE, false),
        (Some(HOLDER), "pod_y", LEASE, false),
        (Some(HOLDER), HOLDER, "another", false),
    ] {
        let members = members(identity, lease, at);
        let held = guard_holder_of(&names(), &seen(15, annotated, at), LEASE, &members, at);
        let until = at + Duration::from_secs(15);
        let want = if ours {
            GuardHolder::Ours { holder: HOLDER.to_owned(), controller: "kv".to_owned(), until }
        } else {
            GuardHolder::Foreign(HOLDER.to_owned(), until)
        };
        assert_eq!(held, want, "annotated by {annotated:?}, member {identity} on {lease}");
    }
}

#[test]
fn foreign_holder_is_respected_for_its_duration_and_for_four_seconds_at_least() {
    let at = SystemClock.instant();
    for (stored, respected) in [(1, 4), (3, 4), (4, 4), (5, 5), (15, 15)] {
        let (seen, respected) = (seen(stored, None, at), Duration::from_secs(respected));
        let held = |now| guard_holder_of(&names(), &seen, LEASE, &Members::default(), now);
        let last = at + respected - Duration::from_millis(1);
        assert_eq!(held(last), GuardHolder::Foreign(HOLDER.to_owned(), at + respected), "{stored} s");
        assert_eq!(held(at + respected), GuardHolder::Nobody, "{stored} s");
    }
}
