// SPDX-License-Identifier: Apache-2.0
//! From the engine-neutral name of a metric to the family that an engine exports.

/// Engine of a pod without the engine label.
pub(crate) const DEFAULT_ENGINE: &str = "vllm";
/// The engine whose metrics are not at `/metrics`.
const TENSORRT_LLM: &str = "trtllm";

/// Why a name that AIBrix knows cannot be read from a pod as one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsupported {
    /// A distribution has no single value.
    #[error("histogram metrics are not supported for autoscaling")]
    Histogram,
    /// The information is in the labels.
    #[error("label-valued metrics are not supported for autoscaling")]
    Label,
    /// Exists only as a query to a Prometheus server.
    #[error("PromQL metrics are not supported for autoscaling")]
    PromQl,
}

/// Names of one metric by engine, as its releases write them, the newest first: `docs/engine-metrics.md` says which. An
/// engine without any has no such family. COMPAT: the names of AIBrix's table are among them, also where no release is known to write them.
struct Row {
    name: &'static str,
    vllm: &'static [&'static str],
    sglang: &'static [&'static str],
    trtllm: &'static [&'static str],
    xllm: &'static [&'static str],
}

const fn row(name: &'static str, [vllm, sglang, trtllm, xllm]: [&'static [&'static str]; 4]) -> Row {
    Row { name, vllm, sglang, trtllm, xllm }
}

const fn vllm(name: &'static str, names: &'static [&'static str]) -> Row {
    row(name, [names, &[], &[], &[]])
}

/// How full the KV cache is: one thing under two names.
const KV_CACHE_USAGE: [&[&str]; 4] = [
    &["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"],
    &["sglang:token_usage"],
    &["trtllm_kv_cache_utilization"],
    &["kv_cache_utilization"],
];

/// Gauges and counters that a pod can be asked for.
const FAMILIES: &[Row] = &[
    row("num_requests_running", [&["vllm:num_requests_running"], &["sglang:num_running_reqs"], &[], &[]]),
    row("num_requests_waiting", [&["vllm:num_requests_waiting"], &["sglang:num_queue_reqs"], &[], &[]]),
    row("num_requests_swapped", [&["vllm:num_requests_swapped"], &["sglang:num_retracted_reqs"], &[], &[]]),
    vllm("engine_sleep_state", &["vllm:engine_sleep_state"]),
    row("gpu_cache_usage_perc", KV_CACHE_USAGE),
    row("kv_cache_usage_perc", KV_CACHE_USAGE),
    row("kv_cache_hit_rate", [&[], &["sglang:cache_hit_rate"], &["trtllm_kv_cache_hit_rate"], &[]]),
    vllm("cpu_cache_usage_perc", &["vllm:cpu_cache_usage_perc"]),
    row("engine_utilization", [&[], &[], &[], &["engine_utilization"]]),
    row(
        "num_prefill_prealloc_queue_reqs",
        [
            &[],
            &["sglang:num_prefill_bootstrap_queue_reqs", "sglang:num_prefill_prealloc_queue_reqs"],
            &[],
            &[],
        ],
    ),
    row("num_decode_prealloc_queue_reqs", [&[], &["sglang:num_decode_prealloc_queue_reqs"], &[], &[]]),
    vllm("avg_prompt_throughput_toks_per_s", &["vllm:avg_prompt_throughput_toks_per_s"]),
    row(
        "avg_generation_throughput_toks_per_s",
        [&["vllm:avg_generation_throughput_toks_per_s"], &["sglang:gen_throughput"], &[], &[]],
    ),
    vllm("http_requests_total", &["http_requests_total", "vllm:http_requests_total"]),
    vllm("num_preemptions_total", &["vllm:num_preemptions_total"]),
    row(
        "request_success_total",
        [
            &["vllm:request_success_total", "vllm:num_requests_success_total"],
            &["sglang:num_requests_total"],
            &["trtllm_request_success_total"],
            &[],
        ],
    ),
    row("prompt_tokens_total", [&["vllm:prompt_tokens_total"], &["sglang:prompt_tokens_total"], &[], &[]]),
    row(
        "generation_tokens_total",
        [&["vllm:generation_tokens_total"], &["sglang:generation_tokens_total"], &[], &[]],
    ),
    vllm(
        "prefix_cache_queries_total",
        &["vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"],
    ),
    vllm("prefix_cache_hits_total", &["vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"]),
    vllm("external_prefix_cache_queries_total", &["vllm:external_prefix_cache_queries_total"]),
    vllm("external_prefix_cache_hits_total", &["vllm:external_prefix_cache_hits_total"]),
    vllm("nixl_num_failed_transfers_total", &["vllm:nixl_num_failed_transfers_total"]),
    vllm("nixl_num_failed_notifications_total", &["vllm:nixl_num_failed_notifications_total"]),
];

/// AIBrix reads these as 0; a distribution is not a load figure.
const HISTOGRAMS: &[&str] = &[
    "e2e_request_latency_seconds",
    "request_queue_time_seconds",
    "request_inference_time_seconds",
    "per_stage_req_latency_seconds",
    "http_request_duration_seconds",
    "http_request_duration_highr_seconds",
    "request_prompt_tokens",
    "request_generation_tokens",
    "request_max_num_generation_tokens",
    "iteration_tokens_total",
    "time_to_first_token_seconds",
    "time_per_output_token_seconds",
    "inter_token_latency_seconds",
    "request_decode_time_seconds",
    "request_prefill_time_seconds",
    "request_time_per_output_token_seconds",
    "nixl_xfer_time_seconds",
    "nixl_post_time_seconds",
    "nixl_bytes_transferred",
    "nixl_num_descriptors",
];

/// AIBrix reads these as 0; what they say is in a label.
const LABEL_VALUED: &[&str] = &["max_lora", "running_lora_adapters", "waiting_lora_adapters"];

const PROMQL: &[&str] = &[
    "drain_rate_1m",
    "p95_ttft_5m",
    "p95_ttft_5m_pod",
    "avg_ttft_5m_pod",
    "p95_tpot_5m_pod",
    "avg_tpot_pod_5m",
    "avg_prompt_toks_per_req",
    "avg_generation_toks_per_req",
    "avg_e2e_latency_pod",
    "avg_requests_per_min_pod",
    "avg_prompt_throughput_toks_per_min_pod",
    "avg_generation_throughput_toks_per_min_pod",
];

/// The families to look up, best first, for `metric` on a pod of `engine` (empty: [`DEFAULT_ENGINE`]): the first that
/// the page has counts. A name that the registry lacks, or lacks for this engine, is looked up verbatim. DIFFERS: AIBrix
/// reads such names as 0, and knows one family for each.
///
/// # Errors
/// [`Unsupported`]: known, but never one number; the source is wrong and asking again does not help.
pub(crate) fn families_for<'a>(metric: &'a str, engine: &str) -> Result<Vec<&'a str>, Unsupported> {
    for (names, why) in [
        (HISTOGRAMS, Unsupported::Histogram),
        (LABEL_VALUED, Unsupported::Label),
        (PROMQL, Unsupported::PromQl),
    ] {
        if names.contains(&metric) {
            return Err(why);
        }
    }
    let mut families = mapped(metric, engine);
    families.push(metric);
    families.dedup();
    Ok(families)
}

