// SPDX-License-Identifier: Apache-2.0
//! Which recorded template is the wanted one, which the one before, and at which one a role changed last. Pure.

use std::collections::BTreeMap;

use kube_loops::rollout::revisions::{UpdateRevision, current_revision, unchanged_since, update_revision};
use serde_json::Value;

use super::{
    super::{
        json::{at, list},
        templates::{digest_of, same_service_template},
    },
    snapshot::{Record, Snapshot},
};

/// The revisions of a StormService.
#[derive(Debug, Clone)]
pub(super) struct Revisions<'a> {
    /// The one of the template.
    pub(super) update: &'a Record,
    /// The one that was in force before; the same where nothing is rolled.
    pub(super) current: &'a Record,
    history: &'a [Record],
}

/// What has to be done before there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    /// The template is to be recorded under this number.
    Record(i64),
    /// A recorded template is the wanted one again, and gets this number.
    Renumber(String, i64),
}

/// Finds the live template in the history.
pub(super) fn revisions_of(seen: &Snapshot) -> Result<Revisions<'_>, Missing> {
    let live = seen.service.spec.template.stored();
    let recorded: Vec<_> = seen.history.iter().map(|record| record.recorded.clone()).collect();
    let record_of = |name: &str| seen.history.iter().find(|record| record.recorded.name == name);
    let same =
        |name: &str| record_of(name).is_some_and(|record| same_service_template(&record.template, live));
    let update = match update_revision(&recorded, |recorded| same(&recorded.name)) {
        UpdateRevision::Record(number) => return Err(Missing::Record(number)),
        UpdateRevision::Renumber(old, number) => return Err(Missing::Renumber(old.name.clone(), number)),
        UpdateRevision::Newest(newest) => record_of(&newest.name).ok_or(Missing::Record(newest.number))?,
    };
    let stored = seen.service.status.as_ref().map_or("", |status| status.current_revision.as_str());
    let current = current_revision(&recorded, stored).and_then(|current| record_of(&current.name));
    Ok(Revisions { update, current: current.unwrap_or(update), history: &seen.history })
}

impl<'a> Revisions<'a> {
    /// Whether there is nothing to roll.
    pub(super) fn is_single(&self) -> bool {
        self.update.recorded.name == self.current.recorded.name
    }

    /// The revision at which each role of the update template changed last.
    pub(super) fn of_roles(&self) -> BTreeMap<String, &'a Record> {
        let before = role_digests(&self.current.template);
        let of_role = |(name, digest): (String, String)| {
            let record = if before.get(&name) == Some(&digest) {
                self.unchanged_since(&name, &digest)
            } else {
                self.update
            };
            (name, record)
        };
        role_digests(&self.update.template).into_iter().map(of_role).collect()
    }

    /// All roles of the current template at the current revision.
    pub(super) fn of_current_roles(&self) -> BTreeMap<String, &'a Record> {
        role_digests(&self.current.template).into_keys().map(|name| (name, self.current)).collect()
    }

    fn unchanged_since(&self, role: &str, digest: &str) -> &'a Record {
        let recorded: Vec<_> = self.history.iter().map(|record| record.recorded.clone()).collect();
        let same = |name: &str| {
            let record = self.history.iter().find(|record| record.recorded.name == name);
            record.is_some_and(|record| {
                role_digests(&record.template).get(role).is_some_and(|other| other == digest)
            })
        };
        let oldest = unchanged_since(&recorded, &self.current.recorded, |recorded| same(&recorded.name));
        let record = self.history.iter().find(|record| record.recorded.name == oldest.name);
        record.unwrap_or(self.current)
    }
}

/// Digests of the pod templates of a service's roles, by name.
fn role_digests(template: &Value) -> BTreeMap<String, String> {
    let name = |role: &Value| at(role, &["name"]).as_str().unwrap_or_default().to_owned();
    let roles = list(template, &["spec", "roles"]);
    roles.map(|role| (name(role), digest_of(at(role, &["template"])))).collect()
}
