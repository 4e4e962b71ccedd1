// SPDX-License-Identifier: Apache-2.0
//! Every flag of the manager: name, type, default and meaning. The usage text prints this table.

use jiff::SignedDuration;

use super::{
    go_flags::{AnyFlag, Flag},
    klog_flags as klog,
};

/// `--controllers`
pub static CONTROLLERS: Flag<String> = Flag::new(
    "controllers",
    "*",
    "Controllers to run, between commas: '*' enables all, 'name' enables one, '-name' disables one; the last \
     item that concerns a controller wins. Names: pod-autoscaler-controller, \
     distributed-inference-controller, model-adapter-controller, model-route-controller, \
     kv-cache-controller, model-claim-controller, stormservice-controller.",
);
/// `--leader-elect`
pub static LEADER_ELECT: Flag<bool> = Flag::new(
    "leader-elect",
    "true",
    "Run each controller only while this process holds the controller's own Lease. With =false no Lease is \
     touched and every enabled controller runs at once: only one replica may run then.",
);
/// `--leader-election-namespace`
pub static LEADER_ELECTION_NAMESPACE: Flag<String> = Flag::new(
    "leader-election-namespace",
    "",
    "Namespace of the Leases, of the webhook certificate Secret and of the webhook Service. Empty: the \
     pod's own namespace in a cluster, else aibrix-system.",
);
/// `--leader-election-id`
pub static LEADER_ELECTION_ID: Flag<String> = Flag::new(
    "leader-election-id",
    "",
    "[CONTROLLER=]LEASE, repeatable, several between commas. CONTROLLER=LEASE names the Lease of one \
     controller (default: aibrix-CONTROLLER). A bare LEASE is the Lease of the only enabled controller; with \
     several enabled it names the Lease of the Go manager that is being replaced, never a Lease of this one.",
);
/// `--leader-election-lease-duration`
pub static LEADER_ELECTION_LEASE_DURATION: Flag<SignedDuration> = Flag::new(
    "leader-election-lease-duration",
    "15s",
    "How long a Lease lasts without renewal before another replica may take it. Whole seconds.",
);
/// `--leader-election-renew-deadline`
pub static LEADER_ELECTION_RENEW_DEADLINE: Flag<SignedDuration> = Flag::new(
    "leader-election-renew-deadline",
    "10s",
    "How long a holder retries a renewal before its controller stops. Below the lease duration.",
);
/// `--leader-election-retry-period`
pub static LEADER_ELECTION_RETRY_PERIOD: Flag<SignedDuration> = Flag::new(
    "leader-election-retry-period",
    "2s",
    "Wait between election actions that failed. 1.2 times this must be below the renew deadline.",
);
/// `--leader-election-release-on-cancel`
pub static LEADER_ELECTION_RELEASE_ON_CANCEL: Flag<bool> = Flag::new(
    "leader-election-release-on-cancel",
    "true",
    "Release the held Leases on shutdown, so that another replica takes over at once.",
);
/// `--leader-election-resource-lock`
pub static LEADER_ELECTION_RESOURCE_LOCK: Flag<String> = Flag::new(
    "leader-election-resource-lock",
    "leases",
    "Kind of the lock. Only 'leases' exists; empty means the same.",
);
/// `--leader-election-spread`
pub static LEADER_ELECTION_SPREAD: Flag<bool> = Flag::new(
    "leader-election-spread",
    "true",
    "Share the controllers between the replicas, instead of leaving them all to the first.",
);
/// `--leader-election-warm-standby`
pub static LEADER_ELECTION_WARM_STANDBY: Flag<bool> = Flag::new(
    "leader-election-warm-standby",
    "true",
    "Fill the caches of a controller before its Lease is won, for a faster takeover. With =false its watches \
     start with the Lease, for less memory.",
);
/// `--legacy-leader-election-id`
pub static LEGACY_LEADER_ELECTION_ID: Flag<String> = Flag::new(
    "legacy-leader-election-id",
    "aibrix-controller-manager",
    "Lease of the Go manager: no controller starts while somebody else holds it, and while controllers run \
     here it is held against a rollback. A bare --leader-election-id changes the default. Empty: no guard.",
);
/// `--max-concurrent-reconciles`
pub static MAX_CONCURRENT_RECONCILES: Flag<String> = Flag::new(
    "max-concurrent-reconciles",
    "",
    "Passes at a time for each loop of a controller, as comma-separated CONTROLLER=N pairs. Default: 1 each.",
);
/// `--graceful-shutdown-timeout`
pub static GRACEFUL_SHUTDOWN_TIMEOUT: Flag<SignedDuration> = Flag::new(
    "graceful-shutdown-timeout",
    "8s",
    "Total time for an orderly stop. Below the pod's terminationGracePeriodSeconds.",
);

