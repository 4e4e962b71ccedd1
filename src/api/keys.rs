// SPDX-License-Identifier: Apache-2.0
//! Every label, annotation and name that users, dashboards or other programs can see.

/// Label of a pod: the engine that serves in it (`vllm`, `sglang`, `trtllm`, `xllm`); absent: `vllm`.
pub(crate) const ENGINE_LABEL: &str = "model.aibrix.ai/engine";

/// Label of the pods of a StormService: its name.
pub(crate) const STORM_SERVICE_NAME_LABEL: &str = "storm-service-name";
/// Label of the pods of a StormService: their role.
pub(crate) const ROLE_NAME_LABEL: &str = "role-name";
/// Label of the pods of a `PodSet`: their place in the group; `0` is the one that serves.
pub(crate) const POD_GROUP_INDEX_LABEL: &str = "stormservice.orchestration.aibrix.ai/pod-group-index";
/// Label of the pods of a Ray cluster: `head` or `worker`.
pub(crate) const RAY_NODE_TYPE_LABEL: &str = "ray.io/node-type";

/// Group of AIBrix's workload kinds.
pub(crate) const ORCHESTRATION_GROUP: &str = "orchestration.aibrix.ai";

/// Annotations that are never copied to generated objects.
pub(crate) const LAST_APPLIED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Label, or annotation where a label cannot hold it. Of a workload or its pods: the served model, which makes
/// the model routes create a route. Of a generated Service: the base model.
pub(crate) const MODEL_NAME: &str = "model.aibrix.ai/name";
/// Label of a pod, workload or ModelAdapter: the port of the engine, 8000 by default.
pub(crate) const MODEL_PORT_LABEL: &str = "model.aibrix.ai/port";
/// Label of a pod: the port of its metrics, 8000 by default.
pub(crate) const METRIC_PORT_LABEL: &str = "model.aibrix.ai/metric-port";
/// Label that says who made an object.
pub(crate) const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Label of a Lease: the controller for which a manager holds it. (Written by `kube-fenced-election`.)
pub(crate) const LEASE_CONTROLLER_LABEL: &str = "leaders.aibrix.ai/controller";
/// Annotation of such a Lease: the namespaces in which its holder works, sorted, between commas. Absent: all.
pub(crate) const LEASE_NAMESPACES: &str = "leaders.aibrix.ai/watch-namespaces";
/// Label of an EndpointSlice: the Service that it belongs to.
pub(crate) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Port of an engine that names none.
pub(crate) const DEFAULT_ENGINE_PORT: u16 = 8000;

/// What the loops of StormServices, RoleSets and `PodSets` read and leave behind.
pub(crate) mod storm_service {
    /// Prefix of most of the keys below.
    pub(crate) const PREFIX: &str = "stormservice.orchestration.aibrix.ai/";
    /// Finalizer of a StormService.
    pub(crate) const FINALIZER: &str = "orchestration.aibrix.ai/stormservice-finalizer";
    /// Finalizer of a RoleSet.
    pub(crate) const ROLE_SET_FINALIZER: &str = "orchestration.aibrix.ai/roleset-finalizer";
    /// Finalizer of a `PodSet`.
    pub(crate) const POD_SET_FINALIZER: &str = "orchestration.aibrix.ai/podset-finalizer";

    /// Label of pods and `PodSets`: the RoleSet.
    pub(crate) const ROLE_SET_NAME: &str = "roleset-name";
    /// Label of pods and `PodSets`: hash of the role's template.
    pub(crate) const ROLE_TEMPLATE_HASH: &str = "role-template-hash";
    /// Label of RoleSets: the revision of the StormService.
    pub(crate) const REVISION_LABEL: &str = "storm-service-revision";
    /// Labels of a RoleSet that its pods get, too.
    pub(crate) const INHERITED_LABELS: [&str; 2] = ["name", "previous-owner"];
    /// Label and annotation of replicas with an index: the index.
    pub(crate) const ROLE_REPLICA_INDEX: &str = "stormservice.orchestration.aibrix.ai/role-replica-index";
    /// Label of the pods of a `PodSet`: its name.
    pub(crate) const POD_SET_NAME: &str = "stormservice.orchestration.aibrix.ai/podset-name";
    /// Label of pods and `PodSets`: number of the revision at which the role changed last.
    pub(crate) const ROLE_REVISION: &str = "stormservice.orchestration.aibrix.ai/role-revision";
    /// Label of pods and `PodSets`: name of the revision at which the role changed last.
    pub(crate) const ROLE_REVISION_NAME: &str = "stormservice.orchestration.aibrix.ai/role-revision-name";

