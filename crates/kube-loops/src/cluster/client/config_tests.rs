// SPDX-License-Identifier: Apache-2.0

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use crate::{chain::Chain, metrics::Metrics};

use super::{ClientSettings, Clients, ConfigError, Source, config::find};

/// A folder of kubeconfig files; the tests run outside of a cluster.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn kubeconfig(&self, name: &str, server: &str) -> PathBuf {
        self.write(name, &kubeconfig(server, ""))
    }

    fn settings(&self) -> ClientSettings {
        ClientSettings {
            kubeconfig_flag: None,
            kubeconfig_env: None,
            home: Some(self.0.path().to_owned()),
            qps: 100.0,
            burst: 100,
            program: "program/1".into(),
            identity: "x".into(),
        }
    }
}

fn kubeconfig(server: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: k, cluster: {{server: \"{server}\"{more}}}}}]\n\
         contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
    )
}

async fn used(settings: &ClientSettings) -> (String, Source) {
    let found = find(settings).await.unwrap();
    (found.config.cluster_url.to_string(), found.source)
}

async fn connect(settings: &ClientSettings) -> Result<Clients, ConfigError> {
    let requests = Metrics::new().int_counter("requests", "Help.", &["code", "method", "host"]).unwrap();
    Clients::new(settings, &requests, None).await
}

#[tokio::test]
async fn the_flag_wins_over_the_variable_and_that_over_the_home() {
    let files = Files::new();
    let home = files.kubeconfig(".kube/config", "https://home");
    let env = files.kubeconfig("env", "https://env");
    let flag = files.kubeconfig("flag", "https://flag");
    let mut settings = files.settings();
    assert_eq!(used(&settings).await, ("https://home/".into(), Source::Files(vec![home])));
    settings.kubeconfig_env = Some(env.display().to_string());
    assert_eq!(used(&settings).await, ("https://env/".into(), Source::Files(vec![env])));
    settings.kubeconfig_flag = Some(flag.clone());
    assert_eq!(used(&settings).await, ("https://flag/".into(), Source::Files(vec![flag])));
}

#[tokio::test]
async fn files_of_the_variable_are_merged_and_missing_ones_left_out() {
    let files = Files::new();
    let first = files.write("first", "apiVersion: v1\nkind: Config\ncurrent-context: c\n");
    let second = files.kubeconfig("second", "https://second");
    let mut settings = files.settings();
    settings.kubeconfig_env = Some(format!("/does/not/exist:{}::{}", first.display(), second.display()));
    let (server, source) = used(&settings).await;
    assert_eq!(server, "https://second/");
    assert_eq!(
        source.to_string(),
        format!("using configuration from '{}:{}'", first.display(), second.display())
    );
}

#[tokio::test]
async fn an_empty_variable_counts_as_unset() {
    let files = Files::new();
    files.kubeconfig(".kube/config", "https://home");
    let settings = ClientSettings {
        kubeconfig_env: Some(String::new()),
        kubeconfig_flag: Some(PathBuf::new()),
        ..files.settings()
    };
    assert_eq!(used(&settings).await.0, "https://home/");
}

#[tokio::test]
async fn without_any_configuration_the_error_lists_the_places() {
    let files = Files::new();
    for settings in [files.settings(), ClientSettings { home: None, ..files.settings() }] {
        let error = find(&settings).await.err().unwrap();
        assert!(matches!(error, ConfigError::Nothing { .. }));
        for place in ["--kubeconfig", "KUBECONFIG", "$HOME/.kube/config", "not running in a pod"] {
            assert!(error.to_string().contains(place), "{error}");
        }
    }
}

#[tokio::test]
async fn a_given_file_is_used_or_reported_and_nothing_else_tried() {
    let files = Files::new();
    files.kubeconfig(".kube/config", "https://home");
    let missing = files.0.path().join("missing");
    let settings = ClientSettings { kubeconfig_flag: Some(missing.clone()), ..files.settings() };
    let text = Chain(&connect(&settings).await.err().unwrap()).to_string();
    assert!(text.starts_with("failed to build config from flags: kubeconfig "), "{text}");
    assert!(text.contains(&missing.display().to_string()) && text.contains("No such file"), "{text}");
    let settings = ClientSettings { kubeconfig_env: Some("/a:/b".into()), ..files.settings() };
    assert!(matches!(find(&settings).await.err(), Some(ConfigError::Kubeconfig { .. })));
}

#[tokio::test]
async fn malformed_files_are_errors_with_file_and_reason() {
    let files = Files::new();
    let table = [
        ("not yaml", "{".to_owned()),
        ("a list", "- 1\n".to_owned()),
        ("empty", String::new()),
        ("binary", "\u{0}\u{1}".to_owned()),
        ("no such context", kubeconfig("https://x", "").replace("current-context: c", "current-context: d")),
        ("no such user", kubeconfig("https://x", "").replace("user: u}", "user: w}")),
        ("no address", kubeconfig("", "")),
        ("address with a space", kubeconfig("https://a b", "")),
        ("address without a scheme", kubeconfig("localhost:8080", "")),
        ("address of another scheme", kubeconfig("ftp://x", "")),
        ("address that is a path", kubeconfig("/x", "")),
        ("certificate that is none", kubeconfig("https://x", ", certificate-authority-data: \"aGVsbG8=\"")),
        ("certificate file that is missing", kubeconfig("https://x", ", certificate-authority: nowhere.crt")),
        ("proxy of another scheme", kubeconfig("https://x", ", proxy-url: \"socks5://p:1\"")),
        ("proxy that is no URL", kubeconfig("https://x", ", proxy-url: \"http://a b\"")),
    ];
    for (why, content) in table {
        let path = files.write("bad", &content);
        let settings = ClientSettings { kubeconfig_flag: Some(path.clone()), ..files.settings() };
        let error = connect(&settings).await.err().unwrap_or_else(|| panic!("{why}: accepted"));
        let text = Chain(&error).to_string();
        let says_where =
            text.contains(&path.display().to_string()) || matches!(error, ConfigError::Proxy { .. });
        assert!(says_where, "{why}: {text}");
    }
}

#[tokio::test]
async fn connecting_does_not_need_the_api_server() {
    let files = Files::new();
    let flag = files.kubeconfig("config", "https://127.0.0.1:1");
    let clients = connect(&ClientSettings { kubeconfig_flag: Some(flag), ..files.settings() }).await.unwrap();
    let error = clients.reader().apiserver_version().await.unwrap_err();
    assert!(matches!(error, kube::Error::Service(_) | kube::Error::HyperError(_)), "{error:?}");
}
