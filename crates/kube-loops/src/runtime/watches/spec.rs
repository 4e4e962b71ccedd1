// SPDX-License-Identifier: Apache-2.0
//! What to watch, and what to keep of it.

use std::{any::TypeId, collections::BTreeSet, fmt, sync::Arc};

use futures::{StreamExt, future::BoxFuture, stream::BoxStream};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::{
    Api, Client, Resource,
    api::{ListMeta, ListParams},
    core::{ApiResource, DynamicResourceScope, Request},
    runtime::watcher::{self, Event, watcher},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    cache::{Item, Stored},
    deserialize_guard::{DeserializeGuard, InvalidObject, Malformed},
    index::Index,
    interner::Interner,
    metadata,
};

/// Objects in one page of a list.
pub(super) const PAGE: u32 = 500;

/// What a store makes of an object.
pub(crate) type Keep<K, S> = fn(K, &Interner) -> S;

/// A type that objects can be watched as. Nothing needs to be implemented for it.
pub trait Watched: Resource + Clone + DeserializeOwned + Send + Sync + 'static {}

impl<K: Resource + Clone + DeserializeOwned + Send + Sync + 'static> Watched for K {}

/// What to watch (`K`, as it comes over the wire) and what a store keeps of each object (`S`).
pub struct WatchSpec<K: Resource, S = K> {
    dyntype: K::DynamicType,
    /// `None`: those that the process watches.
    namespace: Option<String>,
    /// Watched besides those that the process watches.
    also_in: Option<String>,
    labels: Option<String>,
    fields: Option<String>,
    metadata_only: bool,
    keep: Keep<K, S>,
    pub(super) indexes: Vec<Index<S>>,
}

impl<K: Resource> WatchSpec<K> {
    /// All objects of the kind, in all namespaces that the process watches, kept whole except for `managedFields`.
    pub fn all() -> Self
    where
        K::DynamicType: Default,
    {
        Self::all_of(K::DynamicType::default())
    }

    /// Like [`Self::all`], for a Rust type that stands for several kinds.
    pub fn all_of(dyntype: K::DynamicType) -> Self {
        Self {
            dyntype,
            namespace: None,
            also_in: None,
            labels: None,
            fields: None,
            metadata_only: false,
            keep: without_managed_fields,
            indexes: Vec::new(),
        }
    }

    /// The objects of one namespace, asked for in that namespace: needs no cluster-wide permission.
    pub fn in_namespace(namespace: impl Into<String>) -> Self
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Self { namespace: Some(namespace.into()), ..Self::all() }
    }

    /// Like [`Self::in_namespace`], for a Rust type that stands for several kinds.
    pub fn in_namespace_of(dyntype: K::DynamicType, namespace: impl Into<String>) -> Self
    where
        K: Resource<Scope = DynamicResourceScope>,
    {
        Self { namespace: Some(namespace.into()), ..Self::all_of(dyntype) }
    }
}

impl<K: Resource, S> WatchSpec<K, S> {
    /// Also in this namespace, if the process does not watch it anyway: see [`super::Watches::in_namespaces`].
    #[must_use]
    pub fn also_in(mut self, namespace: impl Into<String>) -> Self {
        self.also_in = Some(namespace.into());
        self
    }

    /// Only objects that this label selector matches.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.labels = Some(selector.into());
        self
    }

    /// Only objects that this field selector matches.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = Some(selector.into());
        self
    }

    /// Asks for the metadata of the objects only: `K` must parse from an object without anything else, and
    /// its own `apiVersion` and `kind`, if it has them, are those of `PartialObjectMetadata`.
    #[must_use]
    pub fn metadata_only(mut self) -> Self {
        self.metadata_only = true;
        self
    }

    /// Keeps what `keep` makes of an object: drop what nobody reads, share with the [`Interner`] what
    /// occurs often. Namespace, name and `resourceVersion` must survive. Two requests for one watch
    /// must keep alike: the first one counts. Indexes are of what is kept: add them after this.
    #[must_use]
    pub fn keeping<T>(self, keep: fn(K, &Interner) -> T) -> WatchSpec<K, T> {
        let Self { dyntype, namespace, also_in, labels, fields, metadata_only, keep: _, indexes } = self;
        debug_assert!(indexes.is_empty(), "they are of another type");
        WatchSpec { dyntype, namespace, also_in, labels, fields, metadata_only, keep, indexes: Vec::new() }
    }

    /// The resource that is watched.
    pub(crate) fn resource(&self) -> ApiResource {
        ApiResource::erase::<K>(&self.dyntype)
    }

    /// The namespaces to ask for, each for itself, in order; `None`: all at once. `watched`: those that the process
    /// watches; none: all.
    pub(super) fn namespaces(&self, watched: &BTreeSet<String>) -> Vec<Option<String>>
    where
        K: 'static,
    {
        let cluster_scoped = TypeId::of::<K::Scope>() == TypeId::of::<ClusterResourceScope>();
        if self.namespace.is_some() || cluster_scoped || watched.is_empty() {
            return vec![self.namespace.clone()];
        }
        let namespaces: BTreeSet<&String> = watched.iter().chain(&self.also_in).collect();
        namespaces.into_iter().cloned().map(Some).collect()
    }

    /// What the store keeps of an object.
    pub(crate) fn keep(&self) -> Keep<K, S> {
        self.keep
    }

    /// The store can be searched by this. One watch has all the indexes that any of its users asked for.
    #[must_use]
    pub fn indexed(mut self, index: Index<S>) -> Self {
        self.indexes.push(index);
        self
    }
}

