// SPDX-License-Identifier: Apache-2.0

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::StatusCode;
use serde_json::{Value, json};

use crate::testkit::fake_engine::{self, Effect, Entry, FakeEngine, Fault, LoraEngine, Page, Refusal};
use kube_fenced_election::{
    clock::{Clock, ClockCheck, Instant, SystemClock, Timestamp},
    fence::{Fence, FenceKeeper, Validity},
};

use super::{
    call::CallError,
    endpoint::{Dialect, Endpoint, Token, TokenError},
    http::{EngineClient, Limits},
    lora::Load,
    models::ListedModel,
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LONG: Duration = Duration::from_secs(30);
const SECRET: &str = "s3cr3t-value";

struct Scene {
    engine: FakeEngine,
    client: EngineClient,
    fence: Fence,
    keeper: FenceKeeper,
}

impl Scene {
    async fn new(like: LoraEngine) -> Self {
        let engine = FakeEngine::start(SocketAddr::from((LOOPBACK, 0))).await.unwrap();
        engine.pods.engine(Some(LOOPBACK), like);
        let client = EngineClient::new(Limits::default(), "test").unwrap();
        let (keeper, fence) = Fence::without_election(Arc::new(SystemClock));
        Self { engine, client, fence, keeper }
    }

    async fn healthy() -> Self {
        Self::new(LoraEngine { sidecar: true, ..LoraEngine::default() }).await
    }

    fn at(&self, dialect: Dialect) -> Endpoint {
        let port = self.engine.address().port();
        Endpoint { host: LOOPBACK.to_string(), port, dialect, token: None }
    }

    fn with_token(&self, dialect: Dialect, token: &str) -> Endpoint {
        Endpoint { token: Some(Token::new(token).unwrap()), ..self.at(dialect) }
    }

    async fn load(&self, endpoint: &Endpoint, load: Load<'_>) -> Result<(), CallError> {
        self.client.load_lora(&self.fence, endpoint, &load, LONG).await
    }

    /// What the failure of a load from `url` says.
    async fn said(&self, url: &str, dialect: Dialect) -> String {
        self.load(&self.with_token(dialect, SECRET), artifact("a", url)).await.unwrap_err().to_string()
    }

    fn page(&self, path: &str, page: Page) {
        self.engine.pods.set(Some(LOOPBACK), path, page);
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.engine.address().port())
    }

    fn journal(&self) -> Vec<Entry> {
        self.engine.pods.journal.entries()
    }

    fn last(&self) -> Entry {
        self.journal().pop().unwrap()
    }
}

fn artifact<'a>(name: &'a str, url: &'a str) -> Load<'a> {
    Load { name, url, credentials: None, additional: None }
}

fn map(key: &str, value: &str) -> BTreeMap<String, String> {
    [(key.to_owned(), value.to_owned())].into()
}

fn refuse(call: fake_engine::Call, status: u16, body: &str) -> LoraEngine {
    let refusal = Refusal { status, body: body.to_owned(), times: None };
    LoraEngine { refuses: [(call, refusal)].into(), ..LoraEngine::default() }
}

fn names(models: Result<Vec<ListedModel>, CallError>) -> Vec<String> {
    models.unwrap().into_iter().map(|model| model.id).collect()
}

