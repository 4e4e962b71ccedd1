// SPDX-License-Identifier: Apache-2.0
use std::path::{Path, PathBuf};

use super::{
    ClientSettings,
    config::{ConfigError, Source, find},
};

fn settings() -> ClientSettings {
    ClientSettings {
        kubeconfig_flag: None,
        kubeconfig_env: None,
        home: None,
        qps: 100.0,
        burst: 100,
        version: "v0.0.0".into(),
        identity: "pod_1".into(),
    }
}

fn kubeconfig(path: &Path, server: &str) {
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: '{server}'}}}}]\n\
         users: [{{name: u, user: {{}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
         current-context: x\n"
    );
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
    std::fs::write(path, text).expect("write");
}

#[tokio::test]
async fn the_flag_wins_over_the_variable_and_the_variable_over_home() {
    let dir = tempfile::tempdir().expect("a folder");
    let (flag, env, home) =
        (dir.path().join("flag"), dir.path().join("env"), dir.path().join(".kube/config"));
    for (path, server) in [(&flag, "http://flag:1"), (&env, "http://env:1"), (&home, "http://home:1")] {
        kubeconfig(path, server);
    }
    let mut settings = settings();
    settings.home = Some(dir.path().to_owned());
    let (config, source) = find(&settings).await.expect("home");
    assert_eq!((config.cluster_url.host(), source), (Some("home"), Source::Files(vec![home])));
    settings.kubeconfig_env = Some(format!("{}:/nowhere/else", env.display()));
    let (config, source) = find(&settings).await.expect("the variable");
    assert_eq!((config.cluster_url.host(), source), (Some("env"), Source::Files(vec![env])));
    settings.kubeconfig_flag = Some(flag.clone());
    let (config, source) = find(&settings).await.expect("the flag");
    assert_eq!(config.cluster_url.host(), Some("flag"));
    assert_eq!(source.to_string(), format!("using configuration from '{}'", flag.display()));
}

#[tokio::test]
async fn a_wrong_file_is_named() {
    let mut settings = settings();
    settings.kubeconfig_flag = Some(PathBuf::from("/nowhere/kubeconfig"));
    let error = find(&settings).await.map(|_| ()).expect_err("there is no such file");
    assert!(error.to_string().contains("/nowhere/kubeconfig"), "{error}");
}

#[tokio::test]
async fn without_any_configuration_the_error_lists_the_places() {
    let error = find(&settings()).await.map(|_| ()).expect_err("there is nothing");
    assert!(matches!(error, ConfigError::Nothing { .. }));
    assert!(error.to_string().contains("--kubeconfig"), "{error}");
}
