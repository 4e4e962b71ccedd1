// SPDX-License-Identifier: Apache-2.0
//! What the manager sees of a controller: its [`ControllerSpec`], and a future for each [`Term`].

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use kube::core::ApiResource;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use kube_fenced_election::{clock::SharedClock, fence::Fence};

use super::{progress::Progress, watches::Read};

/// Longest pass of a loop whose spec names no deadline.
pub const DEFAULT_DEADLINE: Duration = Duration::from_mins(2);

/// A kind served by the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// Version, such as `v1alpha1`.
    pub version: &'static str,
    /// Kind, such as `PodAutoscaler`.
    pub kind: &'static str,
    /// Plural resource name, such as `podautoscalers`.
    pub plural: &'static str,
}

impl Kind {
    /// How its objects are reached.
    pub fn resource(&self) -> ApiResource {
        let Self { group, version, kind, plural } = *self;
        let (group, version) = (group.to_owned(), version.to_owned());
        let api_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
        ApiResource { group, version, api_version, kind: kind.to_owned(), plural: plural.to_owned() }
    }
}

/// Something that a loop must be allowed to do, beyond reading what it opens and sending events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// Resources, with a subresource after a slash.
    pub resources: &'static [&'static str],
    /// Verbs.
    pub verbs: &'static [&'static str],
}

impl Rule {
    /// A rule for these verbs on these resources of a group.
    pub const fn new(
        group: &'static str,
        resources: &'static [&'static str],
        verbs: &'static [&'static str],
    ) -> Self {
        Self { group, resources, verbs }
    }
}

/// One verb on one resource that a controller must be allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// API group, empty for the core group.
    pub group: String,
    /// Resource, with a subresource after a slash.
    pub resource: String,
    /// Verb.
    pub verb: &'static str,
}

/// What filling a store needs.
const READ: &[&str] = &["get", "list", "watch"];
/// What the recorder of a loop needs.
const EVENTS: Rule = Rule::new("", &["events"], &["create", "patch", "update"]);

/// Constants of one loop.
#[derive(Debug, Clone, Copy)]
pub struct LoopSpec {
    /// Value of the metric labels `controller` and `name`.
    pub label: &'static str,
    /// `source.component` of its events.
    pub event_source: &'static str,
    /// Passes at a time unless `--max-concurrent-reconciles` says otherwise.
    pub workers: usize,
    /// All primary objects are queued once per period; `None`: only on changes (and every 10 hours).
    pub period: Option<Duration>,
    /// Longest pass; it is cancelled then. `None`: the runtime's bound of 2 minutes.
    pub deadline: Option<Duration>,
    /// Cap of the per-key back-off.
    pub backoff_cap: Duration,
    /// Permissions beyond reading what [`super::loops::Loop::open`] opens and sending events.
    pub rules: &'static [Rule],
}

impl LoopSpec {
    /// Longest pass: the deadline, or the runtime's bound.
    pub fn longest_pass(&self) -> Duration {
        self.deadline.unwrap_or(DEFAULT_DEADLINE)
    }
}

/// Constants of one controller.
#[derive(Debug, Clone, Copy)]
pub struct ControllerSpec {
    /// Name in `--controllers`.
    pub name: &'static str,
    /// Kinds without which it waits, not contending for its Lease.
    pub required_kinds: &'static [Kind],
}

/// Everything that a controller may use between winning and losing its Lease.
#[derive(Debug, Clone)]
pub struct Term {
    /// The right to write: checked right before every effect outside the API server.
    pub fence: Fence,
    /// Client that refuses to change anything once the fence is closed. Its user agent names the controller.
    pub client: FencedClient,
    /// Clock of the process.
    pub clock: SharedClock,
    /// Cancelled when the controller has to finish: no new pass, passes under way may end.
    pub drain: CancellationToken,
    /// Counts the tasks of the term. They are aborted when the future of the run is dropped, and then end at their next
    /// await: the term is over once there is none.
    pub tasks: TaskTracker,
    /// Proof of work for the rule "no work, no Lease".
    pub progress: Arc<Progress>,
    /// Passes at a time by loop; `None`: the loop's own number.
    pub workers: Option<usize>,
}

/// A client whose mutating requests pass the fence of one term.
#[derive(Clone)]
pub struct FencedClient(pub kube::Client);

impl std::fmt::Debug for FencedClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FencedClient")
    }
}

/// Why a controller's run ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A watch did not deliver its first list in time: usually a missing permission.
    #[error("could not wait for cache to sync: {kind}: {cause}")]
    CacheSync {
        /// Plural and group of the kind.
        kind: String,
        /// What the API server said last.
        cause: String,
    },
    /// A part of the controller ended though nothing told it to.
    #[error("{part} ended")]
    Ended {
        /// Which part.
        part: &'static str,
    },
    /// A part of the controller panicked.
    #[error("{part} panicked: {message}")]
    Panicked {
        /// Which part.
        part: &'static str,
        /// The panic's message.
        message: String,
    },
}

/// One of the seven controllers, as the manager sees it.
pub trait Controller: Send + Sync + 'static {
    /// Its constants.
    fn spec(&self) -> &'static ControllerSpec;

    /// The constants of its loops: they share the Lease and start and stop together.
    fn loops(&self) -> Vec<&'static LoopSpec>;

    /// The stores that it reads. Starts their watches, so that a standby's are filled before it wins.
    /// Idempotent. Never writes.
    fn reads(&self) -> Vec<Read>;

    /// What it must be allowed to do: to read what it [opens](Self::reads), kinds that may be absent included, to send
    /// events, and what its loops [name](LoopSpec::rules).
    fn permissions(&self) -> BTreeSet<Permission> {
        let reads = self.reads();
        let reads = reads.iter().map(Read::group_resource).map(|(group, resource)| (group, resource, READ));
        let rules = self.loops().into_iter().flat_map(|each| each.rules).chain([&EVENTS]);
        let rules = rules.flat_map(|rule| rule.resources.iter().map(|it| (rule.group, *it, rule.verbs)));
        let permissions = reads.chain(rules).flat_map(|(group, resource, verbs)| {
            verbs.iter().map(move |verb| Permission { group: group.into(), resource: resource.into(), verb })
        });
        permissions.collect()
    }

    /// Works for one term: catches up, queues all keys once, runs passes. Ends with `Ok` after
    /// `term.drain` is cancelled and the passes under way have ended; ends at any await by being
    /// dropped when the fence closes. Then, and when it ends with an error, [`Term::tasks`] tells when the last task
    /// has ended. Nothing of a term is kept for the next one.
    fn run(&self, term: Term) -> BoxFuture<'static, Result<(), RunError>>;
}
