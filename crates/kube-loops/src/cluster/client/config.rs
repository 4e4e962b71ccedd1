// SPDX-License-Identifier: Apache-2.0
//! Which configuration counts: `--kubeconfig`; else `KUBECONFIG`; else the pod's own; else `~/.kube/config`.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use http::Uri;
use kube::{
    Config,
    config::{Context, InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::ClientSettings;

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
    /// The current context names a user that is not there: every request would be anonymous.
    #[error(
        "failed to build config from flags: {origin}: user {user:?} of the current context was not found"
    )]
    User {
        /// Where the configuration came from.
        origin: String,
        /// The user.
        user: String,
    },
    /// The address of the API server is no `http` or `https` URL.
    #[error("failed to build config from flags: {origin}: invalid server {url:?}, want https://host[:port]")]
    Server {
        /// Where the configuration came from.
        origin: String,
        /// The address.
        url: String,
    },
    /// The certificate authority of the API server is no PEM with a certificate: nothing would be trusted.
    #[error("failed to build config from flags: {origin}: the certificate authority holds no certificate")]
    Authority {
        /// Where the configuration came from.
        origin: String,
    },
    /// The configuration asks for a proxy of a kind that is not supported.
    #[error("failed to build config from flags: {origin}: proxy-url {url:?}, want http:// or https://")]
    Proxy {
        /// Where the configuration came from.
        origin: String,
        /// Its URL, without credentials.
        url: String,
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

    pub(super) fn unsupported(&self, proxy: Option<&Uri>) -> ConfigError {
        let url = proxy.map(|proxy| {
            let scheme = proxy.scheme_str().unwrap_or_default();
            format!("{scheme}://{}", proxy.host().unwrap_or_default())
        });
        ConfigError::Proxy { origin: self.to_string(), url: url.unwrap_or_default() }
    }
}

/// What was found.
pub(super) struct Found {
    pub(super) config: Config,
    pub(super) source: Source,
    /// `proxy-url` of the cluster. The proxy variables of the environment are not followed: in a pod kube does
    /// not, and outside they are meant for other traffic more often than not.
    pub(super) proxy: Option<Uri>,
}

pub(super) async fn find(settings: &ClientSettings) -> Result<Found, ConfigError> {
    if let Some(path) = settings.kubeconfig_flag.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        return from_files(vec![path.clone()]).await;
    }
    let listed = settings.kubeconfig_env.iter().flat_map(std::env::split_paths);
    let paths: Vec<_> = listed.filter(|path| !path.as_os_str().is_empty()).collect();
    if !paths.is_empty() {
        // Like kubectl: files of the list that do not exist are skipped, as long as one does.
        let existing: Vec<_> = paths.iter().filter(|path| path.exists()).cloned().collect();
        return from_files(if existing.is_empty() { paths } else { existing }).await;
    }
    match Config::incluster() {
        Ok(config) => checked(Found { config, source: Source::InCluster, proxy: None }),
        Err(cause) => {
            let home = settings.home.as_ref().filter(|home| !home.as_os_str().is_empty());
            match home.map(|home| home.join(".kube/config")) {
                Some(path) if path.exists() => from_files(vec![path]).await,
                Some(_) | None => Err(ConfigError::Nothing { source: Box::new(cause) }),
            }
        }
    }
}

async fn from_files(paths: Vec<PathBuf>) -> Result<Found, ConfigError> {
    let wrong =
        |path: &Path, source| ConfigError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
    let mut merged = Kubeconfig::default();
    let mut last = PathBuf::new();
    for path in &paths {
        let next = Kubeconfig::read_from(path).map_err(|source| wrong(path, source))?;
        merged = merged.merge(next).map_err(|source| wrong(path, source))?;
        last.clone_from(path);
    }
    let source = Source::Files(paths);
    if let Some(user) = missing_user(&merged) {
        return Err(ConfigError::User { origin: source.to_string(), user });
    }
    let proxy = match proxy_of(&merged) {
        Some(url) => Some(url.parse().map_err(|error| wrong(&last, KubeconfigError::ParseProxyUrl(error)))?),
        None => None,
    };
    let config = Config::from_custom_kubeconfig(merged, &KubeConfigOptions::default())
        .await
        .map_err(|source| wrong(&last, source))?;
    checked(Found { config, source, proxy })
}

/// Refuses what kube accepts here and fails for later: on an address without a scheme it panics.
fn checked(found: Found) -> Result<Found, ConfigError> {
    let url = &found.config.cluster_url;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none_or(str::is_empty) {
        return Err(ConfigError::Server { origin: found.source.to_string(), url: url.to_string() });
    }
    if found.config.root_cert.as_ref().is_some_and(Vec::is_empty) {
        return Err(ConfigError::Authority { origin: found.source.to_string() });
    }
    Ok(found)
}

fn context_of(kubeconfig: &Kubeconfig) -> Option<&Context> {
    let current = kubeconfig.current_context.as_ref()?;
    kubeconfig.contexts.iter().find(|it| it.name == *current)?.context.as_ref()
}

/// The current context's user, if it names one that does not exist.
fn missing_user(kubeconfig: &Kubeconfig) -> Option<String> {
    let user = context_of(kubeconfig)?.user.as_ref().filter(|user| !user.is_empty())?;
    kubeconfig.auth_infos.iter().all(|it| it.name != *user).then(|| user.clone())
}

/// `proxy-url` of the current context's cluster.
fn proxy_of(kubeconfig: &Kubeconfig) -> Option<&str> {
    let context = context_of(kubeconfig)?;
    let cluster = kubeconfig.clusters.iter().find(|it| it.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.as_deref().filter(|url| !url.is_empty())
}
