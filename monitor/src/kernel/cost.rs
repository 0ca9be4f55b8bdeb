//! What the kernel programs cost, as the kernel itself counts it: only while somebody has asked it to
//! (`sysctl kernel.bpf_stats_enabled=1`), because the counting costs something as well.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use aya::Ebpf;
use monitor_common::hook::Hook;

use super::{HookStatus, attach::program_name, table::row_of};

/// Runs of one program, and the time that they took, since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Runs that were counted.
    pub runs: u64,
    /// Nanoseconds that they took, the counting itself included.
    pub nanoseconds: u64,
}

/// The programs behind the attached hooks.
pub struct Programs(Vec<(Hook, OwnedFd)>);

impl Programs {
    /// Keeps a descriptor of each attached hook's program. Hooks that are parts of one program have
    /// the same.
    pub fn of(object: &Ebpf, hooks: &[HookStatus]) -> Self {
        let descriptor = |status: &HookStatus| {
            let program = object.program(program_name(row_of(status.id)))?;
            let fd = program.fd().ok()?.as_fd().try_clone_to_owned().ok()?;
            Some((status.id, fd))
        };
        let attached = hooks.iter().filter(|status| status.attached);
        Self(attached.filter_map(descriptor).collect())
    }

    /// What each hook's program has cost; nothing for a hook that is not attached, zeroes while
    /// nobody has asked the kernel to count.
    pub fn costs(&self) -> Vec<(Hook, Cost)> {
        self.0
            .iter()
            .filter_map(|(hook, fd)| {
                let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
                Some((*hook, parse(&fs::read_to_string(path).ok()?)))
            })
            .collect()
    }
}

/// `bpf_prog_show_fdinfo` in the kernel's source: `run_time_ns:\t0\nrun_cnt:\t0`.
fn parse(text: &str) -> Cost {
    let field = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    Cost {
        runs: field("run_cnt:").unwrap_or(0),
        nanoseconds: field("run_time_ns:").unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let text = "pos:\t0\nprog_type:\t17\nrun_time_ns:\t1234\nrun_cnt:\t5\n";
        let cost = Cost {
            runs: 5,
            nanoseconds: 1234,
        };
        assert_eq!(parse(text), cost);
        assert_eq!(parse("run_cnt:\tmany\n"), Cost::default());
    }
}
