// SPDX-License-Identifier: Apache-2.0
//! What is said about a campaign at its end.

use std::{collections::BTreeMap, time::Duration};

use crate::plan::Kind;

/// What is said at the end.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    /// What must not be, in words: a write without its Lease, two holders, something made twice, an older
    /// manager and ours both at work.
    pub(crate) wrong: Vec<String>,
    /// What took longer than it may, in words.
    pub(crate) late: Vec<String>,
    /// Gaps above their bound in which the canary was starved, in words: they do not count.
    pub(crate) excused: Vec<String>,
    /// Writes by controllers that were judged.
    pub(crate) judged: usize,
    /// Writes within the notice of an edited Lease.
    pub(crate) in_notice: usize,
    /// Writes after that, by holders that were cut off when somebody edited or deleted their Lease.
    pub(crate) unheard: usize,
    /// Children that were made, each once.
    pub(crate) children: usize,
    /// Requests that changed an engine.
    pub(crate) engines_asked: usize,
    /// Takes of a Lease that somebody had deleted or emptied, by a process that started too late to have seen
    /// whose it was. It cannot know better, and the robbed holder has its notice, in which it must stop.
    pub(crate) takes_by_newcomers: usize,
    /// The longest time between two writes of a Lease by its holders, times without an API server and
    /// with a stranger's term left out; and which it was.
    pub(crate) longest_write_gap: (Duration, String),
    /// The longest time in which no term of anybody ran.
    pub(crate) longest_gap: Duration,
    /// How often an older manager's claim ran.
    pub(crate) reigns: usize,
    /// Writes by controllers within the notice of an older manager.
    pub(crate) beside_in_notice: usize,
    /// Writes after that, within the group's claim, by processes that were cut off from the news.
    pub(crate) beside_unheard: usize,
    /// How often, and for how long, the canary was starved.
    pub(crate) stalls: Vec<Duration>,
    /// By kind: times until another process held a Lease of the victim; for edits and what hits all, until
    /// the Lease was held again.
    pub(crate) hand_overs: BTreeMap<Kind, Vec<Duration>>,
    /// By kind: Leases of victims that kept them.
    pub(crate) kept: BTreeMap<Kind, usize>,
    /// By kind: faults.
    pub(crate) faults: BTreeMap<Kind, usize>,
}

impl Judgement {
    /// Of two campaigns together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.wrong.extend(other.wrong);
        self.late.extend(other.late);
        self.excused.extend(other.excused);
        self.reigns += other.reigns;
        self.beside_in_notice += other.beside_in_notice;
        self.beside_unheard += other.beside_unheard;
        self.judged += other.judged;
        self.in_notice += other.in_notice;
        self.unheard += other.unheard;
        self.children += other.children;
        self.engines_asked += other.engines_asked;
        self.takes_by_newcomers += other.takes_by_newcomers;
        self.longest_write_gap = self.longest_write_gap.max(other.longest_write_gap);
        self.longest_gap = self.longest_gap.max(other.longest_gap);
        for (kind, times) in other.hand_overs {
            self.hand_overs.entry(kind).or_default().extend(times);
        }
        for (kind, count) in other.kept {
            *self.kept.entry(kind).or_default() += count;
        }
        for (kind, count) in other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self
    }
}
