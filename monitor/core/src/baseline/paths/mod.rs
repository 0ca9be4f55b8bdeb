//! Paths: what a workload does to which files, in forms that outlive the single file.
//!
//! Three steps, each a pure function. [`guard`]: about sensitive places nothing general is learned.
//! [`token`]: what changes with every file of a kind (numbers, hashes, dates, random letters) is
//! replaced by its class. [`collapse`]: where new names of one extension, or new numbers, keep
//! coming, one pattern stands for all of them. The sums are sets of (access, form, days), so that the baselines of several
//! hosts are joined by union, in any order.
//!
//! It knows paths and days; not processes, policies, storage or clocks.
//!
//! # How patterns are enforced
//!
//! The kernel's automaton compares keyed hashes of whole names and has one wildcard, `*`, for a whole
//! component. A class inside a name cannot be expressed there. There are two ways.
//!
//! **`*` in the kernel, the class in user space**, which is what is done
//! ([`crate::decide::pattern::PathPattern::widened`], [`super::Baseline::widens_to`]). A component that
//! is not one single name becomes `*`; folder, depth, and permission stay. The first time that a
//! name is used, the kernel reports it, as it does for everything new, and the list is asked with the
//! whole name. What this leaves open: in that folder, for that permission, *any* name
//! is let through when it is first used, and the report comes afterwards: `/tmp/req-{uuid}.json`,
//! created, lets `/tmp/a.sh` be created, once, with an alert and not with a denial.
//! Because the kernel has one bit for writing, making and taking away, each of the three is let
//! through where one of them was learned. `{pid}` adds nothing: the numbers in `/proc` are all there
//! are. Not widened are: the number of components, every literal component, programs and sockets
//! (never general, so always literal here), and what the invariants deny, because their automaton is
//! asked first. Of the wider guard, [`kernel_exceptions`] names what stands literally under the `*`
//! and could be denied with the policy (it is not yet: a denied name below a folder keeps the folder
//! from being renamed); endings such as `.pem` or `.pth` cannot be denied by a hash
//! of the whole name, and stay a report.
//!
//! **A second hash, of the shape.** While it hashes a name, the kernel could run the lexer's rules
//! that need no look-ahead beyond the name (numbers, runs of hexadecimal digits by length, uuid) and
//! hash the result, `req-{uuid}.json`, as another edge beside the literal one and `*`. The lexer is
//! one pass and holds a few counters, which a loop of at most 255 steps per name can carry; dates and
//! random endings would stay with the first way. Cost: one more look-up per component and a second
//! pass over its bytes, not measured. That closes the gap for good, and the text forms here are made so that
//! both sides can agree on them. It is not built.

pub mod access;
pub mod collapse;
pub mod days;
pub mod digest;
pub mod guard;
mod lexer;
pub mod pattern;
pub mod token;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::OnceLock};

use monitor_common::class::Family;

pub use self::{
    access::{Access, path_of},
    days::Days,
    digest::ContentDigest,
    pattern::{Pattern, PatternError, kernel_pattern},
};
use self::{collapse::OpenSets, pattern::Form};
use super::nearest;
use crate::decide::pattern::{Component, PathPattern};

/// Bytes that one model may take, as [`PathModel::bytes`] counts them. At the limit it stops
/// learning: what is known stays known and is still counted, what is new is refused and
/// [`PathModel::refused`] says how often. A model that is full says nothing about what is missing,
/// so a workload with a full model is not ready to be enforced.
pub const MAX_BYTES: usize = 1 << 20;

/// Bytes of an entry besides its text: its place in the tree, and the allocator's.
const ENTRY_BYTES: usize = 64;

/// What is known about one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    days: Days,
    /// Under the guard.
    guarded: bool,
}

type Entries = BTreeMap<Box<str>, Entry>;

/// What a model says about a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known<'a> {
    /// Exactly this path was seen.
    Exact,
    /// Paths of this form were seen; text form of a [`Pattern`].
    Class(&'a str),
    /// Names or numbers of this kind keep coming; text form of a [`Pattern`].
    Collapsed(&'a str),
    /// Neither.
    Unknown {
        /// Why only the exact path could have been known, if so: what is there.
        guard: Option<&'static str>,
    },
}

impl Known<'_> {
    /// Whether it was learned.
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Unknown { .. })
    }
}

