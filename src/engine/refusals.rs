// SPDX-License-Identifier: Apache-2.0
//! What refusals of engines mean, and what to do about them. The first row that fits an answer counts.
//!
//! The words come from vLLM (its pages on LoRA adapters and on `--api-key`; its issue 30690), from reports about
//! it (vllm-project/production-stack 708 and Continual-Intelligence/SEAL 3: a bare 404; `inspect_ai` 3182:
//! the rank), and from SGLang (its page on LoRA serving). AIBrix's sidecar repeats them inside of its own.

use super::{call::Call, endpoint::Dialect};

/// Bytes of a hint at most: a message of 512 bytes has room for the engine's words and for it.
#[cfg(test)]
pub(super) const HINT_BYTES: usize = 210;
/// Bytes of the engine's words beside a hint.
pub(super) const WORDS_BYTES: usize = 240;

/// Words of an engine that has loaded an adapter of this name before.
const ALREADY: &[&str] = &["already been loaded", "already loaded", "already exists"];

/// An answer, and what to do about it.
struct Row {
    codes: &'static [u16],
    /// The answer contains one of these, whatever the case; empty: anything fits.
    words: &'static [&'static str],
    hint: &'static str,
}

const fn row(codes: &'static [u16], words: &'static [&'static str], hint: &'static str) -> Row {
    Row { codes, words, hint }
}

const ANY: &[u16] = &[];
const ABSENT: &[u16] = &[404, 405];

const CHANGES: &[Row] = &[
    row(
        ANY,
        &["max_lora_rank", "max-lora-rank", "lora memory pool configuration"],
        "the rank of the adapter is too large for this engine: start it with a higher --max-lora-rank \
         (SGLang also: --lora-target-modules)",
    ),
    row(
        ANY,
        &["max_loras", "max-loras", "max_cpu_loras", "max-cpu-loras", "max_loaded_loras", "max-loaded-loras"],
        "the engine has no room for another adapter: start it with higher --max-loras and --max-cpu-loras \
         (SGLang: --max-loaded-loras), or delete one",
    ),
    row(
        ANY,
        &["enable-lora", "enable_lora", "lora is not enabled", "lora is disabled", "not support lora"],
        "LoRA is off in this engine: start it with --enable-lora",
    ),
    row(
        ANY,
        ALREADY,
        "an adapter of this name is there already: what the engine lists decides whether it is taken",
    ),
    row(
        &[404],
        &["lora path '"],
        "the sidecar says so of every 404 of its engine: nothing is there, or run-time LoRA updating is off \
         (VLLM_ALLOW_RUNTIME_LORA_UPDATING=true, --enable-lora)",
    ),
    row(
        ANY,
        &[
            "no adapter found",
            "adapter_config.json",
            "no such file",
            "does not exist",
            "not a valid model id",
        ],
        "the engine finds no adapter there: the path must exist inside its container, a repository must be one \
         that it can download",
    ),
];

const MISSING_ON_VLLM: &str = "run-time LoRA updating is off: set VLLM_ALLOW_RUNTIME_LORA_UPDATING=true and \
     start vLLM with --enable-lora; another engine needs its label model.aibrix.ai/engine";
const MISSING_ON_SGLANG: &str = "this SGLang cannot load adapters at run time: it takes a newer release, started \
     with --enable-lora; another engine needs its own label model.aibrix.ai/engine";
const MISSING_ON_SIDECAR: &str = "what listens at the sidecar's port is no AIBrix runtime that loads adapters: \
     check the container aibrix-runtime and its release";
const MISSING_LIST: &str = "nothing lists models there: check that the label model.aibrix.ai/port of the pod names the \
     port of its engine";

const ALL: &[Row] = &[
    row(
        &[401, 403],
        &[],
        "the engine wants an API key: set api-key in spec.additionalConfig to the value of its --api-key",
    ),
    row(
        &[422],
        &[],
        "the engine does not understand the request: check that the label model.aibrix.ai/engine of the pod names the \
         engine that runs in it",
    ),
    row(&[502, 503, 504], &[], "the engine is not up yet, or too busy; it is asked again"),
    row(&[500], &["internal server error"], "the engine says no more than that: its own log has the reason"),
];

/// What to do about a refusal; `None`: its own words say it, as far as anybody knows.
pub(super) fn hint(call: Call, dialect: Dialect, code: u16, words: &str) -> Option<&'static str> {
    let words = words.to_lowercase();
    let fits = |row: &&Row| {
        (row.codes.is_empty() || row.codes.contains(&code))
            && (row.words.is_empty() || row.words.iter().any(|it| words.contains(it)))
    };
    let of_call = if call == Call::Models { &[] } else { CHANGES };
    if let Some(row) = of_call.iter().find(fits) {
        return Some(row.hint);
    }
    if ABSENT.contains(&code) {
        return Some(match (call, dialect) {
            (Call::Models, _) => MISSING_LIST,
            (_, Dialect::Vllm) => MISSING_ON_VLLM,
            (_, Dialect::Sglang) => MISSING_ON_SGLANG,
            (_, Dialect::Sidecar | Dialect::SglangSidecar) => MISSING_ON_SIDECAR,
        });
    }
    ALL.iter().find(fits).map(|row| row.hint)
}

/// Whether a refused load says that the engine has an adapter of this name.
pub(super) fn is_already_loaded(words: &str) -> bool {
    let words = words.to_lowercase();
    ALREADY.iter().any(|it| words.contains(it))
}
