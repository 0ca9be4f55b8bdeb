//! Path rules for Landlock: patterns become files and hierarchies that exist now.
//!
//! A hierarchy in which something is forbidden is taken apart into what lies beside it. `/proc` is
//! not looked into: its files have no lasting identity, so it is allowed for reading as a whole or
//! not at all.

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::{class::Family, limits::MAX_DEPTH, path::permission};

use super::{
    Difference, Kind, Landlock, Note, PathRule, Patterns, Request, Tree,
    denied::{Denied, Next, Progress},
    enforced, right,
};
use crate::{
    decide::pattern::{Component, PathPattern},
    text,
};

/// Names that are looked at for one plan; hierarchies beyond that are left out.
const MOST_NAMES: usize = 2_000_000;
/// Paths that one note names.
const EXAMPLES: usize = 5;

const PROC: &[u8] = b"/proc";

/// Fills in handled rights and path rules.
pub fn plan(
    request: &Request,
    tree: &dyn Tree,
    allow: &Patterns,
    deny: &Patterns,
    landlock: &mut Landlock,
    notes: &mut BTreeSet<Note>,
) {
    let families = [
        (Family::Read, permission::READ),
        (Family::Write, permission::WRITE),
        (Family::Exec, permission::EXEC),
    ]
    .into_iter()
    .filter(|(family, _)| enforced(request, *family));
    let permissions: Vec<u8> = families.map(|(_, permission)| permission).collect();
    landlock.handled = handled(&permissions) & right::known(request.abi);
    if landlock.handled == 0 {
        return;
    }
    let mut planner = Planner {
        tree,
        rules: BTreeMap::new(),
        notes,
        looked: 0,
        later: BTreeSet::new(),
        proc_rules: BTreeSet::new(),
    };
    for permission in &permissions {
        // A program that may be started has to be readable as well.
        let reads = if *permission == permission::EXEC {
            permission::READ
        } else {
            0
        };
        let denied = Denied::new(deny, permission | reads);
        for (components, _) in allow.iter().filter(|(_, about)| *about & permission != 0) {
            let rule = Rule {
                components,
                permission: *permission,
                denied: &denied,
            };
            planner.rule(&rule);
        }
    }
    if permissions.contains(&permission::EXEC) {
        planner.programs(request.start);
    } else {
        planner.start(request.start);
    }
    planner.summarise(deny);
    let known = landlock.handled;
    landlock.paths = planner
        .rules
        .into_iter()
        .map(|(path, (directory, rights))| PathRule {
            path,
            directory,
            rights: rights & known,
        })
        .filter(|rule| rule.rights != 0)
        .collect();
    if !permissions.contains(&permission::WRITE) {
        keep_links(landlock);
    }
    limits(request.abi, &permissions, notes);
}

/// Rights that the enforced kinds of access hold back.
fn handled(permissions: &[u8]) -> u32 {
    let has = |permission| permissions.contains(&permission);
    let mut handled = 0;
    if has(permission::READ) {
        handled |= right::READ_FILE | right::READ_DIR;
    }
    if has(permission::WRITE) {
        handled |= right::WRITING;
    }
    if has(permission::EXEC) {
        handled |= right::EXECUTE;
    }
    // A device that may be opened may be controlled; whether it may be opened is known only where
    // reading and writing are both enforced.
    if has(permission::READ) && has(permission::WRITE) {
        handled |= right::IOCTL_DEV;
    }
    handled
}

/// Where writing is not enforced, moving files between directories stays allowed; Landlock forbids
/// it unless told otherwise.
pub fn keep_links(landlock: &mut Landlock) {
    if right::known(landlock.abi) & right::REFER == 0 {
        return;
    }
    landlock.handled |= right::REFER;
    landlock.paths.push(PathRule {
        path: b"/".to_vec(),
        directory: true,
        rights: right::REFER,
    });
    landlock.paths.sort_by(|a, b| a.path.cmp(&b.path));
}

/// What an old version of Landlock does not know.
fn limits(abi: u32, permissions: &[u8], notes: &mut BTreeSet<Note>) {
    let mut note = |difference, rule, what| {
        notes.insert(Note::new(difference, rule, what));
    };
    if abi < 2 {
        let what = "files cannot be moved or linked between directories, allowed or not";
        note(Difference::Narrower, "Landlock 1", what);
    }
    if abi < 3 && permissions.contains(&permission::WRITE) {
        let what = "truncating files is not restricted";
        note(Difference::Hooks, "Landlock before 3", what);
    }
    if permissions.contains(&permission::EXEC) {
        let what = "what may be started can also be read";
        note(Difference::Wider, "programs", what);
    }
}