/// `--metrics-bind-address`
pub static METRICS_BIND_ADDRESS: Flag<String> =
    Flag::new("metrics-bind-address", ":8080", "Address of the metrics endpoint. '0' switches it off.");
/// `--metrics-secure`
pub static METRICS_SECURE: Flag<bool> =
    Flag::new("metrics-secure", "false", "Serve metrics over HTTPS. There is no authentication either way.");
/// `--health-probe-bind-address`
pub static HEALTH_PROBE_BIND_ADDRESS: Flag<String> = Flag::new(
    "health-probe-bind-address",
    ":8081",
    "Address of /healthz, /readyz and /debug/leases. '0' or empty switches them off.",
);
/// `--enable-http2`
pub static ENABLE_HTTP2: Flag<bool> =
    Flag::new("enable-http2", "false", "Offer HTTP/2 on the webhook server and on secure metrics.");
/// `--log-format`
pub static LOG_FORMAT: Flag<String> =
    Flag::new("log-format", "text", "Shape of log lines: 'text' as klog prints them, or 'json'.");

/// `--kube-api-qps`
pub static KUBE_API_QPS: Flag<f64> = Flag::new(
    "kube-api-qps",
    "100",
    "Requests a second to the API server, for each kind. 0 means 5, a negative number no limit. Requests for \
     Leases do not count.",
);
/// `--kube-api-burst`
pub static KUBE_API_BURST: Flag<i64> =
    Flag::new("kube-api-burst", "100", "Requests that may exceed --kube-api-qps for a moment.");
/// `--kubeconfig`
pub static KUBECONFIG: Flag<String> = Flag::new(
    "kubeconfig",
    "",
    "Path of a kubeconfig; that file is used and nothing else. Empty: KUBECONFIG, else the cluster that this \
     process runs in, else $HOME/.kube/config.",
);

/// `--metric-scrape-timeout`
pub static METRIC_SCRAPE_TIMEOUT: Flag<SignedDuration> = Flag::new(
    "metric-scrape-timeout",
    "8s",
    "How long a read of metrics for a PodAutoscaler may take: engines are slow when they are overloaded. At most \
     the period of decisions, 10s, less 2s.",
);
/// `--model-adapter-scheduler-policy`
pub static MODEL_ADAPTER_SCHEDULER_POLICY: Flag<String> = Flag::new(
    "model-adapter-scheduler-policy",
    "leastAdapters",
    "How a ModelAdapter chooses its pod: random, leastAdapters, binPack, leastLatency or leastThroughput.",
);
/// `--enable-runtime-sidecar`
pub static ENABLE_RUNTIME_SIDECAR: Flag<bool> = Flag::new(
    "enable-runtime-sidecar",
    "false",
    "Load ModelAdapters through the aibrix-runtime sidecar of pods that have it.",
);
/// `--debug-mode`
pub static DEBUG_MODE: Flag<bool> = Flag::new(
    "debug-mode",
    "false",
    "Send the calls of the model-adapter controller to localhost:30081 instead of the pod.",
);

/// `--watch-namespaces`
pub static WATCH_NAMESPACES: Flag<String> = Flag::new(
    "watch-namespaces",
    "",
    "Namespaces, between commas, in which all controllers work; objects elsewhere are neither watched nor written, \
     and permissions in these suffice. Empty: all. Leases and certificates are where they always are, routes in \
     the namespace of the gateway.",
);

/// `--disable-webhook`
pub static DISABLE_WEBHOOK: Flag<bool> =
    Flag::new("disable-webhook", "false", "Neither serve webhooks nor manage their certificates.");
/// `--webhook-host`
pub static WEBHOOK_HOST: Flag<String> =
    Flag::new("webhook-host", "", "Address of the webhook server. Empty: all addresses.");
