//! The hook table: every kernel program, where it belongs, what it does, what it needs, and the
//! test that fails without it. `doctor`, metrics, documentation and the tests read it.

use monitor_common::hook::Hook;

use super::Tier;

pub use super::rows::TABLE;

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// To a raw tracepoint.
    RawTracepoint(&'static str),
    /// To the first of these raw tracepoints that the kernel has: it was renamed.
    RawTracepointOf(&'static [&'static str]),
    /// As a part of the one program at raw tracepoint `sys_exit`.
    SysExit,
    /// As a part of the one program for TCP, at the root of the cgroup v2 hierarchy.
    SockOps,
    /// To the root of the cgroup v2 hierarchy.
    CgroupSockAddr,
    /// To the root of the cgroup v2 hierarchy.
    CgroupSock,
    /// To the root of the cgroup v2 hierarchy; the direction stands in the object.
    CgroupSkb,
    /// To the root of the cgroup v2 hierarchy, as a program of its own.
    CgroupSockOps,
    /// To an LSM hook.
    Lsm(&'static str),
}

/// What a hook does on a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The operation does not happen.
    Prevents,
    /// The process is killed before it can use the result.
    Kills,
    /// It only keeps track.
    Tracks,
}

impl Effect {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prevents => "prevents",
            Self::Kills => "kills",
            Self::Tracks => "tracks",
        }
    }
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its number in the ABI.
    pub hook: Hook,
    /// Name of the program, and of the hook in config, alerts and metrics.
    pub name: &'static str,
    /// Family, and name of the files that deal with it.
    pub family: &'static str,
    /// How it is attached.
    pub attach: Attach,
    /// Belongs to one tier only.
    pub only: Option<Tier>,
    /// What it does, on the LSM and on the cgroup tier.
    pub effect: [Effect; 2],
    /// What it guards, for a person.
    pub guards: &'static str,
    /// Kernel members that it cannot do without.
    pub needs: &'static [&'static [&'static str]],
    /// Attached only while a workload is configured.
    pub files: bool,
    /// Nothing can be guarded without it.
    pub essential: bool,
    /// Test that fails while it is disabled.
    pub test: &'static str,
}

impl Row {
    /// What it does on a tier.
    pub fn effect_on(&self, tier: Tier) -> Effect {
        match tier {
            Tier::Lsm => self.effect[0],
            Tier::Cgroup => self.effect[1],
        }
    }
}

/// The program that the [`Attach::SysExit`] hooks are parts of.
pub const SYS_EXIT: &str = "sys_exit";
/// The program that the [`Attach::SockOps`] hooks are parts of.
pub const SOCK_OPS: &str = "tcp";

impl Attach {
    /// The program that several hooks are parts of, if this is such a hook.
    pub fn shared(self) -> Option<&'static str> {
        match self {
            Self::SysExit => Some(SYS_EXIT),
            Self::SockOps => Some(SOCK_OPS),
            _ => None,
        }
    }
}

/// Row of a hook.
pub fn row_of(hook: Hook) -> &'static Row {
    &TABLE[hook as usize]
}

/// How a hook stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookStatus {
    /// Its number.
    pub id: Hook,
    /// Its name.
    pub hook: &'static str,
    /// Its family.
    pub family: &'static str,
    /// `lsm`, `cgroup` or `both`.
    pub tier: &'static str,
    /// It is attached.
    pub attached: bool,
    /// It belongs to the tier in use, so that it ought to be attached.
    pub expected: bool,
    /// It was seen to fire in the self-test; `None` where that could not be tried.
    pub fires: Option<bool>,
    /// `prevents`, `kills`, `tracks`.
    pub effect: &'static str,
    /// What it guards.
    pub guards: &'static str,
    /// Why it is not attached, or not as it should be.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_stands_at_its_number_and_is_complete() {
        for (i, row) in TABLE.iter().enumerate() {
            assert_eq!(row.hook as usize, i, "{}", row.name);
            assert_eq!(row.hook.name(), row.name);
            assert!(
                !row.guards.is_empty() && row.test.contains("::"),
                "{}",
                row.name
            );
            for need in row.needs.concat() {
                assert!(
                    monitor_common::offsets::Offsets::PATHS
                        .iter()
                        .any(|(name, _)| *name == need),
                    "{}: {need}",
                    row.name
                );
            }
        }
    }
}