#[tokio::test]
async fn engine_is_told_name_and_path_and_nothing_else() {
    let scene = Scene::healthy().await;
    let endpoint = scene.at(Dialect::Vllm);
    let credentials = map("aws_access_key_id", SECRET);
    for (name, url, path) in [
        ("a", "huggingface://Org/Repo-X", "Org/Repo-X"),
        ("b", "hf://Org/R", "Org/R"),
        ("c", "/m/x", "/m/x"),
        ("d", "s3://b/k", "s3://b/k"),
        ("e", "huggingface://Org/R?rev=1#x", "Org/R"),
        ("f", "org/repo", "org/repo"),
    ] {
        let load = Load { name, url, credentials: Some(&credentials), additional: Some(&credentials) };
        scene.load(&endpoint, load).await.unwrap();
        let sent = scene.last();
        assert_eq!((sent.method.as_str(), sent.path.as_str()), ("POST", "/v1/load_lora_adapter"));
        let body = format!(r#"{{"lora_name":"{name}","lora_path":"{path}"}}"#);
        assert_eq!(sent.body.as_deref(), Some(body.as_str()));
        assert_eq!(sent.header("content-type"), "application/json");
        assert_eq!(sent.header("content-length"), body.len().to_string());
        assert_eq!(sent.header("authorization"), "");
        assert_eq!(sent.effect, Some(Effect::Loaded(name.to_owned())));
    }
    let models = names(scene.client.models(&endpoint).await);
    assert_eq!(models, ["base", "a", "b", "c", "d", "e", "f"]);
    scene.client.unload_lora(&scene.fence, &endpoint, "a").await.unwrap();
    let sent = scene.last();
    assert_eq!(
        (sent.path.as_str(), sent.body.as_deref()),
        ("/v1/unload_lora_adapter", Some(r#"{"lora_name":"a"}"#))
    );
    assert_eq!(sent.header("content-type"), "application/json");
}

#[tokio::test]
async fn sglang_has_paths_of_its_own_and_strangers_speak_vllm() {
    let scene = Scene::new(LoraEngine { sglang: true, ..LoraEngine::default() }).await;
    let endpoint = scene.at(Dialect::of_engine(Some("sglang")));
    scene.load(&endpoint, artifact("a", "/m")).await.unwrap();
    assert_eq!(names(scene.client.models(&endpoint).await), ["base", "a"]);
    scene.client.unload_lora(&scene.fence, &endpoint, "a").await.unwrap();
    let asked: Vec<_> =
        scene.journal().into_iter().map(|entry| format!("{} {}", entry.method, entry.path)).collect();
    assert_eq!(asked, ["POST /load_lora_adapter", "GET /v1/models", "POST /unload_lora_adapter"]);
    for label in [None, Some(""), Some("vllm"), Some("SGLANG"), Some("trtllm")] {
        assert_eq!(Dialect::of_engine(label), Dialect::Vllm, "{label:?}");
    }
}

#[tokio::test]
async fn sidecar_is_told_what_it_understands() {
    let scene = Scene::healthy().await;
    let endpoint = scene.at(Dialect::Sidecar);
    let (credentials, additional) = (map("huggingface_token", SECRET), map("rank", "8"));
    for (name, url, with, body) in [
        ("a", "s3://b/k", false, json!({"lora_name": "a", "artifact_url": "s3://b/k"})),
        ("b", "hf://Org/R", false, json!({"lora_name": "b", "artifact_url": "huggingface://Org/R"})),
        ("c", "huggingface://Org/R", false, json!({"lora_name": "c", "artifact_url": "huggingface://Org/R"})),
        ("d", "/m/x", true, json!({"lora_name": "d", "lora_path": "/m/x"})),
        (
            "e",
            "gcs://b/k",
            true,
            json!({"lora_name": "e", "artifact_url": "gcs://b/k",
            "credentials": {"huggingface_token": SECRET}, "additional_config": {"rank": "8"}}),
        ),
    ] {
        let (credentials, additional) = (with.then_some(&credentials), with.then_some(&additional));
        scene.load(&endpoint, Load { name, url, credentials, additional }).await.unwrap();
        let sent = scene.last();
        assert_eq!((sent.path.as_str(), sent.json()), ("/v1/lora_adapter/load", body));
    }
    scene.load(&endpoint, artifact("f", "/p")).await.unwrap();
    assert_eq!(scene.last().json(), json!({"lora_name": "f", "lora_path": "/p"}));
    scene.client.unload_lora(&scene.fence, &endpoint, "a").await.unwrap();
    let sent = scene.last();
    assert_eq!(sent.path, "/v1/lora_adapter/unload");
    assert_eq!(sent.json(), json!({"lora_name": "a", "cleanup_local": true}));
}

#[tokio::test]
async fn token_goes_with_every_call_and_is_printed_nowhere() {
    let scene = Scene::new(LoraEngine { token: Some(SECRET.to_owned()), ..LoraEngine::default() }).await;
    let endpoint = scene.with_token(Dialect::Vllm, SECRET);
    scene.client.models(&endpoint).await.unwrap();
    scene.load(&endpoint, artifact("a", "/m")).await.unwrap();
    scene.client.unload_lora(&scene.fence, &endpoint, "a").await.unwrap();
    let sent = scene.journal();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|entry| entry.header("authorization") == format!("Bearer {SECRET}")));
    assert!(!format!("{endpoint:?}").contains(SECRET));
    // Present and empty is not absent.
    scene.client.models(&scene.with_token(Dialect::Vllm, "")).await.unwrap_err();
    assert_eq!(scene.last().header("authorization").trim_end(), "Bearer");
    let refused = scene.client.models(&scene.at(Dialect::Vllm)).await.unwrap_err();
    let said = r#"failed to get models (status 401): {"error":"Unauthorized"}; the engine wants an API key"#;
    assert!(refused.to_string().starts_with(said), "{refused}");
}

#[test]
fn token_cannot_smuggle_headers() {
    for token in ["a\r\nX-Evil: 1", "a\nb", "a\0", "\u{7f}"] {
        assert_eq!(Token::new(token), Err(TokenError), "{token:?}");
        assert!(!TokenError.to_string().contains(token));
    }
}

#[tokio::test]
async fn name_and_path_cannot_leave_the_body() {
    let scene = Scene::healthy().await;
    let endpoint = scene.at(Dialect::Vllm);
    let name = "a\r\nX-Evil: 1\",\"lora_path\":\"/etc";
    let path = "/m/\"}\r\n\r\nGET /evil HTTP/1.1";
    scene.load(&endpoint, artifact(name, path)).await.unwrap();
    assert_eq!(scene.journal().len(), 1, "one request");
    let sent = scene.last();
    assert_eq!(sent.json(), json!({"lora_name": name, "lora_path": path}));
    assert_eq!(sent.header("x-evil"), "");
}

#[tokio::test]
async fn only_ip_addresses_and_localhost_are_called() {
    let scene = Scene::healthy().await;
    for host in ["", "evil.example", "127.0.0.1:1/", "user@127.0.0.1", "[::1]", "localhost.evil", "127.1"] {
        let endpoint = Endpoint { host: host.to_owned(), ..scene.at(Dialect::Vllm) };
        let error = scene.client.models(&endpoint).await.unwrap_err();
        assert!(matches!(error, CallError::Address { .. }), "{host}: {error}");
        let loaded = scene.load(&endpoint, artifact("a", "/m")).await;
        assert!(matches!(loaded, Err(CallError::Address { .. })), "{host}");
    }
    assert_eq!(scene.journal(), []);
    let local = Endpoint { host: "localhost".to_owned(), ..scene.at(Dialect::Vllm) };
    assert_eq!(names(scene.client.models(&local).await), ["base"]);
}

#[tokio::test]
async fn ipv6_addresses_are_bracketed() {
    let endpoint = Endpoint { host: "fd00::1".to_owned(), port: 8000, dialect: Dialect::Sglang, token: None };
    let target = endpoint.target(endpoint.dialect.load_path()).unwrap();
    assert_eq!(target.to_string(), "http://[fd00::1]:8000/load_lora_adapter");
    // Asked for real where the machine has IPv6.
    let Ok(engine) = FakeEngine::start("[::1]:0".parse().unwrap()).await else { return };
    engine.pods.engine(Some("::1".parse().unwrap()), LoraEngine::default());
    let endpoint = Endpoint { host: "::1".to_owned(), port: engine.address().port(), ..endpoint };
    let client = EngineClient::new(Limits::default(), "test").unwrap();
    assert_eq!(names(client.models(&endpoint).await), ["base"]);
    let asked = engine.pods.journal.entries().pop().unwrap();
    assert_eq!(asked.header("host"), format!("[::1]:{}", endpoint.port));
}

#[tokio::test]
async fn created_is_success_and_other_statuses_are_not() {
    for (status, good) in [(200, true), (201, true), (202, false), (204, false), (302, false), (500, false)] {
        let scene = Scene::new(LoraEngine { loaded_status: status, ..LoraEngine::default() }).await;
        let endpoint = scene.at(Dialect::Vllm);
        let done = scene.load(&endpoint, artifact("a", "/m")).await;
        assert_eq!(done.is_ok(), good, "{status}: {done:?}");
        if let Err(error) = done {
            assert!(matches!(error, CallError::Status { code, .. } if code == status), "{error}");
            assert!(
                error.to_string().starts_with(&format!("failed to load LoRA adapter (status {status}): "))
            );
        }
        scene.page("/v1/unload_lora_adapter", Page::status(StatusCode::from_u16(status).unwrap()));
        let done = scene.client.unload_lora(&scene.fence, &endpoint, "a").await;
        assert_eq!(done.is_ok(), good, "{status}");
    }
}

#[tokio::test]
async fn refusals_are_shown_in_bounds() {
    let boom = "b".repeat(5000);
    let scene = Scene::new(refuse(fake_engine::Call::Load, 500, &boom)).await;
    let said = scene.said("/m", Dialect::Vllm).await;
    let body = said.strip_prefix("failed to load LoRA adapter (status 500): ").unwrap();
    assert_eq!((body.len(), &body[4090..]), (4096, "bbb..."));
    // Endless, binary, empty: what can be shown is.
    let path = "/v1/load_lora_adapter";
    let broken = Page { status: StatusCode::BAD_GATEWAY, ..Page::fault(Fault::Endless) };
    scene.page(path, broken);
    assert!(scene.said("/m", Dialect::Vllm).await.len() < 5000);
    scene.page(path, Page { status: StatusCode::BAD_REQUEST, ..Page::ok(vec![0xff, 0, 27, b'x']) });
    let said = scene.said("/m", Dialect::Vllm).await;
    assert_eq!(said, "failed to load LoRA adapter (status 400): \u{fffd}\u{fffd}\u{fffd}x");
    scene.page(path, Page::status(StatusCode::SERVICE_UNAVAILABLE));
    let said = scene.said("/m", Dialect::Vllm).await;
    assert!(
        said.starts_with("failed to load LoRA adapter (status 503): ; the engine is not up yet"),
        "{said}"
    );
}

#[tokio::test]
async fn secrets_that_engines_repeat_are_masked() {
    let scene = Scene::new(LoraEngine { sidecar: true, ..LoraEngine::default() }).await;
    let echo = |text: &str| {
        scene.page("/v1/lora_adapter/load", Page { status: StatusCode::IM_A_TEAPOT, ..Page::ok(text) });
    };
    let key = "-----BEGIN KEY-----\nAAAABBBBCCCC\n\"quoted\"\n-----END KEY-----";
    let credentials = map("gcp_service_account_json", key);
    let additional = map("api-key", SECRET);
    let url = "s3://user:pa55/word@bucket/k?sig=abcdef";
    let load = Load { name: "a", url, credentials: Some(&credentials), additional: Some(&additional) };
    for text in [
        key.to_owned(),
        format!("bad key {}", Value::from(key)),
        "line AAAABBBBCCCC".to_owned(),
        format!("token {SECRET}!"),
        format!("cannot read {url}"),
        format!("cannot read {}", Value::from(url)),
        format!("no bucket {}", url.trim_start_matches("s3://")),
        format!("{}{SECRET}", "x".repeat(4090)),
    ] {
        echo(&text);
        let endpoint = scene.with_token(Dialect::Sidecar, SECRET);
        let error = scene.load(&endpoint, load).await.unwrap_err();
        let printed = format!("{error} {error:?}");
        for secret in ["AAAABBBBCCCC", SECRET, "s3cr", "pa55", "abcdef"] {
            assert!(!printed.contains(secret), "{secret} in {printed}");
        }
    }
    assert!(!format!("{load:?}").contains("pa55"));
}

#[tokio::test]
async fn a_list_is_a_list_or_an_error() {
    let scene = Scene::healthy().await;
    let (endpoint, path) = (scene.at(Dialect::Vllm), "/v1/models");
    for (body, want) in [
        (r#"{"data":[{"id":"x"},{"id":"y","more":{"deep":[1]}},{}]}"#, Some(vec!["x", "y"])),
        (r#"{"data":[]}"#, Some(vec![])),
        (r#"{"data":null}"#, Some(vec![])),
        ("{}", None),
        ("null", None),
        ("", None),
        (r#"{"data":[{"id":1}]}"#, None),
        (r#"{"data":{"id":"x"}}"#, None),
        (r#"["x"]"#, None),
        ("<html><body>Welcome</body></html>", None),
        (r#"{"data":[{"id":"x"}"#, None),
    ] {
        scene.page(path, Page::ok(body));
        let models = scene.client.models(&endpoint).await;
        if let Some(want) = want {
            assert_eq!(names(models), want, "{body}");
            continue;
        }
        let error = models.unwrap_err();
        assert!(matches!(error, CallError::Malformed { .. }), "{body}: {error}");
        let url = scene.url(path);
        assert_eq!(
            error.to_string(),
            format!("failed to get models: {url}: the answer is no list of models")
        );
    }
    scene.page(path, Page::fault(Fault::Endless));
    let error = scene.client.models(&endpoint).await.unwrap_err();
    assert!(error.to_string().ends_with("the answer is larger than 4 MiB"), "{error}");
    for code in [201, 204, 401, 500] {
        scene.page(path, Page { status: StatusCode::from_u16(code).unwrap(), ..Page::ok("no") });
        let error = scene.client.models(&endpoint).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("failed to get models (status {code}): ")), "{error}");
    }
}

#[tokio::test]
async fn a_list_tells_adapters_from_base_models() {
    let scene = Scene::healthy().await;
    scene.page(
        "/v1/models",
        Page::ok(
            r#"{"data":[{"id":"base","root":"/models/base","parent":null},{"id":"old","root":"base"},
                {"id":"sql","root":"/loras/sql","parent":"base"},{"id":"bare","parent":"base"}]}"#,
        ),
    );
    let models = scene.client.models(&scene.at(Dialect::Vllm)).await.unwrap();
    let told = models.into_iter().map(|model| (model.id, model.is_adapter, model.root));
    let root = Some("/loras/sql".to_owned());
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("base".to_owned(), false, None),
            ("old".to_owned(), false, None),
            ("sql".to_owned(), true, root),
            ("bare".to_owned(), true, None),
        ]
    );
}

#[tokio::test]
async fn a_thousand_adapters_fit_into_a_list() {
    let scene = Scene::new(LoraEngine { max_loras: 1000, ..LoraEngine::default() }).await;
    scene.engine.pods.change(LOOPBACK, |engine| {
        for n in 0..1000 {
            engine.put_adapter(&format!("adapter-with-a-longer-name-{n}"), &"p".repeat(500));
        }
    });
    assert_eq!(scene.client.models(&scene.at(Dialect::Vllm)).await.unwrap().len(), 1001);
}

#[tokio::test]
async fn redirects_to_others_are_not_followed() {
    // The fake's pages carry no headers: a server of two lines does.
    let listener = tokio::net::TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let elsewhere = Scene::healthy().await;
    let location = elsewhere.url("/v1/models");
    let serve = async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0_u8; 4096];
            let _ = stream.read(&mut head).await.unwrap();
            let answer = format!("HTTP/1.1 307 Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    let endpoint = Endpoint { port, ..elsewhere.with_token(Dialect::Vllm, SECRET) };
    let ask = async {
        let listed = elsewhere.client.models(&endpoint).await;
        assert!(matches!(listed, Err(CallError::Redirect { ref to, .. }) if **to == *location), "{listed:?}");
        let loaded = elsewhere.load(&endpoint, artifact("a", "/m")).await;
        assert!(matches!(loaded, Err(CallError::Status { code: 307, .. })), "{loaded:?}");
    };
    tokio::join!(serve, ask);
    assert_eq!(elsewhere.journal(), [], "the token went nowhere else");
}

#[tokio::test]
async fn transport_and_time_have_names() {
    let scene = Scene::healthy().await;
    let endpoint = scene.at(Dialect::Vllm);
    let path = "/v1/load_lora_adapter";
    scene.page(path, Page::fault(Fault::Hang));
    let load = artifact("a", "/m");
    let error = scene.client.load_lora(&scene.fence, &endpoint, &load, Duration::from_millis(200)).await;
    let error = error.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }));
    let url = scene.url(path);
    assert_eq!(error.to_string(), format!("failed to load LoRA adapter: {url}: no answer within 0.2 s"));
    scene.page(path, Page::fault(Fault::Reset));
    let error = scene.load(&endpoint, load).await.unwrap_err();
    assert!(matches!(error, CallError::Transport { .. }));
    assert_eq!(error.to_string(), format!("failed to load LoRA adapter: {url}: connection broken"));
    let closed = std::net::TcpListener::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port();
    let error = scene.load(&Endpoint { port: closed, ..endpoint }, load).await.unwrap_err();
    assert!(matches!(error, CallError::Transport { .. }));
    assert!(error.to_string().ends_with("connection refused"), "{error}");
}

