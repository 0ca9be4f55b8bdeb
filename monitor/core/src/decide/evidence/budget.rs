//! The alert budget: an operator is told once about each thing, and not more often a day than was
//! agreed.
//!
//! | alert | told |
//! |---|---|
//! | something was stopped, or left the policy | always; the same thing [`SINGLY`] times an hour, then in one alert with a count at the end of the hour |
//! | something is worth knowing and nothing left the policy (budgeted) | the same thing once, then with a count after an hour, two, four, up to a day; new things up to the budget of the day |
//! | budgeted, over the budget | counted, and told in one summary an hour with examples |
//!
//! Nothing is dropped in silence: what is not told now is told later, as a number. What is kept until
//! then is a value of the shell's; this knows keys and times only.

use std::collections::BTreeMap;

use crate::{
    decision::Decision,
    observation::{Fact, Held, OddCall, Scope},
    workload::verdict_name,
};

/// Nanoseconds of a day.
pub const DAY: u64 = 86_400 * 1_000_000_000;
/// Nanoseconds in which the same thing is told together; of budgeted ones, at first.
pub const HOUR: u64 = DAY / 24;
/// Times that the same thing is told singly in an hour, unless it is budgeted.
pub const SINGLY: u32 = 10;
/// Things kept per workload; the one seen least recently goes first.
pub const KEPT: usize = 256;
/// Subjects that a summary names.
pub const EXAMPLES: usize = 5;
/// New budgeted alerts per workload and day, unless configured.
pub const PER_DAY: u32 = 50;

/// What makes two alerts of a workload the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Who: workload, role, phase.
    pub scope: Scope,
    /// Kind, as in alerts.
    pub kind: &'static str,
    /// What of that kind, where a kind has several.
    pub what: &'static str,
    /// What became of it, as in alerts.
    pub verdict: &'static str,
    /// Subject, as in alerts; with the host, where one behind a proxy is meant.
    pub subject: String,
}

impl Key {
    /// The key of what was decided.
    pub fn of(decision: &Decision) -> Self {
        let seen = &decision.observation;
        Self {
            scope: seen.scope.clone(),
            kind: seen.fact.kind(),
            what: match &seen.fact {
                Fact::Odd(call) => call.what.word(),
                Fact::Volume(volume) => volume.excess.word(),
                _ => "",
            },
            verdict: verdict_name(seen.verdict),
            subject: match &seen.fact {
                // Each host behind a proxy is a destination of its own.
                Fact::Odd(OddCall {
                    host: Some(host), ..
                }) => format!("{host} behind {}", seen.subject()),
                _ => seen.subject(),
            },
        }
    }
}

/// Whether an alert is told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Now.
    Tell,
    /// Later, with how often it happened: it is one more of what was told already.
    Repeat,
    /// Later, in a summary: it is new, and the budget of the day is spent.
    Over,
}

/// Several of the same, told together.
#[derive(Clone, Debug, PartialEq)]
pub struct Repeats<T> {
    /// The last of them.
    pub last: T,
    /// How many there were.
    pub count: u64,
    /// When the first and the last were, nanoseconds since the epoch.
    pub between: (u64, u64),
}

/// What has become due.
#[derive(Clone, Debug, PartialEq)]
pub enum Due<T> {
    /// More of what was told already.
    Again(Repeats<T>),
    /// What was over the budget.
    Summary(Held, T),
}

/// What is remembered of a thing.
#[derive(Clone, Debug)]
struct Slot<T> {
    budgeted: bool,
    /// Since when it is told together, and for how long.
    since: u64,
    every: u64,
    /// Times it was told since then.
    told: u32,
    seen: u64,
    held: Option<Repeats<T>>,
}

/// The alerts of all workloads.
#[derive(Clone, Debug)]
pub struct Budgets<T> {
    per_day: u32,
    workloads: BTreeMap<String, Budget<T>>,
    due: Vec<Due<T>>,
}

#[derive(Clone, Debug)]
struct Budget<T> {
    day: u64,
    spent: u32,
    known: BTreeMap<Key, Slot<T>>,
    over: BTreeMap<Scope, Over<T>>,
}

#[derive(Clone, Debug)]
struct Over<T> {
    held: Held,
    last: T,
}

impl<T> Default for Budgets<T> {
    fn default() -> Self {
        Self::new(PER_DAY)
    }
}

impl<T> Default for Budget<T> {
    fn default() -> Self {
        Self {
            day: 0,
            spent: 0,
            known: BTreeMap::new(),
            over: BTreeMap::new(),
        }
    }
}

impl<T> Budgets<T> {
    /// With so many new budgeted alerts per workload and day.
    pub fn new(per_day: u32) -> Self {
        Self {
            per_day,
            workloads: BTreeMap::new(),
            due: vec![],
        }
    }

