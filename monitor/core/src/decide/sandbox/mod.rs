//! Sandbox: what Landlock and seccomp can hold of a policy, for a program that is about to be
//! started. They hold it in the kernel for as long as the program and its children live, without
//! the daemon and without BPF.
//!
//! Landlock knows files and directory hierarchies that exist when it is set up, TCP ports and a
//! few scopes; a policy knows patterns of paths, addresses and roles. Where one cannot say what the
//! other means there is a [`Note`]: nothing is widened, narrowed or left to the kernel hooks
//! without one.
//!
//! It knows rules and the shape of the file system, through [`Tree`]; it does not know how either
//! mechanism is installed.

pub mod calls;
mod denied;
mod files;
mod show;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::{
    class::{Family, Mode, Role},
    facility::{Facility, INVARIANT_FACILITIES},
    path::permission,
};
use serde::Serialize;

use super::{
    CompileError, Modes,
    endpoint_rule::EndpointRule,
    host_rule::HostRule,
    invariants::invariant_paths,
    pattern::{Component, PathPattern},
};
use crate::config::Rules;

/// Rights on files, with the values of Landlock's own interface.
pub mod right {
    /// Run a file.
    pub const EXECUTE: u32 = 1;
    /// Open a file for writing.
    pub const WRITE_FILE: u32 = 1 << 1;
    /// Open a file for reading.
    pub const READ_FILE: u32 = 1 << 2;
    /// List a directory.
    pub const READ_DIR: u32 = 1 << 3;
    /// Remove or rename a directory.
    pub const REMOVE_DIR: u32 = 1 << 4;
    /// Unlink or rename a file.
    pub const REMOVE_FILE: u32 = 1 << 5;
    /// Make a character device.
    pub const MAKE_CHAR: u32 = 1 << 6;
    /// Make a directory.
    pub const MAKE_DIR: u32 = 1 << 7;
    /// Make a regular file.
    pub const MAKE_REG: u32 = 1 << 8;
    /// Make a unix socket.
    pub const MAKE_SOCK: u32 = 1 << 9;
    /// Make a named pipe.
    pub const MAKE_FIFO: u32 = 1 << 10;
    /// Make a block device.
    pub const MAKE_BLOCK: u32 = 1 << 11;
    /// Make a symbolic link.
    pub const MAKE_SYM: u32 = 1 << 12;
    /// Link or rename between directories (Landlock 2).
    pub const REFER: u32 = 1 << 13;
    /// Truncate a file (Landlock 3).
    pub const TRUNCATE: u32 = 1 << 14;
    /// Control a device (Landlock 5).
    pub const IOCTL_DEV: u32 = 1 << 15;

    /// What can be had on a file that is no directory.
    pub const OF_FILES: u32 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
    /// Everything that is held back where writing is enforced.
    pub const WRITING: u32 = WRITE_FILE | CHANGING | MAKE_CHAR | MAKE_BLOCK;
    /// What comes with the right to write anything below a directory: no devices.
    pub const CHANGING: u32 = TRUNCATE | MAKING | MAKE_DIR | REMOVE_DIR | REFER;
    /// What comes with the right to write the files of one directory.
    pub const MAKING: u32 = MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM | REMOVE_FILE;

    /// The rights that a version of Landlock knows.
    pub const fn known(abi: u32) -> u32 {
        match abi {
            0 => 0,
            1 => REFER - 1,
            2 => TRUNCATE - 1,
            3 | 4 => IOCTL_DEV - 1,
            _ => (IOCTL_DEV << 1) - 1,
        }
    }
}

/// First version of Landlock that knows TCP ports.
const ABI_PORTS: u32 = 4;
/// First version of Landlock that knows scopes.
const ABI_SCOPES: u32 = 6;

/// What a path is; links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Anything else that can be opened.
    File,
}

/// The file system as it is now.
pub trait Tree {
    /// What is at a path whose parents are known to be directories; `None` if nothing is.
    fn kind(&self, path: &[u8]) -> Option<Kind>;
    /// Names in a directory, and what they are; none if it cannot be read.
    fn children(&self, directory: &[u8]) -> Vec<(Vec<u8>, Kind)>;
    /// The program that the kernel loads together with a program (`ld.so`): its own path, links
    /// resolved.
    fn loader(&self, program: &[u8]) -> Option<Vec<u8>>;
}