/// Why an entry cannot be taken back in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// No pattern.
    #[error("`{0}` {1}")]
    Pattern(String, PatternError),
    /// General, in a place where nothing general is learned.
    #[error("`{0}` is general, and about {1} nothing general is learned")]
    Guarded(String, &'static str),
    /// Not the form that its paths have now.
    #[error("`{0}` is not the form of any path; was it written by another version?")]
    Form(String),
}

/// What was learned about the paths of one workload × role × phase.
#[derive(Clone, Debug, Default)]
pub struct PathModel {
    entries: [Entries; Access::ALL.len()],
    bytes: usize,
    refused: u64,
    /// Changes so far, of days too.
    revision: u64,
    /// Worked out when first asked for; every change throws it away.
    open: OnceLock<[OpenSets; Access::ALL.len()]>,
}

impl PartialEq for PathModel {
    /// Whether the same is known.
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl PathModel {
    /// Takes in that a path was accessed on a day. A relative path, or one with `.` or `..` in it,
    /// is not learned: the kernel never reports one. Returns whether anything was added.
    pub fn absorb(&mut self, access: Access, path: &[u8], day: u32) -> bool {
        let Some(parts) = pattern::whole(path) else {
            return false;
        };
        let form = pattern::form(access, &parts);
        self.add(access, &form.text, form.guard.is_some(), Days::on(day))
    }

    /// Takes in an entry that [`Self::entries`] gave, of this model's past or of another host's.
    pub fn restore(&mut self, access: Access, text: &str, days: Days) -> Result<bool, EntryError> {
        let parsed: Pattern = text
            .parse()
            .map_err(|error| EntryError::Pattern(text.into(), error))?;
        let path = parsed.sample();
        let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
        let Form {
            text: now, guard, ..
        } = pattern::form(access, &path);
        match guard {
            Some(what) if parsed.is_general() => Err(EntryError::Guarded(text.into(), what)),
            _ if now != text => Err(EntryError::Form(text.into())),
            guard => Ok(self.add(access, text, guard.is_some(), days)),
        }
    }

    /// Takes in everything that another model knows. The order of merging makes no difference, at
    /// the limit neither: the entries that come first in their order are kept.
    pub fn merge(&mut self, other: &Self) {
        for access in Access::ALL {
            for (text, entry) in &other.entries[access as usize] {
                let known = self.entries[access as usize].get_mut(text);
                if let Some(known) = known {
                    known.days = known.days.join(entry.days);
                } else {
                    self.bytes += bytes_of(text);
                    self.entries[access as usize].insert(text.clone(), *entry);
                }
            }
        }
        self.refused = self.refused.saturating_add(other.refused);
        self.cut();
        self.open = OnceLock::new();
    }

    /// Takes out the last entries until the model fits.
    fn cut(&mut self) {
        for access in Access::ALL.into_iter().rev() {
            while self.bytes > MAX_BYTES {
                let Some((text, _)) = self.entries[access as usize].pop_last() else {
                    break;
                };
                self.bytes -= bytes_of(&text);
                self.refused = self.refused.saturating_add(1);
            }
        }
    }

    fn add(&mut self, access: Access, text: &str, guarded: bool, days: Days) -> bool {
        let entries = &mut self.entries[access as usize];
        if let Some(entry) = entries.get_mut(text) {
            let joined = entry.days.join(days);
            if joined != entry.days {
                entry.days = joined;
                self.revision += 1;
                self.open = OnceLock::new();
            }
            return false;
        }
        if self.bytes + bytes_of(text) > MAX_BYTES {
            self.refused = self.refused.saturating_add(1);
            return false;
        }
        self.bytes += bytes_of(text);
        entries.insert(text.into(), Entry { days, guarded });
        self.revision += 1;
        self.open = OnceLock::new();
        true
    }

    /// What is known about a path. Takes time in proportion to the path's length, and to the
    /// logarithm of the number of entries; the first question after a change works the open sets
    /// out.
    pub fn knows(&self, access: Access, path: &[u8]) -> Known<'_> {
        let Some(parts) = pattern::whole(path) else {
            return Known::Unknown { guard: None };
        };
        let Form {
            text,
            general,
            guard,
        } = pattern::form(access, &parts);
        if let Some((known, _)) = self.entries[access as usize].get_key_value(text.as_str()) {
            return if general {
                Known::Class(known)
            } else {
                Known::Exact
            };
        }
        if guard.is_none() {
            let open = &self.open_sets()[access as usize];
            let sets = collapse::sets_of(access, &text);
            if let Some(set) = sets.iter().find_map(|set| open.get(set.as_str())) {
                return Known::Collapsed(set);
            }
        }
        Known::Unknown { guard }
    }

