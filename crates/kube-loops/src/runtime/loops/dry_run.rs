// SPDX-License-Identifier: Apache-2.0
//! What the loops of a controller would do now: all keys once, without a Lease, nothing written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::try_join_all;
use kube::Client;
use tokio::time::timeout_at;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::cluster::{
    dry_run::NotedStep,
    events::{EventDraft, RecorderTask},
    writer::Writer,
};
use kube_fenced_election::{
    clock::{Instant, SharedClock},
    fence::Fence,
};

use super::{
    super::{
        controller::{FencedClient, RunError, Term},
        progress::Progress,
        reconciler::Key,
    },
    BuiltLoop, LoopController, Work,
    run::{all_reads, first_to_end, get_ready},
};

/// What the passes of a key would do.
#[derive(Debug, Clone, PartialEq)]
pub struct DryRun {
    /// Label of the loop.
    pub r#loop: &'static str,
    /// The key.
    pub key: Key,
    /// Changes of objects, and effects outside the API server, in order.
    pub steps: Vec<NotedStep>,
    /// Events.
    pub events: Vec<EventDraft>,
    /// Why the last pass did not go well; `None`: it did.
    pub failure: Option<String>,
}

impl LoopController {
    /// Runs a pass for each key, with a writer and a recorder that note instead of sending. After that, for as long
    /// as `patience` lasts, another one for each key that what runs beside the passes queues, such as a measurement
    /// that has come in. Of what is noted for a key again, the first is kept.
    ///
    /// `reader` need not, and should not, be able to change anything. Neither can what the loops do outside the API
    /// server: the fence of the term is closed.
    ///
    /// # Errors
    /// [`RunError`], as for a term.
    pub async fn dry_run(
        &self,
        reader: Client,
        clock: SharedClock,
        patience: Duration,
    ) -> Result<Vec<DryRun>, RunError> {
        // Without its keeper it is closed for ever.
        let (_, fence) = Fence::without_election(Arc::clone(&clock));
        let term = Term {
            fence,
            client: FencedClient(reader.clone()),
            clock: Arc::clone(&clock),
            drain: CancellationToken::new(),
            progress: Arc::new(Progress::new(Arc::clone(&clock))),
            workers: None,
            tasks: TaskTracker::new(),
        };
        let loops = self.build(&term, || Writer::dry_run(reader.clone()));
        get_ready(&all_reads(&loops)).await?;
        let until = clock.instant() + patience;
        Ok(try_join_all(loops.into_iter().map(|each| passes(each, &clock, until))).await?.concat())
    }
}

/// The passes of one loop.
async fn passes(each: BuiltLoop, clock: &SharedClock, until: Instant) -> Result<Vec<DryRun>, RunError> {
    let BuiltLoop { spec, keys, worker, background, queue, mut sending, .. } = each;
    let mut runs = BTreeMap::new();
    let passes = async {
        for key in keys().into_iter().collect::<BTreeSet<_>>() {
            let run = DryRun::new(spec.label, key.clone());
            runs.entry(key).or_insert(run).pass(&*worker, &mut sending).await;
        }
        while clock.instant() < until
            && let Ok(Some(taken)) = timeout_at(until, queue.take()).await
        {
            let key = taken.key().clone();
            let run = DryRun::new(spec.label, key.clone());
            runs.entry(key).or_insert(run).pass(&*worker, &mut sending).await;
        }
    };
    tokio::select! {
        biased;
        () = passes => {}
        ended = first_to_end(background) => ended?,
    }
    Ok(runs.into_values().collect())
}

impl DryRun {
    fn new(r#loop: &'static str, key: Key) -> Self {
        Self { r#loop, key, steps: Vec::new(), events: Vec::new(), failure: None }
    }

    /// One pass.
    async fn pass(&mut self, worker: &dyn Work, sending: &mut RecorderTask) {
        let (steps, failure) = worker.dry_run(&self.key).await;
        for step in steps {
            if !self.steps.contains(&step) {
                self.steps.push(step);
            }
        }
        // The version of the object is another one after a write.
        let text = |it: &EventDraft| (it.reason.clone(), it.message.clone(), it.regarding.uid.clone());
        for event in sending.take() {
            if !self.events.iter().any(|known| text(known) == text(&event)) {
                self.events.push(event);
            }
        }
        self.failure = failure;
    }
}
