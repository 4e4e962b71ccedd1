// SPDX-License-Identifier: Apache-2.0

use std::collections::BTreeSet;

use super::{
    exposition::{Combine, NoValue, Query, Scanner},
    metric_names::{Unsupported, families_for, families_for_endpoint, neutral_names, path_for},
};

/// The table of the documentation: neutral name, engine, name on the page.
fn table() -> Vec<(&'static str, &'static str, &'static str)> {
    let document = include_str!("../../docs/engine-metrics.md");
    let rows = document.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').map(str::trim).skip(1).collect::<Vec<_>>());
    let named = cells.flat_map(|cells| {
        let (engine, page) = (cells[1], cells[2].trim_matches('`'));
        assert!(!cells[3].is_empty(), "{page}: which releases?");
        cells[0].split(", ").map(move |name| (name.trim_matches('`'), engine, page))
    });
    named.collect()
}

/// What a source that wants `name` of a pod of `engine` reads off a page.
fn read(name: &str, engine: &str, page: &str) -> Result<f64, NoValue> {
    let queries: Vec<Query> = families_for(name, engine).unwrap().into_iter().map(Query::from).collect();
    let mut scanner = Scanner::new(&queries);
    scanner.feed(page.as_bytes()).unwrap();
    let families = scanner.finish();
    let numbers = queries.iter().map(|query| families.number(query, Combine::Count));
    numbers.into_iter().find(|number| *number != Err(NoValue::Missing)).unwrap_or(Err(NoValue::Missing))
}

/// A family as engines write it, with what surrounds it.
fn page(name: &str, value: f64) -> String {
    let short = name.strip_suffix("_total");
    let (kind, created) = match short {
        Some(short) => {
            ("counter", format!("# TYPE {short}_created gauge\n{short}_created{{engine=\"0\"}} 1.76e+09\n"))
        }
        None => ("gauge", String::new()),
    };
    format!(
        "# HELP {name} What it is.\n# TYPE {name} {kind}\n{name}{{engine=\"0\",model_name=\"demo\"}} {value}\n{created}"
    )
}

// scenario: hardening 29
#[test]
fn each_neutral_name_is_read_off_the_page_of_each_release_in_the_table() {
    for (name, engine, real) in table() {
        assert_eq!(read(name, engine, &page(real, 7.0)), Ok(7.0), "{name} of {engine} as {real}");
        // A release that writes the name of a counter as it is.
        let short = real.trim_end_matches("_total");
        assert_eq!(read(name, engine, &page(short, 7.0)), Ok(7.0), "{name} of {engine} as {short}");
    }
}

// scenario: hardening 29
#[test]
fn of_two_names_on_one_page_the_newer_one_counts_alone() {
    let table = table();
    let mut pairs = 0;
    for (n, (name, engine, newer)) in table.iter().enumerate() {
        for (_, _, older) in table[n + 1..].iter().filter(|it| (it.0, it.1) == (*name, *engine)) {
            let both = page(older, 40.0) + &page(newer, 2.0);
            assert_eq!(read(name, engine, &both), Ok(2.0), "{name} of {engine}: {newer} and {older}");
            pairs += 1;
        }
    }
    assert!(pairs >= 10, "{pairs}");
}

#[test]
fn the_table_of_the_documentation_has_all_names_and_no_others() {
    let table = table();
    let documented: BTreeSet<&str> = table.iter().map(|it| it.0).collect();
    assert_eq!(documented, neutral_names().collect());
    for name in neutral_names() {
        for engine in ["vllm", "sglang", "trtllm", "xllm"] {
            let listed: Vec<&str> =
                table.iter().filter(|it| (it.0, it.1) == (name, engine)).map(|it| it.2).collect();
            let known = families_for(name, engine).unwrap();
            let mut in_order: Vec<&str> = known.iter().copied().filter(|it| listed.contains(it)).collect();
            let mut seen = BTreeSet::new();
            in_order.retain(|it| seen.insert(*it));
            assert_eq!(listed, in_order, "{name} of {engine}");
            let is_derived =
                |it: &&str| *it == name || listed.iter().any(|of| of.strip_suffix("_total") == Some(*it));
            let others: Vec<&str> =
                known.into_iter().filter(|it| !listed.contains(it) && !is_derived(it)).collect();
            assert!(others.is_empty(), "{name} of {engine}: {others:?} are not documented");
        }
    }
}

