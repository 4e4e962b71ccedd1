// SPDX-License-Identifier: Apache-2.0
//! Which kinds the API server serves. Discovery is open to every service account.

use std::{num::NonZeroUsize, time::Duration};

use http::Request;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIResource, APIResourceList};
use kube::{Client, core::ApiResource};
use lru::LruCache;
use parking_lot::Mutex;

use crate::k8s::names::is_dns1123_subdomain;
use kube_fenced_election::clock::{Instant, SharedClock};

/// How long an answer that names a kind is believed.
const FOUND: Duration = Duration::from_mins(5);
/// How long an answer that lacks it is believed.
const MISSING: Duration = Duration::from_secs(10);
/// Kinds that are remembered; beyond, the one that was not asked for the longest time is asked for anew.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Longest name of a kind, in bytes.
const LONGEST_KIND: usize = 63;
/// Bound of one request.
const REQUEST: Duration = Duration::from_secs(10);

/// Why discovery gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The API server answered with an error, or not at all.
    #[error("failed to ask the API server which kinds it serves in {path}")]
    Ask {
        /// Path of the discovery document.
        path: String,
        /// What went wrong.
        #[source]
        source: Box<kube::Error>,
    },
    /// No answer in time.
    #[error("the API server did not say within {} s which kinds it serves in {path}", REQUEST.as_secs())]
    Timeout {
        /// Path of the discovery document.
        path: String,
    },
}

/// A resource by which a kind can be reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    /// Group, version, kind and plural.
    pub resource: ApiResource,
    /// Whether its objects have namespaces.
    pub namespaced: bool,
    /// Whether its objects are scaled by a subresource.
    pub scale: bool,
}

/// Until when an answer is believed, and the answer.
type Known = (Instant, Vec<Mapping>);

/// Remembers discovery documents for a while.
#[derive(Debug)]
pub struct Discovery {
    client: ClientBox,
    clock: SharedClock,
    /// By group and kind, as users name them.
    mappings: Mutex<LruCache<(String, String), Known>>,
}

#[derive(Clone)]
struct ClientBox(Client);

impl std::fmt::Debug for ClientBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Discovery {
    /// Asks with `client`.
    pub fn new(client: Client, clock: SharedClock) -> Self {
        Self { client: ClientBox(client), clock, mappings: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// Whether the API server serves the resource `plural` of `group/version` now; asks each time.
    ///
    /// # Errors
    /// [`DiscoveryError`]: not known now; ask again later.
    pub async fn is_served(&self, group: &str, version: &str, plural: &str) -> Result<bool, DiscoveryError> {
        let list: Option<APIResourceList> = self.get(&path_of(group, Some(version))).await?;
        Ok(list.is_some_and(|list| list.resources.iter().any(|it| it.name == plural)))
    }

    /// All resources by which the kind `group/kind` can be reached, those of the preferred version first.
    /// Empty: the API server has no such kind. Remembered for 5 minutes, a missing kind for 10 s.
    ///
    /// # Errors
    /// [`DiscoveryError`]: not known now; ask again later.
    pub async fn mappings(&self, group: &str, kind: &str) -> Result<Vec<Mapping>, DiscoveryError> {
        if !may_exist(group, kind) {
            return Ok(Vec::new());
        }
        let key = (group.to_owned(), kind.to_owned());
        let now = self.clock.instant();
        if let Some((until, known)) = self.mappings.lock().get(&key)
            && now < *until
        {
            return Ok(known.clone());
        }
        let mut found = Vec::new();
        for version in self.versions(group).await? {
            let list: Option<APIResourceList> = self.get(&path_of(group, Some(&version))).await?;
            let resources = list.map(|it| it.resources).unwrap_or_default();
            let wanted = resources.iter().filter(|it| it.kind == kind && !it.name.contains('/'));
            let scales =
                |plural: &str| resources.iter().any(|it| it.name.strip_suffix("/scale") == Some(plural));
            found.extend(wanted.map(|it| mapping(group, &version, it, scales(&it.name))));
        }
        let believed = if found.is_empty() { MISSING } else { FOUND };
        self.mappings.lock().put(key, (now + believed, found.clone()));
        Ok(found)
    }

    /// Forgets what is known of a kind: an object of it answered 404 for its resource.
    pub fn forget(&self, group: &str, kind: &str) {
        self.mappings.lock().pop(&(group.to_owned(), kind.to_owned()));
    }

    /// Kinds that are remembered.
    #[cfg(any(test, feature = "testkit"))]
    pub fn remembered(&self) -> usize {
        self.mappings.lock().len()
    }

    /// Versions of a group, the preferred one first.
    async fn versions(&self, group: &str) -> Result<Vec<String>, DiscoveryError> {
        if group.is_empty() {
            return Ok(vec!["v1".to_owned()]);
        }
        let Some(found) = self.get::<APIGroup>(&path_of(group, None)).await? else { return Ok(Vec::new()) };
        let preferred = found.preferred_version.map(|it| it.version);
        let mut versions: Vec<String> = found.versions.into_iter().map(|it| it.version).collect();
        versions.sort_by_key(|version| preferred.as_ref() != Some(version));
        Ok(versions)
    }

    /// A discovery document; `None` when there is none.
    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<Option<T>, DiscoveryError> {
        let ask = |source| DiscoveryError::Ask { path: path.to_owned(), source: Box::new(source) };
        let request =
            Request::get(path).body(Vec::new()).map_err(|error| ask(kube::Error::HttpError(error)))?;
        match tokio::time::timeout(REQUEST, self.client.0.request::<T>(request)).await {
            Err(_) => Err(DiscoveryError::Timeout { path: path.to_owned() }),
            Ok(Ok(document)) => Ok(Some(document)),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
            Ok(Err(error)) => Err(ask(error)),
        }
    }
}

/// Whether the API server can have a kind of this name: nobody has to be asked for others, nor are they remembered.
fn may_exist(group: &str, kind: &str) -> bool {
    let named = kind.len() <= LONGEST_KIND && kind.starts_with(|c: char| c.is_ascii_alphabetic());
    named
        && kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && (group.is_empty() || is_dns1123_subdomain(group))
}

fn path_of(group: &str, version: Option<&str>) -> String {
    let root = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
    version.map_or_else(|| root.clone(), |version| format!("{root}/{version}"))
}

fn mapping(group: &str, version: &str, found: &APIResource, scale: bool) -> Mapping {
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Mapping {
        resource: ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version,
            kind: found.kind.clone(),
            plural: found.name.clone(),
        },
        namespaced: found.namespaced,
        scale,
    }
}
