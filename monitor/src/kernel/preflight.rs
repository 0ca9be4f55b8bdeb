//! What this machine offers, asked before anything is loaded, so that a refusal comes in words.
//!
//! Never by the kernel's version: what is needed is looked up in the kernel's own type information,
//! and the version is only named to the reader. It must not know what is loaded, or how.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use monitor_common::limits::MAX_PIDS;

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
const LOCKDOWN_FILE: &str = "/sys/kernel/security/lockdown";
/// The initial namespaces have fixed inode numbers (`PROC_USER_INIT_INO`, `PROC_PID_INIT_INO`).
const INITIAL_USER: &str = "user:[4026531837]";
/// The root of the hierarchy has this id; a cgroup that only looks like it, from a cgroup namespace
/// of its own, has another.
const ROOT_CGROUP: u64 = 1;
const INITIAL_PID: &str = "pid:[4026531836]";

/// Capabilities that loading and enforcing needs: number and name.
const CAPABILITIES: [(u8, &str); 5] = [
    (39, "CAP_BPF"),
    (38, "CAP_PERFMON"),
    (12, "CAP_NET_ADMIN"),
    (21, "CAP_SYS_ADMIN"),
    (19, "CAP_SYS_PTRACE"),
];

/// What the programs need of any kernel: its name in the type information, what it is, and the
/// Linux release that brought it (distributions bring it to older ones too).
const FEATURES: [(&str, &str, &str); 4] = [
    (
        "BPF_FUNC_loop",
        "loops in kernel programs (bpf_loop)",
        "5.17",
    ),
    ("BPF_FUNC_ringbuf_output", "ring buffers", "5.8"),
    ("BPF_FUNC_task_storage_get", "storage per task", "5.11"),
    (
        "BPF_FUNC_get_current_task_btf",
        "typed access to the current task",
        "5.11",
    ),
];

/// Checks privileges alone: whoever lacks them gets to hear that, not what failed for lack of them.
///
/// # Errors
/// The capabilities that are missing, or a user namespace in which they mean nothing.
pub fn privileges() -> Result<(), KernelError> {
    let status = fs::read_to_string("/proc/self/status").map_err(|e| KernelError::Feature {
        what: format!("/proc cannot be read ({e})"),
        advice: "mount it: mount -t proc proc /proc".into(),
    })?;
    let missing = missing_capabilities(&status);
    if !missing.is_empty() {
        return Err(KernelError::Privilege {
            missing: missing.join(", "),
        });
    }
    if !is_initial("/proc/self/ns/user", INITIAL_USER) {
        return Err(KernelError::UserNamespace);
    }
    Ok(())
}

/// Checks privileges and kernel.
///
/// # Errors
/// The first thing that is missing, with what to do about it.
pub fn check() -> Result<Facts, KernelError> {
    privileges()?;
    if !is_initial("/proc/self/ns/pid", INITIAL_PID) {
        return Err(KernelError::Feature {
            what: "slmguard runs in a pid namespace of its own and would misread every process id"
                .into(),
            advice: "run it in the host's pid namespace (hostPID, --pid=host)".into(),
        });
    }
    let release = release();
    let btf = fs::read(BTF_FILE).map_err(|e| KernelError::Feature {
        what: format!("no kernel type information at {BTF_FILE} ({e})"),
        advice: "use a kernel built with CONFIG_DEBUG_INFO_BTF=y (Debian 12 and later have it), \
                 and let slmguard see /sys"
            .into(),
    })?;
    let missing = missing_features(&btf);
    if !missing.is_empty() {
        return Err(KernelError::Feature {
            what: format!("Linux {release} lacks {}", missing.join(", ")),
            advice: "boot a newer kernel: Linux 5.17 or later, such as Debian 12's 6.1".into(),
        });
    }
    if is_confidential(&fs::read_to_string(LOCKDOWN_FILE).unwrap_or_default()) {
        return Err(KernelError::Feature {
            what:
                "kernel lockdown is set to `confidentiality`, which forbids reading kernel memory"
                    .into(),
            advice: "boot with lockdown=integrity".into(),
        });
    }
    let largest = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap_or_default();
    if !holds_every_process(&largest) {
        return Err(KernelError::Feature {
            what: format!(
                "kernel.pid_max is {}, and membership holds {MAX_PIDS} process ids",
                largest.trim()
            ),
            advice: format!("lower it: sysctl kernel.pid_max={MAX_PIDS}"),
        });
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    Ok(Facts {
        btf,
        cgroup2: cgroup2(&mounts)?,
        lsm: active_lsms(),
        release,
    })
}

/// The cgroup v2 hierarchy, from its root.
fn cgroup2(mounts: &str) -> Result<PathBuf, KernelError> {
    if let Some(mount) = cgroup2_mount(mounts)
        && fs::metadata(&mount).is_ok_and(|m| m.ino() == ROOT_CGROUP)
    {
        return Ok(mount);
    }
    let in_part = mounts.lines().any(|line| {
        line.split_once(" - ")
            .is_some_and(|(_, right)| right.starts_with("cgroup2 "))
    });
    Err(if in_part {
        KernelError::Feature {
            what: "the cgroup v2 hierarchy is mounted here only in part".into(),
            advice: "run slmguard in the host's cgroup namespace (--cgroupns=host), with the \
                     host's /sys/fs/cgroup"
                .into(),
        }
    } else {
        KernelError::Feature {
            what: "no cgroup v2 file system is mounted".into(),
            advice:
                "mount one: `mount -t cgroup2 none /sys/fs/cgroup`, or beside cgroup v1 `mkdir \
                     /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified`"
                    .into(),
        }
    })
}

/// What the kernel's type information does not name of what is needed, in words.
pub fn missing_features(btf: &[u8]) -> Vec<String> {
    let mut missing: Vec<_> = FEATURES.iter().collect();
    for name in names(btf) {
        missing.retain(|(wanted, ..)| wanted.as_bytes() != name);
        if missing.is_empty() {
            break;
        }
    }
    missing
        .into_iter()
        .map(|(_, what, since)| format!("{what}, which came with Linux {since}"))
        .collect()
}

/// The strings of type information; none where its header makes no sense.
fn names(btf: &[u8]) -> impl Iterator<Item = &[u8]> {
    let word = |at: usize| {
        let bytes = btf.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(bytes) as usize)
    };
    let strings = || btf.get(word(4)?.checked_add(word(16)?)?..);
    strings().unwrap_or_default().split(|b| *b == 0)
}

