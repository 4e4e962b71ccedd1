// SPDX-License-Identifier: Apache-2.0
//! What a pass of a StormService does. Pure.
//!
//! The template is recorded first; RoleSets are then scaled, and rolled only when nothing had to be scaled.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube_fenced_election::clock::Timestamp;
use kube_loops::{
    cluster::events::EventText,
    k8s::selector::Selector,
    rollout::{
        int_or_percent::{Amount, QuotedIntegers},
        limits::Limits,
        order::{set_rollout, set_scale_in},
        pool::{self, Pace, Surplus},
        proportional::scale_paused,
        replica::{Replica, Revision},
        revisions::{revision_name, surplus},
        slots::lowest_free,
    },
    runtime::children::{Child, ChildRef},
};

use super::{
    super::templates,
    objects::{self, REVISION_PREFIX, Rendered},
    revisions::{Missing, Revisions, revisions_of},
    snapshot::{Set, Snapshot},
    state::State,
    status::status_of,
    steps::{Part, Plan, Step},
};

/// Same inputs, same plan; of a StormService that is as wanted, no steps.
pub(super) fn plan(seen: &Snapshot, state: &State, now: Timestamp) -> Plan {
    if seen.service.metadata.deletion_timestamp.is_some() {
        return finalize(seen);
    }
    let stored = seen.service.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let collisions = u32::try_from(stored).unwrap_or(0).max(state.collisions);
    let revisions = match revisions_of(seen) {
        Ok(revisions) => revisions,
        Err(missing) => return record(seen, &missing, collisions),
    };
    let mut plan = Plan::default();
    headless(seen, &mut plan);
    plan.warnings.extend(pooled(seen));
    let mut planner = Planner::of(seen, &revisions, &mut plan.warnings);
    if seen.caught_up {
        match planner.work() {
            Ok((part, steps)) => {
                plan.part = part;
                plan.steps.extend(steps);
            }
            Err(error) => plan.error = Some(error),
        }
    }
    plan.steps.extend(forget(seen, &revisions));
    let (status, waits) = status_of(seen, &revisions, collisions, state.since, now);
    plan.waits = waits;
    plan.status = status;
    plan
}

fn finalize(seen: &Snapshot) -> Plan {
    let live = seen.sets.iter().filter(|set| !set.terminating);
    Plan {
        steps: live.map(|set| Step::Delete(set.reference())).collect(),
        finalized: seen.sets.is_empty() && seen.caught_up,
        ..Plan::default()
    }
}

/// Records the template, or gives a recorded one another number.
fn record(seen: &Snapshot, missing: &Missing, collisions: u32) -> Plan {
    let step = match missing {
        Missing::Renumber(name, number) => seen
            .history
            .iter()
            .find(|record| record.recorded.name == *name)
            .map(|record| Step::Renumber(ChildRef::to(&*record.revision), *number)),
        Missing::Record(number) => {
            let data = templates::revision_data(seen.service.spec.template.stored());
            let mut name = revision_name(&seen.service.name_any(), REVISION_PREFIX, &data, collisions);
            // Another template of ours has the same hash.
            while seen.history.iter().any(|record| record.recorded.name == name.name)
                && let Some(next) = objects::next_name(&seen.service, &data, &name)
            {
                name = next;
            }
            objects::revision(&seen.service, &name, *number, &data).map(|it| Step::Record(Box::new(it)))
        }
    };
    Plan { steps: step.into_iter().collect(), look_again: true, ..Plan::default() }
}

/// Keeps the Service by which pods find each other.
fn headless(seen: &Snapshot, plan: &mut Plan) {
    let service = &*seen.service;
    let name = service.name_any();
    let synced = |message: String| EventText { warning: false, reason: "HeadlessServiceSynced", message };
    match &seen.headless {
        Child::Absent => {
            let event = synced(format!("Headless Service(discovery) {name} created"));
            plan.steps.push(Step::CreateHeadless(objects::headless(service), event));
        }
        Child::Terminating(_) => {} // its end is a trigger
        Child::Ours(found) => {
            let address = found.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
            if address != Some("None") {
                plan.steps.push(Step::DeleteHeadless(ChildRef::to(&**found)));
            } else if let Some(patch) = objects::headless_patch(service, found, false) {
                let event = synced(format!("Headless Service {name} updated"));
                plan.steps.push(Step::PatchHeadless(ChildRef::to(&**found), patch, event));
            }
        }
        Child::Orphan(found) if objects::is_old_headless(service, found) => {
            if let Some(patch) = objects::headless_patch(service, found, true) {
                let event = synced(format!("Headless Service {name} updated"));
                plan.steps.push(Step::PatchHeadless(ChildRef::to(&**found), patch, event));
            }
        }
        Child::Orphan(_) | Child::Foreign(_) => plan.warnings.push(EventText {
            warning: true,
            reason: "HeadlessServiceConflict",
            message: format!(
                "Service {name} is not ours and is left alone: pods have no names below it until it is gone"
            ),
        }),
    }
}

