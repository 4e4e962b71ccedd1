// SPDX-License-Identifier: Apache-2.0
//! The tables. Everything else in this folder only reads them.

/// Which modules a module may name besides itself. A path of several segments allows that part only. The compiler
/// keeps the libraries from naming the package, and the election from naming the frame.
pub(crate) const MAY_USE: &[(&str, &[&str])] = &[
    // Libraries of ours: what any operator could use.
    ("kube_fenced_election", &[]),
    ("kube_loops", &[]),
    ("kube_loops::chain", &[]),
    ("kube_loops::fenced_tcp", &["kube_fenced_election::fence"]),
    ("kube_loops::k8s", &[]),
    ("kube_loops::rollout", &["kube_loops::k8s"]),
    ("kube_loops::metrics", &[]),
    ("kube_loops::cluster", CLUSTER),
    (
        "kube_loops::runtime",
        &[
            "kube_loops",
            "kube_fenced_election::clock",
            "kube_fenced_election::fence",
            "kube_fenced_election::watch_backoff",
            "kube_fenced_election::whole_errors",
        ],
    ),
    ("kube_loops::testkit", &["kube_loops", "kube_fenced_election::clock"]),
    // 0 ground
    ("api", &[]),
    ("gocompat", &[]),
    // A log line carries the time.
    ("telemetry", &["kube_fenced_election::clock", "kube_loops::chain", "kube_loops::metrics"]),
    // 1 pure
    ("k8s", &["api", "gocompat", "kube_loops::k8s", "kube_loops::rollout", "kube_loops::runtime::watches"]),
    ("validation", &["api", "gocompat", "k8s", "kube_loops::k8s"]),
    // 2 I/O
    (
        "engine",
        &[
            "api",
            "gocompat",
            "telemetry",
            "k8s",
            "validation",
            "kube_fenced_election::clock",
            "kube_fenced_election::fence",
            "kube_loops::chain",
            "kube_loops::fenced_tcp",
            "kube_loops::k8s",
            "kube_loops::metrics",
        ],
    ),
    // 3 features, which ignore each other
    ("controllers", FEATURES),
    ("webhook", FEATURES),
    ("certs", FEATURES),
    ("server", FEATURES),
    // 4 host: sees `dyn Controller` and `ControllerSpec`, never a concrete controller
    (
        "manager",
        &[
            "api",
            "gocompat",
            "telemetry",
            "kube_fenced_election",
            "kube_loops::chain",
            "kube_loops::metrics",
            "kube_loops::runtime",
            "kube_loops::cluster::discovery",
        ],
    ),
    // 5 wiring
    ("app", EVERYTHING),
    ("cli", EVERYTHING),
    ("main", EVERYTHING),
    // For tests only.
    ("internals", EVERYTHING),
    (
        "testkit",
        &[
            "api",
            "gocompat",
            "telemetry",
            "k8s",
            "validation",
            "engine",
            "kube_fenced_election",
            "kube_loops",
        ],
    ),
];

const CLUSTER: &[&str] = &[
    "kube_loops::chain",
    "kube_loops::fenced_tcp",
    "kube_loops::k8s",
    "kube_loops::metrics",
    "kube_fenced_election::clock",
    "kube_fenced_election::fence",
];
const FEATURES: &[&str] = &[
    "api",
    "gocompat",
    "telemetry",
    "k8s",
    "validation",
    "engine",
    "kube_loops",
    "kube_fenced_election::clock",
    "kube_fenced_election::fence",
];
/// Marks a module that wires the others.
pub(crate) const EVERYTHING: &[&str] = &["*"];

/// Crates that few places may name: (crate, places, why). A place is a prefix of a path below `src/`.
pub(crate) const HOMES: &[(&str, &[&str], &str)] = &[
    (
        "kube_leader_election",
        &["kube_fenced_election/"],
        "the lock primitive is unsafe without the guard of `election`",
    ),
    ("reqwest", &["engine/"], "calls to engines share one client: limits, no proxy, fence"),
    ("axum", &["server/", "webhook/", "testkit/"], "HTTP servers stand in `server` and `webhook`"),
    ("clap", &["cli/"], "arguments become settings in `cli`; nobody else sees the parser"),
    ("prometheus", &["kube_loops/metrics/"], "`kube_loops::metrics` owns names and the text format"),
    (
        "anyhow",
        &["main.rs", "app.rs", "app/", "testkit/"],
        "a caller who cares needs an error that it can match",
    ),
];

/// Layers that only compute: no waiting, no ambient state, no output.
pub(crate) const PURE_MODULES: &[&str] =
    &["api/", "gocompat/", "k8s/", "validation/", "kube_loops/k8s/", "kube_loops/rollout/"];

/// Files of a loop that only compute (names, or folders when they end in a slash).
pub(crate) const PURE_FILES: &[&str] = &[
    "plan.rs",
    "triggers.rs",
    "snapshot.rs",
    "objects.rs",
    "objects/",
    "status.rs",
    "memory.rs",
    "error.rs",
    "algorithm/",
    "placement/",
];

