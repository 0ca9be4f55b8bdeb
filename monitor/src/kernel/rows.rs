//! The rows of the hook table: every kernel program with what it needs and the test that fails
//! without it. What the columns mean is in `table`.

use monitor_common::hook::Hook;

use super::{
    Tier,
    table::{
        Attach,
        Effect::{Kills, Prevents, Tracks},
        Row,
    },
};

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
const ANY_SOCKET: &[&str] = &["sk_family", "sk_type", "sk_num"];
const FILE_SOCKET: &[&str] = &["file_private"];
/// From a unix socket to its name.
const UNIX: &[&str] = &[
    "unix_path",
    "unix_address",
    "unix_address_length",
    "unix_address_name",
];
/// Who runs, where no helper tells.
const WHO: &[&str] = &[
    "task_tgid",
    "task_pid",
    "task_comm",
    "task_cred",
    "cred_uid",
    "task_cgroups",
    "css_set_cgroup",
    "cgroup_node",
    "node_id",
];
/// From a name to what it leads to.
const NAME: &[&str] = &["dentry_inode", "dentry_sb"];
const KIND: &[&str] = &["inode_mode"];
const SIZE: &[&str] = &["inode_size"];
/// From a task to its namespaces.
const NAMESPACES: &[&str] = &[
    "task_nsproxy",
    "nsproxy_mnt",
    "task_cred",
    "cred_user_ns",
    "task_real_parent",
    "task_leader",
];
/// From a task to those that it traces, and to its own numbers.
const TRACED: &[&str] = &[
    "task_tgid",
    "task_ptrace",
    "task_parent",
    "task_ptraced",
    "task_ptrace_entry",
];
const NUMBERS: &[&str] = &["task_leader", "task_thread_pid", "pid_level", "pid_numbers"];
const RING: &[&str] = &["ring_opcode", "ring_command"];
/// From a message to its destination.
const MESSAGE: &[&str] = &["msg_name", "msg_namelen"];
/// What a TCP connection has carried.
const CARRIED: &[&str] = &[
    "sk_flags",
    "tcp_bytes_sent",
    "tcp_bytes_retrans",
    "tcp_bytes_received",
];

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

/// A row of the LSM tier that denies.
const fn denies(hook: Hook, name: &'static str, family: &'static str, at: &'static str) -> Row {
    Row {
        only: Some(Tier::Lsm),
        effect: [Prevents, Prevents],
        files: true,
        ..row(hook, name, family, Attach::Lsm(at))
    }
}

