// SPDX-License-Identifier: Apache-2.0
use kube_fenced_election::{LeaseRef, Metrics as _};
use kube_loops::metrics::families::{Registry, TextEncoder};

use super::election_metrics::ElectionMetrics;

#[test]
fn all_series_exist_with_zeros_from_the_start() {
    let registry = Registry::new();
    let metrics = ElectionMetrics::register(&registry).unwrap();
    let lease =
        LeaseRef { namespace: "aibrix-system".into(), name: "aibrix-kv-cache-controller".into(), uid: None };
    let _kept = metrics.of_lease(&lease, "kv-cache-controller");
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    for series in [
        r#"leader_election_master_status{name="aibrix-kv-cache-controller"} 0"#,
        r#"leader_election_slowpath_total{name="aibrix-kv-cache-controller"} 0"#,
        r#"leader_election_transitions_total{name="aibrix-kv-cache-controller"} 0"#,
        r#"leader_election_renew_duration_seconds_count{name="aibrix-kv-cache-controller"} 0"#,
        r#"leader_election_lease_valid_seconds{name="aibrix-kv-cache-controller"} 0"#,
        r#"leader_election_conflict{controller="kv-cache-controller",lease="aibrix-system/aibrix-kv-cache-controller",name="aibrix-kv-cache-controller"} 0"#,
        r#"leader_election_fenced_requests_total{name="aibrix-kv-cache-controller",verb="PATCH"} 0"#,
        r#"leader_election_gave_way_total{name="aibrix-kv-cache-controller",reason="WatchFailing"} 0"#,
        "leader_election_waiting_for_legacy 0",
    ] {
        assert!(text.lines().any(|line| line == series), "{series} is missing in\n{text}");
    }
}