/// One allow pattern for one kind of access.
struct Rule<'a> {
    components: &'a [Component],
    permission: u8,
    denied: &'a Denied<'a>,
}

impl Rule<'_> {
    fn text(&self) -> String {
        let pattern = PathPattern {
            components: self.components.to_vec(),
            permissions: self.permission,
            other_process: false,
        };
        let kind = match self.permission {
            permission::READ => "read",
            permission::WRITE => "write",
            _ => "exec",
        };
        format!("{kind} {pattern}")
    }

    /// Rights on a file, on the files of a directory, and on everything below one.
    fn rights(&self) -> [u32; 3] {
        let read = right::READ_FILE | right::IOCTL_DEV;
        let write = right::WRITE_FILE | right::TRUNCATE | right::IOCTL_DEV;
        match self.permission {
            permission::READ => [read, read, read | right::READ_DIR],
            permission::WRITE => [write, write | right::MAKING, write | right::CHANGING],
            _ => [right::EXECUTE | right::READ_FILE; 3],
        }
    }
}

/// What is left of a hierarchy without what is forbidden in it.
enum Carved {
    Whole,
    Parts(Vec<(Vec<u8>, bool)>),
    TooMany,
}

struct Planner<'a> {
    tree: &'a dyn Tree,
    rules: BTreeMap<Vec<u8>, (bool, u32)>,
    notes: &'a mut BTreeSet<Note>,
    looked: usize,
    /// Hierarchies below which something forbidden can be made later.
    later: BTreeSet<String>,
    /// Rules about `/proc`.
    proc_rules: BTreeSet<String>,
}

