// SPDX-License-Identifier: Apache-2.0
//! Loads in the text formats of the engines, and the answer of a GPU optimizer.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::engine::metric_names;

/// Whose format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// vLLM.
    #[default]
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM.
    Trtllm,
    /// xLLM.
    Xllm,
}

impl Engine {
    /// Value of the label `model.aibrix.ai/engine`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Trtllm => "trtllm",
            Self::Xllm => "xllm",
        }
    }

    /// Where it serves its metrics.
    pub fn path(self) -> &'static str {
        match self {
            Self::Vllm | Self::Sglang | Self::Xllm => "/metrics",
            Self::Trtllm => "/prometheus/metrics",
        }
    }

    fn labels(self, model: &str) -> String {
        match self {
            Self::Vllm => format!("{{engine=\"0\",model_name=\"{model}\"}}"),
            Self::Sglang => format!("{{model_name=\"{model}\",tp_rank=\"0\",pp_rank=\"0\"}}"),
            Self::Trtllm => format!("{{model_name=\"{model}\",engine_type=\"trtllm\"}}"),
            Self::Xllm => String::new(),
        }
    }
}

/// What an engine reports.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Whose format.
    #[serde(default)]
    pub engine: Engine,
    /// Model name in the labels.
    #[serde(default = "default_model")]
    pub model: String,
    /// Engine-neutral names (`num_requests_running`) or names of families, with their values.
    #[serde(default)]
    pub values: BTreeMap<String, f64>,
}

fn default_model() -> String {
    "fake-model".to_owned()
}

impl Load {
    /// A load of nothing.
    pub fn of(engine: Engine) -> Self {
        Self { engine, model: default_model(), values: BTreeMap::new() }
    }

    /// With `name` at `value`.
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.values.insert(name.to_owned(), value);
        self
    }

    /// The text, among families that engines export besides.
    pub fn render(&self) -> String {
        let labels = self.engine.labels(&self.model);
        let mut text = String::from(NOISE);
        for (name, value) in &self.values {
            let families = metric_names::families_for(name, self.engine.label()).unwrap_or_default();
            let family = families.first().copied().unwrap_or(name);
            let kind = if family.ends_with("_total") { "counter" } else { "gauge" };
            series(&mut text, family, kind, &labels, *value);
        }
        text
    }
}

/// What a GPU optimizer answers for a model that should have `replicas` replicas.
pub fn optimizer(model: &str, replicas: f64) -> String {
    let mut text = String::new();
    let labels = format!("{{model_name=\"{model}\"}}");
    series(&mut text, "vllm:deployment_replicas", "gauge", &labels, replicas);
    text
}

fn series(text: &mut String, family: &str, kind: &str, labels: &str, value: f64) {
    // Writing to a String cannot fail.
    let written = writeln!(
        text,
        "# HELP {family} As told to the fake.\n# TYPE {family} {kind}\n{family}{labels} {value}"
    );
    debug_assert!(written.is_ok());
}

const NOISE: &str = "\
# HELP python_info Python platform information
# TYPE python_info gauge
python_info{implementation=\"CPython\",major=\"3\",minor=\"12\",patchlevel=\"9\",version=\"3.12.9\"} 1.0
# HELP process_resident_memory_bytes Resident memory size in bytes.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 8.65103872e+08
# HELP fake:request_seconds Time of a request.
# TYPE fake:request_seconds histogram
fake:request_seconds_bucket{le=\"0.5\"} 3
fake:request_seconds_bucket{le=\"+Inf\"} 4
fake:request_seconds_sum 2.25
fake:request_seconds_count 4
";
