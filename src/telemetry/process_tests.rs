// SPDX-License-Identifier: Apache-2.0
use kube_loops::metrics::Metrics;

use super::process::register;

fn rendered() -> String {
    let metrics = Metrics::new();
    register(&metrics).unwrap();
    metrics.render()
}

#[test]
fn process_families_have_the_names_of_the_go_client() {
    let text = rendered();
    for family in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_virtual_memory_max_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    ] {
        assert!(text.contains(&format!("\n{family} ")), "{family} in\n{text}");
    }
}

#[test]
fn process_values_are_plausible() {
    let text = rendered();
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap().parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_open_fds") >= 3.0);
    assert!(value("process_start_time_seconds") > 1.7e9);
}
