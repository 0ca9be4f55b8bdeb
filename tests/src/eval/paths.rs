//! Question `paths`: how many new paths a day a path baseline would report, and what it lets through
//! that it must not.
//!
//! Ten days of a Python inference service. Learned on days 0 to 2, held out are days 6 to 9; days 3
//! to 5 were for choosing. For comparison the exact set and the trie that collapses a folder with
//! more than fifty children, as others do; both are built here, because they are not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result};
use slmguard_core::baseline::paths::{Access, PathModel};

use super::{Goal, Open, Question, Target, decoys, opens};

/// Section of the page.
pub const SECTION: &str = "Paths";
/// What stands above its table.
pub const TEXT: &str = "Ten days of a Python inference service, learned on days 0–2, held out days \
    6–9; 36 paths that must not be allowed. A false positive counts once a day per path. \
    Decoys are asked about after the learning days alone.";

/// The question.
pub const QUESTION: Question = Question { name: "paths", ask };

/// Children of a folder beyond which the trie of others forgets their names.
const COLLAPSE: usize = 50;
/// Look-ups that are timed.
const TIMED: usize = 200_000;

/// Something that learned paths.
trait Known {
    fn knows(&self, mode: &str, path: &str) -> bool;
}

/// What came out of a test.
struct Score {
    /// Different paths with an unknown access of each day, added up, per day.
    unique_a_day: f64,
    /// Share of all accesses.
    share: f64,
    decoys: Vec<String>,
}

fn score(known: &dyn Known, test: &[&Open], decoys: &[(String, String)]) -> Score {
    let days: BTreeSet<u32> = test.iter().map(|open| open.day).collect();
    let unknown: Vec<&&Open> = test
        .iter()
        .filter(|open| !known.knows(&open.mode, &open.path))
        .collect();
    let unique: BTreeSet<_> = unknown.iter().map(|o| (o.day, &o.path)).collect();
    Score {
        unique_a_day: unique.len() as f64 / days.len().max(1) as f64,
        share: unknown.len() as f64 / test.len().max(1) as f64,
        decoys: decoys
            .iter()
            .filter(|(mode, path)| known.knows(mode, path))
            .map(|(mode, path)| format!("{mode} {path}"))
            .collect(),
    }
}

/// Ours.
impl Known for PathModel {
    fn knows(&self, mode: &str, path: &str) -> bool {
        Access::from_word(mode)
            .is_some_and(|access| PathModel::knows(self, access, path.as_bytes()).is_known())
    }
}

fn ours(train: &[&Open]) -> Result<PathModel> {
    let mut model = PathModel::default();
    for open in train {
        let access = Access::from_word(&open.mode)
            .with_context(|| format!("a mode of the data: {}", open.mode))?;
        model.absorb(access, open.path.as_bytes(), open.day);
    }
    Ok(model)
}

/// The set of what was seen.
#[derive(Default)]
struct Exact(BTreeSet<(String, String)>);

impl Known for Exact {
    fn knows(&self, mode: &str, path: &str) -> bool {
        self.0.contains(&(mode.to_owned(), path.to_owned()))
    }
}

/// A trie of components. Where a folder was collapsed, the modes of everything below it are thrown
/// together, and two wildcards in a row match at any depth.
#[derive(Default)]
struct Trie {
    children: BTreeMap<String, Trie>,
    modes: BTreeSet<String>,
    collapsed: bool,
}

impl Trie {
    fn insert(&mut self, mode: &str, path: &mut dyn Iterator<Item = &str>) {
        let Some(name) = path.next() else {
            self.modes.insert(mode.to_owned());
            return;
        };
        let name = if self.collapsed { "*" } else { name };
        let child = self.children.entry(name.to_owned()).or_default();
        child.insert(mode, path);
        if self.children.len() > COLLAPSE {
            let mut all = Self::default();
            for child in std::mem::take(&mut self.children).into_values() {
                all.join(child);
            }
            self.children.insert("*".to_owned(), all);
            self.collapsed = true;
        }
    }

    fn join(&mut self, other: Self) {
        self.modes.extend(other.modes);
        self.collapsed |= other.collapsed;
        for (name, child) in other.children {
            self.children.entry(name).or_default().join(child);
        }
        if self.collapsed && self.children.keys().any(|name| name != "*") {
            let mut all = Self::default();
            for child in std::mem::take(&mut self.children).into_values() {
                all.join(child);
            }
            self.children.insert("*".to_owned(), all);
        }
    }

    fn walk(&self, mode: &str, path: &[&str]) -> bool {
        let [name, rest @ ..] = path else {
            return self.modes.contains(mode);
        };
        // Two wildcards in a row are written as one that stands for any depth.
        let deep = self.collapsed && self.children.values().all(|child| child.collapsed);
        (deep && self.has_below(mode))
            || ["*", *name]
                .iter()
                .filter_map(|edge| self.children.get(*edge))
                .any(|child| child.walk(mode, rest))
    }

    fn has_below(&self, mode: &str) -> bool {
        let mut children = self.children.values();
        children.any(|child| child.modes.contains(mode) || child.has_below(mode))
    }