/// `--webhook-port`
pub static WEBHOOK_PORT: Flag<i64> = Flag::new("webhook-port", "9443", "Port of the webhook server.");
/// `--webhook-cert-dir`
pub static WEBHOOK_CERT_DIR: Flag<String> = Flag::new(
    "webhook-cert-dir",
    "/tmp/k8s-webhook-server/serving-certs",
    "Where tls.crt and tls.key are read when certificates are not managed here or the Secret cannot be read.",
);
/// `--manage-webhook-certs`
pub static MANAGE_WEBHOOK_CERTS: Flag<bool> = Flag::new(
    "manage-webhook-certs",
    "true",
    "Create and rotate the webhook certificates and publish their CA. With =false they are only read from \
     --webhook-cert-dir.",
);
/// `--webhook-secret-name`
pub static WEBHOOK_SECRET_NAME: Flag<String> = Flag::new(
    "webhook-secret-name",
    "aibrix-webhook-server-cert",
    "Secret that holds the webhook certificates.",
);
/// `--webhook-service-name`
pub static WEBHOOK_SERVICE_NAME: Flag<String> = Flag::new(
    "webhook-service-name",
    "aibrix-webhook-service",
    "Service in the DNS name of the webhook certificate.",
);
/// `--mutating-webhook-configuration-name`
pub static MUTATING_WEBHOOK_CONFIGURATION_NAME: Flag<String> = Flag::new(
    "mutating-webhook-configuration-name",
    "aibrix-mutating-webhook-configuration",
    "MutatingWebhookConfiguration that gets the CA.",
);
/// `--validating-webhook-configuration-name`
pub static VALIDATING_WEBHOOK_CONFIGURATION_NAME: Flag<String> = Flag::new(
    "validating-webhook-configuration-name",
    "aibrix-validating-webhook-configuration",
    "ValidatingWebhookConfiguration that gets the CA.",
);

/// `--probe-loops`, in test builds only and not in the usage text: loops that only write markers, under
/// controllers that this build does not contain.
#[cfg(feature = "testkit")]
pub static PROBE_LOOPS: Flag<bool> = Flag::new("probe-loops", "false", "");

/// `--sync-period`, in test builds only and not in the usage text: time between two decisions of a
/// PodAutoscaler.
#[cfg(feature = "testkit")]
pub static SYNC_PERIOD: Flag<SignedDuration> = Flag::new("sync-period", "10s", "");

/// Every flag, sorted by name.
pub static ALL: &[&dyn AnyFlag] = &[
    &klog::ADD_DIR_HEADER,
    &klog::ALSOLOGTOSTDERR,
    &CONTROLLERS,
    &DEBUG_MODE,
    &DISABLE_WEBHOOK,
    &ENABLE_HTTP2,
    &ENABLE_RUNTIME_SIDECAR,
    &GRACEFUL_SHUTDOWN_TIMEOUT,
    &HEALTH_PROBE_BIND_ADDRESS,
    &KUBE_API_BURST,
    &KUBE_API_QPS,
    &KUBECONFIG,
    &LEADER_ELECT,
    &LEADER_ELECTION_ID,
    &LEADER_ELECTION_LEASE_DURATION,
    &LEADER_ELECTION_NAMESPACE,
    &LEADER_ELECTION_RELEASE_ON_CANCEL,
    &LEADER_ELECTION_RENEW_DEADLINE,
    &LEADER_ELECTION_RESOURCE_LOCK,
    &LEADER_ELECTION_RETRY_PERIOD,
    &LEADER_ELECTION_SPREAD,
    &LEADER_ELECTION_WARM_STANDBY,
    &LEGACY_LEADER_ELECTION_ID,
    &LOG_FORMAT,
    &klog::LOG_BACKTRACE_AT,
    &klog::LOG_DIR,
    &klog::LOG_FILE,
    &klog::LOG_FILE_MAX_SIZE,
    &klog::LOGTOSTDERR,
    &MANAGE_WEBHOOK_CERTS,
    &MAX_CONCURRENT_RECONCILES,
    &METRIC_SCRAPE_TIMEOUT,
    &METRICS_BIND_ADDRESS,
    &METRICS_SECURE,
    &MODEL_ADAPTER_SCHEDULER_POLICY,
    &MUTATING_WEBHOOK_CONFIGURATION_NAME,
    &klog::ONE_OUTPUT,
    #[cfg(feature = "testkit")]
    &PROBE_LOOPS,
    &klog::SKIP_HEADERS,
    &klog::SKIP_LOG_HEADERS,
    &klog::STDERRTHRESHOLD,
    #[cfg(feature = "testkit")]
    &SYNC_PERIOD,
    &klog::V,
    &VALIDATING_WEBHOOK_CONFIGURATION_NAME,
    &klog::VMODULE,
    &WATCH_NAMESPACES,
    &WEBHOOK_CERT_DIR,
    &WEBHOOK_HOST,
    &WEBHOOK_PORT,
    &WEBHOOK_SECRET_NAME,
    &WEBHOOK_SERVICE_NAME,
];