/// What says `Pooled` and asks for copies got past the webhook: it gets them.
fn pooled(seen: &Snapshot) -> Option<EventText> {
    let (mode, copies) = (seen.service.spec.mode.as_deref(), seen.desired());
    (mode == Some("Pooled") && copies > 1).then(|| EventText {
        warning: true,
        reason: "PooledModeReplicas",
        message: format!(
            "spec.mode Pooled allows at most one replica, got {copies}, which are run; scale \
             spec.template.spec.roles[].replicas instead"
        ),
    })
}

/// Recorded templates that nobody needs.
fn forget(seen: &Snapshot, revisions: &Revisions<'_>) -> Vec<Step> {
    let live: BTreeSet<&str> = seen
        .sets
        .iter()
        .map(Set::revision)
        .chain([revisions.current.recorded.name.as_str(), revisions.update.recorded.name.as_str()])
        .collect();
    let recorded: Vec<_> = seen.history.iter().map(|record| record.recorded.clone()).collect();
    let gone =
        surplus(&recorded, seen.service.spec.revision_history_limit, |it| live.contains(it.name.as_str()));
    let reference = |name: &str| {
        let record = seen.history.iter().find(|record| record.recorded.name == name)?;
        Some(Step::Forget(ChildRef::to(&*record.revision)))
    };
    gone.into_iter().filter_map(|recorded| reference(&recorded.name)).collect()
}

/// Scales or rolls the RoleSets.
struct Planner<'a> {
    seen: &'a Snapshot,
    revisions: &'a Revisions<'a>,
    replicas: Vec<Replica>,
    limits: Limits,
    in_place: bool,
}

impl<'a> Planner<'a> {
    fn of(seen: &'a Snapshot, revisions: &'a Revisions<'a>, warnings: &mut Vec<EventText>) -> Self {
        let (current, update) = (&revisions.current.recorded.name, &revisions.update.recorded.name);
        let strategy = seen.service.spec.update_strategy.as_ref();
        let in_place = strategy.and_then(|it| it.type_.as_deref()) == Some("InPlaceUpdate");
        let mut amount = |field: &str, value: Option<&IntOrString>| {
            Amount::parse(value?, QuotedIntegers::Refuse)
                .inspect_err(|error| {
                    let message = format!("spec.updateStrategy.{field} is taken for unset: {error}");
                    warnings.push(EventText { warning: true, reason: "InvalidUpdateStrategy", message });
                })
                .ok()
        };
        let surge = amount("maxSurge", strategy.and_then(|it| it.max_surge.as_ref()));
        let unavailable = amount("maxUnavailable", strategy.and_then(|it| it.max_unavailable.as_ref()));
        let desired = seen.desired();
        let limits =
            if in_place { Limits::unguarded(desired) } else { Limits::resolve(desired, surge, unavailable) };
        let replicas = seen.sets.iter().map(|set| set.replica(current, update)).collect();
        Self { seen, revisions, replicas, limits, in_place }
    }

    fn work(&mut self) -> Result<(Part, Vec<Step>), String> {
        let scaled = self.scale()?;
        if !scaled.is_empty() || self.seen.service.spec.paused {
            return Ok((Part::Scaling, scaled));
        }
        Ok((Part::Rollout, self.roll()?))
    }