/// Every watch drops this: it is large, changes with every write, and nobody here reads it.
fn without_managed_fields<K: Resource>(mut object: K, _: &Interner) -> K {
    object.meta_mut().managed_fields = None;
    object
}

/// A watch with the type of the wire forgotten.
pub(crate) trait Source<S>: Send + Sync {
    /// Tells watches apart: type kept, path, selectors, whether it is metadata only.
    fn id(&self) -> WatchId;
    /// Plural and group, such as `deployments.apps`; only the plural in the core group.
    fn kind(&self) -> String;
    /// Lists and watches for ever.
    fn watch(&self, client: Client, streaming: bool) -> BoxStream<'static, watcher::Result<Event<Item<S>>>>;
    /// One page of a consistent list of metadata. `None`: the first page.
    fn versions(
        &self,
        client: &Client,
        page: Option<String>,
    ) -> BoxFuture<'static, kube::Result<Page<Version>>>;
    /// One page of a consistent list of objects.
    fn objects(
        &self,
        client: &Client,
        page: Option<String>,
    ) -> BoxFuture<'static, kube::Result<Page<Item<S>>>>;
    /// One small read, to see whether the API server answers at all and with which version of the list: of any state
    /// that it has at hand, or a consistent one.
    fn probe(&self, client: &Client, consistent: bool) -> BoxFuture<'static, kube::Result<String>>;
}

/// Tells watches apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WatchId {
    kept: TypeId,
    metadata_only: bool,
    path: String,
    selectors: (Option<String>, Option<String>),
}

/// One page of a list.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Version of the whole list.
    pub(crate) version: String,
    /// Token of the next page; `None`: this was the last.
    pub(crate) next: Option<String>,
}

/// Which version an object has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) namespace: String,
    pub(crate) name: String,
    #[expect(clippy::struct_field_names, reason = "it is what Kubernetes calls it")]
    pub(crate) version: String,
}

/// A [`WatchSpec`] at work in one namespace, or in all.
pub(super) struct KubeSource<K: Resource, S> {
    spec: Arc<WatchSpec<K, S>>,
    namespace: Option<String>,
    interner: Arc<Interner>,
    malformed: MalformedKind,
}

#[derive(Clone)]
struct MalformedKind {
    api_version: Arc<str>,
    kind: Arc<str>,
}

impl<K: Resource, S> KubeSource<K, S> {
    pub(super) fn new(
        spec: Arc<WatchSpec<K, S>>,
        namespace: Option<String>,
        interner: Arc<Interner>,
    ) -> Self {
        let malformed = MalformedKind {
            api_version: Arc::from(K::api_version(&spec.dyntype)),
            kind: Arc::from(K::kind(&spec.dyntype)),
        };
        Self { spec, namespace, interner, malformed }
    }

    fn api(&self, client: Client) -> Api<DeserializeGuard<K>> {
        let client = if self.spec.metadata_only { metadata::asking(client) } else { client };
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &self.spec.dyntype),
            None => Api::all_with(client, &self.spec.dyntype),
        }
    }

    fn list_params(&self, page: Option<String>, limit: u32) -> ListParams {
        ListParams {
            label_selector: self.spec.labels.clone(),
            field_selector: self.spec.fields.clone(),
            limit: Some(limit),
            continue_token: page,
            ..ListParams::default()
        }
    }

    fn item(
        spec: &WatchSpec<K, S>,
        interner: &Interner,
        kind: &MalformedKind,
        object: DeserializeGuard<K>,
    ) -> Item<S> {
        object.0.map(|object| (spec.keep)(object, interner)).map_err(|invalid| {
            let InvalidObject { meta, error } = *invalid;
            Box::new(Malformed {
                api_version: Arc::clone(&kind.api_version),
                kind: Arc::clone(&kind.kind),
                namespace: meta.namespace.unwrap_or_default(),
                name: meta.name.unwrap_or_default(),
                uid: meta.uid.unwrap_or_default(),
                version: meta.resource_version.unwrap_or_default(),
                error,
            })
        })
    }
}

