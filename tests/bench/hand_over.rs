// SPDX-License-Identifier: Apache-2.0
//! From the end of a leader until another replica has done its first pass.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{
    Figure, spread,
    subject::{PATIENCE, Subject, Taken, asked, at_rest, between, wait_taken},
};
use crate::support::{
    ControlPlane, Options,
    audit::{AuditLog, Entry},
    manager::Manager,
    objects,
    wait::{now, within_deadline},
};

const NS: &str = "bench-hand-over";
const TERM_ROUNDS: usize = 10;
const KILL_ROUNDS: usize = 6;

#[derive(Clone, Copy)]
enum End {
    Asked,
    Killed,
}

/// Two replicas; the leader goes again and again, and a fresh replica takes its place.
pub(crate) async fn measure(subject: &Subject) -> Result<Vec<Figure>> {
    let plane = ControlPlane::start(Options::bare()).await;
    plane.install_manager().await;
    objects::create(&plane.client().await, &objects::namespace(NS)).await;
    let mut pair = Pair::start(subject, &plane).await?;
    let asked = pair.rounds(End::Asked, TERM_ROUNDS).await?;
    let killed = pair.rounds(End::Killed, KILL_ROUNDS).await?;
    Ok(vec![
        Figure::new("SIGTERM → another replica leads", spread(&asked.0), ""),
        Figure::new("SIGTERM → … and has passed once", spread(&asked.1), "< 1 s"),
        Figure::new("SIGKILL → another replica leads", spread(&killed.0), ""),
        Figure::new("SIGKILL → … and has passed once", spread(&killed.1), "≤ 16 s"),
    ])
}

/// A leader and its heir.
struct Pair<'a> {
    subject: &'a Subject,
    plane: &'a ControlPlane,
    log: AuditLog,
    leader: Manager,
    heir: Manager,
    held: Taken,
}

impl<'a> Pair<'a> {
    async fn start(subject: &'a Subject, plane: &'a ControlPlane) -> Result<Self> {
        let mut log = plane.audit();
        let launched = now();
        let leader = subject.start(plane).await;
        let held = wait_taken(&mut log, launched, "").await?;
        let heir = subject.start(plane).await;
        Ok(Self { subject, plane, log, leader, heir, held })
    }

    /// Times until the Lease is taken, and until the first pass.
    async fn rounds(&mut self, end: End, rounds: usize) -> Result<(Vec<Duration>, Vec<Duration>)> {
        let (mut leads, mut passed) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            at_rest(&self.heir, Duration::from_secs(20)).await?;
            let (lead, pass) = self.round(end).await?;
            leads.push(lead);
            passed.push(pass);
        }
        Ok((leads, passed))
    }

    async fn round(&mut self, end: End) -> Result<(Duration, Duration)> {
        let client = self.plane.client().await;
        let name = format!("work-{}", self.plane.next_number());
        let from = now();
        match end {
            End::Asked => self.leader.sigterm(),
            End::Killed => self.leader.sigkill(),
        }
        // Work that waits for the successor: its first write about it ends the measurement.
        objects::create(&client, &objects::pod_autoscaler(NS, &name, "APA")).await;
        let taken = wait_taken(&mut self.log, from, &self.held.holder).await?;
        let old = self.held.holder.clone();
        let log = &mut self.log;
        let write = within_deadline(PATIENCE, async || {
            let by_heir = |it: &&Entry| {
                let by_old = it.caller.as_ref().is_some_and(|caller| caller.identity == old);
                it.received > from && it.is_write() && it.is_ok() && asked(it) && !by_old
            };
            let about = |it: &&Entry| it.object.as_ref().is_some_and(|it| it.name == name);
            log.entries().iter().filter(by_heir).find(about).map(|it| it.finished).ok_or_else(String::new)
        })
        .await;
        let write = write.ok().context("the successor wrote nothing within a minute")?;
        let new = self.subject.start(self.plane).await;
        drop(std::mem::replace(&mut self.leader, std::mem::replace(&mut self.heir, new)));
        let spans = (between(from, taken.at), between(from, write));
        self.held = taken;
        Ok(spans)
    }
}
