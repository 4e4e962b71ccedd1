// SPDX-License-Identifier: Apache-2.0
//! Pure: whether an event is new, the same again, one of many alike, or one too many.
//!
//! The rules and constants are those of client-go's `EventCorrelator`: a spam filter of 25 events per source
//! and object with one more each 5 minutes; after 10 events that differ only in their message within 10
//! minutes they are combined; an event that was sent before is counted up instead of sent again.

use std::collections::{HashMap, VecDeque};

use k8s_openapi::api::core::v1::ObjectReference;

use kube_fenced_election::clock::Instant;

use super::draft::{EventDraft, Severity};

/// Events that one object may cause at once.
const BURST: f64 = 25.0;
/// Seconds until it may cause one more.
const REFILL_SECONDS: f64 = 300.0;
/// Events alike within [`ALIKE_SECONDS`] before they are combined.
const ALIKE: usize = 10;
const ALIKE_SECONDS: u64 = 600;
/// Objects, groups and events remembered; the longest unused go first.
const REMEMBERED: usize = 4096;
/// What combined messages begin with.
const COMBINED: &str = "(combined from similar events): ";

/// What to do with a draft.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Create an event with this message.
    Create {
        /// Under this key, for [`Correlator::created`].
        key: EventKey,
        /// Message, combined or the draft's own.
        message: String,
    },
    /// Count up the event of this name.
    CountUp {
        /// Its key.
        key: EventKey,
        /// Its name.
        name: String,
        /// The new count.
        count: i32,
        /// Message, combined or the draft's own.
        message: String,
    },
    /// One too many: drop it.
    Drop,
}

/// Identity of an event; two drafts with equal keys are the same event again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct EventKey {
    object: String,
    severity: Severity,
    reason: String,
    /// Empty for combined events, whose messages differ.
    message: String,
}

struct Bucket {
    tokens: f64,
    filled: Instant,
    used: Instant,
}

struct Sent {
    name: String,
    count: i32,
    used: Instant,
}

/// Memory of one event source (a component).
#[derive(Default)]
pub(crate) struct Correlator {
    buckets: HashMap<String, Bucket>,
    alike: HashMap<EventKey, VecDeque<(Instant, String)>>,
    sent: HashMap<EventKey, Sent>,
}

impl std::fmt::Debug for Correlator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Correlator").field("sent", &self.sent.len()).finish_non_exhaustive()
    }
}

impl Correlator {
    /// Judges a draft.
    pub(crate) fn judge(&mut self, draft: &EventDraft, now: Instant) -> Verdict {
        let object = identity(&draft.regarding);
        if !self.take_token(&object, now) {
            return Verdict::Drop;
        }
        let group = EventKey {
            object,
            severity: draft.severity,
            reason: draft.reason.clone(),
            message: String::new(),
        };
        let combined = self.is_one_of_many(&group, &draft.message, now);
        let (key, message) = if combined {
            (group, format!("{COMBINED}{}", draft.message))
        } else {
            (EventKey { message: draft.message.clone(), ..group }, draft.message.clone())
        };
        self.forget_oldest();
        match self.sent.get_mut(&key) {
            Some(sent) => {
                sent.count = sent.count.saturating_add(1);
                sent.used = now;
                Verdict::CountUp { key, name: sent.name.clone(), count: sent.count, message }
            }
            None => Verdict::Create { key, message },
        }
    }

    /// The draft that was judged last, once more after a failure: takes no token and counts nothing up.
    pub(crate) fn again(&mut self, draft: &EventDraft) -> Verdict {
        let object = identity(&draft.regarding);
        let group = EventKey {
            object,
            severity: draft.severity,
            reason: draft.reason.clone(),
            message: String::new(),
        };
        let own = EventKey { message: draft.message.clone(), ..group.clone() };
        let combined = format!("{COMBINED}{}", draft.message);
        for (key, message) in [(own.clone(), &draft.message), (group, &combined)] {
            if let Some(sent) = self.sent.get(&key) {
                let (name, count) = (sent.name.clone(), sent.count);
                return Verdict::CountUp { key, name, count, message: message.clone() };
            }
        }
        Verdict::Create { key: own, message: draft.message.clone() }
    }

    /// The event was created under this name.
    pub(crate) fn created(&mut self, key: EventKey, name: String, now: Instant) {
        self.sent.insert(key, Sent { name, count: 1, used: now });
    }

    /// The event that was to be counted up is gone: the next one is created.
    pub(crate) fn gone(&mut self, key: &EventKey) {
        self.sent.remove(key);
    }

    fn take_token(&mut self, object: &str, now: Instant) -> bool {
        let full = || Bucket { tokens: BURST, filled: now, used: now };
        let bucket = self.buckets.entry(object.to_owned()).or_insert_with(full);
        let gained = now.saturating_duration_since(bucket.filled).as_secs_f64() / REFILL_SECONDS;
        bucket.tokens = (bucket.tokens + gained).min(BURST);
        bucket.filled = now;
        bucket.used = now;
        let has = bucket.tokens >= 1.0;
        if has {
            bucket.tokens -= 1.0;
        }
        has
    }

    /// Whether this message is beyond [`ALIKE`] different ones of its group.
    fn is_one_of_many(&mut self, group: &EventKey, message: &str, now: Instant) -> bool {
        let seen = self.alike.entry(group.clone()).or_default();
        seen.retain(|(at, _)| now.saturating_duration_since(*at).as_secs() < ALIKE_SECONDS);
        match seen.iter_mut().find(|(_, text)| text == message) {
            Some(known) => known.0 = now,
            None => seen.push_back((now, message.to_owned())),
        }
        if seen.len() < ALIKE {
            return false;
        }
        seen.pop_front();
        true
    }

    fn forget_oldest(&mut self) {
        if self.sent.len() > REMEMBERED {
            let oldest = self.sent.iter().min_by_key(|(_, sent)| sent.used).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.sent.remove(&key));
        }
        if self.buckets.len() > REMEMBERED {
            let oldest =
                self.buckets.iter().min_by_key(|(_, bucket)| bucket.used).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.buckets.remove(&key));
        }
        if self.alike.len() > REMEMBERED {
            let last = |seen: &VecDeque<(Instant, String)>| seen.back().map(|(at, _)| *at);
            let oldest = self.alike.iter().min_by_key(|(_, seen)| last(seen)).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.alike.remove(&key));
        }
    }
}

fn identity(object: &ObjectReference) -> String {
    let part = |it: &Option<String>| it.clone().unwrap_or_default();
    let parts = [
        part(&object.kind),
        part(&object.namespace),
        part(&object.name),
        part(&object.uid),
        part(&object.api_version),
    ];
    parts.join("\u{1f}")
}
