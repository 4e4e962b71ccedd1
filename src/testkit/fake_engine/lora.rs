// SPDX-License-Identifier: Apache-2.0
//! Adapters of one engine: vLLM's and SGLang's API, strict about what they are told.
//!
//! Modelled on vLLM: a load of what is loaded and an unload of what is not are answered with 400, a path
//! that does not exist with 404, a request without the token with 401. A restart forgets everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use kube_fenced_election::clock::Instant;

use super::{journal::Effect, sidecar};

/// A request to an engine, without its way through the network.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Method.
    pub method: &'a Method,
    /// Path.
    pub path: &'a str,
    /// `Authorization`, when there is one.
    pub authorization: Option<&'a str>,
    /// `Content-Type`, when there is one.
    pub content_type: Option<&'a str>,
    /// Body.
    pub body: &'a [u8],
}

/// An engine's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// Status; 0: none, the request hangs.
    pub status: u16,
    /// Body: a text is sent as it is, everything else as JSON.
    pub body: Value,
    /// Time until it is sent.
    pub delay: Duration,
    /// What the request did.
    pub effect: Option<Effect>,
}

/// What can be asked of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Call {
    /// The list of models.
    Models,
    /// A load.
    Load,
    /// An unload.
    Unload,
}

/// Answers that an engine gives instead of doing anything.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refusal {
    /// Status.
    pub status: u16,
    /// Body, as it is.
    #[serde(default)]
    pub body: String,
    /// How often; `None`: always.
    #[serde(default)]
    pub times: Option<u32>,
}

/// What an engine is like.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "any of these goes with any other")]
pub struct LoraEngine {
    /// Paths of SGLang instead of vLLM's.
    pub sglang: bool,
    /// Whether the runtime sidecar answers, too.
    pub sidecar: bool,
    /// The base model's served name.
    pub base: String,
    /// How many adapters fit.
    pub max_loras: usize,
    /// The bearer token that it requires.
    pub token: Option<String>,
    /// How long a load takes, in milliseconds.
    pub load_ms: u64,
    /// Status of a successful load: it is loaded whatever this is.
    pub loaded_status: u16,
    /// Says that it has loaded, and has not.
    pub lies: bool,
    /// Lists its base model only, whatever is loaded.
    pub unlisted: bool,
    /// Every other list shows the base model only.
    pub flickers: bool,
    /// Drops the adapter that was loaded first where there is no room for another one.
    pub evicts: bool,
    /// What it has loaded whenever it starts: names, with paths.
    pub preloaded: BTreeMap<String, String>,
    /// Paths and repositories that it does not find.
    pub missing: BTreeSet<String>,
    /// What it refuses, and how.
    pub refuses: BTreeMap<Call, Refusal>,
    /// What it never answers.
    pub silent: BTreeSet<Call>,
}

impl Default for LoraEngine {
    /// A healthy vLLM with the base model `base` and room for a hundred adapters, loading at once.
    fn default() -> Self {
        Self {
            sglang: false,
            sidecar: false,
            base: "base".to_owned(),
            max_loras: 100,
            token: None,
            load_ms: 0,
            loaded_status: 200,
            lies: false,
            unlisted: false,
            flickers: false,
            evicts: false,
            preloaded: BTreeMap::new(),
            missing: BTreeSet::new(),
            refuses: BTreeMap::new(),
            silent: BTreeSet::new(),
        }
    }
}

/// An engine that runs.
#[derive(Debug, Clone)]
pub struct Running {
    /// What it is like.
    pub like: LoraEngine,
    /// Adapters by name, with what they were loaded from.
    loaded: BTreeMap<String, String>,
    /// Names in the order in which they were loaded.
    order: Vec<String>,
    /// Lists so far.
    lists: u64,
    /// Loads under way: name, source, end.
    loading: Vec<(String, String, Instant)>,
    /// How often it was started.
    pub starts: u32,
}

