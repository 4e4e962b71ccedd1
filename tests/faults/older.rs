// SPDX-License-Identifier: Apache-2.0
//! An older manager: client-go's leaderelection, which stands for the Lease of Go managers throughout a
//! campaign.
//!
//! It cannot win while our group renews that Lease. It gets it when somebody writes its name there, when the
//! group's renewals are refused, and now and then by itself, when no claim could be renewed because the API
//! server was away.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use kube_fenced_election::clock::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    Settings,
    plan::{Fault, Kind},
    support::{
        ControlPlane,
        contender::Contender,
        install::NAMESPACE,
        objects,
        older::{GROUP, LEGACY},
        process::Signal,
        wait::{now, within_deadline},
    },
};

const LOOK: Duration = Duration::from_millis(200);
/// For what takes a moment: a refusal counts when the API server's own watch has seen it.
const SOON: Duration = Duration::from_secs(10);
/// A manager that is told to stop has released its Lease by then.
const STOP: Duration = Duration::from_secs(5);
/// The policy that refuses the group's renewals.
const REFUSAL: &str = "refuse-the-groups-renewals";

/// The older manager, in one process after the other.
#[derive(Debug)]
pub(crate) struct Older {
    contender: Mutex<Contender>,
    args: Vec<String>,
    lease: Duration,
    /// Taken while something is done with it.
    busy: tokio::sync::Mutex<()>,
}

impl Older {
    /// Starts its first process, with client-go's usual proportions.
    pub(crate) fn start(plane: &ControlPlane, settings: &Settings) -> Self {
        let millis = settings.lease.as_millis();
        let args = vec![
            format!("-lease-duration={millis}ms"),
            format!("-renew-deadline={}ms", millis * 2 / 3),
            format!("-retry-period={}ms", millis * 2 / 15),
        ];
        let contender = Mutex::new(stand(plane, &args));
        Self { contender, args, lease: settings.lease, busy: tokio::sync::Mutex::default() }
    }

    /// Lets it have its Lease as `fault` says, for a while and with a pause in which it does not renew, and
    /// stops it; another process stands when our group has the Lease again. Answers when its claim ended.
    ///
    /// # Errors
    /// It did not get the Lease, in words.
    pub(crate) async fn rule(
        &self,
        plane: &ControlPlane,
        client: &Client,
        fault: Fault,
    ) -> Result<Timestamp, String> {
        let _busy = self.busy.lock().await;
        let words = |error: kube::Error| error.to_string();
        if fault.kind == Kind::OlderWins {
            self.refuse_group(client).await.map_err(words)?;
            let won = within_deadline(self.lease * 3 + SOON, async || {
                if self.leads() { Ok(()) } else { Err("it does not lead".to_owned()) }
            });
            let won = won.await;
            allow_group(client).await.map_err(words)?;
            won.map_err(|it| format!("the group could not renew, and still no older manager won: {it}"))?;
        } else {
            self.write_in(client).await.map_err(words)?;
        }
        tokio::time::sleep(fault.lasts / 2).await;
        self.signal(Signal::STOP);
        tokio::time::sleep(fault.pause).await;
        self.signal(Signal::CONT);
        tokio::time::sleep(fault.lasts / 2).await;
        Ok(self.stop(plane, client, fault.releases).await)
    }

    /// For ever: stops it when it has won by itself, and puts another in the place of one that has lost its
    /// Lease.
    pub(crate) async fn look_after(&self, plane: &ControlPlane, client: &Client) {
        for n in 0_usize.. {
            tokio::time::sleep(LOOK).await;
            let Ok(_busy) = self.busy.try_lock() else { continue };
            if self.leads() {
                tokio::time::sleep(self.lease / 5).await;
                self.stop(plane, client, n % 2 == 0).await;
            } else if self.has_ended() {
                self.stop(plane, client, false).await;
            }
        }
    }

    /// Waits until it stands and our group has renewed its claim since; for as long as an older manager that
    /// has just won may stay, and `more`.
    ///
    /// # Errors
    /// What was seen instead.
    pub(crate) async fn at_rest(&self, client: &Client, more: Duration) -> Result<(), String> {
        let before = lease(client).await.and_then(|it| it.metadata.resource_version);
        within_deadline(self.lease * 2 + more, async || {
            let _busy = self.busy.lock().await;
            let seen = lease(client).await.ok_or("its Lease cannot be read")?;
            let renewed = seen.metadata.resource_version != before;
            let holder = holder(&seen);
            if renewed && holder == GROUP && !self.leads() && !self.has_ended() {
                Ok(())
            } else {
                Err(format!("the older managers' Lease is held by {holder:?}, written since: {renewed}"))
            }
        })
        .await
    }

