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
pub struct Member {
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
pub struct Members {
    /// Since when presence is being watched; `None`: not known yet.
    pub known_since: Option<Instant>,
    /// The others by the name of their presence Lease.
    pub others: BTreeMap<String, Member>,
    /// Some member has gone while it was watched.
    pub some_left: bool,
}

impl Members {
    /// Whether nobody else is there to take a Lease. For the first half minute the others may not have
    /// shown themselves yet, unless they have been seen to go.
    pub fn alone(&self, now: Instant) -> bool {
        let settled = |since: Instant| now.saturating_duration_since(since) >= spread::REBALANCE_PERIOD;
        self.others.values().all(|member| member.leaving)
            && (self.some_left || self.known_since.is_some_and(settled))
    }

    /// For which controller the present member `identity` stands under this Lease; `None`: there is no such member,
    /// or it does not name the Lease.
    pub fn controller_of(&self, identity: &str, lease: &str) -> Option<&str> {
        let member = self.others.values().find(|member| member.identity == identity)?;
        member.elections.get(lease).map(String::as_str)
    }

    /// Some present member that stands for this Lease, and the controller for which it does.
    pub fn standing_for(&self, lease: &str) -> Option<(&Member, &str)> {
        self.others.values().find_map(|member| Some((member, member.elections.get(lease)?.as_str())))
    }

    /// Whether some other member is there to hold this Lease as the upgrade guard.
    pub fn would_guard(&self, lease: &str) -> bool {
        self.others.values().any(|member| !member.leaving && member.guards.as_deref() == Some(lease))
    }