/// Files of a loop that may wait for the network.
pub(crate) const WAITING_FILES: &[&str] = &["mod.rs", "fetch.rs", "fetch/", "apply.rs", "reconcile.rs"];

/// Words that pure code has no use for, with the reason.
pub(crate) const IMPURE_WORDS: &[(&str, &str)] =
    &[("async", "pure code does not wait"), ("await", "pure code does not wait")];

/// Crates that pure code has no use for, with the reason.
pub(crate) const IMPURE_CRATES: &[(&str, &str)] = &[
    ("tokio", "pure code does not wait"),
    ("futures", "pure code does not wait"),
    ("tracing", "pure code does not log: it returns what happened"),
    ("log", "pure code does not log: it returns what happened"),
    ("hyper", "pure code has no client"),
    ("tower", "pure code has no client"),
];

/// On top for whole layers; loops may hold a lock or draw from the random source of their pass.
pub(crate) const IMPURE_CRATES_IN_LAYERS: &[(&str, &str)] = &[
    ("rand", "pure code takes its randomness as an argument of its caller"),
    ("parking_lot", "pure code shares nothing"),
];

/// The same as words.
pub(crate) const IMPURE_WORDS_IN_LAYERS: &[(&str, &str)] =
    &[("Mutex", "pure code shares nothing"), ("RwLock", "pure code shares nothing")];

/// `Type::function` that has one home: (path, places, why).
pub(crate) const AMBIENT: &[(&str, &[&str], &str)] = &[
    (
        "Timestamp::now",
        &["kube_fenced_election/clock.rs"],
        "time is an argument: use `kube_fenced_election::clock::Clock`",
    ),
    (
        "Zoned::now",
        &["kube_fenced_election/clock.rs"],
        "time is an argument: use `kube_fenced_election::clock::Clock`",
    ),
    (
        "SystemTime::now",
        &["kube_fenced_election/clock.rs"],
        "time is an argument: use `kube_fenced_election::clock::Clock`",
    ),
    // The scripted servers of tests have clocks of their own.
    (
        "Instant::now",
        &[
            "kube_fenced_election/clock.rs",
            "testkit/",
            "kube_loops/testkit/",
            "kube_fenced_election/testkit/",
        ],
        "time is an argument: use `kube_fenced_election::clock::Clock`",
    ),
    ("tokio::spawn", &["kube_loops/runtime/tasks.rs"], "tasks are owned: use `runtime::tasks::TaskSet`"),
    ("task::spawn", &["kube_loops/runtime/tasks.rs"], "tasks are owned: use `runtime::tasks::TaskSet`"),
    ("env::var", &["cli/settings.rs"], "`cli::settings` is the only reader of the environment"),
    ("env::vars", &["cli/settings.rs"], "`cli::settings` is the only reader of the environment"),
    ("Client::try_default", &["kube_loops/cluster/client/"], "clients come from `cluster::client`"),
    ("process::exit", &[], "`main` returns an exit code, so that everything is dropped in order"),
    ("Fence::new", &["kube_fenced_election/", "testkit/"], "only an elector may grant the right to write"),
    ("Fence::checked", &["kube_fenced_election/"], "only an elector may grant the right to write"),
];

/// Single words with one home.
pub(crate) const AMBIENT_WORDS: &[(&str, &[&str], &str)] = &[(
    "FenceKeeper",
    &["kube_fenced_election/", "testkit/"],
    "only an elector may extend the right to write",
)];

/// Modules that must work for any kind and any controller.
pub(crate) const FRAME: &[&str] = &["kube_fenced_election", "kube_loops", "manager"];

/// Kinds of ours: the frame may neither name the type nor write it in a string.
pub(crate) const KINDS: &[&str] = &[
    "PodAutoscaler",
    "ModelAdapter",
    "ModelClaim",
    "KVCache",
    "StormService",
    "RoleSet",
    "PodSet",
    "RayClusterFleet",
    "RayClusterReplicaSet",
];

/// Names of `--controllers`.
pub(crate) const CONTROLLERS: &[&str] = &aibrix_controller_manager::internals::NAMES;

/// Types without which no change can be sent through `kube::Api`.
pub(crate) const WRITE_PARAMETERS: &[&str] = &["PostParams", "PatchParams", "DeleteParams", "EvictParams"];

/// Methods of `kube::Api` that change something.
pub(crate) const WRITE_METHODS: &[&str] = &[
    "create",
    "patch",
    "patch_status",
    "patch_scale",
    "patch_subresource",
    "replace",
    "replace_status",
    "replace_scale",
    "replace_subresource",
    "delete",
    "delete_collection",
    "evict",
];

/// Where they may stand.
pub(crate) const WRITERS: &[&str] = &["kube_loops/cluster/", "kube_fenced_election/", "testkit/"];

/// Names that say nothing about what belongs inside.
pub(crate) const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

/// Longest file, tests included.
pub(crate) const MAX_LINES: usize = 600;

/// Longest `src/main.rs`.
pub(crate) const MAX_MAIN_LINES: usize = 40;

/// First line of every source.
pub(crate) const LICENCE_LINE: &str = "// SPDX-License-Identifier: Apache-2.0";