#[test]
fn names_become_what_each_engine_exports() {
    for (name, engine, families) in [
        ("num_requests_waiting", "vllm", ["vllm:num_requests_waiting"].as_slice()),
        ("num_requests_waiting", "", &["vllm:num_requests_waiting"]),
        ("num_requests_waiting", "sglang", &["sglang:num_queue_reqs"]),
        ("gpu_cache_usage_perc", "vllm", &["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"]),
        ("kv_cache_usage_perc", "vllm", &["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"]),
        ("gpu_cache_usage_perc", "sglang", &["sglang:token_usage"]),
        ("gpu_cache_usage_perc", "xllm", &["kv_cache_utilization"]),
        ("kv_cache_usage_perc", "trtllm", &["trtllm_kv_cache_utilization", "kv_cache_utilization"]),
        (
            "request_success_total",
            "vllm",
            &[
                "vllm:request_success_total",
                "vllm:num_requests_success_total",
                "vllm:request_success",
                "vllm:num_requests_success",
            ],
        ),
        (
            "nixl_num_failed_transfers_total",
            "vllm",
            &["vllm:nixl_num_failed_transfers_total", "vllm:nixl_num_failed_transfers"],
        ),
    ] {
        let found = families_for(name, engine).unwrap();
        assert_eq!(found.split_last(), Some((&name, families)), "{name} of {engine}");
    }
}

#[test]
fn unknown_name_or_engine_without_mapping_is_looked_up_verbatim() {
    for (name, engine) in [
        ("my_queue_length", "vllm"),
        ("vllm:num_requests_waiting", "vllm"),
        ("num_requests_waiting", "trtllm"),
        ("num_requests_waiting", "some-engine"),
        ("engine_utilization", "xllm"),
        ("model_replicas", "vllm"),
        ("Num_requests_waiting", "vllm"),
        ("", "vllm"),
    ] {
        assert_eq!(families_for(name, engine), Ok(vec![name]), "{name} of {engine}");
    }
}

#[test]
fn names_without_a_number_are_refused_for_every_engine() {
    for engine in ["vllm", "sglang", "unknown"] {
        assert_eq!(families_for("time_to_first_token_seconds", engine), Err(Unsupported::Histogram));
        assert_eq!(families_for("running_lora_adapters", engine), Err(Unsupported::Label));
        assert_eq!(families_for("p95_ttft_5m", engine), Err(Unsupported::PromQl));
    }
}

#[test]
fn endpoint_is_asked_verbatim_first_and_for_the_name_of_vllm_second() {
    let families = |name| families_for_endpoint(name).collect::<Vec<_>>();
    assert_eq!(families("vllm:deployment_replicas"), ["vllm:deployment_replicas"]);
    assert_eq!(families("num_requests_running"), ["num_requests_running", "vllm:num_requests_running"]);
    assert_eq!(families("http_requests_total")[..2], ["http_requests_total", "vllm:http_requests_total"]);
}

#[test]
fn only_the_usual_path_of_tensorrt_llm_is_moved() {
    for (path, engine, asked) in [
        ("/metrics", "vllm", "metrics"),
        ("metrics", "", "metrics"),
        ("custom/metrics", "vllm", "custom/metrics"),
        ("/metrics", "trtllm", "prometheus/metrics"),
        ("metrics/", "trtllm", "prometheus/metrics"),
        ("/custom", "trtllm", "custom"),
    ] {
        assert_eq!(path_for(path, engine), asked, "{path} of {engine}");
    }
}
