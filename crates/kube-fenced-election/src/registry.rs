// SPDX-License-Identifier: Apache-2.0
//! What the electors of one process know of each other and of other members.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::clock::Instant;

use super::spread::{self, Held, Peer};

/// Another process of this product, by its presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its identity.
    pub identity: String,
    /// Since when it has been seen without a break.
    pub seen_since: Instant,
    /// It is shutting down.
    pub leaving: bool,
    /// Leases that it contends for; `None`: it does not say.
    pub contends_for: Option<BTreeSet<String>>,
    /// All its elections: the controller by the name of the Lease.
    pub elections: BTreeMap<String, String>,
    /// The Lease that is its upgrade guard; `None`: it has none, or does not say.
    pub guards: Option<String>,
}

/// All other members that are present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// Since when presence is being watched; `None`: not known yet.
    pub known_since: Option<Instant>,
    /// The others by the name of their presence Lease.
    pub others: BTreeMap<String, Member>,
    /// Some member has gone while it was watched.
    pub some_left: bool,
    /// Names of presence Leases that were seen and then not renewed for so long that their members are gone.
    pub expired: BTreeSet<String>,
}

impl Members {
    /// Whether nobody else is there to take a Lease. For the first half minute the others may not have
    /// shown themselves yet, unless they have been seen to go.
    pub(crate) fn alone(&self, now: Instant) -> bool {
        let settled = |since: Instant| now.saturating_duration_since(since) >= spread::REBALANCE_PERIOD;
        self.others.values().all(|member| member.leaving)
            && (self.some_left || self.known_since.is_some_and(settled))
    }

    /// Whether the member with this fingerprint was seen to expire, and has not come back.
    pub(crate) fn has_expired(&self, fingerprint: &str) -> bool {
        self.expired.iter().any(|name| name.ends_with(fingerprint))
    }

    /// For which controller the present member `identity` contends for this Lease; `None`: there is no such member,
    /// or it does not name the Lease.
    pub(crate) fn controller_of(&self, identity: &str, lease: &str) -> Option<&str> {
        let member = self.others.values().find(|member| member.identity == identity)?;
        member.elections.get(lease).map(String::as_str)
    }

    /// Some present member that contends for this Lease, and the controller for which it does.
    pub(crate) fn contending_for(&self, lease: &str) -> Option<(&Member, &str)> {
        self.others.values().find_map(|member| Some((member, member.elections.get(lease)?.as_str())))
    }

    /// Whether some other member is there to hold this Lease as the upgrade guard.
    pub(crate) fn would_guard(&self, lease: &str) -> bool {
        self.others.values().any(|member| !member.leaving && member.guards.as_deref() == Some(lease))
    }

    /// Some present member whose upgrade guard is this Lease.
    pub(crate) fn guarding(&self, lease: &str) -> Option<&Member> {
        self.others.values().find(|member| member.guards.as_deref() == Some(lease))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    Idle,
    /// An attempt to acquire is under way.
    Acquiring,
    Leading(Instant),
}

#[derive(Debug)]
struct Slot {
    activity: Activity,
    /// Whoever holds the Lease by name and by time, as last seen.
    holder: Option<String>,
    surplus: Arc<Notify>,
    /// Its controller could work.
    eligible: bool,
    /// When the Lease was last offered to others.
    offered: Option<Instant>,
    unwanted_until: Option<Instant>,
    /// It waits for a claim of the upgrade guard that lasts.
    wants_guard: bool,
}

#[derive(Debug, Default)]
struct State {
    slots: BTreeMap<String, Slot>,
    last_offer: Option<Instant>,
    /// Tasks of some controller may run on though its elector has ended.
    unfinished: bool,
}

/// State of one process that all its electors share.
#[derive(Debug)]
pub(crate) struct ElectionRegistry {
    state: Mutex<State>,
    members: watch::Sender<Members>,
    leading: watch::Sender<usize>,
    electors: watch::Sender<usize>,
    guard_wanted: watch::Sender<bool>,
    elections: BTreeMap<String, String>,
    guards: Option<String>,
}

/// One elector's slot in [`ElectionRegistry`]; dropping it removes the slot.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<ElectionRegistry>,
    lease: String,
    surplus: Arc<Notify>,
}

