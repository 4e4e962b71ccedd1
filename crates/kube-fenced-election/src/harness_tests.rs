// SPDX-License-Identifier: Apache-2.0
//! Whole replicas over the Lease store, with a manager that does what a real one does.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock, ClockCheck, Instant, SharedClock, SystemClock, Timestamp},
    fence::Fence,
    testkit::{
        lease_store::{LeaseStore, Link},
        names,
    },
};

use super::{
    Candidacy, Candidate, Election, ElectionHandle, EventRecorder, LeaseClients, LeaseRef, LeaseStatus,
    Settings, Setup, TermEnd,
    metrics::{GuardMetrics, LeaseMetrics, Metrics},
};

pub(super) const NAMESPACE: &str = "example-system";

/// Remembers figures by their kind and the name of the Lease.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures(Arc<Mutex<BTreeMap<(&'static str, String), f64>>>);

/// Figures of one Lease.
#[derive(Debug)]
struct FiguresOf(Figures, String);

impl FiguresOf {
    fn set(&self, figure: &'static str, value: impl Into<f64>) {
        self.0.0.lock().insert((figure, self.1.clone()), value.into());
    }

    fn count(&self, figure: &'static str) {
        *self.0.0.lock().entry((figure, self.1.clone())).or_default() += 1.0;
    }
}

impl Metrics for Figures {
    fn of_lease(&self, lease: &LeaseRef, _: &str) -> Arc<dyn LeaseMetrics> {
        Arc::new(FiguresOf(self.clone(), lease.name.clone()))
    }

    fn of_guard(&self, lease: &LeaseRef) -> Arc<dyn GuardMetrics> {
        Arc::new(FiguresOf(self.clone(), lease.name.clone()))
    }
}

impl LeaseMetrics for FiguresOf {
    fn leading(&self, leading: bool) {
        self.set("leading", u8::from(leading));
    }

    fn slow_path(&self) {
        self.count("slow path");
    }

    fn holder_changed(&self) {
        self.count("holder changed");
    }

    fn attempt_took(&self, _: Duration) {
        self.count("attempts");
    }

    fn conflict(&self, conflict: bool) {
        self.set("conflict", u8::from(conflict));
    }

    fn guard_conflict(&self, conflict: bool) {
        self.set("guard conflict", u8::from(conflict));
    }

    fn gave_way(&self, reason: &str) {
        assert_eq!(reason, "NoPassFinished");
        self.count("gave way");
    }
}

impl GuardMetrics for FiguresOf {
    fn waiting(&self, waiting: bool) {
        self.set("waiting for legacy", u8::from(waiting));
    }

    fn conflict(&self, conflict: bool) {
        self.set("guard conflict", u8::from(conflict));
    }

    fn failed(&self) {
        self.count("guard errors");
    }
}

/// A clock whose wall time is off.
#[derive(Debug)]
pub(super) struct Skewed(pub(super) i64);

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        SystemClock.now() + jiff::SignedDuration::from_secs(self.0)
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }
}

/// Remembers events as lines.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<Vec<String>>);

impl EventRecorder for Recorder {
    fn became_leader(&self, lease: &LeaseRef, identity: &str) {
        self.0.lock().push(format!("{lease} {identity} became leader"));
    }

    fn stopped_leading(&self, lease: &LeaseRef, identity: &str) {
        self.0.lock().push(format!("{lease} {identity} stopped leading"));
    }

    fn conflict(&self, lease: &LeaseRef, _: &str, message: &str) {
        self.0.lock().push(format!("{lease} conflict: {message}"));
    }

    fn guard_conflict(&self, lease: &LeaseRef, _: &str, message: &str) {
        self.0.lock().push(format!("{lease} guard conflict: {message}"));
    }

    fn long_claim(&self, lease: &LeaseRef, _: &str, message: &str) {
        self.0.lock().push(format!("{lease} long claim: {message}"));
    }
}

pub(super) fn settings(identity: &str) -> Settings {
    Settings { spread: false, ..Settings::new(identity, NAMESPACE) }
}

/// What happened in a handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HandleEvent {
    Acquired,
    Lost,
    StepDownRequested(&'static str),
}

/// One process.
pub(super) struct Replica {
    pub(super) link: Link,
    pub(super) shutdown: CancellationToken,
    pub(super) events: Arc<Recorder>,
    figures: Figures,
    /// Told of the API server's time.
    pub(super) clock_check: ClockCheck,
    pub(super) statuses: Vec<tokio::sync::watch::Receiver<LeaseStatus>>,
    pub(super) handle_events: Arc<Mutex<Vec<(String, HandleEvent)>>>,
    fences: Arc<Mutex<BTreeMap<String, Fence>>>,
    orders: BTreeMap<String, mpsc::Sender<TermEnd>>,
    pub(super) candidacies: BTreeMap<String, Candidacy>,
    tasks: JoinSet<()>,
}

impl Replica {
    /// Starts a process whose controllers stand for these `(controller, lease)` pairs.
    pub(super) fn start(store: &LeaseStore, settings: Settings, candidates: &[(&str, &str)]) -> Self {
        Self::start_with(store, settings, candidates, Arc::new(SystemClock))
    }