    /// Some present member whose upgrade guard is this Lease.
    pub fn guarding(&self, lease: &str) -> Option<&Member> {
        self.others.values().find(|member| member.guards.as_deref() == Some(lease))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Idle,
    /// An attempt to acquire is under way.
    Trying,
    Leading(Instant),
}

#[derive(Debug)]
struct Post {
    standing: Standing,
    /// Whoever holds the Lease by name and by time, as last seen.
    holder: Option<String>,
    surplus: Arc<Notify>,
    /// Its controller could work.
    fit: bool,
    /// When the Lease was last offered to others.
    offered: Option<Instant>,
    unwanted_until: Option<Instant>,
    /// It waits for a claim of the upgrade guard that lasts.
    wants_guard: bool,
}

#[derive(Debug, Default)]
struct State {
    posts: BTreeMap<String, Post>,
    last_gift: Option<Instant>,
    /// Tasks of some controller may run on though its elector has ended.
    unfinished: bool,
}

/// State of one process that all its electors share.
#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    members: watch::Sender<Members>,
    leading: watch::Sender<usize>,
    electors: watch::Sender<usize>,
    guard_wanted: watch::Sender<bool>,
    elections: BTreeMap<String, String>,
    guards: Option<String>,
}

/// One elector's entry in [`Shared`]; dropping it says that the elector is gone.
#[derive(Debug)]
pub struct Entry {
    shared: Arc<Shared>,
    lease: String,
    surplus: Arc<Notify>,
}

impl Shared {
    /// A process without electors that knows of nobody. `elections`: the controller by the name of the Lease, of all
    /// that it is going to have; `guards`: the Lease of its upgrade guard.
    pub fn new(elections: BTreeMap<String, String>, guards: Option<String>) -> Arc<Self> {
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
    pub fn enter(self: &Arc<Self>, lease: &str) -> Entry {
        let surplus = Arc::new(Notify::new());
        let post = Post {
            standing: Standing::Idle,
            holder: None,
            surplus: Arc::clone(&surplus),
            fit: true,
            offered: None,
            unwanted_until: None,
            wants_guard: false,
        };
        let count = {
            let mut state = self.state.lock();
            state.posts.insert(lease.to_owned(), post);
            state.posts.len()
        };
        self.electors.send_replace(count);
        Entry { shared: Arc::clone(self), lease: lease.to_owned(), surplus }
    }

    /// Leases that this process leads or is about to acquire.
    pub fn load(&self) -> usize {
        self.state.lock().posts.values().filter(|post| post.standing != Standing::Idle).count()
    }

    /// Leases that this process wants: those of controllers that could work.
    pub fn wanted(&self) -> Vec<String> {
        let state = self.state.lock();
        state.posts.iter().filter(|(_, post)| post.fit).map(|(lease, _)| lease.clone()).collect()
    }

    /// All elections of this process: the controller by the name of the Lease.
    pub fn elections(&self) -> &BTreeMap<String, String> {
        &self.elections
    }

    /// The Lease of this process's upgrade guard.
    pub fn guards(&self) -> Option<&str> {
        self.guards.as_deref()
    }

    /// Whether some elector waits for a claim of the upgrade guard that lasts.
    pub fn guard_wanted(&self) -> watch::Receiver<bool> {
        self.guard_wanted.subscribe()
    }

    /// How many controllers of this process lead.
    pub fn leading(&self) -> watch::Receiver<usize> {
        self.leading.subscribe()
    }

    /// How many electors are at work.
    pub fn electors(&self) -> watch::Receiver<usize> {
        self.electors.subscribe()
    }

    /// The other members.
    pub fn members(&self) -> watch::Receiver<Members> {
        self.members.subscribe()
    }

    /// Whether tasks of some controller may run on though its elector has ended.
    pub fn is_unfinished(&self) -> bool {
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
    pub(super) fn give_surplus(&self, now: Instant) {
        let members = self.members.borrow().clone();
        let mut state = self.state.lock();
        let held: Vec<Held> = state.posts.iter().filter_map(|(lease, post)| post.held(lease)).collect();
        let peers: Vec<Peer> = members
            .others
            .values()
            .map(|member| Peer {
                seen_since: member.seen_since,
                leaving: member.leaving,
                contends_for: member.contends_for.clone(),
                load: state
                    .posts
                    .values()
                    .filter(|post| post.holder.as_ref() == Some(&member.identity))
                    .count(),
            })
            .collect();
        let Some(lease) = spread::surplus(&held, &peers, state.last_gift, now).map(str::to_owned) else {
            return;
        };
        state.last_gift = Some(now);
        if let Some(post) = state.posts.get_mut(&lease) {
            post.offered = Some(now);
            post.surplus.notify_one();
        }
    }

    fn update(&self, lease: &str, change: impl FnOnce(&mut Post)) {
        let (leading, guard_wanted) = {
            let mut state = self.state.lock();
            if let Some(post) = state.posts.get_mut(lease) {
                change(post);
            }
            let leads = |post: &&Post| matches!(post.standing, Standing::Leading(_));
            (state.posts.values().filter(leads).count(), state.posts.values().any(|post| post.wants_guard))
        };
        self.guard_wanted.send_if_modified(|known| std::mem::replace(known, guard_wanted) != guard_wanted);
        self.leading.send_if_modified(|known| {
            let new = *known != leading;
            *known = leading;
            new
        });
    }
}

impl Post {
    fn held(&self, lease: &str) -> Option<Held> {
        match self.standing {
            Standing::Leading(since) => {
                Some(Held { lease: lease.to_owned(), since, unwanted_until: self.unwanted_until })
            }
            Standing::Idle | Standing::Trying => None,
        }
    }
}

impl Entry {
    /// An attempt to acquire is under way: counts as load, so that seven free Leases are not all taken
    /// at once.
    pub fn trying(&self) {
        self.shared.update(&self.lease, |post| post.standing = Standing::Trying);
    }

    /// Neither leading nor trying.
    pub fn idle(&self) {
        self.shared.update(&self.lease, |post| post.standing = Standing::Idle);
    }

    /// Leading from now on.
    pub fn leading(&self, now: Instant) {
        self.shared.update(&self.lease, |post| {
            post.standing = Standing::Leading(now);
            let back = |offered: Instant| now.saturating_duration_since(offered) < Duration::from_mins(1);
            if post.offered.take().is_some_and(back) {
                // Offered to others and won back: nobody wanted it.
                post.unwanted_until = Some(now + spread::UNWANTED_FOR);
            }
        });
    }

    /// Who holds the Lease by name and by time.
    pub fn holder(&self, holder: Option<&str>) {
        self.shared.update(&self.lease, |post| {
            if post.holder.as_deref() != holder {
                post.holder = holder.map(str::to_owned);
            }
        });
    }

    /// Whether it waits for a claim of the upgrade guard that lasts.
    pub fn wants_guard(&self, wants: bool) {
        self.shared.update(&self.lease, |post| post.wants_guard = wants);
    }

    /// Whether the controller could work if it led.
    pub fn fit(&self, fit: bool) {
        self.shared.update(&self.lease, |post| post.fit = fit);
    }

    /// Tasks of the controller may run on though nobody watches them any more.
    pub fn unfinished(&self) {
        self.shared.state.lock().unfinished = true;
    }

    /// Resolves when another member should take this Lease.
    pub async fn surplus(&self) {
        self.surplus.notified().await;
    }

    /// What all electors of the process share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.idle();
        self.wants_guard(false);
        let count = {
            let mut state = self.shared.state.lock();
            state.posts.remove(&self.lease);
            state.posts.len()
        };
        self.shared.electors.send_replace(count);
    }
}
