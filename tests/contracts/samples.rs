// SPDX-License-Identifier: Apache-2.0
//! Samples are what users copy. That the API server takes them is for the integration tests.

use std::collections::BTreeSet;

use crate::manifests::{documents, read, root};

#[test]
fn there_is_a_sample_for_each_strategy_and_each_says_what_it_shows() {
    let mut strategies = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("deploy/samples")).expect("deploy/samples exists") {
        let name = entry.expect("readable").file_name().to_string_lossy().into_owned();
        let text = read(&format!("deploy/samples/{name}"));
        assert!(
            text.lines().nth(1).is_some_and(|line| line.starts_with("# ")),
            "{name} opens with a comment"
        );
        for object in documents(&text) {
            if object["kind"] == "PodAutoscaler" {
                strategies.insert(object["spec"]["scalingStrategy"].as_str().unwrap_or_default().to_owned());
            }
        }
    }
    assert_eq!(strategies, ["APA", "HPA", "KPA"].map(String::from).into());
}

#[test]
fn the_optimizer_sample_takes_the_optimizer_at_its_word() {
    let sample = documents(&read("deploy/samples/podautoscaler_optimizer.yaml")).remove(0);
    assert_eq!(sample["spec"]["metricsSources"][0]["targetValue"], "1");
}