    fn scale(&self) -> Result<Vec<Step>, String> {
        if self.seen.service.spec.paused && !self.revisions.is_single() {
            let step = scale_paused(&self.replicas, self.limits.desired);
            let mut steps = self.create(Revision::Current, step.create_current)?;
            steps.extend(self.create(Revision::Update, step.create_update)?);
            steps.extend(self.delete(&step.delete));
            return Ok(steps);
        }
        let step = pool::scale(&self.replicas, self.limits, set_scale_in, Surplus::SparesReady);
        let mut steps = self.create(Revision::Update, step.create)?;
        steps.extend(self.delete(&step.delete));
        Ok(steps)
    }

    fn roll(&self) -> Result<Vec<Step>, String> {
        let strategy = self.seen.service.spec.update_strategy.as_ref().and_then(|it| it.type_.as_deref());
        if let Some(other) = strategy.filter(|it| !matches!(*it, "" | "RollingUpdate" | "InPlaceUpdate")) {
            return Err(format!("unexpected stormService strategy type {other}"));
        }
        let updated =
            self.replicas.iter().filter(|replica| replica.is_active() && replica.is_updated()).count();
        if updated == self.limits.desired {
            return Ok(Vec::new());
        }
        if self.in_place {
            return self.edit();
        }
        let step = pool::roll(&self.replicas, self.limits, set_rollout, Pace::Free);
        let mut steps: Vec<Step> = self.delete(&step.delete);
        steps.extend(self.create(Revision::Update, step.create)?);
        Ok(steps)
    }

    /// Moves all RoleSets to the template in place.
    fn edit(&self) -> Result<Vec<Step>, String> {
        self.check_template()?;
        let roles = self.revisions.of_roles();
        let rendered = Rendered {
            service: &self.seen.service,
            template: self.seen.service.spec.template.stored(),
            revision: &self.revisions.update.recorded.name,
            roles: &roles,
        };
        let outdated = self
            .seen
            .sets
            .iter()
            .filter(|set| !set.terminating && set.revision() != self.revisions.update.recorded.name);
        let moved = outdated.map(|set| {
            let before = self.seen.history.iter().find(|record| record.recorded.name == set.revision());
            let patch = rendered.patch(&set.role_set, before.map(|record| &record.template));
            Step::Move(set.reference(), patch)
        });
        Ok(moved.collect())
    }

    fn delete(&self, doomed: &[&Replica]) -> Vec<Step> {
        let set =
            |replica: &&Replica| self.seen.sets.iter().find(|set| set.replica("", "").uid == replica.uid);
        doomed.iter().filter_map(set).map(|set| Step::Delete(set.reference())).collect()
    }

    /// New RoleSets of a revision.
    fn create(&self, revision: Revision, count: usize) -> Result<Vec<Step>, String> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let at_update = revision == Revision::Update;
        let (template, record, roles) = if at_update {
            self.check_template()?;
            (self.seen.service.spec.template.stored(), self.revisions.update, self.revisions.of_roles())
        } else {
            (&self.revisions.current.template, self.revisions.current, self.revisions.of_current_roles())
        };
        // Those that are moved in place bring their indexes along.
        let same = |replica: &&Replica| self.in_place || replica.revision == revision;
        let used = self.replicas.iter().filter(|replica| replica.is_active()).filter(same);
        let free = lowest_free(used.filter_map(|replica| replica.index), count);
        let rendered = Rendered {
            service: &self.seen.service,
            template,
            revision: &record.recorded.name,
            roles: &roles,
        };
        let seed = format!("{:x}/{}", self.seen.draw, record.recorded.name);
        let made = free.into_iter().enumerate();
        Ok(made.map(|(place, index)| Step::Create(rendered.role_set(index, &seed, place))).collect())
    }

    /// A template without a spec, or whose labels the selector does not find, makes no RoleSets.
    fn check_template(&self) -> Result<(), String> {
        let template = &self.seen.service.spec.template;
        if template.spec.is_none() {
            return Err("bad stormService template: nil".to_owned());
        }
        let labels = template.metadata.as_ref().and_then(|it| it.labels.clone()).unwrap_or_default();
        let selector = &self.seen.service.spec.selector;
        match Selector::of_label_selector(selector) {
            Err(error) => Err(format!("bad selector format: {error}")),
            Ok(parsed) if !parsed.matches(&labels) => Err(format!(
                "roleSet labels {} does not match stormService selector {}",
                serde_json::json!(labels),
                serde_json::json!(selector)
            )),
            Ok(_) => Ok(()),
        }
    }
}