impl Running {
    /// Starts one.
    pub fn new(like: LoraEngine) -> Self {
        let loaded = like.preloaded.clone();
        Self { like, loaded, order: Vec::new(), lists: 0, loading: Vec::new(), starts: 1 }
    }

    /// Ends and starts again: nothing is loaded.
    pub fn restart(&mut self) {
        self.loaded.clone_from(&self.like.preloaded);
        self.order.clear();
        self.loading.clear();
        self.starts += 1;
    }

    /// What is loaded, by name, with its path or URL.
    pub fn loaded(&mut self, now: Instant) -> &BTreeMap<String, String> {
        let (done, under_way) =
            std::mem::take(&mut self.loading).into_iter().partition(|(_, _, end)| *end <= now);
        self.loading = under_way;
        let done: Vec<(String, String, Instant)> = done;
        self.loaded.extend(done.into_iter().map(|(name, source, _)| (name, source)));
        &self.loaded
    }

    /// Takes an adapter away, as if the engine had dropped it.
    pub fn drop_adapter(&mut self, name: &str) {
        self.loaded.remove(name);
        self.loading.retain(|(loading, _, _)| loading != name);
    }

    /// Puts an adapter in, as if somebody else had loaded it.
    pub fn put_adapter(&mut self, name: &str, source: &str) {
        self.loaded.insert(name.to_owned(), source.to_owned());
    }

    /// Answers.
    pub fn answer(&mut self, ask: &Ask<'_>, now: Instant) -> Reply {
        let (load, unload) = if self.like.sglang {
            ("/load_lora_adapter", "/unload_lora_adapter")
        } else {
            ("/v1/load_lora_adapter", "/v1/unload_lora_adapter")
        };
        let sidecar = self.like.sidecar;
        let (call, by_sidecar) = match (ask.method, ask.path) {
            (&Method::GET, "/v1/models") => (Call::Models, false),
            (&Method::POST, path) if path == load => (Call::Load, false),
            (&Method::POST, path) if path == unload => (Call::Unload, false),
            (&Method::POST, sidecar::LOAD) if sidecar => (Call::Load, true),
            (&Method::POST, sidecar::UNLOAD) if sidecar => (Call::Unload, true),
            _ => return Reply::error(404, "Not Found"),
        };
        if self.like.silent.contains(&call) {
            return Reply { status: 0, ..Reply::of(200, Value::Null) };
        }
        if self.like.token.as_ref().is_some_and(|token| ask.authorization != Some(&format!("Bearer {token}")))
        {
            return Reply::of(401, json!({"error": "Unauthorized"}));
        }
        if let Some(refusal) = self.refusal(call) {
            return Reply::of(refusal.status, Value::String(refusal.body));
        }
        if call == Call::Models {
            return Reply::of(200, self.models(now));
        }
        if ask.content_type != Some("application/json") {
            return Reply::error(415, "Unsupported Media Type: only application/json is allowed");
        }
        let Ok(Value::Object(body)) = serde_json::from_slice(ask.body) else {
            return Reply::error(400, "the body is no JSON object");
        };
        match (call, by_sidecar) {
            (Call::Load, true) => sidecar::load(self, &body, now),
            (Call::Unload, true) => sidecar::unload(self, &body, now),
            (Call::Load, false) => match fields(&body, ["lora_name", "lora_path"]) {
                Ok([name, path]) => self.load(&name, &path, now),
                Err(error) => Reply::error(400, &error),
            },
            (Call::Unload | Call::Models, _) => {
                // As vLLM has it, and the sidecar sends it.
                let mut body = body;
                body.retain(|field, value| field != "lora_int_id" || !value.is_null());
                match fields(&body, ["lora_name"]) {
                    Ok([name]) => self.unload(&name, now),
                    Err(error) => Reply::error(400, &error),
                }
            }
        }
    }

