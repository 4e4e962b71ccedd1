// SPDX-License-Identifier: Apache-2.0
//! What the process remembers by the text of users: kinds that autoscalers name, and the paths that follow from them.

use std::sync::Arc;

use kube_fenced_election::clock::SystemClock;
use kube_loops::{
    cluster::{client::buckets_after, discovery::Discovery},
    testkit::scripted_api::{Answer, ScriptedApi},
};

const MOST: usize = 4096;

// scenario: hardening 15
#[tokio::test]
async fn ten_thousand_kinds_that_users_name_are_not_all_remembered() {
    let api = ScriptedApi::new(|_| Answer::not_found());
    let discovery = Discovery::new(api.client(), Arc::new(SystemClock));
    for number in 0..10_000 {
        assert_eq!(discovery.mappings("a.io", &format!("Kind{number}")).await.expect("an answer"), []);
    }
    assert_eq!(discovery.remembered(), MOST);
    let asked = api.requests().len();
    let long = "K".repeat(300);
    for (group, kind) in [("a.io", long.as_str()), (&long, "Kind"), ("a.io", "Kind/../x"), ("A_B", "Kind")] {
        assert_eq!(discovery.mappings(group, kind).await.expect("no kind can have this name"), []);
    }
    assert_eq!((discovery.remembered(), api.requests().len()), (MOST, asked), "{long}");
}

// scenario: hardening 15
#[tokio::test]
async fn ten_thousand_paths_that_users_name_share_a_bounded_number_of_rate_limits() {
    let paths = |kind: String| (0..10_000).map(move |n| format!("/apis/a.io/v1/namespaces/ns/{kind}{n}/web"));
    assert_eq!(buckets_after(paths("kinds".to_owned()), Arc::new(SystemClock)).await, MOST);
    assert_eq!(buckets_after(paths("k".repeat(300)), Arc::new(SystemClock)).await, 1, "long ones share one");
}
