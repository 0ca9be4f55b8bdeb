//! Open sets: names that keep coming, so that no list of them is ever complete.
//!
//! There are two kinds. **Names of one extension** in a folder, `/srv/in/{any}.md`: every name that
//! is not hidden, for the same access. **Numbers** of one to four digits in one component, folders
//! included, `/srv/data/tenant-{n}/index.db`: everything around the numbers stays.
//!
//! A set is open if it has [`LEAVES`] different members, if at least [`GROWTH`] of them a day were
//! seen on one day only (Q1/T of incidence counts, with days as the unit: A. Chao, 1987, Biometrics
//! 43), if anything at all was seen on [`DAYS`] days, and if the set grew on days after its first: a
//! set of names on two ([`NAMES_GROW`]), one of numbers, which opens far less, on one
//! ([`NUMBERS_GROW`]). The last two keep a library that was loaded once, with all its files, from
//! looking like growth.
//!
//! Open sets are a function of the entries alone, whatever order they came in; they are worked out
//! anew after every change and never stored.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    access::Access,
    days::Days,
    guard,
    pattern::Pattern,
    token::{self, NamePattern},
};

/// Different names that an open set has at least.
pub const LEAVES: usize = 8;
/// New names a day that an open set gets at least.
pub const GROWTH: f64 = 0.5;
/// Days on which anything was seen, at least.
pub const DAYS: u32 = 3;
/// Days after the first one on which a set of names got new members, at least.
pub const NAMES_GROW: usize = 2;
/// The same for a set of numbers.
pub const NUMBERS_GROW: usize = 1;

/// Open sets as text forms: `/srv/in/{any}.md`.
pub(super) type OpenSets = BTreeSet<Box<str>>;

/// The folders in which everybody may put files: a name without an extension says nothing there.
const SHARED: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// What is counted about a set.
#[derive(Default)]
struct Growth {
    leaves: usize,
    singles: usize,
    /// Days on which a name was new.
    grew: BTreeSet<u32>,
}

/// The open sets among the entries of one kind of access; `days` is the number of days on which
/// anything at all was seen. Only entries outside the guard may be given.
pub(super) fn open_sets<'a>(
    access: Access,
    entries: impl Iterator<Item = (&'a str, Days)>,
    days: u32,
) -> OpenSets {
    let mut sets: BTreeMap<String, Growth> = BTreeMap::new();
    for (text, seen) in entries {
        for set in sets_of(access, text) {
            let growth = sets.entry(set).or_default();
            growth.leaves += 1;
            growth.singles += usize::from(seen.is_single());
            growth.grew.insert(seen.first());
        }
    }
    sets.into_iter()
        .filter(|(set, growth)| is_open(set, growth, days))
        .filter(|(set, _)| may_be_open(access, set))
        .map(|(set, _)| set.into())
        .collect()
}

fn is_open(set: &str, growth: &Growth, days: u32) -> bool {
    let names = set.contains("/{any}");
    let grow = if names { NAMES_GROW } else { NUMBERS_GROW };
    days >= DAYS
        && growth.leaves >= LEAVES
        && growth.singles as f64 >= GROWTH * f64::from(days)
        && growth.grew.len() > grow
}

/// The sets that an entry belongs to, as text: at most one of names, and one of numbers for each
/// component that has any.
pub(super) fn sets_of(access: Access, text: &str) -> Vec<String> {
    let leaf = text.rsplit('/').next().unwrap_or_default();
    let mut sets: Vec<String> = set_of(access, text).into_iter().collect();
    let code = leaf
        .rfind('.')
        .is_some_and(|at| guard::is_code(&leaf.as_bytes()[at..]));
    if code {
        return sets;
    }
    let mut start = 0;
    for part in text.split_inclusive('/') {
        let name = part.trim_end_matches('/');
        // The cheap question first: most names have no digit.
        let open = if name.bytes().any(|b| b.is_ascii_digit()) {
            let parsed = name.parse::<NamePattern>().ok();
            parsed.and_then(|parsed| parsed.with_counters())
        } else {
            None
        };
        if let Some(open) = open {
            let end = start + name.len();
            sets.push(format!("{}{open}{}", &text[..start], &text[end..]));
        }
        start += part.len();
    }
    sets
}

/// The set of names that an entry belongs to.
fn set_of(access: Access, text: &str) -> Option<String> {
    let (folder, leaf) = text.rsplit_once('/')?;
    if folder.is_empty() || leaf.starts_with('.') {
        return None;
    }
    let leaf: NamePattern = leaf.parse().ok()?;
    let extension = leaf.extension()?;
    set(access, folder, extension)
}

fn set(access: Access, folder: &str, extension: &[u8]) -> Option<String> {
    let nameless = extension.is_empty() && access != Access::Read && SHARED.contains(&folder);
    // A dot at the end is no extension.
    if nameless || extension == b"." || guard::is_code(extension) {
        return None;
    }
    let mut set = format!("{folder}/{{any}}");
    token::write_literal(extension, &mut set);
    Some(set)
}

/// Whether the guard lets a set be open: asked about a name of the set.
fn may_be_open(access: Access, set: &str) -> bool {
    set.parse::<Pattern>().is_ok_and(|parsed| {
        let path = parsed.sample();
        let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
        guard::guarded(access, &path).is_none()
    })
}

#[cfg(test)]
#[path = "collapse_tests.rs"]
mod tests;