impl Planner<'_> {
    fn grant(&mut self, path: &[u8], directory: bool, rights: u32) {
        let path = if path.is_empty() { b"/" } else { path };
        let rights = if directory {
            rights
        } else {
            rights & right::OF_FILES
        };
        self.rules.entry(path.to_vec()).or_insert((directory, 0)).1 |= rights;
    }

    fn note(&mut self, difference: Difference, rule: &Rule, what: String, to: Option<&[u8]>) {
        self.notes.insert(Note {
            difference,
            rule: rule.text(),
            what,
            to: to.map(shown),
        });
    }

    fn rule(&mut self, rule: &Rule) {
        if rule.components.first() == Some(&Component::Literal(b"proc".to_vec())) {
            return self.in_proc(rule);
        }
        let inner = rule.components.split_last().map_or(&[][..], |(_, i)| i);
        if inner.iter().any(|c| !matches!(c, Component::Literal(_))) {
            let what = "covers what is there now; what appears later is refused".into();
            self.note(Difference::Narrower, rule, what, None);
        }
        self.expand(rule, 0, b"", true);
    }

    fn in_proc(&mut self, rule: &Rule) {
        if rule.permission == permission::READ {
            self.proc_rules.insert(rule.text());
            self.grant(PROC, true, rule.rights()[2]);
        } else {
            let what = "files of /proc cannot be named to Landlock; it is refused".into();
            self.note(Difference::Narrower, rule, what, None);
        }
    }

    /// Follows the pattern from component `at` in a directory (without a `/` at its end).
    /// `literal`: no wildcard has been passed, so that what is missing is worth a note.
    fn expand(&mut self, rule: &Rule, at: usize, directory: &[u8], literal: bool) {
        let last = at + 1 == rule.components.len();
        match rule.components.get(at) {
            None => self.directory(rule, directory),
            Some(Component::Literal(name)) => {
                let path = join(directory, name);
                match self.tree.kind(&path) {
                    Some(Kind::Directory) => self.expand(rule, at + 1, &path, literal),
                    Some(Kind::File) if last => self.file(rule, &path),
                    Some(Kind::Link) if literal => {
                        let what = format!(
                            "{} is a symbolic link; rules are about the path that a file really \
                             has, so this one allows nothing",
                            shown(&path)
                        );
                        self.note(Difference::Narrower, rule, what, None);
                    }
                    Some(Kind::File | Kind::Link) => {}
                    None if literal => {
                        let what = format!(
                            "{} does not exist, so it is refused even when it is made later; \
                             allow {} instead if it has to be",
                            shown(&path),
                            shown(&join(directory, b"*"))
                        );
                        self.note(Difference::Narrower, rule, what, None);
                    }
                    None => {}
                }
            }
            Some(Component::Star) if last => self.star(rule, directory),
            Some(Component::Class(form)) if last => {
                let what = format!("any name in {}, not only {form}", shown(directory));
                self.note(Difference::Wider, rule, what, Some(directory));
                self.star(rule, directory);
            }
            Some(Component::Rest) if last => self.below(rule, directory),
            Some(wildcard) => {
                let deeper = *wildcard == Component::Rest;
                if deeper {
                    self.expand(rule, at + 1, directory, false);
                }
                if self.too_many(rule) || depth(directory) > MAX_DEPTH as usize {
                    return;
                }
                for (name, kind) in self.children(directory) {
                    if matches!(wildcard, Component::Class(form) if !form.matches(&name)) {
                        continue;
                    }
                    let path = join(directory, &name);
                    if kind == Kind::Directory && path != PROC {
                        self.expand(rule, if deeper { at } else { at + 1 }, &path, false);
                    }
                }
            }
        }
    }

    fn file(&mut self, rule: &Rule, path: &[u8]) {
        if rule.denied.walk(path) != Next::Denied {
            self.grant(path, false, rule.rights()[0]);
        }
    }

    /// A directory that is itself what the pattern names: it may be listed.
    fn directory(&mut self, rule: &Rule, path: &[u8]) {
        if rule.permission != permission::READ || rule.denied.walk(path) == Next::Denied {
            return;
        }
        let below = self.children(path);
        if below.iter().any(|(_, kind)| *kind == Kind::Directory) {
            let what = "directories below it can be listed as well".into();
            self.note(Difference::Wider, rule, what, Some(path));
        }
        self.grant(path, true, right::READ_DIR);
    }

    /// Every name in a directory.
    fn star(&mut self, rule: &Rule, directory: &[u8]) {
        let Next::Open(progress) = rule.denied.walk(directory) else {
            return;
        };
        let children = self.children(directory);
        let nested = children.iter().any(|(_, kind)| *kind == Kind::Directory);
        let writes = rule.permission == permission::WRITE;
        if !nested || writes {
            match self.carve(directory, rule.denied, &progress) {
                Carved::Whole => {
                    if nested {
                        let what = format!(
                            "everything below {} can be written, not only what lies directly in it",
                            shown(directory)
                        );
                        self.note(Difference::Wider, rule, what, Some(directory));
                    }
                    self.remember_later(directory, &progress);
                    return self.grant(directory, true, rule.rights()[1]);
                }
                Carved::Parts(_) | Carved::TooMany => {}
            }
        }
        let what = "covers the files that are there now; what appears later is refused, and \
                    directories in it cannot be listed";
        self.note(Difference::Narrower, rule, what.into(), None);
        for (name, kind) in children {
            if kind == Kind::File && rule.denied.step(&progress, &name) != Next::Denied {
                self.grant(&join(directory, &name), false, rule.rights()[0]);
            }
        }
    }

    /// Everything below a directory.
    fn below(&mut self, rule: &Rule, directory: &[u8]) {
        let Next::Open(progress) = rule.denied.walk(directory) else {
            return;
        };
        let rights = rule.rights()[2];
        match self.carve(directory, rule.denied, &progress) {
            Carved::Whole => {
                self.remember_later(directory, &progress);
                self.grant(directory, true, rights);
            }
            Carved::Parts(parts) => {
                let what = format!(
                    "something below {} is forbidden, so what lies beside it was allowed in {} \
                     pieces; what appears later beside them is refused",
                    shown(directory),
                    parts.len()
                );
                self.note(Difference::Narrower, rule, what, None);
                for (path, whole) in parts {
                    self.grant(&path, whole, rights);
                }
            }
            Carved::TooMany => {
                let what = format!(
                    "more than {MOST_NAMES} names would have to be searched for what is \
                     forbidden; it is refused: name smaller directories"
                );
                self.note(Difference::Narrower, rule, what, None);
            }
        }
    }

    fn carve(&mut self, directory: &[u8], denied: &Denied, progress: &Progress) -> Carved {
        if progress.is_over() || directory == PROC {
            return Carved::Whole;
        }
        if self.looked > MOST_NAMES {
            return Carved::TooMany;
        }
        if depth(directory) > MAX_DEPTH as usize {
            // No rule reaches further down.
            return Carved::Parts(vec![]);
        }
        let (mut parts, mut whole) = (vec![], true);
        for (name, kind) in self.children(directory) {
            let path = join(directory, &name);
            match (denied.step(progress, &name), kind) {
                (_, Kind::Link) => {}
                (Next::Denied, _) => whole = false,
                (Next::Open(_), Kind::File) => parts.push((path, false)),
                (Next::Open(next), Kind::Directory) => match self.carve(&path, denied, &next) {
                    Carved::Whole => parts.push((path, true)),
                    Carved::Parts(below) => {
                        whole = false;
                        parts.extend(below);
                    }
                    Carved::TooMany => return Carved::TooMany,
                },
            }
        }
        if whole {
            Carved::Whole
        } else {
            Carved::Parts(parts)
        }
    }

    fn children(&mut self, directory: &[u8]) -> Vec<(Vec<u8>, Kind)> {
        let directory = if directory.is_empty() {
            b"/"
        } else {
            directory
        };
        let children = self.tree.children(directory);
        self.looked += children.len() + 1;
        children
    }

    fn too_many(&mut self, rule: &Rule) -> bool {
        let too_many = self.looked > MOST_NAMES;
        if too_many {
            let what = format!("more than {MOST_NAMES} names were looked at; the rest is refused");
            self.note(Difference::Narrower, rule, what, None);
        }
        too_many
    }

    fn remember_later(&mut self, directory: &[u8], progress: &Progress) {
        if !progress.is_over() {
            self.later.insert(shown(directory));
        }
    }

    /// The program that is started, and what runs it.
    fn start(&mut self, start: &[Vec<u8>]) {
        for path in start {
            let loader = self.tree.loader(path);
            for path in [Some(path), loader.as_ref()].into_iter().flatten() {
                self.grant(path, false, right::EXECUTE | right::READ_FILE);
            }
        }
    }

    /// The same, and the loaders of programs that may be started.
    fn programs(&mut self, start: &[Vec<u8>]) {
        self.start(start);
        for path in start {
            self.notes.insert(Note {
                difference: Difference::Wider,
                rule: "the command itself".into(),
                what: "can be read and started again".into(),
                to: Some(shown(path)),
            });
        }
        let programs: Vec<Vec<u8>> = self
            .rules
            .iter()
            .filter(|(_, (directory, rights))| !directory && rights & right::EXECUTE != 0)
            .map(|(path, _)| path.clone())
            .collect();
        for loader in programs.iter().filter_map(|path| self.tree.loader(path)) {
            self.grant(&loader, false, right::EXECUTE | right::READ_FILE);
            self.notes.insert(Note {
                difference: Difference::Wider,
                rule: "programs".into(),
                what: "their loader can be started, and runs what can be read".into(),
                to: Some(shown(&loader)),
            });
        }
    }

    fn summarise(&mut self, deny: &Patterns) {
        if !self.later.is_empty() {
            let what = format!(
                "what one of them forbids and is made later below {} is not refused",
                examples(&self.later)
            );
            let note = Note::new(Difference::Hooks, "deny rules and credential files", &what);
            self.notes.insert(note);
        }
        if self.proc_rules.is_empty() {
            return;
        }
        let what = format!(
            "all of /proc can be read, because its files have no lasting identity; the inside of \
             processes outside the sandbox stays closed (for: {})",
            examples(&self.proc_rules)
        );
        self.notes.insert(Note {
            difference: Difference::Wider,
            rule: "read /proc".into(),
            what,
            to: Some("/proc".into()),
        });
        let in_proc = |components: &[Component]| match components.first() {
            Some(Component::Literal(name)) => name == b"proc",
            _ => false,
        };
        for (components, permissions) in deny {
            if in_proc(components) && permissions & permission::READ != 0 {
                let rule = PathPattern {
                    components: components.clone(),
                    permissions: *permissions,
                    other_process: false,
                };
                let what = "lies in /proc, which can be read as a whole";
                let note = Note::new(Difference::Hooks, &format!("deny {rule}"), what);
                self.notes.insert(note);
            }
        }
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    [directory, b"/", name].concat()
}

fn depth(path: &[u8]) -> usize {
    text::components(path).count()
}

/// A path as people see it.
fn shown(path: &[u8]) -> String {
    if path.is_empty() {
        "/".into()
    } else {
        text::escape(path)
    }
}

fn examples(all: &BTreeSet<String>) -> String {
    let mut shown: Vec<&str> = all.iter().take(EXAMPLES).map(String::as_str).collect();
    let more = format!("{} more", all.len().saturating_sub(EXAMPLES));
    if all.len() > EXAMPLES {
        shown.push(&more);
    }
    shown.join(", ")
}
