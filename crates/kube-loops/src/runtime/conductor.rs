// SPDX-License-Identifier: Apache-2.0
//! The order of every pass: prepare → fetch → plan → apply → conclude → publish.
//!
//! A loop gives the [`Stages`]; the [`Conductor`] runs them, keeps the loop's state of each object for the term, and
//! sends its events.
//!
//! # Guarantees
//! - What a pass has to tell by its status is remembered as untold before the status is sent, and as told only once
//!   it is stored, whatever way the pass ends: by an error, its deadline, or the end of the term.
//! - What the steps of a plan have done is concluded from even when the pass is dropped between two steps.
//! - An event about what has happened is sent when it has happened; one that goes with the status is sent once that
//!   is stored.

use std::{fmt, future::Future, time::Duration};

use parking_lot::Mutex;
use tracing::debug;

use crate::cluster::events::EventDraft;

use super::{
    reconciler::{Failure, Key, Outcome, Pass, Reconciler},
    term_cache::TermCache,
};

/// Most rounds of one pass; a plan that follows a plan without end would be a defect.
const ROUNDS: usize = 6;
/// Objects of which a term keeps state at most; beyond, those that were not looked at for the longest time start
/// afresh.
const OBJECTS: usize = 100_000;

/// The stages of a loop's passes. Only [`Self::plan`] and [`Self::conclude`] decide, and they never wait.
pub trait Stages: Send + Sync + 'static {
    /// What a pass is about, as stored: usually an `Arc` of the object.
    type Object: Send + Sync;
    /// All facts of a round, read once.
    type Snapshot: Send + Sync;
    /// What to do, and what follows from it.
    type Plan: fmt::Debug + Send + Sync;
    /// How the steps went.
    type Report: Default + Send + Sync;
    /// What is remembered of an object for the term; a new term starts with the default.
    type State: Clone + Default + Send + Sync;
    /// What [`Self::publish`] stores.
    type Status: Send + Sync;
    /// Why a pass did not reach its end.
    type Error: Failure;

    /// Uid of the object: state of a namesake is not its own. Empty for a key that stands for no single object.
    #[expect(clippy::unnecessary_literal_bound, reason = "an object's own uid is borrowed from it")]
    fn uid(object: &Self::Object) -> &str {
        let _ = object;
        ""
    }

    /// The object, with all that has to be stored before anything is done for it: a finalizer, a first status. `None`:
    /// it is gone, and there is nothing to do.
    ///
    /// # Errors
    /// It could not be stored.
    fn prepare(
        &self,
        key: &Key,
        pass: &Pass,
    ) -> impl Future<Output = Result<Option<Self::Object>, Self::Error>> + Send;

    /// Reads everything that the plan looks at. Decides nothing.
    ///
    /// # Errors
    /// A read failed without which there is no plan.
    fn fetch(
        &self,
        key: &Key,
        object: Self::Object,
        state: &Self::State,
        pass: &Pass,
    ) -> impl Future<Output = Result<Self::Snapshot, Self::Error>> + Send;

    /// Decides. The plan of a world that is as it should be has no steps.
    fn plan(&self, key: &Key, seen: &Self::Snapshot, state: &Self::State, pass: &Pass) -> Self::Plan;

    /// Carries out the steps, and notes each in the report when it has ended.
    fn apply(
        &self,
        key: &Key,
        seen: &Self::Snapshot,
        plan: &Self::Plan,
        report: &mut Self::Report,
        pass: &Pass,
    ) -> impl Future<Output = ()> + Send;

    /// What follows from how the steps went. The report lacks those that a dropped pass did not come to.
    fn conclude(
        &self,
        key: &Key,
        round: Round<'_, Self>,
        pass: &Pass,
    ) -> Conclusion<Self::Status, Self::State, Self::Error>;

    /// Stores a status. A loop whose conclusions never have one need not say how.
    ///
    /// # Errors
    /// It could not be stored. What it would have told is told by a later pass.
    fn publish(
        &self,
        key: &Key,
        seen: &Self::Snapshot,
        report: &Self::Report,
        status: Self::Status,
        pass: &Pass,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = (key, seen, report, status, pass);
        debug_assert!(false, "there is a status, and nothing that stores it");
        async { Ok(()) }
    }

    /// The key stands for nothing any more: drops what else is kept for it.
    fn forget(&self, key: &Key) {
        let _ = key;
    }
}

/// What a conclusion is drawn from.
#[derive(Debug)]
pub struct Round<'a, S: Stages + ?Sized> {
    /// What was seen.
    pub seen: &'a S::Snapshot,
    /// What was to be done.
    pub plan: &'a S::Plan,
    /// How it went. What is moved out of it is not needed by [`Stages::publish`].
    pub report: &'a mut S::Report,
    /// What was remembered before.
    pub state: &'a S::State,
}

/// What follows from a round.
#[derive(Debug)]
pub struct Conclusion<Status, State, Error> {
    /// The status to store; `None`: it is stored already.
    pub status: Option<Status>,
    /// What is remembered until the status is stored: what it tells counts as untold.
    pub untold: State,
    /// What is remembered once it is.
    pub told: State,
    /// Events about what has happened, whether or not the status can be stored.
    pub events: Vec<EventDraft>,
    /// Events that go with the status.
    pub events_with_status: Vec<EventDraft>,
    /// What comes next.
    pub next: Next<Error>,
}

