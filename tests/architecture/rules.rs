// SPDX-License-Identifier: Apache-2.0
//! The tables. Everything else in this folder only reads them.

/// Which modules a module may name besides itself. A path of two segments allows that part only.
pub(crate) const MAY_USE: &[(&str, &[&str])] = &[
    // 0 ground
    ("api", &[]),
    ("gocompat", &[]),
    ("clock", &[]),
    // A log line carries the time.
    ("telemetry", &["clock"]),
    ("fence", &["clock"]),
    // 1 pure
    ("k8s", &["api", "gocompat"]),
    ("validation", &["api", "gocompat", "k8s"]),
    // 2 I/O; cluster and engine ignore each other
    ("cluster", GROUND_AND_PURE),
    ("engine", GROUND_AND_PURE),
    ("election", &["api", "gocompat", "clock", "telemetry", "fence", "k8s", "validation", "cluster::client"]),
    // 3 frame
    ("runtime", &["api", "gocompat", "clock", "telemetry", "fence", "k8s", "validation", "cluster"]),
    // 4 features, which ignore each other
    ("controllers", FEATURES),
    ("webhook", FEATURES),
    ("certs", FEATURES),
    ("server", FEATURES),
    // 5 host: sees `dyn Controller` and `Card`, never a concrete controller
    (
        "manager",
        &["api", "gocompat", "clock", "telemetry", "fence", "runtime", "election", "cluster::discovery"],
    ),
    // 6 wiring
    ("app", EVERYTHING),
    ("cli", EVERYTHING),
    ("main", EVERYTHING),
    // For tests only.
    (
        "testkit",
        &[
            "api",
            "gocompat",
            "clock",
            "telemetry",
            "fence",
            "k8s",
            "validation",
            "cluster",
            "engine",
            "election",
            "runtime",
        ],
    ),
];

const GROUND_AND_PURE: &[&str] = &["api", "gocompat", "clock", "telemetry", "fence", "k8s", "validation"];
const FEATURES: &[&str] =
    &["api", "gocompat", "clock", "telemetry", "fence", "k8s", "validation", "cluster", "engine", "runtime"];
/// Marks a module that wires the others.
pub(crate) const EVERYTHING: &[&str] = &["*"];

/// Crates that few places may name: (crate, places, why). A place is a prefix of a path below `src/`.
pub(crate) const HOMES: &[(&str, &[&str], &str)] = &[
    ("kube_leader_election", &["election/"], "the lock primitive is unsafe without the guard of `election`"),
    ("reqwest", &["engine/"], "calls to engines share one client: limits, no proxy, fence"),
    ("axum", &["server/", "webhook/", "testkit/"], "HTTP servers stand in `server` and `webhook`"),
    ("clap", &["cli/"], "arguments become settings in `cli`; nobody else sees the parser"),
    ("prometheus", &["telemetry/"], "`telemetry::metrics` owns names and the text format"),
    (
        "anyhow",
        &["main.rs", "app.rs", "app/", "testkit/"],
        "a caller who cares needs an error that it can match",
    ),
];

/// Layers that only compute: no waiting, no ambient state, no output.
pub(crate) const PURE_MODULES: &[&str] = &["api", "gocompat", "k8s", "validation"];

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
    ("Timestamp::now", &["clock.rs"], "time is an argument: use `clock::Clock`"),
    ("Zoned::now", &["clock.rs"], "time is an argument: use `clock::Clock`"),
    ("SystemTime::now", &["clock.rs"], "time is an argument: use `clock::Clock`"),
    // The scripted servers of tests have clocks of their own.
    ("Instant::now", &["clock.rs", "testkit/"], "time is an argument: use `clock::Clock`"),
    ("tokio::spawn", &["runtime/tasks.rs"], "tasks are owned: use `runtime::tasks::TaskSet`"),
    ("task::spawn", &["runtime/tasks.rs"], "tasks are owned: use `runtime::tasks::TaskSet`"),
    ("env::var", &["cli/settings.rs"], "`cli::settings` is the only reader of the environment"),
    ("env::vars", &["cli/settings.rs"], "`cli::settings` is the only reader of the environment"),
    ("Client::try_default", &["cluster/client/"], "clients come from `cluster::client`"),
    ("process::exit", &[], "`main` returns an exit code, so that everything is dropped in order"),
    ("Fence::new", &["election/", "testkit/"], "only an elector may grant the right to write"),
];

/// Single words with one home.
pub(crate) const AMBIENT_WORDS: &[(&str, &[&str], &str)] = &[(
    "FenceKeeper",
    &["fence.rs", "election/", "testkit/"],
    "only an elector may extend the right to write",
)];

/// Modules that must work for any kind and any controller.
pub(crate) const FRAME: &[&str] = &["cluster", "election", "runtime", "manager"];

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
pub(crate) const CONTROLLERS: &[&str] = &[
    "pod-autoscaler-controller",
    "model-adapter-controller",
    "model-route-controller",
    "model-claim-controller",
    "distributed-inference-controller",
    "kv-cache-controller",
    "stormservice-controller",
];

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
pub(crate) const WRITERS: &[&str] = &["cluster/", "election/", "testkit/"];

/// Names that say nothing about what belongs inside.
pub(crate) const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

/// Longest file, tests included.
pub(crate) const MAX_LINES: usize = 600;

/// Longest `src/main.rs`.
pub(crate) const MAX_MAIN_LINES: usize = 40;

/// First line of every source.
pub(crate) const LICENCE_LINE: &str = "// SPDX-License-Identifier: Apache-2.0";