#[tokio::test]
async fn a_load_may_outlast_the_common_limits() {
    let engine = FakeEngine::start(SocketAddr::from((LOOPBACK, 0))).await.unwrap();
    engine.pods.engine(Some(LOOPBACK), LoraEngine { load_ms: 400, ..LoraEngine::default() });
    let limits = Limits { total: Duration::from_millis(100), ..Limits::default() };
    let client = EngineClient::new(limits, "test").unwrap();
    let port = engine.address().port();
    let endpoint = Endpoint { host: LOOPBACK.to_string(), port, dialect: Dialect::Vllm, token: None };
    // The right is extended meanwhile, as by a Lease that is renewed.
    let (keeper, fence) =
        Fence::new(Arc::new(SystemClock), SystemClock.instant() + Duration::from_millis(150));
    let load = artifact("a", "/m");
    let load = client.load_lora(&fence, &endpoint, &load, LONG);
    let renew = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            keeper.extend(SystemClock.instant() + Duration::from_millis(150));
        }
    };
    let (done, ()) = tokio::join!(load, renew);
    done.unwrap();
    assert!(engine.pods.loaded(LOOPBACK).contains_key("a"));
}

#[tokio::test]
async fn nothing_is_changed_after_the_term() {
    let scene = Scene::healthy().await;
    let endpoint = scene.at(Dialect::Vllm);
    scene.load(&endpoint, artifact("a", "/m")).await.unwrap();
    scene.keeper.revoke();
    let before = scene.journal().len();
    assert!(matches!(scene.load(&endpoint, artifact("b", "/m")).await, Err(CallError::Fenced(_))));
    let unloaded = scene.client.unload_lora(&scene.fence, &endpoint, "a").await;
    assert!(matches!(unloaded, Err(CallError::Fenced(_))));
    assert_eq!(scene.journal().len(), before, "nothing was sent");
    assert_eq!(names(scene.client.models(&endpoint).await), ["base", "a"], "reading is free");
}

