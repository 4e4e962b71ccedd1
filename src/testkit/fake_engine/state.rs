// SPDX-License-Identifier: Apache-2.0
//! What each pod answers at each path, and how often it was asked.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use http::StatusCode;
use parking_lot::Mutex;

use kube_fenced_election::clock::{Clock, Instant, SystemClock};

use super::{
    journal::Journal,
    lora::{Ask, LoraEngine, Reply, Running},
    render::Load,
};

/// How an answer goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// It does not.
    #[default]
    None,
    /// The request is taken and never answered.
    Hang,
    /// The connection is reset instead of an answer.
    Reset,
    /// The body never ends.
    Endless,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Status.
    pub status: StatusCode,
    /// Body: any bytes.
    pub body: Vec<u8>,
    /// Time until it is sent.
    pub delay: Duration,
    /// What goes wrong.
    pub fault: Fault,
}

impl Page {
    /// 200 with `body`, at once.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: StatusCode::OK, body: body.into(), delay: Duration::ZERO, fault: Fault::None }
    }

    /// An empty answer with `status`.
    pub fn status(status: StatusCode) -> Self {
        Self { status, ..Self::ok("") }
    }

    /// No answer at all, in this manner.
    pub fn fault(fault: Fault) -> Self {
        Self { fault, ..Self::ok("") }
    }

    /// The same, later.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

/// All pods of a server. A pod is its IP address; `None` stands for every pod that was told nothing itself.
#[derive(Debug, Default)]
pub struct Pods {
    state: Mutex<State>,
    /// What engines with adapters were asked.
    pub journal: Journal,
}

#[derive(Debug, Default)]
struct State {
    pages: BTreeMap<(Option<IpAddr>, String), Page>,
    counts: BTreeMap<IpAddr, BTreeMap<String, u64>>,
    engines: BTreeMap<IpAddr, Running>,
    /// What engines of other pods are like; `None`: they have none.
    others: Option<LoraEngine>,
}

impl Pods {
    /// Sets what `pod` answers at `path` (with its leading slash).
    pub fn set(&self, pod: Option<IpAddr>, path: &str, page: Page) {
        self.state.lock().pages.insert((pod, slashed(path)), page);
    }

    /// Sets what `pod`'s engine reports, in its own format and at its own path.
    pub fn load(&self, pod: Option<IpAddr>, load: &Load) {
        self.set(pod, load.engine.path(), Page::ok(load.render()));
    }

    /// Gives `pod` an engine that loads adapters; one that it has changes and keeps what is loaded.
    pub fn engine(&self, pod: Option<IpAddr>, like: LoraEngine) {
        let mut state = self.state.lock();
        match pod {
            None => state.others = Some(like),
            Some(pod) => match state.engines.get_mut(&pod) {
                Some(engine) => engine.like = like,
                None => drop(state.engines.insert(pod, Running::new(like))),
            },
        }
    }

    /// Changes the engine of `pod`. Without effect on a pod that has none.
    pub fn change(&self, pod: IpAddr, change: impl FnOnce(&mut Running)) {
        if let Some(engine) = self.state.lock().running(pod) {
            change(engine);
        }
    }

    /// What the engine of `pod` has loaded: names, with paths or URLs.
    pub fn loaded(&self, pod: IpAddr) -> BTreeMap<String, String> {
        let mut state = self.state.lock();
        state.running(pod).map(|engine| engine.loaded(now()).clone()).unwrap_or_default()
    }

    /// The pods that have an engine so far: those that were given one and those that were asked.
    pub fn engines(&self) -> Vec<IpAddr> {
        self.state.lock().engines.keys().copied().collect()
    }

    /// Forgets what `pod` was told; its counts and its engine stay.
    pub fn clear(&self, pod: Option<IpAddr>) {
        self.state.lock().pages.retain(|(told, _), _| *told != pod);
    }

    /// How often `pod` was asked for `path`.
    pub fn count(&self, pod: IpAddr, path: &str) -> u64 {
        let state = self.state.lock();
        state.counts.get(&pod).and_then(|paths| paths.get(&slashed(path))).copied().unwrap_or(0)
    }

    /// All counts: pod, path, requests.
    pub fn counts(&self) -> BTreeMap<IpAddr, BTreeMap<String, u64>> {
        self.state.lock().counts.clone()
    }

    /// Sets all counts to zero.
    pub fn clear_counts(&self) {
        self.state.lock().counts.clear();
    }

    /// Counts a request and finds its answer; `None`: 404.
    pub(super) fn asked(&self, pod: IpAddr, path: &str) -> Option<Page> {
        let pod = pod.to_canonical();
        let mut state = self.state.lock();
        *state.counts.entry(pod).or_default().entry(path.to_owned()).or_default() += 1;
        let page = |pod| state.pages.get(&(pod, path.to_owned()));
        page(Some(pod)).or_else(|| page(None)).cloned()
    }

    /// Asks the engine of `pod`, if it has one; also how often that was started.
    pub(super) fn ask(&self, pod: IpAddr, ask: &Ask<'_>) -> Option<(Reply, u32)> {
        let mut state = self.state.lock();
        let engine = state.running(pod)?;
        Some((engine.answer(ask, now()), engine.starts))
    }

    /// How often the engine of `pod` was started; `None`: it has none.
    pub(super) fn starts(&self, pod: IpAddr) -> Option<u32> {
        self.state.lock().running(pod).map(|engine| engine.starts)
    }

    pub(super) fn resets(&self, pod: IpAddr) -> bool {
        let pod = pod.to_canonical();
        let state = self.state.lock();
        state
            .pages
            .iter()
            .any(|((told, _), page)| page.fault == Fault::Reset && told.is_none_or(|told| told == pod))
    }
}

impl State {
    fn running(&mut self, pod: IpAddr) -> Option<&mut Running> {
        if let (false, Some(like)) = (self.engines.contains_key(&pod), &self.others) {
            self.engines.insert(pod, Running::new(like.clone()));
        }
        self.engines.get_mut(&pod)
    }
}

fn now() -> Instant {
    SystemClock.instant()
}

fn slashed(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}
