// SPDX-License-Identifier: Apache-2.0
//! Doctored audit logs, written as stories: what the oracle and the judge of a campaign are tried on.

use std::time::Duration;

use kube_fenced_election::clock::Timestamp;
use serde_json::{Value, json};

use super::{
    audit::Entry,
    leases::{self, Change, Verdict},
    older::{GROUP, LEGACY, Reign, reigns},
    takes::{EarlyTake, taken_early},
    write_gaps::write_gaps,
};

/// A replica.
pub(crate) const A: &str = "manager-0_aaaa";
/// Another one.
pub(crate) const B: &str = "manager-1_bbbb";
/// The Lease that a story is about.
pub(crate) const LEASE: &str = "aibrix-kv-cache-controller";

/// Audit lines, written as a story: times are seconds from its beginning.
#[derive(Debug, Default)]
pub(crate) struct Story {
    /// The lines.
    pub(crate) lines: Vec<String>,
    version: u64,
}

impl Story {
    /// `holder` wins or renews the Lease for 15 s; `holder` itself asks.
    pub(crate) fn lease(self, at: f64, holder: &str) -> Self {
        self.lease_by(at, holder, 15, &user_agent(holder))
    }

    /// `holder` gives the Lease back.
    pub(crate) fn release(self, at: f64, holder: &str) -> Self {
        self.lease_by(at, "", 1, &user_agent(holder))
    }

    /// Somebody who ignores the protocol writes `holder` into the Lease.
    pub(crate) fn rob(self, at: f64, holder: &str) -> Self {
        self.lease_by(at, holder, 15, "kubectl/v1.36.3")
    }

    /// `user_agent` writes `holder` into the Lease.
    pub(crate) fn lease_by(mut self, at: f64, holder: &str, seconds: u64, user_agent: &str) -> Self {
        self.version += 1;
        let lease = json!({
            "metadata": {"name": LEASE, "resourceVersion": self.version.to_string(),
                         "labels": {"leaders.aibrix.ai/controller": "kv-cache-controller"}},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds},
        });
        self.line(at, "patch", user_agent, ("coordination.k8s.io", "leases", LEASE), (200, &lease))
    }

    /// `holder` writes itself into the older managers' Lease, or renews it: a Go manager, or, as [`GROUP`], the process
    /// `A`. An empty one gives it back.
    pub(crate) fn legacy(self, at: f64, holder: &str, seconds: u64) -> Self {
        let ours = holder == GROUP;
        let agent = if ours { user_agent(A) } else { "leasecontender/v0.0.0 (linux/amd64)".to_owned() };
        self.legacy_by(at, holder, seconds, &agent)
    }

    /// `user_agent` writes `holder` into the older managers' Lease.
    pub(crate) fn legacy_by(mut self, at: f64, holder: &str, seconds: u64, user_agent: &str) -> Self {
        self.version += 1;
        let lease = json!({
            "metadata": {"name": LEGACY, "resourceVersion": self.version.to_string()},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds},
        });
        self.line(at, "patch", user_agent, ("coordination.k8s.io", "leases", LEGACY), (200, &lease))
    }

    /// Somebody deletes the Lease.
    pub(crate) fn delete_lease(self, at: f64) -> Self {
        let object = ("coordination.k8s.io", "leases", LEASE);
        self.line(at, "delete", "kubectl/v1.36.3", object, (200, &json!({"kind": "Status"})))
    }

    /// The controller in the process `identity` changes a pod.
    pub(crate) fn write(self, at: f64, identity: &str) -> Self {
        self.line(at, "patch", &user_agent(identity), ("", "pods", "web-0"), (200, &Value::Null))
    }

    /// Any request.
    pub(crate) fn line(
        mut self,
        at: f64,
        verb: &str,
        user_agent: &str,
        (group, resource, name): (&str, &str, &str),
        (code, response): (u16, &Value),
    ) -> Self {
        let line = json!({
            "stage": "ResponseComplete", "verb": verb, "userAgent": user_agent, "requestURI": "/",
            "user": {"username": "system:serviceaccount:aibrix-system:aibrix-controller-manager"},
            "objectRef": {"apiGroup": group, "resource": resource, "namespace": "aibrix-system", "name": name},
            "responseStatus": {"code": code}, "responseObject": response,
            "requestReceivedTimestamp": time(at).to_string(),
            "stageTimestamp": time(at + 0.01).to_string(),
        });
        self.lines.push(line.to_string());
        self
    }

    /// The body of the last request.
    pub(crate) fn asks(mut self, body: &Value) -> Self {
        let line = self.lines.pop().expect("a line");
        let mut line: Value = serde_json::from_str(&line).expect("JSON");
        line["requestObject"] = body.clone();
        self.lines.push(line.to_string());
        self
    }

    /// What the oracle reads in the log.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lines.iter().filter_map(|line| Entry::parse(line).expect("an audit line")).collect()
    }

    /// Who wrote without the Lease.
    pub(crate) fn verdict(&self) -> Verdict {
        leases::who_wrote_without_lease(&self.entries())
    }

    /// Who took the Lease before a term had ended.
    pub(crate) fn takes(&self) -> Vec<EarlyTake> {
        leases::history(&self.entries()).values().flat_map(|changes| taken_early(changes)).collect()
    }

    /// The process `identity` makes a child of `parent`.
    pub(crate) fn child(self, at: f64, identity: &str, parent: &str, number: u32) -> Self {
        let name = format!("{parent}-{number:032x}");
        self.line(at, "create", &user_agent(identity), ("", "configmaps", &name), (201, &Value::Null))
    }

    /// The history of the Lease.
    pub(crate) fn changes(&self) -> Vec<Change> {
        leases::history_of(&self.entries(), "aibrix-system", LEASE)
    }

    /// The times in which an older manager's claim ran.
    pub(crate) fn reigns(&self) -> Vec<Reign> {
        reigns(&leases::history_of(&self.entries(), "aibrix-system", LEGACY))
    }

    /// Times between writes by holders, in milliseconds.
    pub(crate) fn write_gaps(&self, excused: &[(f64, f64)]) -> Vec<u128> {
        let excused: Vec<_> = excused.iter().map(|it| (time(it.0), time(it.1))).collect();
        write_gaps(&self.changes(), &excused).iter().map(|it| it.lasted.as_millis()).collect()
    }

    /// How many changes were made without the Lease.
    pub(crate) fn violations(&self) -> usize {
        self.verdict().violations.len()
    }
}

/// A moment of the story: seconds from its beginning.
pub(crate) fn time(at: f64) -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_hours(500_000) + Duration::from_secs_f64(at)
}

/// How the controller in the process `identity` calls itself.
pub(crate) fn user_agent(identity: &str) -> String {
    format!("aibrix-controller-manager/0.1.0 (linux/amd64) kv-cache-controller/{identity}")
}
