// SPDX-License-Identifier: Apache-2.0
//! The task: look, serve, change one thing, look again; then wait for an event or for time to pass.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::sync::Notify;

use kube_fenced_election::clock::SharedClock;
use kube_loops::{chain::Chain, cluster::error::WriteError};

use super::{
    Settings, bundle,
    issue::{self, IssueError, PemPair, Terms},
    look::{Look, Source},
    memory::Memory,
    pace::{self, Pace},
    plan::{self, Plan, Publication, Step, plan},
    rotation::{self, CA_CERTIFICATE, CA_KEY, SERVER_CERTIFICATE, SERVER_KEY},
    served::Served,
    snapshot::Seen,
    store::{Store, data_of},
    told::Told,
    watching::Watching,
    x509,
};

/// Two replicas that start together should not both make a CA.
const LONGEST_DELAY_MILLIS: u64 = 2000;
/// How long not to store again after a refusal, while what is served still works.
const BARRED: Duration = Duration::from_hours(1);
/// An event does not end a wait after a failure before this.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// Conflicts in a row that are worth a word.
const MANY_CONFLICTS: u32 = 10;

/// What a change can fail from.
#[derive(Debug, thiserror::Error)]
enum ChangeError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The look has become too old to act upon, or what it saw is gone.
    #[error("took too long, looks again")]
    Stale,
    /// Cannot be, as long as the API server checks what it stores.
    #[error("a webhook configuration has entries that take no CA")]
    Unwritable,
    #[error("the task that makes certificates ended early")]
    Interrupted,
}