#[tokio::test]
async fn a_change_under_way_ends_with_the_term() {
    let scene = Scene::healthy().await;
    scene.page("/v1/load_lora_adapter", Page::fault(Fault::Hang));
    let soon = SystemClock.instant() + Duration::from_millis(50);
    let (_keeper, fence) = Fence::new(Arc::new(SystemClock), soon);
    let load = artifact("a", "/m");
    let done = scene.client.load_lora(&fence, &scene.at(Dialect::Vllm), &load, LONG).await;
    assert!(matches!(done, Err(CallError::Fenced(_))));
}

/// A clock that goes on while that of timers stands still, as when the machine is suspended.
#[derive(Debug)]
struct Suspended(parking_lot::Mutex<Duration>);

impl Clock for Suspended {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn instant(&self) -> Instant {
        SystemClock.instant() + *self.0.lock()
    }
}

// scenario: hardening 6
#[tokio::test]
async fn a_machine_that_was_suspended_or_paused_for_half_a_minute_changes_nothing() {
    let half_a_minute = Duration::from_secs(30);
    let clock = Arc::new(Suspended(parking_lot::Mutex::default()));
    let check = ClockCheck::new(Arc::clone(&clock) as _, Duration::from_secs(15));
    let date = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
    check.answered(check.sent(), date(0));
    let renewed = |sent| Validity { until: sent + Duration::from_secs(14), sent };
    let (keeper, fence) = Fence::checked(Arc::clone(&clock) as _, renewed(check.sent()), &check);
    let scene = Scene { fence, keeper, ..Scene::healthy().await };
    let endpoint = scene.at(Dialect::Vllm);
    scene.load(&endpoint, artifact("a", "/m")).await.unwrap();
    // A pause that no clock here shows: the API server's does, and the term goes on with the next renewal.
    let before = check.sent();
    check.answered(check.sent(), date(30));
    assert!(matches!(scene.load(&endpoint, artifact("b", "/m")).await, Err(CallError::Fenced(_))));
    scene.keeper.renew(renewed(before));
    assert!(matches!(scene.load(&endpoint, artifact("c", "/m")).await, Err(CallError::Fenced(_))));
    scene.keeper.renew(renewed(check.sent()));
    scene.load(&endpoint, artifact("d", "/m")).await.unwrap();
    // A suspension, during which the clock of timers stands still and the one of the fence goes on.
    *clock.0.lock() += half_a_minute;
    let lost = scene.load(&endpoint, artifact("e", "/m")).await;
    assert!(matches!(lost, Err(CallError::Fenced(_))), "{lost:?}");
    assert!(scene.fence.has_ended());
    let listed: Vec<String> =
        scene.client.models(&endpoint).await.unwrap().into_iter().map(|model| model.id).collect();
    assert_eq!(listed, ["base", "a", "d"]);
}

#[tokio::test]
async fn a_url_that_names_nothing_is_not_sent() {
    let scene = Scene::healthy().await;
    let endpoint = scene.at(Dialect::Vllm);
    for url in ["hf://", "huggingface://", "hf:///etc/passwd", "huggingface://a/../../b", "hf://?x"] {
        let error = scene.load(&endpoint, artifact("a", url)).await.unwrap_err();
        assert!(matches!(error, CallError::Url(_)), "{url}: {error}");
    }
    assert_eq!(scene.journal(), []);
}