    /// The nearest known patterns, best first, at most three: for people.
    pub fn nearest(&self, access: Access, path: &[u8]) -> Vec<String> {
        let parts: Vec<&[u8]> = crate::text::components(path).collect();
        let text = pattern::form(access, &parts).text;
        let known = self.entries[access as usize].keys();
        nearest::nearest(Family::Read, &text, known.map(|text| &**text))
    }

    /// Everything that is known, for the policy and for people, in a fixed order: open sets in place
    /// of the names that they stand for.
    pub fn patterns(&self) -> Vec<(Access, &str)> {
        let mut all = vec![];
        for access in Access::ALL {
            let open = &self.open_sets()[access as usize];
            let covered = |text: &str| {
                let sets = collapse::sets_of(access, text);
                sets.iter().any(|set| open.contains(set.as_str()))
            };
            let single = self.entries[access as usize]
                .iter()
                .filter(|(text, entry)| entry.guarded || open.is_empty() || !covered(text))
                .map(|(text, _)| &**text);
            let mut of_access: Vec<&str> = single.chain(open.iter().map(|set| &**set)).collect();
            of_access.sort_unstable();
            all.extend(of_access.into_iter().map(|text| (access, text)));
        }
        all
    }

    /// The open sets, as text.
    pub fn open(&self) -> impl Iterator<Item = (Access, &str)> {
        let sets = self.open_sets();
        Access::ALL
            .into_iter()
            .flat_map(move |access| sets[access as usize].iter().map(move |s| (access, &**s)))
    }

    /// Every entry with its days, in a fixed order, for the store: [`Self::restore`] takes it.
    pub fn entries(&self) -> impl Iterator<Item = (Access, &str, Days)> {
        Access::ALL.into_iter().flat_map(|access| {
            self.entries[access as usize]
                .iter()
                .map(move |(text, entry)| (access, &**text, entry.days))
        })
    }

    /// Forgets what was last seen before a day.
    pub fn expire(&mut self, before: u32) {
        for entries in &mut self.entries {
            entries.retain(|_, entry| entry.days.last() >= before);
        }
        self.bytes = self.entries().map(|(_, text, _)| bytes_of(text)).sum();
        self.open = OnceLock::new();
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.iter().map(BTreeMap::len).sum()
    }

    /// Whether nothing is known at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the entries take, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Grows with every name and every day that is taken in: what has the same one as when it was
    /// stored need not be stored again.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Paths that were not learned because the model was full ([`MAX_BYTES`]); each time counts.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn open_sets(&self) -> &[OpenSets; Access::ALL.len()] {
        self.open.get_or_init(|| {
            let of_all = self.entries().map(|(_, _, days)| days);
            let days = of_all.reduce(Days::join).map_or(0, Days::count);
            Access::ALL.map(|access| {
                let outside = self.entries[access as usize]
                    .iter()
                    .filter(|(_, entry)| !entry.guarded)
                    .map(|(text, entry)| (&**text, entry.days));
                collapse::open_sets(access, outside, days)
            })
        })
    }
}

/// What a path is known as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forms {
    /// Its form, as text.
    pub form: String,
    /// Open sets that it may belong to, as text; none under the guard.
    pub sets: Vec<String>,
    /// Why nothing general may be learned about it, if so.
    pub guard: Option<&'static str>,
}

/// The form of a path and the sets that it may belong to; `None` for one that cannot be learned.
pub fn forms(access: Access, path: &[u8]) -> Option<Forms> {
    let Form { text, guard, .. } = pattern::form(access, &pattern::whole(path)?);
    let sets = match guard {
        Some(_) => vec![],
        None => collapse::sets_of(access, &text),
    };
    Some(Forms {
        form: text,
        sets,
        guard,
    })
}

fn bytes_of(text: &str) -> usize {
    ENTRY_BYTES + text.len()
}

/// Names under the wildcards of a kernel pattern that the guard protects and that can be denied by
/// name; to be denied together with the policy that allows the pattern, except where exactly they
/// were learned.
pub fn kernel_exceptions(pattern: &PathPattern) -> Vec<PathPattern> {
    let mut exceptions = vec![];
    for (at, component) in pattern.components.iter().enumerate() {
        if *component != Component::Star {
            continue;
        }
        let last = at + 1 == pattern.components.len();
        for name in guard::names(last) {
            let mut denied = pattern.clone();
            denied.components[at] = Component::Literal(name.into());
            exceptions.push(denied);
        }
    }
    exceptions
}
