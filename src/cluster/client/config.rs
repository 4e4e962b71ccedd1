// SPDX-License-Identifier: Apache-2.0
//! Which configuration counts: `--kubeconfig`; else `KUBECONFIG`; else the pod's own; else `~/.kube/config`.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::ClientSettings;

/// Bound of one attempt to connect.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the configuration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// These files, merged.
    Files(Vec<PathBuf>),
    /// The pod's service account.
    InCluster,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InCluster => f.write_str("using in-cluster configuration"),
            Self::Files(paths) => {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(f, "using configuration from '{}'", paths.join(":"))
            }
        }
    }
}

/// The configuration is missing or wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A kubeconfig cannot be read or understood.
    #[error("failed to build config from flags: kubeconfig {}: {source}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<KubeconfigError>,
    },
    /// Neither a kubeconfig nor a pod's service account was found.
    #[error(
        "failed to build config from flags: no kubeconfig (--kubeconfig, KUBECONFIG, $HOME/.kube/config) and \
         not running in a pod: {source}"
    )]
    Nothing {
        /// Why the service account cannot be used.
        source: Box<InClusterError>,
    },
    /// It was found, and no client can be made from it.
    #[error("failed to build config from flags: {origin}: {source}")]
    Unusable {
        /// Where it came from.
        origin: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

impl Source {
    pub(super) fn unusable(&self, cause: kube::Error) -> ConfigError {
        ConfigError::Unusable { origin: self.to_string(), source: Box::new(cause) }
    }
}

pub(super) async fn find(settings: &ClientSettings) -> Result<(Config, Source), ConfigError> {
    if let Some(path) = &settings.kubeconfig_flag {
        return from_files(vec![path.clone()]).await;
    }
    if let Some(list) = settings.kubeconfig_env.as_deref().filter(|list| !list.is_empty()) {
        let paths: Vec<_> = std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect();
        // Like kubectl: files of the list that do not exist are skipped, as long as one does.
        let existing: Vec<_> = paths.iter().filter(|path| path.exists()).cloned().collect();
        return from_files(if existing.is_empty() { paths } else { existing }).await;
    }
    match Config::incluster() {
        Ok(config) => Ok((config, Source::InCluster)),
        Err(cause) => match settings.home.as_ref().map(|home| home.join(".kube/config")) {
            Some(path) if path.exists() => from_files(vec![path]).await,
            Some(_) | None => Err(ConfigError::Nothing { source: Box::new(cause) }),
        },
    }
}

async fn from_files(paths: Vec<PathBuf>) -> Result<(Config, Source), ConfigError> {
    let wrong =
        |path: &Path, source| ConfigError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
    let mut merged = Kubeconfig::default();
    let mut last = PathBuf::new();
    for path in &paths {
        let next = Kubeconfig::read_from(path).map_err(|source| wrong(path, source))?;
        merged = merged.merge(next).map_err(|source| wrong(path, source))?;
        last.clone_from(path);
    }
    let config = Config::from_custom_kubeconfig(merged, &KubeConfigOptions::default())
        .await
        .map_err(|source| wrong(&last, source))?;
    Ok((config, Source::Files(paths)))
}