/// What a plan is made from.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Mode of each family.
    pub modes: Modes,
    /// Version of Landlock; 0 where there is none.
    pub abi: u32,
    /// What was learned, over everything that the program and its children can become.
    pub learned: &'a [(Family, String)],
    /// What the operator allows besides.
    pub allow: &'a Rules,
    /// What the operator forbids.
    pub deny: &'a Rules,
    /// Files that have to be run to start the program: itself and its interpreters, own paths.
    pub start: &'a [Vec<u8>],
    /// TCP ports that may be listened on besides those of rules; `None` adds none.
    pub listen: Option<&'a [u16]>,
}

/// Rights on a file or on a directory and everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    /// Its path, without any symbolic link.
    pub path: Vec<u8>,
    /// It was a directory.
    pub directory: bool,
    /// Bits of [`right`].
    pub rights: u32,
}

/// What Landlock is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Landlock {
    /// Its version.
    pub abi: u32,
    /// Rights that nobody has unless a rule gives them.
    pub handled: u32,
    /// Rules, by path.
    pub paths: Vec<PathRule>,
    /// TCP ports that may be connected to; `None` does not restrict them.
    pub connect: Option<BTreeSet<u16>>,
    /// TCP ports that may be listened on; `None` does not restrict them.
    pub bind: Option<BTreeSet<u16>>,
    /// No connections to abstract unix sockets of others.
    pub scope_abstract: bool,
    /// No signals to processes of others.
    pub scope_signals: bool,
}

/// How a plan and a policy differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// The sandbox allows more than the policy; the kernel hooks hold the rest.
    Wider,
    /// The sandbox refuses what the policy allows.
    Narrower,
    /// The sandbox says nothing about it; the kernel hooks do.
    Hooks,
}

/// Something that the sandbox cannot express exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Note {
    /// In which direction.
    pub difference: Difference,
    /// The rule, in its text form, or what it is about.
    pub rule: String,
    /// What comes of it and why, in a sentence.
    pub what: String,
    /// The path up to which it was widened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What will be installed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// For Landlock; absent where this kernel has none.
    pub landlock: Option<Landlock>,
    /// For seccomp.
    pub calls: Vec<calls::CallRule>,
    /// What they cannot express.
    pub notes: Vec<Note>,
}

impl Plan {
    /// Whether a right on an existing path is given, as Landlock would decide.
    pub fn grants(&self, path: &[u8], right: u32) -> bool {
        let Some(landlock) = &self.landlock else {
            return true;
        };
        let given = landlock
            .paths
            .iter()
            .filter(|rule| is_below(path, &rule.path))
            .fold(0, |given, rule| given | rule.rights);
        right & landlock.handled & !given == 0
    }
}