    /// Loads `name` from `source`.
    pub(super) fn load(&mut self, name: &str, source: &str, now: Instant) -> Reply {
        let under_way = self.loading.iter().any(|(loading, _, _)| loading == name);
        if self.loaded(now).contains_key(name) || under_way {
            if self.like.sglang {
                return self.sglang_reply(400, &format!("{name} already exists"), now);
            }
            return Reply::error(400, &format!("The lora adapter '{name}' has already been loaded."));
        }
        if self.like.missing.contains(source) {
            return Reply::error(404, &format!("No adapter found for {source}"));
        }
        while self.like.evicts && self.loaded.len() >= self.like.max_loras && !self.order.is_empty() {
            let oldest = self.order.remove(0);
            self.loaded.remove(&oldest);
        }
        if self.loaded.len() + self.loading.len() >= self.like.max_loras {
            return Reply::error(400, &format!("max_loras ({}) is reached", self.like.max_loras));
        }
        let delay = Duration::from_millis(self.like.load_ms);
        if !self.like.lies {
            self.loading.push((name.to_owned(), source.to_owned(), now + delay));
            self.order.retain(|loaded| loaded != name);
            self.order.push(name.to_owned());
        }
        let said = format!("Success: LoRA adapter '{name}' added successfully.");
        let effect = (!self.like.lies).then(|| Effect::Loaded(name.to_owned()));
        let reply = if self.like.sglang {
            self.sglang_reply(self.like.loaded_status, "", now)
        } else {
            Reply::of(self.like.loaded_status, Value::String(said))
        };
        Reply { delay, effect, ..reply }
    }

    /// The answer of SGLang to a load.
    fn sglang_reply(&mut self, status: u16, error: &str, now: Instant) -> Reply {
        let loaded = json!(self.loaded(now));
        Reply::of(
            status,
            json!({"success": error.is_empty(), "error_message": error, "loaded_adapters": loaded}),
        )
    }

    /// Unloads `name`.
    pub(super) fn unload(&mut self, name: &str, now: Instant) -> Reply {
        if !self.loaded(now).contains_key(name) {
            return Reply::error(400, &format!("The lora adapter '{name}' cannot be found."));
        }
        self.loaded.remove(name);
        let said = format!("Success: LoRA adapter '{name}' removed successfully.");
        Reply { effect: Some(Effect::Unloaded(name.to_owned())), ..Reply::of(200, Value::String(said)) }
    }

    fn models(&mut self, now: Instant) -> Value {
        let base = self.like.base.clone();
        let card = |id: &str, root: &str, parent: Value| {
            json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "vllm",
                   "root": root, "parent": parent})
        };
        let first = card(&base, &base, Value::Null);
        self.lists += 1;
        let hides = self.like.unlisted || (self.like.flickers && self.lists.is_multiple_of(2));
        let adapters =
            self.loaded(now).iter().filter(|_| !hides).map(|(name, source)| card(name, source, json!(base)));
        let data: Vec<Value> = std::iter::once(first).chain(adapters).collect();
        json!({"object": "list", "data": data})
    }

    fn refusal(&mut self, call: Call) -> Option<Refusal> {
        let refusal = self.like.refuses.get_mut(&call)?;
        if let Some(times) = &mut refusal.times {
            *times = times.checked_sub(1)?;
        }
        Some(refusal.clone())
    }
}

impl Reply {
    pub(super) fn of(status: u16, body: Value) -> Self {
        Self { status, body, delay: Duration::ZERO, effect: None }
    }

    pub(super) fn error(status: u16, message: &str) -> Self {
        Self::of(status, json!({"object": "error", "message": message, "code": status}))
    }
}

/// The texts of exactly these fields.
pub(super) fn fields<const N: usize>(
    body: &serde_json::Map<String, Value>,
    names: [&str; N],
) -> Result<[String; N], String> {
    if let Some(unknown) = body.keys().find(|key| !names.contains(&key.as_str())) {
        return Err(format!("unknown field {unknown}"));
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let texts = names.map(text);
    if texts.iter().any(Option::is_none) {
        return Err(format!("{names:?} are required, and texts"));
    }
    Ok(texts.map(Option::unwrap_or_default))
}