    pub(super) fn start_with(
        store: &LeaseStore,
        settings: Settings,
        candidates: &[(&str, &str)],
        clock: SharedClock,
    ) -> Self {
        Self::launch(store, settings, candidates, clock, true)
    }

    /// A process whose controllers have passes that never end.
    pub(super) fn start_ignoring_requests_to_leave(
        store: &LeaseStore,
        settings: Settings,
        candidates: &[(&str, &str)],
    ) -> Self {
        Self::launch(store, settings, candidates, Arc::new(SystemClock), false)
    }

    fn launch(
        store: &LeaseStore,
        settings: Settings,
        candidates: &[(&str, &str)],
        clock: SharedClock,
        obeys: bool,
    ) -> Self {
        let (client, link) = store.client(&settings.identity);
        // Another connection of the same process: what is done to the link hits both, but for single requests.
        let clients = LeaseClients { first: client.clone(), second: client };
        let (figures, shutdown) = (Figures::default(), CancellationToken::new());
        let events = Arc::new(Recorder::default());
        let candidates = candidates.iter().map(|(controller, lease)| Candidate {
            controller: (*controller).to_owned(),
            lease: (*lease).to_owned(),
            clients: clients.clone(),
        });
        let clock_check = ClockCheck::new(Arc::clone(&clock), settings.lease_duration);
        let setup = Setup {
            names: names(),
            clock_check: clock_check.clone(),
            settings,
            candidates: candidates.collect(),
            lease_annotations: BTreeMap::new(),
            clients: clients.clone(),
            clock,
            events: Arc::<Recorder>::clone(&events),
            shutdown: shutdown.clone(),
            metrics: Arc::new(figures.clone()),
        };
        let election = Election::new(&setup);
        let mut replica = Self {
            link,
            shutdown,
            events,
            figures,
            statuses: election.statuses,
            clock_check,
            handle_events: Arc::default(),
            fences: Arc::default(),
            orders: BTreeMap::new(),
            candidacies: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        for task in election.electors.into_iter().chain(election.background) {
            replica.tasks.spawn(task.run);
        }
        for handle in election.handles {
            replica.supervise(handle, obeys);
        }
        replica
    }

    fn supervise(&mut self, mut handle: ElectionHandle, obeys: bool) {
        let controller = handle.controller();
        let (sender, mut orders) = mpsc::channel(1);
        self.orders.insert(controller.clone(), sender);
        self.candidacies.insert(controller.clone(), handle.candidacy());
        let (shutdown, fences, handle_events) =
            (self.shutdown.clone(), Arc::clone(&self.fences), Arc::clone(&self.handle_events));
        self.tasks.spawn(async move {
            let record = |what| handle_events.lock().push((controller.clone(), what));
            handle.candidacy().contend();
            while let Some(won) = handle.acquired().await {
                fences.lock().insert(controller.clone(), won.fence.clone());
                record(HandleEvent::Acquired);
                let leaving = tokio::select! {
                    () = won.fence.expired() => { record(HandleEvent::Lost); TermEnd::Finished }
                    why = handle.step_down_requested(), if obeys => { record(HandleEvent::StepDownRequested(why)); TermEnd::Finished }
                    () = shutdown.cancelled() => TermEnd::Finished,
                    Some(leaving) = orders.recv() => leaving,
                };
                // The worker stops before anybody is told.
                fences.lock().remove(&controller);
                handle.stepped_down_and_released(leaving).await;
            }
        });
    }

    /// Whether the controller may write now.
    pub(super) fn leads(&self, controller: &str) -> bool {
        self.fences.lock().get(controller).is_some_and(|fence| fence.check().is_ok())
    }

    /// How many controllers may write now.
    pub(super) fn led(&self) -> usize {
        self.fences.lock().values().filter(|fence| fence.check().is_ok()).count()
    }

    /// The controller leaves by itself.
    pub(super) fn leave(&self, controller: &str, leaving: TermEnd) {
        self.orders[controller].try_send(leaving).unwrap();
    }

    /// Everything ends without a word.
    pub(super) fn kill(mut self) {
        self.tasks.abort_all();
    }

    /// Shuts down and waits until all tasks have ended.
    pub(super) async fn stop(mut self) {
        self.shutdown.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }

    pub(super) fn status(&self) -> LeaseStatus {
        self.statuses[0].borrow().clone()
    }

    pub(super) fn events(&self) -> Vec<String> {
        self.events.0.lock().clone()
    }

    pub(super) fn times(&self, what: &HandleEvent) -> usize {
        self.handle_events.lock().iter().filter(|(_, event)| event == what).count()
    }

    /// A figure of the Lease `lease`; 0 when nothing has been told about it.
    pub(super) fn figure(&self, figure: &'static str, lease: &str) -> f64 {
        self.figures.0.lock().get(&(figure, lease.to_owned())).copied().unwrap_or_default()
    }
}

/// Lets time pass.
pub(super) async fn pass(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

/// Waits until `done`, for at most `seconds`; how long it took.
pub(super) async fn within(seconds: f64, mut done: impl FnMut() -> bool) -> f64 {
    let start = SystemClock.instant();
    while !done() {
        let took = (SystemClock.instant() - start).as_secs_f64();
        assert!(took < seconds, "not within {seconds} s");
        pass(0.01).await;
    }
    (SystemClock.instant() - start).as_secs_f64()
}