impl ElectionRegistry {
    /// A process without electors that knows of nobody. `elections`: the controller by the name of the Lease, of all
    /// that it is going to have; `guards`: the Lease of its upgrade guard.
    pub(crate) fn new(elections: BTreeMap<String, String>, guards: Option<String>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            members: watch::Sender::new(Members::default()),
            leading: watch::Sender::new(0),
            electors: watch::Sender::new(0),
            guard_wanted: watch::Sender::new(false),
            elections,
            guards,
        })
    }

    /// Registers the elector of `lease`.
    pub(crate) fn register(self: &Arc<Self>, lease: &str) -> Registration {
        let surplus = Arc::new(Notify::new());
        let slot = Slot {
            activity: Activity::Idle,
            holder: None,
            surplus: Arc::clone(&surplus),
            eligible: true,
            offered: None,
            unwanted_until: None,
            wants_guard: false,
        };
        let count = {
            let mut state = self.state.lock();
            state.slots.insert(lease.to_owned(), slot);
            state.slots.len()
        };
        self.electors.send_replace(count);
        Registration { registry: Arc::clone(self), lease: lease.to_owned(), surplus }
    }

    /// Leases that this process leads or is about to acquire.
    pub(crate) fn load(&self) -> usize {
        self.state.lock().slots.values().filter(|slot| slot.activity != Activity::Idle).count()
    }

    /// Leases that this process wants: those of controllers that could work.
    pub(crate) fn wanted(&self) -> Vec<String> {
        let state = self.state.lock();
        state.slots.iter().filter(|(_, slot)| slot.eligible).map(|(lease, _)| lease.clone()).collect()
    }

    /// All elections of this process: the controller by the name of the Lease.
    pub(crate) fn elections(&self) -> &BTreeMap<String, String> {
        &self.elections
    }

    /// The Lease of this process's upgrade guard.
    pub(crate) fn guards(&self) -> Option<&str> {
        self.guards.as_deref()
    }

    /// Whether some elector waits for a claim of the upgrade guard that lasts.
    pub(crate) fn guard_wanted(&self) -> watch::Receiver<bool> {
        self.guard_wanted.subscribe()
    }

    /// How many controllers of this process lead.
    pub(crate) fn leading(&self) -> watch::Receiver<usize> {
        self.leading.subscribe()
    }

    /// How many electors are at work.
    pub(crate) fn electors(&self) -> watch::Receiver<usize> {
        self.electors.subscribe()
    }

    /// The other members.
    pub(crate) fn members(&self) -> watch::Receiver<Members> {
        self.members.subscribe()
    }

    /// Whether tasks of some controller may run on though its elector has ended.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.state.lock().unfinished
    }

    pub(super) fn set_members(&self, members: Members) {
        self.members.send_if_modified(|known| {
            let new = *known != members;
            *known = members;
            new
        });
    }

    /// Tells one elector to give its Lease to another member, if that is due.
    pub(super) fn offer_surplus(&self, now: Instant) {
        let members = self.members.borrow().clone();
        let mut state = self.state.lock();
        let held: Vec<Held> = state.slots.iter().filter_map(|(lease, slot)| slot.held(lease)).collect();
        let peers: Vec<Peer> = members
            .others
            .values()
            .map(|member| Peer {
                seen_since: member.seen_since,
                leaving: member.leaving,
                contends_for: member.contends_for.clone(),
                load: state
                    .slots
                    .values()
                    .filter(|slot| slot.holder.as_ref() == Some(&member.identity))
                    .count(),
            })
            .collect();
        let Some(lease) = spread::surplus(&held, &peers, state.last_offer, now).map(str::to_owned) else {
            return;
        };
        state.last_offer = Some(now);
        if let Some(slot) = state.slots.get_mut(&lease) {
            slot.offered = Some(now);
            slot.surplus.notify_one();
        }
    }

    fn update(&self, lease: &str, change: impl FnOnce(&mut Slot)) {
        let (leading, guard_wanted) = {
            let mut state = self.state.lock();
            if let Some(slot) = state.slots.get_mut(lease) {
                change(slot);
            }
            let leads = |slot: &&Slot| matches!(slot.activity, Activity::Leading(_));
            (state.slots.values().filter(leads).count(), state.slots.values().any(|slot| slot.wants_guard))
        };
        self.guard_wanted.send_if_modified(|known| std::mem::replace(known, guard_wanted) != guard_wanted);
        self.leading.send_if_modified(|known| {
            let new = *known != leading;
            *known = leading;
            new
        });
    }
}

impl Slot {
    fn held(&self, lease: &str) -> Option<Held> {
        match self.activity {
            Activity::Leading(since) => {
                Some(Held { lease: lease.to_owned(), since, unwanted_until: self.unwanted_until })
            }
            Activity::Idle | Activity::Acquiring => None,
        }
    }
}

impl Registration {
    /// An attempt to acquire is under way: counts as load, so that seven free Leases are not all taken
    /// at once.
    pub(crate) fn acquiring(&self) {
        self.registry.update(&self.lease, |slot| slot.activity = Activity::Acquiring);
    }

    /// Neither leading nor acquiring.
    pub(crate) fn idle(&self) {
        self.registry.update(&self.lease, |slot| slot.activity = Activity::Idle);
    }

    /// Leading from now on.
    pub(crate) fn leading(&self, now: Instant) {
        self.registry.update(&self.lease, |slot| {
            slot.activity = Activity::Leading(now);
            let back = |offered: Instant| now.saturating_duration_since(offered) < Duration::from_mins(1);
            if slot.offered.take().is_some_and(back) {
                // Offered to others and won back: nobody wanted it.
                slot.unwanted_until = Some(now + spread::UNWANTED_FOR);
            }
        });
    }

    /// Who holds the Lease by name and by time.
    pub(crate) fn holder(&self, holder: Option<&str>) {
        self.registry.update(&self.lease, |slot| {
            if slot.holder.as_deref() != holder {
                slot.holder = holder.map(str::to_owned);
            }
        });
    }

    /// Whether it waits for a claim of the upgrade guard that lasts.
    pub(crate) fn wants_guard(&self, wants: bool) {
        self.registry.update(&self.lease, |slot| slot.wants_guard = wants);
    }

    /// Whether the controller could work if it led.
    pub(crate) fn set_eligible(&self, eligible: bool) {
        self.registry.update(&self.lease, |slot| slot.eligible = eligible);
    }

    /// Tasks of the controller may run on though nobody watches them any more.
    pub(crate) fn unfinished(&self) {
        self.registry.state.lock().unfinished = true;
    }

    /// Resolves when another member should take this Lease.
    pub(crate) async fn surplus(&self) {
        self.surplus.notified().await;
    }

    /// What all electors of the process share.
    pub(crate) fn registry(&self) -> &ElectionRegistry {
        &self.registry
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.idle();
        self.wants_guard(false);
        let count = {
            let mut state = self.registry.state.lock();
            state.slots.remove(&self.lease);
            state.slots.len()
        };
        self.registry.electors.send_replace(count);
    }
}