impl ChangeError {
    /// Somebody was faster: read again, at once.
    fn is_race(&self) -> bool {
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

/// How a round ended.
enum Round {
    Changed,
    Rests(Duration),
    Failed,
}

/// What the task works with.
pub(super) struct Rotator {
    pub(super) settings: Arc<Settings>,
    pub(super) store: Store,
    pub(super) served: Arc<Served>,
    pub(super) clock: SharedClock,
    pub(super) watching: Watching,
    pub(super) events: Arc<Notify>,
    state: State,
}

#[derive(Default)]
struct State {
    memory: Memory,
    /// CA and server certificate behind [`Memory::candidate`].
    candidate: Option<(PemPair, PemPair)>,
    /// Nobody knows whether an attempt to store it had an effect.
    maybe_stored: bool,
    /// The random delay before a CA is made is over.
    delayed: bool,
    failures: u32,
    pace: Pace,
    told: Told,
}

impl Rotator {
    pub(super) fn new(
        settings: &Arc<Settings>,
        store: Store,
        served: &Arc<Served>,
        clock: &SharedClock,
        watching: Watching,
    ) -> Self {
        Self {
            settings: Arc::clone(settings),
            store,
            served: Arc::clone(served),
            clock: Arc::clone(clock),
            events: watching.events(),
            watching,
            state: State::default(),
        }
    }

    /// Runs for ever.
    pub(super) async fn run(mut self) {
        tracing::info!("starting cert rotator controller");
        loop {
            match self.round().await {
                Round::Changed => self.state.failures = 0,
                Round::Rests(wait) => {
                    self.state.failures = 0;
                    let events = Arc::clone(&self.events);
                    // Without a watch nobody would tell of a change.
                    let wait = if self.watching.is_blind() { wait.min(pace::LONGEST) } else { wait };
                    tokio::select! {
                        () = events.notified() => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                }
                Round::Failed => {
                    self.state.failures = self.state.failures.saturating_add(1);
                    let pause = pace::after_failures(self.state.failures);
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

    async fn round(&mut self) -> Round {
        let look = self.look().await;
        self.state.memory.observe(&look.snapshot, look.at);
        let plan = plan(&look.snapshot, &self.state.memory, self.clock.now(), look.at);
        self.serve(&look, &plan);
        if plan.drop_candidate {
            tracing::debug!("another replica's CA is in the Secret, ours is dropped");
            let dropped = self.state.memory.candidate.take().filter(|_| !self.state.maybe_stored);
            self.state.memory.abandoned.extend(dropped.map(|it| it.print));
            self.state.candidate = None;
        }
        if !matches!(plan.step, Some(Step::MakeAuthority(_))) {
            self.state.delayed = false;
        }
        let changed = match &plan.step {
            None => None,
            Some(step) => Some(self.change(step, &look).await),
        };
        self.conclude(&look, changed, plan.wait)
    }

    async fn look(&self) -> Look {
        let from = Source {
            store: &self.store,
            settings: &self.settings,
            clock: &self.clock,
            candidate: self.state.candidate.as_ref().map(|(ca, _)| ca),
            serving: self.state.memory.serving.is_some(),
        };
        Look::take(from).await
    }

    fn serve(&mut self, look: &Look, plan: &Plan) {
        if let Some((source, facts)) = plan.serve {
            let pair = match source {
                plan::Source::Secret => look.secret.as_ref().and_then(|it| it.served.as_ref()),
                plan::Source::Files => look.files.as_ref().map(|(_, pair)| pair),
            };
            if let Some(pair) = pair {
                self.served.serve(Arc::clone(pair), facts.not_after);
                self.state.memory.serving = Some(facts);
                tracing::info!(source = ?source, not_after = %facts.not_after, "serving webhook certificate");
            }
        }
        if plan.standing.is_ok() && self.served.readiness().is_err() {
            tracing::info!("certs ready");
        }
        self.served.stand(plan.standing.clone());
    }

    async fn change(&mut self, step: &Step, look: &Look) -> Result<(), ChangeError> {
        match step {
            Step::CreateSecret => {
                self.store.create_secret().await?;
                tracing::info!(secret = self.store.secret_title(), "created the Secret for certificates");
            }
            Step::MakeAuthority(_) if !self.state.delayed => {
                let delay = Duration::from_millis(rand::random_range(0..LONGEST_DELAY_MILLIS));
                tokio::time::sleep(delay).await;
                self.state.delayed = true;
            }
            Step::MakeAuthority(reason) => self.make_authority(reason).await?,
            Step::StoreAuthority => self.store_authority(look).await?,
            Step::RenewServer(reason) => self.renew_server(reason, look).await?,
            Step::Publish(publication) => self.publish(publication, look).await?,
        }
        Ok(())
    }

    async fn make_authority(&mut self, reason: &rotation::Reason) -> Result<(), ChangeError> {
        tracing::info!(reason = %reason, "refreshing CA and server certs");
        let (now, dns_name) = (self.clock.now(), self.settings.names.dns_name());
        let made = apart(move || {
            let random = &mut rand::rng();
            let ca = issue::authority(&Terms::of_authority(now, random)?, random)?;
            let server = issue::server(&ca, &dns_name, &Terms::of_server(now, random)?, random)?;
            Ok((ca, server))
        });
        let (ca, server) = made.await?;
        let certificate = x509::certificates(ca.certificate.as_bytes()).into_iter().next();
        let facts = certificate.as_ref().and_then(x509::authority_of).ok_or(ChangeError::Stale)?;
        self.state.memory.candidate = Some(facts);
        self.state.candidate = Some((ca, server));
        self.state.maybe_stored = false;
        Ok(())
    }

    async fn store_authority(&mut self, look: &Look) -> Result<(), ChangeError> {
        let secret = look.objects.secret.there().ok_or(ChangeError::Stale)?;
        let (ca, server) = self.state.candidate.clone().ok_or(ChangeError::Stale)?;
        // The process may have been frozen since: others may have taken the candidate out of the bundles.
        if self.clock.instant().saturating_duration_since(look.began) > plan::FRESH {
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
        self.state.memory.candidate = None;
        Ok(())
    }

    async fn renew_server(&mut self, reason: &rotation::Reason, look: &Look) -> Result<(), ChangeError> {
        tracing::info!(reason = %reason, "refreshing server certs");
        let secret = look.objects.secret.there().ok_or(ChangeError::Stale)?;
        let data = data_of(secret);
        let text = |key: &str| {
            data.get(key).and_then(|bytes| String::from_utf8(bytes.clone()).ok()).ok_or(ChangeError::Stale)
        };
        let ca = PemPair { certificate: text(CA_CERTIFICATE)?, key: text(CA_KEY)? };
        let (now, dns_name) = (self.clock.now(), self.settings.names.dns_name());
        let made = apart(move || {
            let random = &mut rand::rng();
            issue::server(&ca, &dns_name, &Terms::of_server(now, random)?, random)
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
                self.state.maybe_stored |= !error.is_race() && !error.is_refusal();
                if error.is_refusal() {
                    let works = self.state.memory.serving.is_some_and(|it| self.clock.now() <= it.not_after);
                    let bar = if works { BARRED } else { pace::LONGEST };
                    self.state.memory.barred_until = self.clock.instant().checked_add(bar);
                }
                Err(error)
            }
        }
    }

    async fn publish(&mut self, publication: &Publication, look: &Look) -> Result<(), ChangeError> {
        let wait = self.state.pace.before_write(self.clock.instant());
        if !wait.is_zero() {
            tracing::debug!(wait_s = wait.as_secs_f64(), "somebody undoes what is written, waiting");
            tokio::time::sleep(wait).await;
            self.state.pace.wrote(self.clock.instant());
            // What was seen may have changed meanwhile.
            return self.publish_anew().await;
        }
        self.state.pace.wrote(self.clock.instant());
        self.write_bundles(publication, look).await
    }

    /// Looks again and publishes what is still to be published.
    async fn publish_anew(&mut self) -> Result<(), ChangeError> {
        let look = self.look().await;
        self.state.memory.observe(&look.snapshot, look.at);
        match plan(&look.snapshot, &self.state.memory, self.clock.now(), look.at).step {
            Some(Step::Publish(publication)) => self.write_bundles(&publication, &look).await,
            _ => Ok(()),
        }
    }

    async fn write_bundles(&self, publication: &Publication, look: &Look) -> Result<(), ChangeError> {
        let (mut written, mut first_error) = (false, None);
        for (place, positions) in &publication.entries {
            let Some((title, Seen::There(object))) = look.objects.configurations.get(*place) else {
                continue;
            };
            let mut object = object.clone();
            if !bundle::write(&mut object, positions, &publication.authorities, &look.known) {
                continue;
            }
            // Both are tried: trouble with one must not keep clients of the other waiting.
            match self.store.replace(*place, &object).await {
                Ok(()) => {
                    written = true;
                    tracing::info!(
                        webhooks = title,
                        entries = positions.len(),
                        authorities = publication.authorities.len(),
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
    fn conclude(&mut self, look: &Look, changed: Option<Result<(), ChangeError>>, wait: Duration) -> Round {
        let mut causes = Vec::new();
        if let Seen::Unknown(cause) = &look.objects.secret {
            causes.push(cause.clone());
        }
        let mut missing = Vec::new();
        for (title, seen) in &look.objects.configurations {
            match seen {
                Seen::Unknown(cause) => causes.push(cause.clone()),
                Seen::Absent => missing.push(title.clone()),
                Seen::There(_) => {}
            }
        }
        self.state.told.tell_missing(missing);
        let unknown = !causes.is_empty();
        let round = match changed {
            Some(Ok(())) => Round::Changed,
            Some(Err(error)) => {
                if error.is_race() && self.state.failures < MANY_CONFLICTS {
                    tracing::debug!(error = %Chain(&error), "somebody else was faster, reading again");
                } else {
                    causes.push(Chain(&error).to_string());
                }
                Round::Failed
            }
            None if unknown => Round::Failed,
            None => {
                tracing::debug!(look_again_s = wait.as_secs(), "no cert refresh needed");
                Round::Rests(wait)
            }
        };
        // A refusal that we wait out is no news, and not over either.
        let barred = self.state.memory.barred_until.is_some_and(|until| look.at < until);
        let waits_out = barred && causes.is_empty();
        if !waits_out && !matches!(round, Round::Changed) {
            self.state.told.tell((!causes.is_empty()).then(|| causes.join("; ")));
        }
        round
    }
}

/// Computes for long, on a thread made for that.
async fn apart<T: Send + 'static>(
    compute: impl FnOnce() -> Result<T, IssueError> + Send + 'static,
) -> Result<T, ChangeError> {
    Ok(tokio::task::spawn_blocking(compute).await.map_err(|_| ChangeError::Interrupted)??)
}
