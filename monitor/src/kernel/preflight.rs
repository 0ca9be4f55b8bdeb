//! What this machine offers, asked before anything is loaded, so that a refusal comes in words.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::KernelError;

/// What was found.
#[derive(Clone, Debug)]
pub struct Facts {
    /// `uname -r`.
    pub release: String,
    /// The kernel's type information.
    pub btf: Vec<u8>,
    /// Where cgroup v2 is mounted.
    pub cgroup2: PathBuf,
    /// Active security modules; `None` where securityfs is not mounted.
    pub lsm: Option<Vec<String>>,
}

/// Kernel type information of the running kernel.
pub const BTF_FILE: &str = "/sys/kernel/btf/vmlinux";
const LSM_FILE: &str = "/sys/kernel/security/lsm";

/// Capabilities that loading and enforcing needs: number and name.
const CAPABILITIES: [(u8, &str); 5] = [
    (39, "CAP_BPF"),
    (38, "CAP_PERFMON"),
    (12, "CAP_NET_ADMIN"),
    (21, "CAP_SYS_ADMIN"),
    (19, "CAP_SYS_PTRACE"),
];

/// Checks privileges and kernel.
///
/// # Errors
/// The first thing that is missing, with what to do about it.
pub fn check() -> Result<Facts, KernelError> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let missing = missing_capabilities(&status);
    if !missing.is_empty() {
        return Err(KernelError::Privilege {
            missing: missing.join(", "),
        });
    }
    if !in_initial_pid_namespace() {
        return Err(KernelError::Feature {
            what: "slmguard runs in a pid namespace of its own and would misread every process id"
                .into(),
            advice: "run it in the host's pid namespace (hostPID, --pid=host)".into(),
        });
    }
    let btf = fs::read(BTF_FILE).map_err(|e| KernelError::Feature {
        what: format!("no kernel type information at {BTF_FILE} ({e})"),
        advice: "use a kernel built with CONFIG_DEBUG_INFO_BTF=y (Debian 12 and later have it)"
            .into(),
    })?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let cgroup2 = cgroup2_mount(&mounts).ok_or_else(|| KernelError::Feature {
        what: "no cgroup v2 file system is mounted".into(),
        advice: "mount one: mount -t cgroup2 none /sys/fs/cgroup".into(),
    })?;
    Ok(Facts {
        release: release(),
        btf,
        cgroup2,
        lsm: active_lsms(),
    })
}

/// `uname -r`.
pub fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Active security modules; `None` where securityfs is not mounted.
pub fn active_lsms() -> Option<Vec<String>> {
    fs::read_to_string(LSM_FILE)
        .ok()
        .map(|s| s.trim().split(',').map(str::to_owned).collect())
}

/// Names of the capabilities that a `/proc/<pid>/status` lacks in its effective set.
fn missing_capabilities(status: &str) -> Vec<&'static str> {
    let effective = status
        .lines()
        .find_map(|l| l.strip_prefix("CapEff:"))
        .and_then(|v| u64::from_str_radix(v.trim(), 16).ok())
        .unwrap_or(0);
    CAPABILITIES
        .iter()
        .filter(|(bit, _)| effective >> bit & 1 == 0)
        .map(|(_, name)| *name)
        .collect()
}

/// The initial pid namespace has a fixed inode number (`PROC_PID_INIT_INO`).
fn in_initial_pid_namespace() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|l| l == Path::new("pid:[4026531836]"))
}

/// First cgroup v2 mount in a `mountinfo`, hybrid layouts included, and only one that shows the
/// hierarchy from its root.
pub fn cgroup2_mount(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        if right.split(' ').next()? != "cgroup2" {
            return None;
        }
        let mut fields = left.split(' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        (root == "/").then(|| PathBuf::from(point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_layout_is_found_where_it_is_mounted() {
        let mounts = "24 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      25 24 0:23 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      30 24 0:28 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2_mount(mounts), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(cgroup2_mount(""), None);
    }

    #[test]
    fn a_mount_of_a_part_of_the_hierarchy_does_not_count() {
        let mounts = "30 24 0:28 /user.slice /mnt rw - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2_mount(mounts), None);
    }

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(
            missing_capabilities("CapEff:\t000001ffffffffff\n"),
            Vec::<&str>::new()
        );
        assert_eq!(
            missing_capabilities("CapEff:\t0000000000000000\n"),
            [
                "CAP_BPF",
                "CAP_PERFMON",
                "CAP_NET_ADMIN",
                "CAP_SYS_ADMIN",
                "CAP_SYS_PTRACE"
            ]
        );
    }
}
