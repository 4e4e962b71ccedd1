// SPDX-License-Identifier: Apache-2.0
//! An election for every controller that runs here, or none at all.

use std::{fmt, sync::Arc};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::watch;

use crate::{api::keys::LEASE_NAMESPACES, cli::settings::Settings};
use kube_fenced_election::{
    Candidate, Election, ElectionHandle, EventRecorder, LeaseClients, LeaseRef, LeaseStatus, Names, Setup,
    clock::{ClockCheck, SharedClock},
    without_election,
};
use kube_loops::{
    cluster::events::{EventDraft, Recorder, Severity},
    runtime::{controller::Controller, tasks::TaskSet},
};

use super::{
    Host,
    election_thread::ElectionThread,
    overlap::{OverlapWatch, Overlaps},
};

/// The running elections of the process.
pub(super) struct Elections {
    /// Each controller with its handle and its number of workers.
    pub(super) runners: Vec<(Arc<dyn Controller>, ElectionHandle, Option<usize>)>,
    /// Tasks of the electors.
    pub(super) electors: TaskSet<()>,
    /// Presence and the Lease of an older manager: they end after the electors.
    pub(super) background: TaskSet<()>,
    /// Send events until the process ends.
    pub(super) senders: TaskSet<()>,
    /// Status of each election.
    pub(super) statuses: Vec<watch::Receiver<LeaseStatus>>,
    /// Flushed at shutdown.
    pub(super) recorders: Vec<Recorder>,
    /// Where the electors run, if there is an election.
    pub(super) thread: Option<ElectionThread>,
}

impl Elections {
    /// Starts an election for every controller of the host; with `--leader-elect=false` each of them leads at once.
    pub(super) fn start(
        settings: &Settings,
        host: &Host,
        clock: SharedClock,
        clock_check: ClockCheck,
    ) -> anyhow::Result<Self> {
        let (electors, background, senders) = (TaskSet::new(), TaskSet::new(), TaskSet::new());
        let identity = settings.election.identity.clone();
        let (recorder, sending) =
            Recorder::new(host.clients.process(), identity.clone(), Arc::clone(&host.clock));
        senders.spawn("events on leases", sending.run());
        let names: Vec<_> = host.controllers.iter().map(|it| it.spec().name).collect();
        let mut thread = None;
        let (handles, statuses) = if settings.elect {
            let own = ElectionThread::start().context("unable to start the thread of the elections")?;
            // Clients of elections start their tasks there, too.
            let election = own.run_inside(|| {
                Election::new(&setup(settings, host, recorder.clone(), Arc::clone(&clock), clock_check))
            });
            let leases =
                election.statuses.iter().map(|status| (status.borrow().lease.clone(), status.clone()));
            host.election_metrics.track_validity(host.metrics.registry(), leases.collect(), clock)?;
            for task in election.electors {
                electors.spawn_on(own.runtime(), task.name, task.run);
            }
            for task in election.background {
                background.spawn_on(own.runtime(), task.name, task.run);
            }
            if let Some(watch) = overlap_watch(settings, host, &election.statuses, recorder.clone())? {
                background.spawn("look for other installations", watch.run());
            }
            thread = Some(own);
            (election.handles, election.statuses)
        } else {
            let (handles, tasks) =
                without_election(&names, &identity, &host.clock, &host.runner_context.shutdown);
            for task in tasks {
                electors.spawn(task.name, task.run);
            }
            let statuses = handles.iter().map(ElectionHandle::status).collect();
            (handles, statuses)
        };
        let workers = |name: &str| settings.controllers.iter().find(|it| it.name == name)?.workers;
        let runners = host.controllers.iter().map(Arc::clone).zip(handles);
        let runners = runners.map(|(controller, handle)| {
            let workers = workers(controller.spec().name);
            (controller, handle, workers)
        });
        Ok(Self {
            runners: runners.collect(),
            electors,
            background,
            senders,
            statuses,
            recorders: vec![recorder],
            thread,
        })
    }
}