    /// Annotation of RoleSets, pods and `PodSets`: place of the RoleSet in its StormService.
    pub(crate) const ROLE_SET_INDEX: &str = "stormservice.orchestration.aibrix.ai/roleset-index";
    /// Annotation of RoleSets: the revision of the StormService.
    pub(crate) const REVISION: &str = "stormservice.orchestration.aibrix.ai/revision";
    /// Prefix of the annotations of a RoleSet with the revision number of a role.
    pub(crate) const ROLE_REVISION_OF: &str = "stormservice.orchestration.aibrix.ai/role-revision.";
    /// Prefix of the annotations of a RoleSet with the revision name of a role.
    pub(crate) const ROLE_REVISION_NAME_OF: &str = "stormservice.orchestration.aibrix.ai/role-revision-name.";
    /// Prefix of the annotations of a RoleSet with `<digest>:<hash>` of a role whose members were adopted.
    pub(crate) const ROLE_HASH_OF: &str = "stormservice.orchestration.aibrix.ai/role-hash.";
    /// Annotation of a pod: the hash that an update in place is heading for.
    pub(crate) const TARGET_HASH: &str = "stormservice.orchestration.aibrix.ai/in-place-update-target-hash";
    /// Annotation of a pod: what an update in place started from, as JSON.
    pub(crate) const IN_PLACE_STATE: &str = "stormservice.orchestration.aibrix.ai/in-place-update-state";
    /// Annotation of a pod: why an update in place is not complete yet.
    pub(crate) const PENDING_REASON: &str =
        "stormservice.orchestration.aibrix.ai/in-place-update-pending-reason";
    /// Readiness gate of a pod that is not ready while it is updated in place.
    pub(crate) const IN_PLACE_READY: &str = "stormservice.orchestration.aibrix.ai/in-place-update-ready";
    /// Annotation of pods and `PodSets`: digest of the role's template.
    pub(crate) const TEMPLATE_DIGEST: &str = "stormservice.orchestration.aibrix.ai/role-template-digest";
    /// Annotation of a pod of a role: fingerprint of the pod as it was rendered, without what an update in place
    /// changes.
    pub(crate) const POD_FINGERPRINT: &str = "stormservice.orchestration.aibrix.ai/pod-fingerprint";
    /// Annotation of a `PodSet`: group size of the role when the `PodSet` was adopted.
    pub(crate) const ACCEPTED_GROUP_SIZE: &str =
        "stormservice.orchestration.aibrix.ai/accepted-pod-group-size";

    /// Variables of the containers of a role's pods, in this order, before those of the user.
    pub(crate) const ROLE_VARIABLES: [&str; 6] = [
        "STORM_SERVICE_NAME",
        "ROLESET_NAME",
        "ROLESET_INDEX",
        "ROLE_NAME",
        "ROLE_TEMPLATE_HASH",
        "ROLE_REPLICA_INDEX",
    ];
    /// Variables of all containers of a `PodSet`'s pods, in this order, before all others.
    pub(crate) const POD_SET_VARIABLES: [&str; 3] = ["PODSET_NAME", "POD_GROUP_INDEX", "POD_GROUP_SIZE"];

    /// Label of pods: the `PodGroup` of the coscheduling plugin.
    pub(crate) const COSCHEDULING_GROUP: &str = "scheduling.x-k8s.io/pod-group";
    /// Label and annotation of pods: the `PodGroup` of Godel.
    pub(crate) const GODEL_GROUP: &str = "godel.bytedance.com/pod-group-name";
    /// Label and annotation of pods: the `PodGroup` of Volcano.
    pub(crate) const VOLCANO_GROUP: &str = "scheduling.k8s.io/group-name";
}