/// Whether a path is another one or below it.
fn is_below(path: &[u8], top: &[u8]) -> bool {
    top == b"/"
        || path
            .strip_prefix(top)
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Patterns and what they are about, merged.
type Patterns = BTreeMap<Vec<Component>, u8>;

/// Roles that a program and its children can have, given the roles that the workload's processes
/// have rules for: a sandbox is inherited, so it has to fit all of them. A tool or shell never gets
/// a higher role.
pub fn reachable(role: Role, configured: &[Role]) -> Vec<Role> {
    let low = |role: &Role| matches!(role, Role::Tool | Role::Shell);
    let others = configured
        .iter()
        .copied()
        .filter(|other| !low(&role) || low(other));
    let mut roles: Vec<Role> = [role, Role::Tool].into_iter().chain(others).collect();
    roles.sort_unstable();
    roles.dedup();
    roles
}

/// Whether a program in these modes is to be confined at all: nothing is while it only learns.
pub fn confines(modes: Modes) -> bool {
    Family::ALL
        .into_iter()
        .any(|family| modes.get(family) != Mode::Learn)
}

/// Makes a plan: the families that are enforced, and what no program may do in any mode but
/// `learn`.
///
/// # Errors
/// A rule that cannot be read.
pub fn plan(request: &Request, tree: &dyn Tree) -> Result<Plan, CompileError> {
    if !confines(request.modes) {
        return Ok(Plan::default());
    }
    let mut notes = BTreeSet::new();
    let mut landlock = Landlock {
        abi: request.abi,
        scope_signals: request.abi >= ABI_SCOPES,
        ..Landlock::default()
    };
    let (allow, deny) = (allowed(request)?, forbidden(request)?);
    files::plan(request, tree, &allow, &deny, &mut landlock, &mut notes);
    ports(request, &mut landlock, &mut notes)?;
    unix_sockets(request, &mut landlock, &mut notes);
    other_processes(request, &mut landlock, &mut notes);
    Ok(Plan {
        calls: calls::rules(request.modes, facilities(request)?, &mut notes),
        landlock: (request.abi > 0).then_some(landlock),
        notes: notes.into_iter().collect(),
    })
}

fn enforced(request: &Request, family: Family) -> bool {
    request.modes.get(family) == Mode::Enforce
}

/// Adds path rules of one kind.
fn add(patterns: &mut Patterns, rule: &str, permission: u8) -> Result<(), CompileError> {
    let parsed = PathPattern::parse(rule, permission).map_err(|reason| CompileError::Path {
        rule: rule.into(),
        reason,
    })?;
    *patterns.entry(parsed.components).or_default() |= permission;
    Ok(())
}

fn add_all(patterns: &mut Patterns, rules: &Rules) -> Result<(), CompileError> {
    for (list, permission) in [
        (&rules.read, permission::READ),
        (&rules.write, permission::WRITE),
        (&rules.exec, permission::EXEC),
    ] {
        list.iter()
            .try_for_each(|rule| add(patterns, rule, permission))?;
    }
    Ok(())
}

fn allowed(request: &Request) -> Result<Patterns, CompileError> {
    let mut patterns = Patterns::new();
    for (family, subject) in request.learned {
        let permission = match family {
            Family::Read => permission::READ,
            Family::Write => permission::WRITE,
            Family::Exec => permission::EXEC,
            _ => continue,
        };
        add(&mut patterns, subject, permission)?;
    }
    add_all(&mut patterns, request.allow)?;
    Ok(patterns)
}

/// The invariants and the operator's deny rules. Other processes' memory is not among them:
/// Landlock guards that by itself.
fn forbidden(request: &Request) -> Result<Patterns, CompileError> {
    let mut patterns = Patterns::new();
    for pattern in invariant_paths().into_iter().filter(|p| !p.other_process) {
        *patterns.entry(pattern.components).or_default() |= pattern.permissions;
    }
    add_all(&mut patterns, request.deny)?;
    Ok(patterns)
}

/// What was learned or is allowed in a family, in text form.
fn rules_of<'a>(
    request: &'a Request,
    family: Family,
    allowed: &'a [String],
) -> impl Iterator<Item = &'a String> {
    request
        .learned
        .iter()
        .filter(move |(of, _)| *of == family)
        .map(|(_, subject)| subject)
        .chain(allowed)
}

/// Ports of rules about endpoints, or the rule that allows every one.
fn tcp_ports<'a>(
    rules: impl Iterator<Item = &'a String>,
) -> Result<Result<BTreeSet<u16>, &'a String>, CompileError> {
    let mut ports = BTreeSet::new();
    for rule in rules {
        let service = if HostRule::is_meant(rule) {
            HostRule::parse(rule).map(|rule| rule.service())
        } else {
            EndpointRule::parse_local(rule).map(|rule| rule.service())
        };
        let service = service.map_err(|reason| CompileError::Destination {
            rule: rule.clone(),
            reason,
        })?;
        match service {
            (Some(port), None | Some(6)) => {
                ports.insert(port);
            }
            (None, None | Some(6)) => return Ok(Err(rule)),
            _ => {}
        }
    }
    Ok(Ok(ports))
}

