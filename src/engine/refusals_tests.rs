// SPDX-License-Identifier: Apache-2.0
use super::{
    call::Call,
    endpoint::Dialect,
    refusals::{HINT_BYTES, hint},
};

const BARE: &str = r#"{"detail":"Not Found"}"#;

// scenario: hardening 41
#[test]
fn each_refusal_of_real_engines_has_its_hint() {
    let (vllm, sglang, sidecar) = (Dialect::Vllm, Dialect::Sglang, Dialect::Sidecar);
    for (call, dialect, code, words, want) in [
        (Call::Load, vllm, 404, BARE, "VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
        (Call::Unload, vllm, 404, BARE, "VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
        (Call::Load, vllm, 405, r#"{"detail":"Method Not Allowed"}"#, "VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
        (Call::Load, sglang, 404, BARE, "this SGLang cannot load adapters at run time"),
        (Call::Load, sidecar, 404, BARE, "aibrix-runtime"),
        (
            Call::Load,
            sidecar,
            404,
            r#"{"object":"error","message":"LoRA path '/m/sql' not found","type":"NotFoundError","code":404}"#,
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
        ),
        (Call::Models, vllm, 404, BARE, "model.aibrix.ai/port"),
        (
            Call::Load,
            vllm,
            404,
            r#"{"error":{"message":"Loading lora sql failed: No adapter found for /data/sql","code":404}}"#,
            "must exist inside its container",
        ),
        (
            Call::Load,
            vllm,
            400,
            r#"{"error":{"message":"LoRA rank 64 is greater than max_lora_rank 16."}}"#,
            "--max-lora-rank",
        ),
        (
            Call::Load,
            sidecar,
            500,
            r#"{"error":"engine said: LoRA rank 64 is greater than max_lora_rank 16."}"#,
            "--max-lora-rank",
        ),
        (
            Call::Load,
            sglang,
            400,
            "LoRA adapter sql with rank 64 is incompatible with the current LoRA memory pool configuration.",
            "--lora-target-modules",
        ),
        (Call::Load, vllm, 400, "Number of adapters is greater than max_loras (4).", "--max-loras"),
        (Call::Load, sglang, 400, "the limit max_loaded_loras=2 is reached", "--max-loaded-loras"),
        (Call::Load, vllm, 500, "LoRA is not enabled. Use --enable-lora to enable LoRA.", "--enable-lora"),
        (Call::Load, sglang, 400, "LoRA is not enabled. Please set `--enable-lora`.", "--enable-lora"),
        (
            Call::Load,
            vllm,
            400,
            "The lora adapter 'sql' has already been loaded.",
            "what the engine lists decides",
        ),
        (Call::Load, sglang, 400, "sql already exists", "what the engine lists decides"),
        (Call::Load, vllm, 401, r#"{"error":"Unauthorized"}"#, "api-key in spec.additionalConfig"),
        (Call::Models, vllm, 401, r#"{"error":"Unauthorized"}"#, "api-key in spec.additionalConfig"),
        (Call::Load, vllm, 422, r#"{"detail":[{"loc":["body"]}]}"#, "does not understand the request"),
        (Call::Load, vllm, 503, "", "not up yet"),
        (Call::Load, vllm, 500, "Internal Server Error", "its own log has the reason"),
    ] {
        let said = hint(call, dialect, code, words).unwrap_or_default();
        assert!(said.contains(want), "{call:?} {dialect:?} {code} {words}: {said}");
        assert!(said.len() <= HINT_BYTES, "{}: {said}", said.len());
    }
    assert_eq!(hint(Call::Load, vllm, 500, "CUDA error: out of memory"), None);
}
