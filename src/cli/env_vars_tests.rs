// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use super::{consumers::PrometheusLogin, env_vars::EnvVars, settings::Env};

fn env(env: &'static [(&'static str, &'static str)]) -> Env {
    Env::new(|name| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
}

#[test]
fn unset_and_empty_variables_have_their_defaults() {
    let empty = env(&[
        ("AIBRIX_GATEWAY_TIMEOUT_SECONDS", ""),
        ("PROMETHEUS_ENDPOINT", ""),
        ("AIBRIX_GATEWAY_NAME", ""),
    ]);
    for env in [env(&[]), empty] {
        let mut vars = EnvVars::new(&env);
        let route = vars.model_route("leases");
        assert_eq!(route.request_timeout, Duration::from_mins(2));
        assert_eq!(
            (route.gateway_name.as_str(), route.gateway_namespace.as_str()),
            ("aibrix-eg", "aibrix-system")
        );
        let metrics = vars.engine_metrics();
        assert_eq!(metrics.refresh_interval, Duration::from_secs(5));
        assert_eq!(metrics.prometheus, None);
        assert_eq!(vars.notices, []);
    }
}

#[test]
fn numbers_are_decimal_and_above_zero_or_warned_about() {
    let table = [
        ("600", 600, 0),
        ("-1", 120, 1),
        ("0", 120, 1),
        ("x", 120, 1),
        ("0x10", 120, 1),
        ("1.5", 120, 1),
        (" 5", 120, 1),
    ];
    for (text, want, warnings) in table {
        let lookup = move |name: &str| (name == "AIBRIX_GATEWAY_TIMEOUT_SECONDS").then(|| text.to_owned());
        let env = Env::new(lookup);
        let mut vars = EnvVars::new(&env);
        assert_eq!(vars.model_route("leases").request_timeout, Duration::from_secs(want), "{text}");
        assert_eq!(vars.notices.len(), warnings, "{text}");
        assert!(vars.notices.iter().all(|notice| notice.detail.contains("AIBRIX_GATEWAY_TIMEOUT_SECONDS")));
    }
}

#[test]
fn every_variable_is_read() {
    let env = env(&[
        ("AIBRIX_GATEWAY_NAME", "gate"),
        ("AIBRIX_GATEWAY_NAMESPACE", "yard"),
        ("AIBRIX_POD_METRIC_REFRESH_INTERVAL_MS", "1000"),
        ("AIBRIX_PROMETHEUS_QUERY_INTERVAL_MS", "300"),
        ("AIBRIX_PROMETHEUS_QUERY_TIMEOUT_MS", "400"),
        ("PROMETHEUS_ENDPOINT", "http://prometheus:9090"),
    ]);
    let mut vars = EnvVars::new(&env);
    let route = vars.model_route("leases");
    assert_eq!((route.gateway_name.as_str(), route.gateway_namespace.as_str()), ("gate", "yard"));
    let metrics = vars.engine_metrics();
    assert_eq!(metrics.refresh_interval, Duration::from_secs(1));
    let prometheus = metrics.prometheus.unwrap();
    assert_eq!(prometheus.endpoint, "http://prometheus:9090");
    assert_eq!(prometheus.query_interval, Duration::from_millis(300));
    assert_eq!(prometheus.query_timeout, Duration::from_millis(400));
    assert_eq!(prometheus.login, PrometheusLogin::Anonymous);
}

fn login(env: &'static [(&'static str, &'static str)]) -> PrometheusLogin {
    let env = Env::new(|name| {
        let with_endpoint = [("PROMETHEUS_ENDPOINT", "http://p")];
        env.iter().chain(&with_endpoint).find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    });
    EnvVars::new(&env).engine_metrics().prometheus.unwrap().login
}

#[test]
fn a_secret_wins_over_plain_credentials() {
    let plain = [("PROMETHEUS_BASIC_AUTH_USERNAME", "u"), ("PROMETHEUS_BASIC_AUTH_PASSWORD", "p")];
    let want = PrometheusLogin::Password { username: "u".into(), password: "p".into() };
    assert_eq!(login(Box::leak(Box::new(plain))), want);
    let both = [
        ("PROMETHEUS_BASIC_AUTH_SECRET_NAME", "s"),
        ("PROMETHEUS_BASIC_AUTH_USERNAME", "u"),
        ("PROMETHEUS_BASIC_AUTH_USERNAME_KEY", "user"),
    ];
    let want = PrometheusLogin::Secret {
        namespace: "aibrix-system".into(),
        name: "s".into(),
        username_key: "user".into(),
        password_key: "password".into(),
    };
    assert_eq!(login(Box::leak(Box::new(both))), want);
}

#[test]
fn credentials_are_not_printed() {
    let login = PrometheusLogin::Password { username: "admin".into(), password: "hunter2".into() };
    assert_eq!(format!("{login:?}"), "Password");
}
