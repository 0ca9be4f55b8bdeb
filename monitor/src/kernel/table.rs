//! The hook table: every kernel program, where it belongs, what it does, what it needs, and the
//! test that fails without it. `doctor`, metrics, documentation and the tests read it.

use monitor_common::hook::Hook;

use super::Tier;

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// To a raw tracepoint.
    RawTracepoint(&'static str),
    /// As a part of the one program at raw tracepoint `sys_exit`.
    SysExit,
    /// To the root of the cgroup v2 hierarchy.
    CgroupSockAddr,
    /// To the root of the cgroup v2 hierarchy.
    CgroupSock,
    /// To the root of the cgroup v2 hierarchy; the direction stands in the object.
    CgroupSkb,
    /// To the root of the cgroup v2 hierarchy.
    SockOps,
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

/// From a file to its path.
const PATH: &[&str] = &[
    "task_signal",
    "file_path",
    "file_inode",
    "path_mnt",
    "path_dentry",
    "dentry_parent",
    "dentry_name",
    "qstr_name",
    "qstr_len",
    "vfsmount_root",
    "mount_mnt",
    "mount_parent",
    "mount_point",
    "mount_ns",
    "task_nsproxy",
    "nsproxy_mnt",
    "inode_ino",
    "inode_sb",
    "sb_dev",
    "sb_magic",
    "proc_pid",
    "proc_vfs_inode",
    "pid_tasks",
    "task_pid_links",
];
/// From a descriptor to its file, and how it was opened.
const DESCRIPTOR: &[&str] = &["task_files", "files_fdt", "fdt_fd", "fdt_max"];
const OPENED: &[&str] = &["file_mode"];
const PROGRAM: &[&str] = &["bprm_file"];
/// From a socket to its protocol.
const SOCKET: &[&str] = &["socket_sk", "sk_protocol"];
/// From a message to its destination.
const MESSAGE: &[&str] = &["msg_name", "msg_namelen"];
/// What a TCP connection has carried.
const CARRIED: &[&str] = &[
    "sk_flags",
    "tcp_bytes_sent",
    "tcp_bytes_retrans",
    "tcp_bytes_received",
];

use Effect::{Kills, Prevents, Tracks};

const fn row(hook: Hook, name: &'static str, family: &'static str, attach: Attach) -> Row {
    Row {
        hook,
        name,
        family,
        attach,
        only: None,
        effect: [Tracks, Tracks],
        guards: "",
        needs: &[],
        files: false,
        essential: false,
        test: "",
    }
}

/// Every hook, in the order of its number.
pub const TABLE: [Row; monitor_common::hook::HOOKS] = [
    Row {
        guards: "children of members are members from their first instruction",
        needs: &[&["task_tgid"]],
        essential: true,
        test: "process::a_child_is_guarded_from_its_first_instruction",
        ..row(
            Hook::ProcessFork,
            "process_fork",
            "process",
            Attach::RawTracepoint("sched_process_fork"),
        )
    },
    Row {
        effect: [Tracks, Kills],
        guards: "workloads are enrolled when they start; programs outside the policy (cgroup tier)",
        needs: &[PROGRAM],
        essential: true,
        test: "process::a_workload_is_enrolled_when_it_starts",
        ..row(
            Hook::ProcessExec,
            "process_exec",
            "exec",
            Attach::RawTracepoint("sched_process_exec"),
        )
    },
    Row {
        guards: "membership ends with the process",
        needs: &[&["task_signal", "signal_live"]],
        essential: true,
        test: "process::membership_ends_with_the_process",
        ..row(
            Hook::ProcessExit,
            "process_exit",
            "process",
            Attach::RawTracepoint("sched_process_exit"),
        )
    },
    Row {
        guards: "a server that listens (IPv4) is held to its serving policy",
        test: "process::a_server_that_listens_is_in_phase_serve",
        ..row(Hook::Bind4, "bind4", "bind", Attach::CgroupSock)
    },
    Row {
        guards: "a server that listens (IPv6) is held to its serving policy",
        test: "process::a_server_that_listens_on_ipv6_is_in_phase_serve",
        ..row(Hook::Bind6, "bind6", "bind", Attach::CgroupSock)
    },
    Row {
        effect: [Prevents, Prevents],
        guards: "connect to IPv4 destinations outside the policy",
        test: "connect::cgroup_hook_denies_ipv4",
        ..row(
            Hook::Connect4,
            "connect4",
            "connect",
            Attach::CgroupSockAddr,
        )
    },
    Row {
        effect: [Prevents, Prevents],
        guards: "connect to IPv6 destinations outside the policy",
        test: "connect::cgroup_hook_denies_ipv6",
        ..row(
            Hook::Connect6,
            "connect6",
            "connect",
            Attach::CgroupSockAddr,
        )
    },
    Row {
        effect: [Prevents, Prevents],
        guards: "datagrams to IPv4 destinations outside the policy",
        test: "send::cgroup_hook_denies_ipv4",
        ..row(Hook::Sendmsg4, "sendmsg4", "send", Attach::CgroupSockAddr)
    },
    Row {
        effect: [Prevents, Prevents],
        guards: "datagrams to IPv6 destinations outside the policy",
        test: "send::cgroup_hook_denies_ipv6",
        ..row(Hook::Sendmsg6, "sendmsg6", "send", Attach::CgroupSockAddr)
    },
    Row {
        only: Some(Tier::Cgroup),
        effect: [Kills, Kills],
        guards: "files outside the policy",
        needs: &[DESCRIPTOR, OPENED, PATH],
        files: true,
        test: "open::a_file_outside_the_policy_stays_closed",
        ..row(Hook::OpenExit, "open_exit", "open", Attach::SysExit)
    },
    Row {
        only: Some(Tier::Lsm),
        effect: [Prevents, Prevents],
        guards: "files outside the policy",
        needs: &[OPENED, PATH],
        files: true,
        test: "open::a_file_outside_the_policy_stays_closed",
        ..row(
            Hook::LsmFileOpen,
            "lsm_file_open",
            "open",
            Attach::Lsm("file_open"),
        )
    },
    Row {
        only: Some(Tier::Lsm),
        effect: [Prevents, Prevents],
        guards: "programs outside the policy",
        needs: &[PROGRAM, PATH],
        files: true,
        test: "exec::a_program_outside_the_policy_does_not_run",
        ..row(
            Hook::LsmExec,
            "lsm_exec",
            "exec",
            Attach::Lsm("bprm_check_security"),
        )
    },
    Row {
        only: Some(Tier::Lsm),
        effect: [Prevents, Prevents],
        guards: "connect to destinations outside the policy, ahead of the cgroup hooks",
        needs: &[SOCKET],
        test: "connect::lsm_hook_denies_first",
        ..row(
            Hook::LsmConnect,
            "lsm_connect",
            "connect",
            Attach::Lsm("socket_connect"),
        )
    },
    Row {
        only: Some(Tier::Lsm),
        effect: [Prevents, Prevents],
        guards: "datagrams to destinations outside the policy, ahead of the cgroup hooks",
        needs: &[SOCKET, MESSAGE],
        test: "send::lsm_hook_denies_first",
        ..row(
            Hook::LsmSendmsg,
            "lsm_sendmsg",
            "send",
            Attach::Lsm("socket_sendmsg"),
        )
    },
    Row {
        guards: "whose each socket is, also when its packets move without their process",
        files: true,
        test: "flow::what_a_peer_opened_is_the_peer_s",
        ..row(
            Hook::SocketOwner,
            "socket_owner",
            "socket",
            Attach::CgroupSock,
        )
    },
    Row {
        guards: "what each connection carried, who opened it and how long it lasted",
        needs: &[CARRIED],
        files: true,
        test: "flow::what_a_connection_carried_is_told_when_it_ends",
        ..row(Hook::FlowState, "flow_state", "flow", Attach::SockOps)
    },
    Row {
        guards: "names that are looked up, server names of TLS connections, datagrams sent",
        files: true,
        test: "name::a_question_is_told_with_the_process_that_asked",
        ..row(
            Hook::PacketEgress,
            "packet_egress",
            "name",
            Attach::CgroupSkb,
        )
    },
    Row {
        guards: "addresses that names were answered with, datagrams received",
        files: true,
        test: "name::an_answer_gives_a_refused_address_its_name",
        ..row(
            Hook::PacketIngress,
            "packet_ingress",
            "name",
            Attach::CgroupSkb,
        )
    },
];

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
