// SPDX-License-Identifier: Apache-2.0
//! The reconcile loop of the certificates: observe, serve, apply one step, again; then wait for an event or a timer.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::sync::Notify;

use kube_fenced_election::clock::SharedClock;
use kube_loops::{chain::Chain, cluster::error::WriteError};

use super::{
    Settings,
    backoff::{self, WriteBackoff},
    bundle,
    issue::{self, IssueError, PemPair, Template},
    log_on_change::LogOnChange,
    observed_state::{ObserveInputs, ObservedState},
    plan::{self, Plan, Publication, Step, plan},
    rotation::{self, CA_CERTIFICATE, CA_KEY, SERVER_CERTIFICATE, SERVER_KEY},
    served::ServedCertificate,
    snapshot::Lookup,
    state::ReplicaState,
    store::{Store, data_of},
    watching::EventWatches,
    x509,
};

/// Two replicas that start together should not both make a CA.
const LONGEST_DELAY_MILLIS: u64 = 2000;
/// How long not to store again after a refusal, while what is served still works.
const REFUSED_STORE_RETRY: Duration = Duration::from_hours(1);
/// An event does not end a wait after a failure before this.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// So many conflicts in a row are logged.
const MANY_CONFLICTS: u32 = 10;

/// What a change can fail from.
#[derive(Debug, thiserror::Error)]
enum ChangeError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The observation is too old to act upon, or what it found is gone.
    #[error("took too long, looks again")]
    Stale,
    /// Does not happen as long as the API server validates what it stores.
    #[error("a webhook configuration has entries that take no CA")]
    Unwritable,
    #[error("the task that makes certificates ended early")]
    Interrupted,
}

impl ChangeError {
    /// Another writer was faster: observe again, at once.
    fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::Stale | Self::Write(WriteError::Conflict { .. } | WriteError::AlreadyExists { .. })
        )
    }

    /// Trying again will not help before somebody changes a role or the Secret.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Write(WriteError::Forbidden { .. } | WriteError::Invalid { .. }))
    }
}

/// How a pass ended.
enum PassOutcome {
    Changed,
    Wait(Duration),
    Failed,
}

/// The loop with what it works on.
pub(super) struct Rotator {
    pub(super) settings: Arc<Settings>,
    pub(super) store: Store,
    pub(super) served: Arc<ServedCertificate>,
    pub(super) clock: SharedClock,
    pub(super) watching: EventWatches,
    pub(super) events: Arc<Notify>,
    state: RotatorState,
}

#[derive(Default)]
struct RotatorState {
    replica: ReplicaState,
    /// CA and server certificate behind [`ReplicaState::candidate`].
    candidate: Option<(PemPair, PemPair)>,
    /// An attempt to store it failed, perhaps after it took effect.
    maybe_stored: bool,
    /// The random delay before a CA is made is over.
    delayed: bool,
    failures: u32,
    backoff: WriteBackoff,
    log: LogOnChange,
}

impl Rotator {
    pub(super) fn new(
        settings: &Arc<Settings>,
        store: Store,
        served: &Arc<ServedCertificate>,
        clock: &SharedClock,
        watching: EventWatches,
    ) -> Self {
        Self {
            settings: Arc::clone(settings),
            store,
            served: Arc::clone(served),
            clock: Arc::clone(clock),
            events: watching.events(),
            watching,
            state: RotatorState::default(),
        }
    }