impl<K: Watched, S: Stored> Source<S> for KubeSource<K, S> {
    fn id(&self) -> WatchId {
        let path = K::url_path(&self.spec.dyntype, self.namespace.as_deref());
        let selectors = (self.spec.labels.clone(), self.spec.fields.clone());
        WatchId { kept: TypeId::of::<S>(), metadata_only: self.spec.metadata_only, path, selectors }
    }

    fn kind(&self) -> String {
        let (plural, group) = (K::plural(&self.spec.dyntype), K::group(&self.spec.dyntype));
        if group.is_empty() { plural.into_owned() } else { format!("{plural}.{group}") }
    }

    fn watch(&self, client: Client, streaming: bool) -> BoxStream<'static, watcher::Result<Event<Item<S>>>> {
        let config = watcher::Config {
            label_selector: self.spec.labels.clone(),
            field_selector: self.spec.fields.clone(),
            page_size: Some(PAGE),
            ..watcher::Config::default()
        };
        let config = if streaming { config.streaming_lists() } else { config };
        let (spec, interner, kind) =
            (Arc::clone(&self.spec), Arc::clone(&self.interner), self.malformed.clone());
        watcher(self.api(client), config)
            .map(move |event| {
                event.map(|event| {
                    let item = |object| Self::item(&spec, &interner, &kind, object);
                    match event {
                        Event::Apply(object) => Event::Apply(item(object)),
                        Event::Delete(object) => Event::Delete(item(object)),
                        Event::InitApply(object) => Event::InitApply(item(object)),
                        Event::Init => Event::Init,
                        Event::InitDone => Event::InitDone,
                    }
                })
            })
            .boxed()
    }

    fn versions(
        &self,
        client: &Client,
        page: Option<String>,
    ) -> BoxFuture<'static, kube::Result<Page<Version>>> {
        let client = client.clone();
        let params = self.list_params(page, PAGE);
        let path = self.api(client.clone()).resource_url().to_owned();
        Box::pin(async move {
            let request = Request::new(path).list_metadata(&params).map_err(kube::Error::BuildRequest)?;
            let list: SlimList = client.request(request).await?;
            let items = list.items.unwrap_or_default().into_iter().map(|item| Version {
                namespace: item.metadata.namespace,
                name: item.metadata.name,
                version: item.metadata.resource_version,
            });
            Ok(page_of(items.collect(), list.metadata))
        })
    }

    fn objects(
        &self,
        client: &Client,
        page: Option<String>,
    ) -> BoxFuture<'static, kube::Result<Page<Item<S>>>> {
        let api = self.api(client.clone());
        let params = self.list_params(page, PAGE);
        let (spec, interner, kind) =
            (Arc::clone(&self.spec), Arc::clone(&self.interner), self.malformed.clone());
        Box::pin(async move {
            let list = api.list(&params).await?;
            let items = list.items.into_iter().map(|object| Self::item(&spec, &interner, &kind, object));
            Ok(page_of(items.collect(), list.metadata))
        })
    }

    fn probe(&self, client: &Client, consistent: bool) -> BoxFuture<'static, kube::Result<String>> {
        let client = client.clone();
        let params = self.list_params(None, 1);
        let params = if consistent { params } else { params.match_any() };
        let path = self.api(client.clone()).resource_url().to_owned();
        Box::pin(async move {
            let request = Request::new(path).list_metadata(&params).map_err(kube::Error::BuildRequest)?;
            let list: SlimList = client.request(request).await?;
            Ok(list.metadata.resource_version.unwrap_or_default())
        })
    }
}

fn page_of<T>(items: Vec<T>, metadata: ListMeta) -> Page<T> {
    Page {
        items,
        version: metadata.resource_version.unwrap_or_default(),
        next: metadata.continue_.filter(|token| !token.is_empty()),
    }
}

/// A list of metadata, reduced to what says which version an object has.
#[derive(Deserialize)]
struct SlimList {
    #[serde(default)]
    metadata: ListMeta,
    items: Option<Vec<Slim>>,
}

#[derive(Deserialize)]
struct Slim {
    metadata: SlimMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimMeta {
    #[serde(default)]
    namespace: String,
    name: String,
    resource_version: String,
}

impl<K: Resource, S> fmt::Debug for WatchSpec<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = K::url_path(&self.dyntype, self.namespace.as_deref());
        f.debug_struct("WatchSpec").field("path", &path).field("labels", &self.labels).finish_non_exhaustive()
    }
}