/// TCP ports of destinations and of what is listened on. Addresses cannot be had.
fn ports(
    request: &Request,
    landlock: &mut Landlock,
    notes: &mut BTreeSet<Note>,
) -> Result<(), CompileError> {
    let mut hooks = |rule: &str, what: &str| {
        notes.insert(Note::new(Difference::Hooks, rule, what));
    };
    if request.abi < ABI_PORTS {
        let what = "TCP ports are not restricted: this kernel's Landlock knows no ports";
        hooks("destinations and listening", what);
        return Ok(());
    }
    if enforced(request, Family::Destination) {
        let what = "addresses, and everything but TCP, are held by the kernel hooks alone";
        hooks("destinations", what);
        let rules = rules_of(request, Family::Destination, &request.allow.connect);
        match tcp_ports(rules)? {
            Ok(ports) => landlock.connect = Some(ports),
            Err(rule) => hooks(rule, "any port is allowed, so TCP ports are not restricted"),
        }
    }
    let extra = request.listen.unwrap_or_default();
    let known = if enforced(request, Family::Listen) {
        tcp_ports(rules_of(request, Family::Listen, &request.allow.listen))?
    } else {
        Ok(BTreeSet::new())
    };
    match known {
        Err(rule) => hooks(rule, "any port is allowed, so listening is not restricted"),
        Ok(ports) if ports.is_empty() && request.listen.is_none() => {
            let what = "no port is known, so it is not restricted; --listen restricts it";
            hooks("listening", what);
        }
        Ok(mut ports) => {
            ports.extend(extra);
            landlock.bind = Some(ports);
        }
    }
    Ok(())
}

/// Abstract unix sockets of others are allowed all or none; paths of unix sockets are not
/// restricted.
fn unix_sockets(request: &Request, landlock: &mut Landlock, notes: &mut BTreeSet<Note>) {
    if !enforced(request, Family::Unix) {
        return;
    }
    let mut hooks = |rule: &str, what: &str| {
        notes.insert(Note::new(Difference::Hooks, rule, what));
    };
    hooks(
        "unix sockets",
        "connecting to one by its path is not restricted",
    );
    let mut rules = rules_of(request, Family::Unix, &request.allow.unix);
    match rules.find(|rule| rule.starts_with('@')) {
        Some(rule) => hooks(
            rule,
            "one is allowed, so abstract sockets are not restricted",
        ),
        None => landlock.scope_abstract = request.abi >= ABI_SCOPES,
    }
}

/// Facilities that are allowed: what no program may have is not among them.
fn facilities(request: &Request) -> Result<u64, CompileError> {
    let bits = |rule: &String| {
        Facility::from_name(rule)
            .map(Facility::bit)
            .ok_or_else(|| CompileError::Facility {
                rule: rule.clone(),
                known: Facility::ALL.iter().map(|f| f.name()).collect(),
            })
    };
    let add = |all: u64, rule| Ok(all | bits(rule)?);
    let allow = &request.allow.facilities;
    let allowed = rules_of(request, Family::Facility, allow).try_fold(0, add)?;
    let denied = request.deny.facilities.iter().try_fold(0, add)?;
    // What the C library asks for in every name look-up.
    let usual = Facility::NetlinkRoute.bit();
    Ok((allowed | usual) & !denied & !INVARIANT_FACILITIES)
}

/// Any Landlock domain keeps its processes from looking into others; what it takes is that there is
/// one.
fn other_processes(request: &Request, landlock: &mut Landlock, notes: &mut BTreeSet<Note>) {
    let rule = "memory and environment of other processes";
    let what = "processes of the same sandbox can look into each other as far as the kernel hooks \
                let them";
    notes.insert(Note::new(Difference::Hooks, rule, what));
    if landlock.handled == 0
        && landlock.connect.is_none()
        && landlock.bind.is_none()
        && request.abi > 0
    {
        // Nobody makes block devices; refusing it makes the domain.
        landlock.handled = right::MAKE_BLOCK;
        files::keep_links(landlock);
    }
    if request.abi < ABI_SCOPES {
        let what = "signals to other processes and abstract unix sockets are not restricted: this \
                    kernel's Landlock knows no scopes";
        notes.insert(Note::new(Difference::Hooks, "scopes", what));
    }
}

impl Note {
    fn new(difference: Difference, rule: &str, what: &str) -> Self {
        Self {
            difference,
            rule: rule.into(),
            what: what.into(),
            to: None,
        }
    }
}