/// What comes after a round.
#[derive(Debug)]
pub enum Next<Error> {
    /// The pass is over.
    End(Outcome),
    /// Another round follows at once: what was done has to be seen before the next decision.
    Again,
    /// The pass failed.
    Fail(Error),
}

impl<Error> Next<Error> {
    /// The pass fails with the error, if there is one. Otherwise it is over, and the key comes back after `requeue` at
    /// the latest; `None`: on the next trigger.
    pub fn of(error: Option<Error>, requeue: Option<Duration>) -> Self {
        error.map_or(Self::End(requeue.map_or(Outcome::Done, Outcome::RequeueAfter)), Self::Fail)
    }
}

impl<Status, State: Clone, Error> Conclusion<Status, State, Error> {
    /// Nothing to store and nothing to tell; `state` is remembered.
    pub fn quiet(state: State, next: Next<Error>) -> Self {
        let (untold, told) = (state.clone(), state);
        Self { status: None, untold, told, events: Vec::new(), events_with_status: Vec::new(), next }
    }
}

/// Runs the stages of a loop for one term.
pub struct Conductor<S: Stages> {
    stages: S,
    states: Mutex<TermCache<S::State>>,
}

impl<S: Stages> Conductor<S> {
    /// Nothing is remembered yet.
    pub fn new(stages: S) -> Self {
        Self { stages, states: Mutex::new(TermCache::new(OBJECTS)) }
    }

    /// What is remembered of the object with this uid.
    pub(crate) fn state(&self, key: &Key, uid: &str) -> S::State {
        self.states.lock().get(key, uid).cloned().unwrap_or_default()
    }

    /// One plan, carried out. `None`: another round follows.
    async fn round(&self, key: &Key, object: S::Object, pass: &Pass) -> Result<Option<Outcome>, S::Error> {
        let uid = S::uid(&object).to_owned();
        let state = self.state(key, &uid);
        let seen = self.stages.fetch(key, object, &state, pass).await?;
        let plan = self.stages.plan(key, &seen, &state, pass);
        debug!(?plan, "planned");
        let report = S::Report::default();
        let mut under_way =
            UnderWay { conductor: self, key, uid, seen, plan, report, state, pass, concluded: false };
        let UnderWay { seen, plan, report, .. } = &mut under_way;
        self.stages.apply(key, seen, plan, report, pass).await;
        let conclusion = under_way.conclude();
        if let Some(status) = conclusion.status {
            let UnderWay { seen, report, .. } = &under_way;
            self.stages.publish(key, seen, report, status, pass).await?;
        }
        self.states.lock().put(key, &under_way.uid, conclusion.told);
        conclusion.events_with_status.into_iter().for_each(|event| pass.recorder.publish(event));
        match conclusion.next {
            Next::End(outcome) => Ok(Some(outcome)),
            Next::Again => Ok(None),
            Next::Fail(error) => Err(error),
        }
    }
}

impl<S: Stages> Reconciler for Conductor<S> {
    type Error = S::Error;

    async fn reconcile(&self, key: &Key, pass: &Pass) -> Result<Outcome, S::Error> {
        for _ in 0..ROUNDS {
            let Some(object) = self.stages.prepare(key, pass).await? else { return Ok(Outcome::Done) };
            if let Some(outcome) = self.round(key, object, pass).await? {
                return Ok(outcome);
            }
        }
        debug_assert!(false, "plans follow plans without end");
        Ok(Outcome::RequeueAfter(Duration::from_secs(1)))
    }

    fn forget(&self, key: &Key) {
        self.stages.forget(key);
        self.states.lock().forget(key);
    }
}

/// A round whose steps may have begun. Dropped before its conclusion, it concludes from what was done until then.
struct UnderWay<'a, S: Stages> {
    conductor: &'a Conductor<S>,
    key: &'a Key,
    uid: String,
    seen: S::Snapshot,
    plan: S::Plan,
    report: S::Report,
    state: S::State,
    pass: &'a Pass,
    concluded: bool,
}

impl<S: Stages> UnderWay<'_, S> {
    fn conclude(&mut self) -> Conclusion<S::Status, S::State, S::Error> {
        self.concluded = true;
        let round =
            Round { seen: &self.seen, plan: &self.plan, report: &mut self.report, state: &self.state };
        let mut conclusion = self.conductor.stages.conclude(self.key, round, self.pass);
        self.conductor.states.lock().put(self.key, &self.uid, conclusion.untold.clone());
        conclusion.events.drain(..).for_each(|event| self.pass.recorder.publish(event));
        conclusion
    }
}

impl<S: Stages> Drop for UnderWay<'_, S> {
    fn drop(&mut self) {
        if !self.concluded && !std::thread::panicking() {
            self.conclude();
        }
    }
}

impl<S: Stages> fmt::Debug for Conductor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conductor").field("objects", &self.states.lock().len()).finish_non_exhaustive()
    }
}