    /// Places an alert that stands for `count` occurrences at `now`, nanoseconds since the epoch.
    /// What is kept of one that is not told now comes from `value`.
    pub fn place(
        &mut self,
        key: Key,
        budgeted: bool,
        count: u64,
        now: u64,
        value: impl FnOnce() -> T,
    ) -> Place {
        let per_day = self.per_day;
        let budget = self
            .workloads
            .entry(key.scope.workload.clone())
            .or_default();
        // Another day, not a later one: the clock may have been set back.
        if now / DAY != budget.day {
            (budget.day, budget.spent) = (now / DAY, 0);
        }
        if let Some(slot) = budget.known.get_mut(&key) {
            if slot.is_over(now) {
                if slot.held.is_some() {
                    slot.hold(count, now, value());
                    self.due.extend(slot.renew(now).map(Due::Again));
                    slot.seen = now;
                    return Place::Repeat;
                }
                slot.renew(now);
            }
            slot.seen = now;
            if slot.told < if budgeted { 1 } else { SINGLY } {
                slot.told += 1;
                return Place::Tell;
            }
            slot.hold(count, now, value());
            return Place::Repeat;
        }
        if budgeted && budget.spent >= per_day {
            budget.exceed(key, count, now, value());
            return Place::Over;
        }
        if budgeted {
            budget.spent += 1;
        }
        if budget.known.len() >= KEPT {
            self.due.extend(budget.make_room().map(Due::Again));
        }
        let slot = Slot {
            budgeted,
            since: now,
            every: HOUR,
            told: 1,
            seen: now,
            held: None,
        };
        budget.known.insert(key, slot);
        Place::Tell
    }

    /// What is to be told by `now`.
    pub fn due(&mut self, now: u64) -> Vec<Due<T>> {
        let mut due = std::mem::take(&mut self.due);
        for budget in self.workloads.values_mut() {
            for slot in budget.known.values_mut().filter(|s| s.held.is_some()) {
                if slot.is_over(now) {
                    due.extend(slot.renew(now).map(Due::Again));
                }
            }
            let over = |_: &Scope, over: &mut Over<T>| is_over(over.held.first, HOUR, now);
            let ended = budget.over.extract_if(.., over);
            due.extend(ended.map(|(_, over)| Due::Summary(over.held, over.last)));
        }
        due
    }

    /// Everything that is not told yet: the daemon ends.
    pub fn drain(&mut self) -> Vec<Due<T>> {
        let mut due = std::mem::take(&mut self.due);
        for budget in self.workloads.values_mut() {
            let held = budget.known.values_mut().filter_map(|s| s.held.take());
            due.extend(held.map(Due::Again));
            let over = std::mem::take(&mut budget.over).into_values();
            due.extend(over.map(|over| Due::Summary(over.held, over.last)));
        }
        due
    }

    /// Begins anew with every workload: whoever places the same alerts from here on has them told
    /// alike. What is held becomes due.
    pub fn begin_anew(&mut self) {
        self.due = self.drain();
        self.workloads.clear();
    }

    /// Begins anew with a workload; what is held of it becomes due.
    pub fn forget(&mut self, workload: &str) {
        if let Some(budget) = self.workloads.remove(workload) {
            let mut only = Self::new(self.per_day);
            only.workloads.insert(workload.to_owned(), budget);
            self.due.extend(only.drain());
        }
    }
}

impl<T> Budget<T> {
    fn exceed(&mut self, key: Key, count: u64, now: u64, value: T) {
        let over = self.over.entry(key.scope).or_insert_with(|| Over {
            held: Held {
                first: now,
                ..Held::default()
            },
            last: value,
        });
        let held = &mut over.held;
        held.alerts = held.alerts.saturating_add(count.max(1));
        held.last = now;
        let of_kind = held.kinds.entry(key.kind).or_default();
        *of_kind = of_kind.saturating_add(count.max(1));
        if held.examples.len() < EXAMPLES && !held.examples.contains(&key.subject) {
            held.examples.push(key.subject);
        }
    }

    /// Forgets what was seen least recently. What is held of it is told now.
    fn make_room(&mut self) -> Option<Repeats<T>> {
        let oldest = self.known.iter().min_by_key(|(_, slot)| slot.seen);
        let oldest = oldest.map(|(key, _)| key.clone())?;
        self.known.remove(&oldest)?.held
    }
}

impl<T> Slot<T> {
    fn is_over(&self, now: u64) -> bool {
        is_over(self.since, self.every, now)
    }

    /// Begins another time of telling together; returns what is held of the last. After that, nothing
    /// is told singly before the time is over.
    fn renew(&mut self, now: u64) -> Option<Repeats<T>> {
        self.every = match self.budgeted && now.abs_diff(self.seen) < DAY {
            true => (self.every * 2).min(DAY),
            false => HOUR,
        };
        self.since = now;
        self.told = if self.held.is_some() { u32::MAX } else { 0 };
        self.held.take()
    }

    fn hold(&mut self, count: u64, now: u64, value: T) {
        let (before, first) = match &self.held {
            Some(held) => (held.count, held.between.0),
            None => (0, now),
        };
        self.held = Some(Repeats {
            last: value,
            count: before.saturating_add(count.max(1)),
            between: (first, now),
        });
    }
}

/// Whether a time is over; also if the clock was set back by more than that.
fn is_over(since: u64, every: u64, now: u64) -> bool {
    now.abs_diff(since) >= every
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