fn setup(
    settings: &Settings,
    host: &Host,
    recorder: Recorder,
    clock: SharedClock,
    clock_check: ClockCheck,
) -> Setup {
    let candidates = host.controllers.iter().map(|controller| {
        let name = controller.spec().name;
        let lease = settings.controllers.iter().find(|it| it.name == name).map(|it| it.lease.clone());
        Candidate {
            controller: name.to_owned(),
            lease: lease.unwrap_or_default(),
            clients: lease_clients(host, name),
        }
    });
    let watched: Vec<_> = settings.watch_namespaces.iter().map(String::as_str).collect();
    let watched = (!watched.is_empty()).then(|| watched.join(","));
    Setup {
        names: Arc::new(names()),
        settings: settings.election.clone(),
        candidates: candidates.collect(),
        lease_annotations: [(LEASE_NAMESPACES.to_owned(), watched)].into(),
        clients: lease_clients(host, "process"),
        clock,
        clock_check,
        events: Arc::new(RecordedEvents(recorder)),
        shutdown: host.runner_context.shutdown.clone(),
        metrics: Arc::new(host.election_metrics.clone()),
    }
}

/// The task that looks for other installations; `None` when no controller runs here.
fn overlap_watch(
    settings: &Settings,
    host: &Host,
    statuses: &[watch::Receiver<LeaseStatus>],
    recorder: Recorder,
) -> anyhow::Result<Option<OverlapWatch>> {
    let gauge = host.metrics.int_gauge(
        "leader_election_overlap",
        "1 while another installation, with leases in another namespace, works on the same objects.",
        &[],
    )?;
    let gauge = gauge.with_label_values::<&str>(&[]);
    let Some(lease) = statuses.first().map(|status| status.borrow().lease.clone()) else { return Ok(None) };
    let controllers = statuses.iter().map(|status| status.borrow().controller.clone());
    let namespace = settings.election.namespace.clone();
    let identity = settings.election.identity.as_str();
    Ok(Some(OverlapWatch {
        overlaps: Overlaps::new(&namespace, controllers, settings.watch_namespaces.clone()),
        client: host.clients.process(),
        namespace,
        pod: identity.rsplit_once('_').map_or(identity, |(pod, _)| pod).to_owned(),
        lease,
        recorder,
        gauge,
        clock: Arc::clone(&host.clock),
        shutdown: host.runner_context.shutdown.clone(),
    }))
}

/// What this product writes into Leases: other replicas and people know it by these.
fn names() -> Names {
    Names {
        own_lease_advice: |controller| format!("--leader-election-id={controller}=aibrix-{controller}"),
        other_lease_advice: |controller| format!("--leader-election-id={controller}=<another id>"),
        guard_off_advice: "--legacy-leader-election-id=",
        ..Names::new("aibrix", "aibrix-controller-manager", "leaders.aibrix.ai")
    }
}

fn lease_clients(host: &Host, who: &str) -> LeaseClients {
    let [first, second] = host.clients.election(who);
    LeaseClients { first, second }
}

/// Events on Leases as client-go writes them: core events whose source is the identity.
struct RecordedEvents(Recorder);

impl fmt::Debug for RecordedEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordedEvents")
    }
}

impl RecordedEvents {
    fn publish(&self, lease: &LeaseRef, severity: Severity, reason: &str, message: String) {
        let regarding = ObjectReference {
            kind: Some("Lease".to_owned()),
            api_version: Some("coordination.k8s.io/v1".to_owned()),
            name: Some(lease.name.clone()),
            namespace: Some(lease.namespace.clone()),
            uid: lease.uid.clone(),
            ..ObjectReference::default()
        };
        self.0.publish(EventDraft { severity, reason: reason.to_owned(), message, regarding });
    }
}

impl EventRecorder for RecordedEvents {
    fn became_leader(&self, lease: &LeaseRef, identity: &str) {
        self.publish(lease, Severity::Normal, "LeaderElection", format!("{identity} became leader"));
    }

    fn stopped_leading(&self, lease: &LeaseRef, identity: &str) {
        self.publish(lease, Severity::Normal, "LeaderElection", format!("{identity} stopped leading"));
    }

    fn conflict(&self, lease: &LeaseRef, _: &str, message: &str) {
        self.publish(lease, Severity::Warning, "LeaderElectionConflict", message.to_owned());
    }

    fn long_claim(&self, lease: &LeaseRef, _: &str, message: &str) {
        self.publish(lease, Severity::Warning, "LeaderElectionLongClaim", message.to_owned());
    }

    fn guard_conflict(&self, lease: &LeaseRef, _: &str, message: &str) {
        self.publish(lease, Severity::Warning, "LeaderElectionGuardConflict", message.to_owned());
    }
}
