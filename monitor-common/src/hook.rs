//! The hooks by number, and their counters. Names, tiers and reasons live in the daemon's table.

use crate::assert_layout;

/// Declares the hooks once: number by position, name as in config, alerts and metrics.
macro_rules! hooks {
    ($($(#[$doc:meta])* $hook:ident = $name:literal,)+) => {
        /// A kernel program. The number indexes its counters and travels in events.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Hook { $($(#[$doc])* $hook,)+ }

        /// Number of hooks.
        pub const HOOKS: usize = [$($name),+].len();

        impl Hook {
            /// Every hook, in the order of its number.
            pub const ALL: [Self; HOOKS] = [$(Self::$hook),+];

            /// The hook's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$hook => $name),+ }
            }
        }
    };
}

hooks! {
    /// raw tracepoint `sched_process_fork`.
    ProcessFork = "process_fork",
    /// raw tracepoint `sched_process_exec`.
    ProcessExec = "process_exec",
    /// raw tracepoint `sched_process_exit`.
    ProcessExit = "process_exit",
    /// cgroup `bind4`.
    Bind4 = "bind4",
    /// cgroup `bind6`.
    Bind6 = "bind6",
    /// cgroup `connect4`.
    Connect4 = "connect4",
    /// cgroup `connect6`.
    Connect6 = "connect6",
    /// cgroup `sendmsg4`.
    Sendmsg4 = "sendmsg4",
    /// cgroup `sendmsg6`.
    Sendmsg6 = "sendmsg6",
    /// raw tracepoint `sys_exit`.
    OpenExit = "open_exit",
    /// LSM `file_open`.
    LsmFileOpen = "lsm_file_open",
    /// LSM `bprm_check_security`.
    LsmExec = "lsm_exec",
    /// LSM `socket_connect`.
    LsmConnect = "lsm_connect",
    /// LSM `socket_sendmsg`.
    LsmSendmsg = "lsm_sendmsg",
    /// LSM `path_unlink`.
    LsmUnlink = "lsm_unlink",
    /// LSM `path_rmdir`.
    LsmRmdir = "lsm_rmdir",
    /// LSM `path_rename`.
    LsmRename = "lsm_rename",
    /// LSM `path_link`.
    LsmLink = "lsm_link",
    /// LSM `path_truncate`.
    LsmTruncate = "lsm_truncate",
    /// LSM `path_symlink`.
    LsmSymlink = "lsm_symlink",
    /// LSM `path_mkdir`.
    LsmMkdir = "lsm_mkdir",
    /// LSM `path_mknod`.
    LsmMknod = "lsm_mknod",
    /// raw tracepoint `sys_exit`: names added, moved and removed.
    NamesExit = "names_exit",
    /// LSM `sb_mount`.
    LsmMount = "lsm_mount",
    /// LSM `move_mount`.
    LsmMoveMount = "lsm_move_mount",
    /// LSM `sb_umount`.
    LsmUmount = "lsm_umount",
    /// LSM `sb_pivotroot`.
    LsmPivotRoot = "lsm_pivot_root",
    /// LSM `userns_create`.
    LsmUserNamespace = "lsm_user_namespace",
    /// raw tracepoint `sys_exit`: mounts and namespaces.
    MountExit = "mount_exit",
    /// LSM `ptrace_access_check`.
    LsmPtrace = "lsm_ptrace",
    /// LSM `ptrace_traceme`.
    LsmTraceme = "lsm_traceme",
    /// raw tracepoint `sys_exit`: other processes.
    PtraceExit = "ptrace_exit",
    /// LSM `inode_init_security_anon`.
    LsmRing = "lsm_ring",
    /// raw tracepoint `sys_exit`: io_uring_setup.
    RingExit = "ring_exit",
    /// raw tracepoint `io_uring_submit_req`.
    RingSubmit = "ring_submit",
    /// LSM `mmap_file`.
    LsmMap = "lsm_map",
    /// raw tracepoint `sys_exit`: mmap.
    MapExit = "map_exit",
    /// cgroup `sock_ops`, when a TCP socket begins to listen.
    TcpListen = "tcp_listen",
    /// cgroup `sock_ops`, when a TCP socket connects.
    TcpCaller = "tcp_caller",
    /// cgroup `sock_release`.
    ListenRelease = "listen_release",
    /// cgroup `sock_ops`, when a TCP connection has come in.
    TcpAccept = "tcp_accept",
    /// LSM `socket_listen`.
    LsmListen = "lsm_listen",
    /// cgroup `sock_create`.
    SockCreate = "sock_create",
    /// LSM `socket_create`.
    LsmSocket = "lsm_socket",
    /// raw tracepoint `sys_exit`: socket, socketpair.
    SocketExit = "socket_exit",
    /// LSM `unix_stream_connect`.
    LsmUnixConnect = "lsm_unix_connect",
    /// LSM `unix_may_send`.
    LsmUnixSend = "lsm_unix_send",
    /// raw tracepoint `sys_exit`: connect.
    UnixExit = "unix_exit",
    /// cgroup `sock_create`: whose a socket is.
    SocketOwner = "socket_owner",
    /// cgroup `sock_ops`.
    FlowState = "flow_state",
    /// cgroup `skb` egress.
    PacketEgress = "packet_egress",
    /// cgroup `skb` ingress.
    PacketIngress = "packet_ingress",
}

impl Hook {
    /// The hook for a byte read from the kernel, if it is one.
    pub fn from_u8(v: u8) -> Option<Self> {
        Self::ALL.get(v as usize).copied()
    }

    /// The hook of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.name() == name)
    }
}

/// Counters of one hook, kept per CPU except that drops and errors must not be lost and are added
/// atomically.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HookCounters {
    /// Times it ran for a member.
    pub member: u64,
    /// Operations it denied.
    pub denied: u64,
    /// Processes it killed.
    pub killed: u64,
    /// Events it could not put into a ring.
    pub dropped: u64,
    /// Times it could not do its work; the operation was treated as unknown.
    pub errors: u64,
    /// Place of the last error: a number unique in the kernel programs' source.
    pub last_error: u64,
}
assert_layout!(HookCounters, 48);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_stands_at_its_own_number() {
        for (i, hook) in Hook::ALL.iter().enumerate() {
            assert_eq!(*hook as usize, i);
            assert_eq!(Hook::from_u8(i as u8), Some(*hook));
        }
        assert_eq!(Hook::from_u8(HOOKS as u8), None);
    }
}