/// What the model adapter controller reads and leaves behind.
pub(crate) mod model_adapter {
    /// Finalizer of a ModelAdapter: the adapter is unloaded before the object goes.
    pub(crate) const FINALIZER: &str = "adapter.model.aibrix.ai/finalizer";
    /// Label of the generated Service: the name of the ModelAdapter.
    pub(crate) const NAME_LABEL: &str = "adapter.model.aibrix.ai/name";
    /// Annotation of a ModelAdapter: hash of what the last successful load was made from. Absent: adopted
    /// from an older version, not loaded again.
    pub(crate) const LOADED_SPEC_HASH: &str = "adapter.model.aibrix.ai/loaded-spec-hash";
    /// Key of `spec.additionalConfig`: bearer token of every call to an engine.
    pub(crate) const API_KEY: &str = "api-key";
    /// Container whose presence means that the runtime sidecar can be asked.
    pub(crate) const SIDECAR_CONTAINER: &str = "aibrix-runtime";
    /// Port of the runtime sidecar.
    pub(crate) const SIDECAR_PORT: u16 = 8080;
    /// Port on localhost that stands for every engine in debug mode.
    pub(crate) const DEBUG_PORT: u16 = 30081;
}

/// What the model claim controller leaves behind.
pub(crate) mod model_claim {
    /// Annotations of a pod, one for each claim that is bound to it: what it serves, and where.
    pub(crate) const BINDING_PREFIX: &str = "modelclaim.aibrix.ai/";
}

/// What the model routes read and leave behind.
pub(crate) mod model_route {
    /// Annotation of a workload: Service behind the route, when it is not named after the model.
    pub(crate) const SERVICE_NAME: &str = "model.aibrix.ai/service-name";
    /// Annotation of a workload: comma-separated paths beside the default ones.
    pub(crate) const CUSTOM_PATHS: &str = "model.aibrix.ai/model-router-custom-paths";
    /// Annotation of an HTTPRoute that we made or adopted: hash of what we want it to be.
    pub(crate) const SPEC_HASH: &str = "model.aibrix.ai/route-spec-hash";
    /// On routes that we make: the namespace of the Leases of the installation that made them.
    pub(crate) const OWNER: &str = "model.aibrix.ai/route-owner";
    /// Value of the label [`super::MANAGED_BY_LABEL`] on what AIBrix's console made.
    pub(crate) const CONSOLE: &str = "aibrix-console";
    /// Annotations of the console that are copied to a route.
    pub(crate) const CONSOLE_ANNOTATIONS: [&str; 2] =
        ["console.aibrix.ai/deployment-id", "console.aibrix.ai/deployment-name"];
    /// Namespace of the routes and of their gateway, wherever the manager is installed.
    pub(crate) const GATEWAY_NAMESPACE: &str = "aibrix-system";
    /// Name of the gateway.
    pub(crate) const GATEWAY_NAME: &str = "aibrix-eg";
    /// Routes of the installation, which are no model's.
    pub(crate) const RESERVED_ROUTES: [&str; 2] =
        ["aibrix-reserved-router", "aibrix-reserved-router-metadata-endpoint"];
}

/// What the injection of the runtime sidecar reads and puts into pods.
pub(crate) mod sidecar {
    /// Annotation of a Deployment, exactly `true`, or of a StormService, anything but `false`: inject.
    pub(crate) const INJECTION: &str = "model.aibrix.ai/sidecar-injection";
    /// Annotation beside it: image of the sidecar; empty or absent: [`DEFAULT_IMAGE`].
    pub(crate) const IMAGE: &str = "model.aibrix.ai/sidecar-runtime-image";
    /// Image unless another is asked for.
    pub(crate) const DEFAULT_IMAGE: &str = "aibrix/runtime:v0.5.0";
    /// Annotation, of a Deployment or of the RoleSet template of a StormService: the engine that the
    /// sidecar serves; empty or absent: inferred from the images.
    pub(crate) const ENGINE: &str = "model.aibrix.ai/engine";
    /// Volume that engine and sidecar share.
    pub(crate) const VOLUME: &str = "adapter-storage";
    /// Where they mount it.
    pub(crate) const MOUNT_PATH: &str = "/tmp/aibrix/adapters";
}

