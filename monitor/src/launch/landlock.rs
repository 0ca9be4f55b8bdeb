//! Landlock, installed: a plan's paths become descriptors, and this thread is held to them.
//!
//! All or nothing: what the kernel does not know makes the whole fail.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::{SFlag, fstat},
};
use slmguard_core::{
    decide::sandbox::{Landlock, PathRule},
    text::escape,
};

use super::missing;
use crate::exit::Failure;

const WHAT: &str = "Landlock";

/// The highest version of which the kernel takes every right, as far as plans know them.
pub fn version() -> u32 {
    let versions = [ABI::V6, ABI::V5, ABI::V4, ABI::V3, ABI::V2, ABI::V1];
    versions
        .into_iter()
        .find(|abi| takes(*abi).is_ok())
        .map_or(0, |abi| abi as u32)
}

fn takes(abi: ABI) -> Result<RulesetCreated, RulesetError> {
    let mut ruleset = landlock::Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))?;
    if abi >= ABI::V4 {
        ruleset = ruleset.handle_access(AccessNet::from_all(abi))?;
    }
    if abi >= ABI::V6 {
        ruleset = ruleset.scope(Scope::from_all(abi))?;
    }
    ruleset.create()
}

/// Rules that the kernel has taken.
pub struct Ruleset(RulesetCreated);

/// Hands a plan to the kernel; nothing is restricted yet.
pub fn prepare(plan: &Landlock) -> Result<Ruleset, Failure> {
    let created = build(plan).map_err(|e| missing(WHAT, e))?;
    add_paths(created, &plan.paths).map(Ruleset)
}

fn build(plan: &Landlock) -> Result<RulesetCreated, RulesetError> {
    let mut ruleset = landlock::Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if plan.handled != 0 {
        ruleset = ruleset.handle_access(rights(plan.handled))?;
    }
    for (ports, right) in [
        (&plan.connect, AccessNet::ConnectTcp),
        (&plan.bind, AccessNet::BindTcp),
    ] {
        if ports.is_some() {
            ruleset = ruleset.handle_access(right)?;
        }
    }
    for (on, scope) in [
        (plan.scope_abstract, Scope::AbstractUnixSocket),
        (plan.scope_signals, Scope::Signal),
    ] {
        if on {
            ruleset = ruleset.scope(scope)?;
        }
    }
    let mut created = ruleset.create()?;
    for (ports, right) in [
        (&plan.connect, AccessNet::ConnectTcp),
        (&plan.bind, AccessNet::BindTcp),
    ] {
        for port in ports.iter().flatten() {
            created = created.add_rule(NetPort::new(*port, right))?;
        }
    }
    Ok(created)
}

fn add_paths(mut created: RulesetCreated, rules: &[PathRule]) -> Result<RulesetCreated, Failure> {
    for rule in rules {
        let path = || escape(&rule.path);
        let file = match open(&rule.path) {
            Ok(file) => file,
            // Gone since it was looked at, or closed to this user, and so to the command.
            Err(Errno::ENOENT | Errno::EACCES) => continue,
            Err(e) => return Err(missing(WHAT, format!("{}: {e}", path()))),
        };
        let directory = is_directory(&file).map_err(|e| missing(WHAT, e))?;
        if directory != rule.directory {
            let why = format!("{} has become something else meanwhile; try again", path());
            return Err(missing(WHAT, why));
        }
        created = created
            .add_rule(PathBeneath::new(file, rights(rule.rights)))
            .map_err(|e| missing(WHAT, format!("{}: {e}", path())))?;
    }
    Ok(created)
}

/// A handle of exactly this path: a link in it would lead to a file that no rule is about.
fn open(path: &[u8]) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    match openat2(AT_FDCWD, OsStr::from_bytes(path), how) {
        // A link now, and none when the plan was made.
        Err(Errno::ELOOP | Errno::ENOTDIR) => Err(Errno::ENOENT),
        other => other,
    }
}

fn is_directory(file: impl AsFd) -> io::Result<bool> {
    let mode = fstat(file)?.st_mode;
    Ok(SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == SFlag::S_IFDIR)
}

/// Plans and the kernel number rights alike.
fn rights(bits: u32) -> BitFlags<AccessFs> {
    BitFlags::from_bits_truncate(u64::from(bits))
}

impl Ruleset {
    /// Holds this thread, and what it starts, to the rules.
    pub fn enter(self) -> Result<(), Failure> {
        let status = self.0.restrict_self().map_err(|e| missing(WHAT, e))?;
        match status.ruleset {
            RulesetStatus::FullyEnforced => Ok(()),
            other => Err(missing(WHAT, format!("the kernel says {other:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use slmguard_core::decide::sandbox::right;

    use super::*;

    #[test]
    fn rights_have_the_kernel_s_numbers() {
        for (ours, theirs) in [
            (right::EXECUTE, AccessFs::Execute),
            (right::WRITE_FILE, AccessFs::WriteFile),
            (right::READ_FILE, AccessFs::ReadFile),
            (right::READ_DIR, AccessFs::ReadDir),
            (right::REMOVE_DIR, AccessFs::RemoveDir),
            (right::REMOVE_FILE, AccessFs::RemoveFile),
            (right::MAKE_CHAR, AccessFs::MakeChar),
            (right::MAKE_DIR, AccessFs::MakeDir),
            (right::MAKE_REG, AccessFs::MakeReg),
            (right::MAKE_SOCK, AccessFs::MakeSock),
            (right::MAKE_FIFO, AccessFs::MakeFifo),
            (right::MAKE_BLOCK, AccessFs::MakeBlock),
            (right::MAKE_SYM, AccessFs::MakeSym),
            (right::REFER, AccessFs::Refer),
            (right::TRUNCATE, AccessFs::Truncate),
            (right::IOCTL_DEV, AccessFs::IoctlDev),
        ] {
            assert_eq!(rights(ours), BitFlags::from(theirs));
        }
        for (number, abi) in [ABI::V1, ABI::V2, ABI::V3, ABI::V4, ABI::V5, ABI::V6]
            .into_iter()
            .enumerate()
        {
            let known = rights(right::known(number as u32 + 1));
            assert_eq!(known, AccessFs::from_all(abi), "{abi}");
        }
    }
}