/// The families to look up, best first, for `metric` at an endpoint that speaks for a whole service:
/// the name verbatim, then what vLLM calls it.
pub(crate) fn families_for_endpoint(metric: &str) -> impl Iterator<Item = &str> {
    std::iter::once(metric).chain(mapped(metric, DEFAULT_ENGINE).into_iter().filter(move |it| *it != metric))
}

/// The neutral names.
#[cfg(test)]
pub(super) fn neutral_names() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|row| row.name)
}

/// The path to ask a pod of `engine` for. TensorRT-LLM serves its metrics elsewhere, and manifests that
/// say `/metrics` are meant to work for every engine.
pub(crate) fn path_for<'a>(path: &'a str, engine: &str) -> &'a str {
    let bare = path.trim_start_matches('/');
    if engine == TENSORRT_LLM && bare.trim_end_matches('/') == "metrics" {
        "prometheus/metrics"
    } else {
        bare
    }
}

/// Each name, then without what some releases leave away.
fn mapped(metric: &str, engine: &str) -> Vec<&'static str> {
    let Some(row) = FAMILIES.iter().find(|row| row.name == metric) else { return Vec::new() };
    let names = match engine {
        "" | DEFAULT_ENGINE => row.vllm,
        "sglang" => row.sglang,
        TENSORRT_LLM => row.trtllm,
        "xllm" => row.xllm,
        _ => &[],
    };
    let mut found = names.to_vec();
    found.extend(names.iter().filter_map(|name| name.strip_prefix("trtllm_")));
    let short: Vec<&str> = found.iter().filter_map(|name| name.strip_suffix("_total")).collect();
    found.extend(short);
    found
}