    fn leads(&self) -> bool {
        let contender = self.contender.lock();
        contender.said("leading") && contender.process.exit_status().is_none()
    }

    fn has_ended(&self) -> bool {
        self.contender.lock().process.exit_status().is_some()
    }

    fn signal(&self, signal: Signal) {
        self.contender.lock().process.signal(signal);
    }

    /// Somebody writes its name into the Lease, whoever holds it: it finds itself there at its next look, and
    /// leads.
    async fn write_in(&self, client: &Client) -> kube::Result<()> {
        let time = format!("{:.6}", now());
        let spec = json!({"holderIdentity": self.identity(), "leaseDurationSeconds": self.lease.as_secs(),
                          "acquireTime": time, "renewTime": time});
        let patch = Patch::Merge(json!({"spec": spec}));
        leases(client).patch(LEGACY, &PatchParams::default(), &patch).await.map(drop)
    }

    fn identity(&self) -> String {
        self.contender.lock().identity.clone()
    }

    /// Stops it, with a release or without a word, and waits for our group to have the Lease; answers when
    /// the claim ended.
    async fn stop(&self, plane: &ControlPlane, client: &Client, releases: bool) -> Timestamp {
        if releases {
            self.signal(Signal::TERM);
            drop(
                within_deadline(STOP, async || self.has_ended().then_some(()).ok_or_else(String::new)).await,
            );
        }
        self.contender.lock().process.kill();
        let mut until = now();
        if let Some(seen) = lease(client).await.filter(|it| holder(it) == self.identity()) {
            let renewed = seen.spec.and_then(|it| it.renew_time).map(|it| it.0);
            until = renewed.unwrap_or(until) + self.lease;
        }
        // One that stood at once could win a Lease that was released, as it may.
        let ours = within_deadline(self.lease * 2 + SOON, async || {
            let seen = lease(client).await.map(|it| holder(&it)).unwrap_or_default();
            if seen == GROUP { Ok(()) } else { Err(seen) }
        });
        // What is wrong then is seen by the judge.
        drop(ours.await);
        *self.contender.lock() = stand(plane, &self.args);
        until
    }

    async fn refuse_group(&self, client: &Client) -> kube::Result<()> {
        for object in refusal() {
            objects::try_create(client, &object).await?;
        }
        Ok(())
    }
}

/// A new process, as a user of its own: what is done to ours does not hit it.
fn stand(plane: &ControlPlane, args: &[String]) -> Contender {
    Contender::start_as(plane, plane.admin_kubeconfig(), LEGACY, args)
}

fn leases(client: &Client) -> Api<Lease> {
    Api::namespaced(client.clone(), NAMESPACE)
}

async fn lease(client: &Client) -> Option<Lease> {
    leases(client).get_opt(LEGACY).await.ok().flatten()
}

fn holder(lease: &Lease) -> String {
    lease.spec.as_ref().and_then(|it| it.holder_identity.clone()).unwrap_or_default()
}

/// Refuses what service accounts write into the older managers' Lease; that of each controller goes on.
fn refusal() -> [Value; 2] {
    let api = "admissionregistration.k8s.io/v1";
    let leases = json!([{"apiGroups": ["coordination.k8s.io"], "apiVersions": ["v1"],
                         "operations": ["CREATE", "UPDATE"], "resources": ["leases"]}]);
    let refuse = format!(
        "object.metadata.name != '{LEGACY}' || !request.userInfo.username.startsWith('system:serviceaccount:')"
    );
    [
        json!({"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": REFUSAL},
               "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": leases},
                        "validations": [{"expression": refuse}]}}),
        json!({"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": REFUSAL},
               "spec": {"policyName": REFUSAL, "validationActions": ["Deny"]}}),
    ]
}

async fn allow_group(client: &Client) -> kube::Result<()> {
    for object in refusal() {
        let api: Api<DynamicObject> = objects::api_of(client, &object).await;
        api.delete(REFUSAL, &DeleteParams::default()).await?;
    }
    Ok(())
}
