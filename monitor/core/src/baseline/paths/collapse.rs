//! Open sets: folders whose files keep getting new names of one kind, so that no list of names is
//! ever complete.
//!
//! A set is (access, folder in class form, extension). It is open if it has [`LEAVES`] different
//! names, if at least [`GROWTH`] of them a day were seen on one day only (Q1/T of incidence counts,
//! with days as the unit: A. Chao, 1987, Biometrics 43), and if it grew on [`GROWING_DAYS`] days
//! after its first. The last keeps a library that was loaded once, with all its files, from looking
//! like growth; so does asking for three days in all. What is open then stands for every name with
//! the same extension that is not hidden, in the same folder, for the same access.
//!
//! Open sets are a function of the entries alone, whatever order they came in; they are worked out
//! anew after every change and never stored.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    access::Access,
    days::Days,
    guard,
    pattern::{self, Pattern},
    token::{self, NamePattern},
};

/// Different names that an open set has at least.
pub const LEAVES: usize = 8;
/// New names a day that an open set gets at least.
pub const GROWTH: f64 = 0.5;
/// Days after the first one on which it got new names, at least.
pub const GROWING_DAYS: usize = 2;

/// Open sets as text forms: `/srv/in/{any}.md`.
pub(super) type OpenSets = BTreeSet<Box<str>>;

/// The folders in which everybody may put files: a name without an extension says nothing there.
const SHARED: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// What is counted about a set.
#[derive(Default)]
struct Growth {
    leaves: usize,
    singles: usize,
    first: Option<u32>,
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
        let Some(set) = set_of(access, text) else {
            continue;
        };
        let growth = sets.entry(set).or_default();
        growth.leaves += 1;
        growth.singles += usize::from(seen.is_single());
        growth.grew.insert(seen.first());
        growth.first = Some(growth.first.map_or(seen.first(), |f| f.min(seen.first())));
    }
    sets.into_iter()
        .filter(|(_, growth)| is_open(growth, days))
        .filter(|(set, _)| may_be_open(access, set))
        .map(|(set, _)| set.into())
        .collect()
}

fn is_open(growth: &Growth, days: u32) -> bool {
    growth.leaves >= LEAVES
        && growth.singles as f64 >= GROWTH * f64::from(days.max(1))
        && growth.grew.len() > GROWING_DAYS
}

/// The set that an entry belongs to, as text; none where its name cannot be one of many.
pub(super) fn set_of(access: Access, text: &str) -> Option<String> {
    let (folder, leaf) = text.rsplit_once('/')?;
    if folder.is_empty() || leaf.starts_with('.') {
        return None;
    }
    let leaf: NamePattern = leaf.parse().ok()?;
    let extension = leaf.extension()?;
    set(access, folder, extension)
}

/// The set that a path belongs to, given its form and its own last name.
pub(super) fn set_of_name(access: Access, text: &str, name: &[u8]) -> Option<String> {
    let (folder, _) = text.rsplit_once('/')?;
    if folder.is_empty() || name.starts_with(b".") {
        return None;
    }
    let extension = super::lexer::extension(name);
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
        let path = pattern::sample(&parsed);
        let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
        guard::guarded(access, &path).is_none()
    })
}

#[cfg(test)]
#[path = "collapse_tests.rs"]
mod tests;