/// Annotations of a KVCache that admission reads and fills in.
pub(crate) mod kv_cache {
    /// Which backend: one of [`BACKENDS`]; empty or absent: the first of them.
    pub(crate) const BACKEND: &str = "kvcache.orchestration.aibrix.ai/backend";
    /// An older way to choose the backend; chooses none any more.
    pub(crate) const MODE: &str = "kvcache.orchestration.aibrix.ai/mode";
    /// Supported backends, the default first.
    pub(crate) const BACKENDS: [&str; 3] = ["vineyard", "hpkv", "infinistore"];
}

/// Annotations of a PodAutoscaler.
pub(crate) mod pod_autoscaler {
    /// Largest factor by which one step may scale up: finite, at least 1, default 2.
    pub(crate) const MAX_SCALE_UP_RATE: &str = "autoscaling.aibrix.ai/max-scale-up-rate";
    /// Largest divisor by which one step may scale down: finite, at least 1, default 2.
    pub(crate) const MAX_SCALE_DOWN_RATE: &str = "autoscaling.aibrix.ai/max-scale-down-rate";
    /// Relative excess that is ignored: finite, at least 0, default 0.1.
    pub(crate) const SCALE_UP_TOLERANCE: &str = "autoscaling.aibrix.ai/scale-up-tolerance";
    /// Relative shortfall that is ignored: 0 to 1, default 0.1.
    pub(crate) const SCALE_DOWN_TOLERANCE: &str = "autoscaling.aibrix.ai/scale-down-tolerance";
    /// Panic mean over stable mean from which KPA panics: finite, above 0, default 2.
    pub(crate) const PANIC_THRESHOLD: &str = "autoscaling.aibrix.ai/panic-threshold";
    /// Stabilisation of scaling up: a Go duration, at least 0, default 0s.
    pub(crate) const SCALE_UP_COOLDOWN_WINDOW: &str = "autoscaling.aibrix.ai/scale-up-cooldown-window";
    /// Stabilisation of scaling down: a Go duration, at least 0, default 300s.
    pub(crate) const SCALE_DOWN_COOLDOWN_WINDOW: &str = "autoscaling.aibrix.ai/scale-down-cooldown-window";
    /// A Go boolean without effect: `minReplicas: 0` alone allows zero.
    pub(crate) const SCALE_TO_ZERO: &str = "autoscaling.aibrix.ai/scale-to-zero";
    /// `true`: APA goes on scaling up on an external value that does not react.
    pub(crate) const ALLOW_UNRESPONSIVE_METRIC: &str = "autoscaling.aibrix.ai/allow-unresponsive-metric";
    /// `true`: a schedule whose end is not after its start runs into the next day.
    pub(crate) const OVERNIGHT_SCHEDULES: &str = "autoscaling.aibrix.ai/overnight-schedules";
    /// `replica`: whole copies of a StormService are scaled; anything else: the replicas of one role.
    pub(crate) const STORM_SERVICE_MODE: &str = "autoscaling.aibrix.ai/storm-service-mode";
    /// Older name of [`SCALE_UP_TOLERANCE`], which wins.
    pub(crate) const LEGACY_UP_TOLERANCE: &str = "autoscaling.aibrix.ai/up-fluctuation-tolerance";
    /// Older name of [`SCALE_DOWN_TOLERANCE`], which wins.
    pub(crate) const LEGACY_DOWN_TOLERANCE: &str = "autoscaling.aibrix.ai/down-fluctuation-tolerance";
    /// Older name of [`SCALE_DOWN_COOLDOWN_WINDOW`], which wins.
    pub(crate) const LEGACY_SCALE_DOWN_DELAY: &str = "kpa.autoscaling.aibrix.ai/scale-down-delay";
}