/// Whether every process id has its place in the membership array, so that it can never be full. No
/// 64-bit kernel hands out more (`PID_MAX_LIMIT`); what cannot be read is not held against it.
fn holds_every_process(pid_max: &str) -> bool {
    pid_max
        .trim()
        .parse::<u64>()
        .map_or(true, |largest| largest <= u64::from(MAX_PIDS))
}

/// Whether the kernel is locked down so far that programs may not read its memory: the word in
/// brackets is the one in force.
fn is_confidential(lockdown: &str) -> bool {
    lockdown.contains("[confidentiality]")
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

fn is_initial(link: &str, name: &str) -> bool {
    fs::read_link(link).is_ok_and(|l| l == Path::new(name))
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
    fn no_cgroup_v2_and_a_part_of_it_are_told_apart() {
        let none = cgroup2("24 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n").unwrap_err();
        assert!(none.to_string().contains("mount -t cgroup2"), "{none}");
        let part = cgroup2("30 24 0:28 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        let part = part.unwrap_err();
        assert!(part.to_string().contains("cgroup namespace"), "{part}");
        assert_eq!((none.exit_code(), part.exit_code()), (69, 69));
    }

    /// Type information with these strings and no types.
    fn btf(strings: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, 0, 0, strings.len() as u32] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn a_kernel_that_is_too_old_is_told_by_what_it_lacks() {
        let all: Vec<u8> = FEATURES
            .iter()
            .flat_map(|(name, ..)| [b"\0", name.as_bytes()].concat())
            .chain([0])
            .collect();
        assert_eq!(missing_features(&btf(&all)), Vec::<String>::new());
        let without = String::from_utf8(all).unwrap();
        let without = without.replace("BPF_FUNC_loop", "BPF_FUNC_loops");
        let missing = missing_features(&btf(without.as_bytes()));
        assert_eq!(missing.len(), 1, "{missing:?}");
        assert!(missing[0].contains("bpf_loop") && missing[0].contains("5.17"));
        for damaged in [&b""[..], b"\x9f\xeb", &[0xff; 24]] {
            assert_eq!(missing_features(damaged).len(), FEATURES.len());
        }
    }

    #[test]
    fn the_running_kernel_is_new_enough() {
        // These tests run on kernels that are guarded in the end-to-end tests.
        if let Ok(btf) = fs::read(BTF_FILE) {
            assert_eq!(missing_features(&btf), Vec::<String>::new());
        }
    }

    #[test]
    fn membership_has_a_place_for_every_process() {
        let here = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
        assert!(holds_every_process(&here), "{here}");
        assert!(holds_every_process("4194304\n") && !holds_every_process("4194305\n"));
    }

    #[test]
    fn lockdown_matters_only_where_it_forbids_reading() {
        assert!(is_confidential("none integrity [confidentiality]\n"));
        assert!(!is_confidential("none [integrity] confidentiality\n"));
        assert!(!is_confidential(""));
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