    /// Runs for ever.
    pub(super) async fn run(mut self) {
        tracing::info!("starting cert rotator controller");
        loop {
            match self.reconcile().await {
                PassOutcome::Changed => self.state.failures = 0,
                PassOutcome::Wait(wait) => {
                    self.state.failures = 0;
                    let events = Arc::clone(&self.events);
                    // A watch that fails reports no change.
                    let wait =
                        if self.watching.may_miss_events() { wait.min(backoff::LONGEST) } else { wait };
                    tokio::select! {
                        () = events.notified() => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                }
                PassOutcome::Failed => {
                    self.state.failures = self.state.failures.saturating_add(1);
                    let pause = backoff::retry_delay(self.state.failures);
                    let first = pause.min(SHORTEST_PAUSE);
                    tokio::time::sleep(first).await;
                    tokio::select! {
                        () = self.events.notified() => {}
                        () = tokio::time::sleep(pause.saturating_sub(first)) => {}
                    }
                }
            }
        }
    }

    async fn reconcile(&mut self) -> PassOutcome {
        let observed = self.observe().await;
        self.state.replica.update(&observed.snapshot, observed.at);
        let plan = plan(&observed.snapshot, &self.state.replica, self.clock.now(), observed.at);
        self.serve(&observed, &plan);
        if plan.drop_candidate {
            tracing::debug!("another replica's CA is in the Secret, ours is dropped");
            let dropped = self.state.replica.candidate.take().filter(|_| !self.state.maybe_stored);
            self.state.replica.abandoned.extend(dropped.map(|it| it.fingerprint));
            self.state.candidate = None;
        }
        if !matches!(plan.step, Some(Step::MakeAuthority(_))) {
            self.state.delayed = false;
        }
        let changed = match &plan.step {
            None => None,
            Some(step) => Some(self.apply(step, &observed).await),
        };
        self.conclude(&observed, changed, plan.wait)
    }

    async fn observe(&self) -> ObservedState {
        let from = ObserveInputs {
            store: &self.store,
            settings: &self.settings,
            clock: &self.clock,
            candidate: self.state.candidate.as_ref().map(|(ca, _)| ca),
            serving: self.state.replica.serving.is_some(),
        };
        ObservedState::observe(from).await
    }

    fn serve(&mut self, observed: &ObservedState, plan: &Plan) {
        if let Some((source, facts)) = plan.serve {
            let pair = match source {
                plan::CertificateSource::Secret => observed.secret.as_ref().and_then(|it| it.served.as_ref()),
                plan::CertificateSource::Files => observed.files.as_ref().map(|(_, pair)| pair),
            };
            if let Some(pair) = pair {
                self.served.serve(Arc::clone(pair), facts.not_after);
                self.state.replica.serving = Some(facts);
                tracing::info!(source = ?source, not_after = %facts.not_after, "serving webhook certificate");
            }
        }
        if plan.readiness.is_ok() && self.served.readiness().is_err() {
            tracing::info!("certs ready");
        }
        self.served.set_readiness(plan.readiness.clone());
    }

    async fn apply(&mut self, step: &Step, observed: &ObservedState) -> Result<(), ChangeError> {
        match step {
            Step::CreateSecret => self.store.create_secret().await?,
            Step::MakeAuthority(_) if !self.state.delayed => {
                let delay = Duration::from_millis(rand::random_range(0..LONGEST_DELAY_MILLIS));
                tokio::time::sleep(delay).await;
                self.state.delayed = true;
            }
            Step::MakeAuthority(reason) => self.make_authority(reason).await?,
            Step::StoreAuthority => self.store_authority(observed).await?,
            Step::RenewServer(reason) => self.renew_server(reason, observed).await?,
            Step::Publish(publication) => self.publish(publication, observed).await?,
        }
        Ok(())
    }

    async fn make_authority(&mut self, reason: &rotation::Reason) -> Result<(), ChangeError> {
        tracing::info!(reason = %reason, "refreshing CA and server certs");
        let (now, dns_name) = (self.clock.now(), self.settings.names.dns_name());
        let made = on_blocking_thread(move || {
            let random = &mut rand::rng();
            let ca = issue::authority(&Template::of_authority(now, random)?, random)?;
            let server = issue::server(&ca, &dns_name, &Template::of_server(now, random)?, random)?;
            Ok((ca, server))
        });
        let (ca, server) = made.await?;
        let certificate = x509::certificates(ca.certificate.as_bytes()).into_iter().next();
        let facts = certificate.as_ref().and_then(x509::authority_of).ok_or(ChangeError::Stale)?;
        self.state.replica.candidate = Some(facts);
        self.state.candidate = Some((ca, server));
        self.state.maybe_stored = false;
        Ok(())
    }

    async fn store_authority(&mut self, observed: &ObservedState) -> Result<(), ChangeError> {
        let secret = observed.objects.secret.found().ok_or(ChangeError::Stale)?;
        let (ca, server) = self.state.candidate.clone().ok_or(ChangeError::Stale)?;
        // The process may have been frozen since: others may have taken the candidate out of the bundles.
        if self.clock.instant().saturating_duration_since(observed.began) > plan::FRESH {
            return Err(ChangeError::Stale);
        }
        let entries = [
            (CA_CERTIFICATE, ca.certificate),
            (CA_KEY, ca.key),
            (SERVER_CERTIFICATE, server.certificate),
            (SERVER_KEY, server.key),
        ];
        self.fill(secret, &entries).await?;
        self.state.candidate = None;
        self.state.replica.candidate = None;
        Ok(())
    }

    async fn renew_server(
        &mut self,
        reason: &rotation::Reason,
        observed: &ObservedState,
    ) -> Result<(), ChangeError> {
        tracing::info!(reason = %reason, "refreshing server certs");
        let secret = observed.objects.secret.found().ok_or(ChangeError::Stale)?;
        let data = data_of(secret);
        let text = |key: &str| {
            data.get(key).and_then(|bytes| String::from_utf8(bytes.clone()).ok()).ok_or(ChangeError::Stale)
        };
        let ca = PemPair { certificate: text(CA_CERTIFICATE)?, key: text(CA_KEY)? };
        let (now, dns_name) = (self.clock.now(), self.settings.names.dns_name());
        let made = on_blocking_thread(move || {
            let random = &mut rand::rng();
            issue::server(&ca, &dns_name, &Template::of_server(now, random)?, random)
        });
        let server = made.await?;
        self.fill(secret, &[(SERVER_CERTIFICATE, server.certificate), (SERVER_KEY, server.key)]).await
    }

    async fn fill(&mut self, secret: &Value, entries: &[(&'static str, String)]) -> Result<(), ChangeError> {
        match self.store.fill(secret.clone(), entries).await {
            Ok(()) => {
                tracing::info!(secret = self.store.secret_title(), "server certs refreshed");
                Ok(())
            }
            Err(error) => {
                let error = ChangeError::from(error);
                self.state.maybe_stored |= !error.is_conflict() && !error.is_refusal();
                if error.is_refusal() {
                    let works = self.state.replica.serving.is_some_and(|it| self.clock.now() <= it.not_after);
                    let bar = if works { REFUSED_STORE_RETRY } else { backoff::LONGEST };
                    self.state.replica.store_blocked_until = self.clock.instant().checked_add(bar);
                }
                Err(error)
            }
        }
    }

    async fn publish(
        &mut self,
        publication: &Publication,
        observed: &ObservedState,
    ) -> Result<(), ChangeError> {
        let wait = self.state.backoff.write_delay(self.clock.instant());
        if !wait.is_zero() {
            tracing::debug!(wait_s = wait.as_secs_f64(), "somebody undoes what is written, waiting");
            tokio::time::sleep(wait).await;
            self.state.backoff.record_write(self.clock.instant());
            // What was seen may have changed meanwhile.
            return self.publish_anew().await;
        }
        self.state.backoff.record_write(self.clock.instant());
        self.write_bundles(publication, observed).await
    }

    /// Observes again and publishes what is still to be published.
    async fn publish_anew(&mut self) -> Result<(), ChangeError> {
        let observed = self.observe().await;
        self.state.replica.update(&observed.snapshot, observed.at);
        match plan(&observed.snapshot, &self.state.replica, self.clock.now(), observed.at).step {
            Some(Step::Publish(publication)) => self.write_bundles(&publication, &observed).await,
            _ => Ok(()),
        }
    }

    async fn write_bundles(
        &self,
        publication: &Publication,
        observed: &ObservedState,
    ) -> Result<(), ChangeError> {
        let (mut written, mut first_error) = (false, None);
        for (place, bundles) in publication {
            let Some((title, Lookup::Found(object))) = observed.objects.configurations.get(*place) else {
                continue;
            };
            let mut object = object.clone();
            if !bundle::write(&mut object, bundles, &observed.known) {
                continue;
            }
            // Both are tried: trouble with one must not keep clients of the other waiting.
            match self.store.replace(*place, &object).await {
                Ok(()) => {
                    written = true;
                    tracing::info!(
                        webhooks = title,
                        entries = bundles.len(),
                        authorities = bundles.values().map(Vec::len).max(),
                        "CA certs are injected to webhooks"
                    );
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        match first_error {
            Some(error) => Err(error.into()),
            // Never without a pause.
            None if !written => Err(ChangeError::Unwritable),
            None => Ok(()),
        }
    }

    /// Logs what is wrong once for each cause, and says how to go on.
    fn conclude(
        &mut self,
        observed: &ObservedState,
        changed: Option<Result<(), ChangeError>>,
        wait: Duration,
    ) -> PassOutcome {
        let mut causes = Vec::new();
        if let Lookup::Unknown(cause) = &observed.objects.secret {
            causes.push(cause.clone());
        }
        let mut missing = Vec::new();
        for (title, seen) in &observed.objects.configurations {
            match seen {
                Lookup::Unknown(cause) => causes.push(cause.clone()),
                Lookup::NotFound => missing.push(title.clone()),
                Lookup::Found(_) => {}
            }
        }
        self.state.log.log_missing(missing);
        let unknown = !causes.is_empty();
        let reconcile = match changed {
            Some(Ok(())) => PassOutcome::Changed,
            Some(Err(error)) => {
                if error.is_conflict() && self.state.failures < MANY_CONFLICTS {
                    tracing::debug!(error = %Chain(&error), "somebody else was faster, reading again");
                } else {
                    causes.push(Chain(&error).to_string());
                }
                PassOutcome::Failed
            }
            None if unknown => PassOutcome::Failed,
            None => {
                tracing::debug!(look_again_s = wait.as_secs(), "no cert refresh needed");
                PassOutcome::Wait(wait)
            }
        };
        // While a refused store is not tried again, its cause has neither changed nor gone.
        let blocked = self.state.replica.store_blocked_until.is_some_and(|until| observed.at < until);
        let waits_out = blocked && causes.is_empty();
        if !waits_out && !matches!(reconcile, PassOutcome::Changed) {
            self.state.log.log_problem((!causes.is_empty()).then(|| causes.join("; ")));
        }
        reconcile
    }
}

/// Computes on a thread of the blocking pool: keys take seconds.
async fn on_blocking_thread<T: Send + 'static>(
    compute: impl FnOnce() -> Result<T, IssueError> + Send + 'static,
) -> Result<T, ChangeError> {
    Ok(tokio::task::spawn_blocking(compute).await.map_err(|_| ChangeError::Interrupted)??)
}