    fn leaves(&self) -> usize {
        usize::from(!self.modes.is_empty())
            + self.children.values().map(Self::leaves).sum::<usize>()
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

/// The path as the kernel reports it. The traces have it as it was written, with `..` in it, where
/// our programs see the file that was reached.
fn resolved(path: &str) -> String {
    let mut names = vec![];
    for name in parts(path).filter(|name| *name != ".") {
        if name == ".." {
            names.pop();
        } else {
            names.push(name);
        }
    }
    format!("/{}", names.join("/"))
}

impl Known for Trie {
    fn knows(&self, mode: &str, path: &str) -> bool {
        self.walk(mode, &parts(path).collect::<Vec<_>>())
    }
}

/// Days on which a setting may be looked at, and days that are held out.
const CHOOSING: std::ops::RangeInclusive<u32> = 3..=5;
const HELD_OUT: std::ops::RangeInclusive<u32> = 6..=9;

/// Answers the question.
fn ask(progress: &mut dyn FnMut(&str)) -> Result<Vec<Target>> {
    let mut all = opens()?;
    let mut decoys = decoys()?;
    let paths = all.iter_mut().map(|open| &mut open.path);
    for path in paths.chain(decoys.iter_mut().map(|(_, path)| path)) {
        *path = resolved(path);
    }
    let of = |days: std::ops::RangeInclusive<u32>| -> Vec<&Open> {
        all.iter().filter(|open| days.contains(&open.day)).collect()
    };
    let train = of(0..=2);
    let mut exact = Exact::default();
    let mut trie = Trie::default();
    for open in &train {
        exact.0.insert((open.mode.clone(), open.path.clone()));
        trie.insert(&open.mode, &mut parts(&open.path));
    }
    let model = ours(&train)?;
    let one_day = ours(&of(0..=0))?;

    let choosing = score(&model, &of(CHOOSING), &decoys);
    progress(&format!(
        "days 3-5 (for choosing): {:.2} new a day, {} decoys {:?}",
        choosing.unique_a_day,
        choosing.decoys.len(),
        choosing.decoys
    ));
    let mut targets = vec![told(
        "paths_choosing_fp_per_day",
        "ours on days 3–5, on which it was chosen: unique false positives per day",
        choosing.unique_a_day,
    )];
    let test = of(HELD_OUT);
    let result = score(&model, &test, &decoys);
    progress(&format!("ours lets through: {:?}", result.decoys));
    targets.extend([
        held_out(
            "paths_fp_per_day",
            "ours: unique false positives per day",
            result.unique_a_day,
            Goal::AtMost(2.0),
        ),
        held_out(
            "paths_decoys_allowed",
            "ours: decoys allowed, of 36",
            result.decoys.len() as f64,
            Goal::AtMost(0.0),
        ),
        held_out(
            "paths_fp_share",
            "ours: share of accesses that are false positives",
            result.share,
            Goal::Told,
        ),
        told(
            "paths_patterns",
            "ours: patterns",
            model.patterns().len() as f64,
        ),
        told("paths_bytes", "ours: bytes", model.bytes() as f64),
    ]);
    let early = score(&one_day, &test, &decoys);
    targets.extend([
        held_out(
            "paths_one_day_fp_per_day",
            "ours after one day of learning: unique false positives per day",
            early.unique_a_day,
            Goal::Told,
        ),
        held_out(
            "paths_one_day_decoys_allowed",
            "ours after one day of learning: decoys allowed",
            early.decoys.len() as f64,
            Goal::AtMost(0.0),
        ),
        told(
            "paths_one_day_patterns",
            "ours after one day of learning: patterns",
            one_day.patterns().len() as f64,
        ),
    ]);
    for (name, what, known, patterns) in [
        (
            "exact",
            "the exact set",
            &exact as &dyn Known,
            exact.0.len(),
        ),
        ("trie", "a trie that collapses at 50", &trie, trie.leaves()),
    ] {
        let other = score(known, &test, &decoys);
        progress(&format!("{what} lets through: {:?}", other.decoys));
        for (key, text, value) in [
            (
                "fp_per_day",
                "unique false positives per day",
                other.unique_a_day,
            ),
            (
                "decoys_allowed",
                "decoys allowed",
                other.decoys.len() as f64,
            ),
            ("patterns", "patterns", patterns as f64),
        ] {
            let name = format!("paths_{name}_{key}");
            let target = held_out(&name, &format!("{what}: {text}"), value, Goal::Told);
            targets.push(target);
        }
    }
    targets.push(
        Target::new(
            SECTION,
            "paths_lookup_ns",
            "ours: ns per look-up",
            nanoseconds(&model, &test),
            Goal::Told,
        )
        .measured(),
    );
    Ok(targets)
}

fn held_out(name: &str, what: &str, value: f64, goal: Goal) -> Target {
    Target::new(SECTION, name, what, value, goal).held_out()
}

fn told(name: &str, what: &str, value: f64) -> Target {
    Target::new(SECTION, name, what, value, Goal::Told)
}

fn nanoseconds(model: &PathModel, test: &[&Open]) -> f64 {
    let started = Instant::now();
    let mut count = 0u32;
    for open in test.iter().cycle().take(TIMED) {
        black_box(Known::knows(model, &open.mode, &open.path));
        count += 1;
    }
    started.elapsed().as_nanos() as f64 / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trie_of_others_forgets_names_and_throws_modes_together() {
        let mut trie = Trie::default();
        for n in 0..=COLLAPSE {
            let mode = if n == 0 { "create" } else { "read" };
            trie.insert(mode, &mut parts(&format!("/data/t{n}/x")));
        }
        assert!(trie.knows("read", "/data/evil/x") && trie.knows("create", "/data/t7/x"));
        assert!(!trie.knows("read", "/data/evil/y") && !trie.knows("read", "/other"));
        let mut deep = Trie::default();
        for n in 0..COLLAPSE * 3 {
            deep.insert("read", &mut parts(&format!("/data/t{n}/x{}", n % 100)));
        }
        assert!(deep.knows("read", "/data/evil") && deep.knows("read", "/data/a/b/c"));
        assert!(!deep.knows("create", "/data/evil") && !deep.knows("read", "/other"));
    }
}