/// A part of the program at the end of system calls, which kills.
const fn ends(hook: Hook, name: &'static str, family: &'static str) -> Row {
    Row {
        only: Some(Tier::Cgroup),
        effect: [Kills, Kills],
        files: true,
        ..row(hook, name, family, Attach::SysExit)
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
        effect: [Prevents, Prevents],
        guards: "listening by IPv4 outside the policy",
        test: "listen::a_port_outside_the_policy_is_not_taken",
        ..row(Hook::Bind4, "bind4", "listen", Attach::CgroupSockAddr)
    },
    Row {
        effect: [Prevents, Prevents],
        guards: "listening by IPv6 outside the policy",
        test: "listen::a_port_outside_the_policy_is_not_taken_by_ipv6",
        ..row(Hook::Bind6, "bind6", "listen", Attach::CgroupSockAddr)
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
        guards: "names that must not be removed",
        needs: &[PATH, NAME],
        test: "change::a_file_outside_the_policy_is_not_removed",
        ..denies(Hook::LsmUnlink, "lsm_unlink", "change", "path_unlink")
    },
    Row {
        guards: "directories that must not be removed",
        needs: &[PATH, NAME],
        test: "change::a_directory_outside_the_policy_is_not_removed",
        ..denies(Hook::LsmRmdir, "lsm_rmdir", "change", "path_rmdir")
    },
    Row {
        guards: "forbidden files stay under their names",
        needs: &[PATH, NAME, KIND],
        test: "change::a_credential_file_is_not_renamed_into_reach",
        ..denies(Hook::LsmRename, "lsm_rename", "change", "path_rename")
    },
    Row {
        guards: "forbidden files get no further names",
        needs: &[PATH, NAME, KIND],
        test: "change::a_credential_file_is_not_linked_into_reach",
        ..denies(Hook::LsmLink, "lsm_link", "change", "path_link")
    },
    Row {
        guards: "files that must not be cut",
        needs: &[PATH, NAME],
        test: "change::a_file_outside_the_policy_is_not_cut",
        ..denies(Hook::LsmTruncate, "lsm_truncate", "change", "path_truncate")
    },
    Row {
        guards: "symbolic links outside the policy",
        needs: &[PATH, NAME],
        test: "change::a_symbolic_link_outside_the_policy_is_not_made",
        ..denies(Hook::LsmSymlink, "lsm_symlink", "change", "path_symlink")
    },
    Row {
        guards: "directories outside the policy",
        needs: &[PATH, NAME],
        test: "change::a_directory_outside_the_policy_is_not_made",
        ..denies(Hook::LsmMkdir, "lsm_mkdir", "change", "path_mkdir")
    },
    Row {
        guards: "an open that is denied creates nothing",
        needs: &[PATH, NAME],
        test: "change::an_open_that_is_denied_creates_nothing",
        ..denies(Hook::LsmMknod, "lsm_mknod", "change", "path_mknod")
    },
    Row {
        guards: "changes of names by who was never seen to make any",
        test: "change::who_never_removed_a_name_is_stopped_at_the_first",
        ..ends(Hook::NamesExit, "names_exit", "change")
    },
    Row {
        guards: "mounts that give files other paths",
        test: "mount::a_bind_mount_brings_nothing_into_reach",
        ..denies(Hook::LsmMount, "lsm_mount", "mount", "sb_mount")
    },
    Row {
        guards: "mounts made by the newer interface",
        test: "mount::a_detached_mount_is_not_attached",
        ..denies(Hook::LsmMoveMount, "lsm_move_mount", "mount", "move_mount")
    },
    Row {
        guards: "what mounts cover stays covered",
        test: "mount::a_mount_is_not_taken_away",
        ..denies(Hook::LsmUmount, "lsm_umount", "mount", "sb_umount")
    },
    Row {
        guards: "the root of the mount namespace",
        test: "mount::the_root_is_not_exchanged",
        ..denies(
            Hook::LsmPivotRoot,
            "lsm_pivot_root",
            "mount",
            "sb_pivotroot",
        )
    },
    Row {
        guards: "user namespaces, in which everybody may mount",
        test: "mount::a_user_namespace_is_not_made",
        ..denies(
            Hook::LsmUserNamespace,
            "lsm_user_namespace",
            "mount",
            "userns_create",
        )
    },
    Row {
        guards: "mounts, and namespaces in which to make them",
        needs: &[NAMESPACES],
        test: "mount::a_bind_mount_brings_nothing_into_reach",
        ..ends(Hook::MountExit, "mount_exit", "mount")
    },
    Row {
        guards: "other processes are not traced or reached into",
        needs: &[TRACED],
        test: "ptrace::another_process_is_not_traced",
        ..denies(
            Hook::LsmPtrace,
            "lsm_ptrace",
            "ptrace",
            "ptrace_access_check",
        )
    },
    Row {
        guards: "members are not traced by other classes of their workload",
        needs: &[TRACED],
        test: "ptrace::a_tool_is_not_traced_by_its_agent",
        ..denies(Hook::LsmTraceme, "lsm_traceme", "ptrace", "ptrace_traceme")
    },
    Row {
        guards: "other processes are not traced or reached into",
        needs: &[TRACED, NUMBERS],
        test: "ptrace::another_process_is_not_traced",
        ..ends(Hook::PtraceExit, "ptrace_exit", "ptrace")
    },
    Row {
        guards: "io_uring, unless the policy allows it",
        needs: &[&["qstr_name"]],
        test: "ring::a_ring_outside_the_policy_is_not_set_up",
        ..denies(
            Hook::LsmRing,
            "lsm_ring",
            "ring",
            "inode_init_security_anon",
        )
    },
    Row {
        guards: "io_uring, unless the policy allows it",
        test: "ring::a_ring_outside_the_policy_is_not_set_up",
        ..ends(Hook::RingExit, "ring_exit", "ring")
    },
    Row {
        only: Some(Tier::Cgroup),
        effect: [Kills, Kills],
        guards: "files opened through io_uring where rings are allowed",
        needs: &[RING],
        files: true,
        test: "ring::a_file_is_not_read_through_a_ring_that_is_allowed",
        ..row(
            Hook::RingSubmit,
            "ring_submit",
            "ring",
            Attach::RawTracepointOf(&["io_uring_submit_req", "io_uring_submit_sqe"]),
        )
    },
    Row {
        effect: [Tracks, Tracks],
        guards: "what is mapped: how models are loaded",
        needs: &[PATH, KIND, SIZE],
        test: "map::a_model_that_is_mapped_is_told",
        ..denies(Hook::LsmMap, "lsm_map", "map", "mmap_file")
    },
    Row {
        effect: [Tracks, Tracks],
        guards: "what is mapped: how models are loaded",
        needs: &[DESCRIPTOR, PATH, KIND, SIZE],
        test: "map::a_model_that_is_mapped_is_told",
        ..ends(Hook::MapExit, "map_exit", "map")
    },
    Row {
        guards: "a server that listens is held to its serving policy; which ports members listen on",
        needs: &[WHO],
        test: "process::a_server_that_listens_is_in_phase_serve",
        ..row(Hook::TcpListen, "tcp_listen", "listen", Attach::SockOps)
    },
    Row {
        guards: "who on this host calls a member's port",
        needs: &[WHO],
        test: "accept::a_caller_on_this_host_is_named",
        ..row(Hook::TcpCaller, "tcp_caller", "accept", Attach::SockOps)
    },
    Row {
        guards: "a port that nobody listens on any more is not taken for a member's",
        needs: &[&["sk_num"]],
        test: "accept::a_port_that_was_closed_has_no_callers",
        ..row(
            Hook::ListenRelease,
            "listen_release",
            "listen",
            Attach::CgroupSock,
        )
    },
    Row {
        guards: "who calls a member's port, and as which user of this host",
        needs: &[WHO],
        test: "accept::a_peer_is_told_with_its_user",
        ..row(Hook::TcpAccept, "tcp_accept", "accept", Attach::SockOps)
    },
    Row {
        guards: "listening without having bound",
        needs: &[SOCKET, ANY_SOCKET],
        files: false,
        test: "listen::who_listens_without_binding_is_refused_or_told",
        ..denies(Hook::LsmListen, "lsm_listen", "listen", "socket_listen")
    },
    Row {
        effect: [Prevents, Prevents],
        guards: "raw and ping sockets, and transports other than TCP and UDP",
        test: "socket::a_raw_socket_is_refused",
        ..row(
            Hook::SockCreate,
            "sock_create",
            "socket",
            Attach::CgroupSock,
        )
    },
    Row {
        guards: "sockets of kinds outside the policy",
        files: false,
        test: "socket::a_packet_socket_is_not_had",
        ..denies(Hook::LsmSocket, "lsm_socket", "socket", "socket_create")
    },
    Row {
        guards: "sockets of kinds outside the policy",
        needs: &[DESCRIPTOR, SOCKET, ANY_SOCKET, FILE_SOCKET],
        test: "socket::a_packet_socket_is_not_had",
        ..ends(Hook::SocketExit, "socket_exit", "socket")
    },
    Row {
        guards: "unix sockets outside the policy",
        needs: &[PATH, NAME, UNIX, ANY_SOCKET],
        test: "unix::a_socket_outside_the_policy_is_not_reached",
        ..denies(
            Hook::LsmUnixConnect,
            "lsm_unix_connect",
            "unix",
            "unix_stream_connect",
        )
    },
    Row {
        guards: "datagrams to unix sockets outside the policy",
        needs: &[PATH, NAME, UNIX, ANY_SOCKET, SOCKET],
        test: "unix::a_datagram_outside_the_policy_is_not_sent",
        ..denies(Hook::LsmUnixSend, "lsm_unix_send", "unix", "unix_may_send")
    },
    Row {
        guards: "unix sockets outside the policy",
        needs: &[
            DESCRIPTOR,
            PATH,
            NAME,
            UNIX,
            ANY_SOCKET,
            SOCKET,
            FILE_SOCKET,
            &["unix_peer"],
        ],
        test: "unix::a_socket_outside_the_policy_is_not_reached",
        ..ends(Hook::UnixExit, "unix_exit", "unix")
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
        ..row(Hook::FlowState, "flow_state", "flow", Attach::CgroupSockOps)
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
