// SPDX-License-Identifier: Apache-2.0

use super::metric_names::{Unsupported, families_for, families_for_endpoint, path_for};

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
