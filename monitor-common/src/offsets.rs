//! Where the running kernel keeps the members that our programs read: filled from its BTF before
//! load, frozen for the verifier. Never guessed: a hook whose member is missing is not attached.

/// Declares the offsets once: the struct, the list of names, and where each is found in BTF.
macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident = $path:literal,)+) => {
        /// Byte offsets of kernel structure members.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Offsets { $($(#[$doc])* pub $field: u32,)+ }

        impl Offsets {
            /// Nothing known.
            pub const NONE: Self = Self { $($field: MISSING,)+ };
            /// Name, BTF path (`struct.member[.member]`), in the order of the fields.
            pub const PATHS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($field), $path),)+];
            /// Sets the field of that name; false if there is none.
            pub fn set(&mut self, name: &str, offset: u32) -> bool {
                match name {
                    $(stringify!($field) => self.$field = offset,)+
                    _ => return false,
                }
                true
            }
        }
    };
}

/// Marks a member that this kernel does not have. Larger than any structure, so that a load at it
/// is refused by the verifier rather than reading garbage.
pub const MISSING: u32 = 0x7fff_0000;

offsets! {
    /// Process id.
    task_tgid = "task_struct.tgid",
    /// Thread group leader.
    task_leader = "task_struct.group_leader",
    /// Start time, CLOCK_BOOTTIME.
    task_start = "task_struct.start_boottime",
    /// Wait status.
    task_exit_code = "task_struct.exit_code",
    /// What the thread group shares.
    task_signal = "task_struct.signal",
    /// Open files.
    task_files = "task_struct.files",
    /// Address space.
    task_mm = "task_struct.mm",
    /// Links to the `struct pid`s of a task.
    task_pid_links = "task_struct.pid_links",
    /// Flags of the low-level thread information: tells 32-bit system calls.
    task_status = "task_struct.thread_info.status",
    /// Living threads.
    signal_live = "signal_struct.live",
    /// First byte of the arguments.
    mm_arg_start = "mm_struct.arg_start",
    /// Behind the last byte of the arguments.
    mm_arg_end = "mm_struct.arg_end",
    /// Descriptor table.
    files_fdt = "files_struct.fdt",
    /// Array of files.
    fdt_fd = "fdtable.fd",
    /// Number of entries of that array.
    fdt_max = "fdtable.max_fds",
    /// Mount and dentry of a file.
    file_path = "file.f_path",
    /// Inode of a file.
    file_inode = "file.f_inode",
    /// How a file was opened (FMODE_*).
    file_mode = "file.f_mode",
    /// Flags of open(2).
    file_flags = "file.f_flags",
    /// Mount of a path.
    path_mnt = "path.mnt",
    /// Dentry of a path.
    path_dentry = "path.dentry",
    /// Parent of a dentry.
    dentry_parent = "dentry.d_parent",
    /// Name of a dentry; eight bytes behind the parent, checked at load.
    dentry_name = "dentry.d_name",
    /// Characters of a name.
    qstr_name = "qstr.name",
    /// Length of a name.
    qstr_len = "qstr.len",
    /// Root of a mounted file system.
    vfsmount_root = "vfsmount.mnt_root",
    /// Public part of a mount.
    mount_mnt = "mount.mnt",
    /// Mount below.
    mount_parent = "mount.mnt_parent",
    /// Where it is mounted.
    mount_point = "mount.mnt_mountpoint",
    /// Flags of a tracer; zero where nobody traces.
    task_ptrace = "task_struct.ptrace",
    /// Mount namespace of a mount.
    mount_ns = "mount.mnt_ns",
    /// Namespaces of a task.
    task_nsproxy = "task_struct.nsproxy",
    /// Mount namespace among them.
    nsproxy_mnt = "nsproxy.mnt_ns",
    /// Tasks that share a descriptor table.
    files_count = "files_struct.count",
    /// Inode number.
    inode_ino = "inode.i_ino",
    /// File system of an inode.
    inode_sb = "inode.i_sb",
    /// Type and permissions of an inode.
    inode_mode = "inode.i_mode",
    /// Device of a file system.
    sb_dev = "super_block.s_dev",
    /// Magic number of a file system.
    sb_magic = "super_block.s_magic",
    /// Process that a /proc inode belongs to.
    proc_pid = "proc_inode.pid",
    /// The inode inside a /proc inode.
    proc_vfs_inode = "proc_inode.vfs_inode",
    /// Tasks of a `struct pid`.
    pid_tasks = "pid.tasks",
    /// Program file of an exec.
    bprm_file = "linux_binprm.file",
    /// Destination of a message.
    msg_name = "msghdr.msg_name",
    /// Length of the destination.
    msg_namelen = "msghdr.msg_namelen",
    /// Protocol part of a socket.
    socket_sk = "socket.sk",
    /// IP protocol of a socket.
    sk_protocol = "sock.sk_protocol",
    /// Inode of a name; null where it leads to nothing.
    dentry_inode = "dentry.d_inode",
    /// File system of a name.
    dentry_sb = "dentry.d_sb",
    /// Bytes of a file.
    inode_size = "inode.i_size",
    /// Tasks that a task traces.
    task_ptraced = "task_struct.ptraced",
    /// Link of a traced task in that list.
    task_ptrace_entry = "task_struct.ptrace_entry",
    /// Tracer, or parent.
    task_parent = "task_struct.parent",
    /// Parent, whoever traces.
    task_real_parent = "task_struct.real_parent",
    /// The `struct pid` of a task.
    task_thread_pid = "task_struct.thread_pid",
    /// Credentials.
    task_cred = "task_struct.cred",
    /// User namespace of credentials.
    cred_user_ns = "cred.user_ns",
    /// Depth of the pid namespace that a `struct pid` was made in.
    pid_level = "pid.level",
    /// Numbers of a `struct pid`, one per namespace from the initial one on.
    pid_numbers = "pid.numbers",
    /// Operation of an io_uring request.
    ring_opcode = "io_kiocb.opcode",
    /// Its own part; a kernel that has it hands requests to the tracepoint of their submission.
    ring_command = "io_kiocb.cmd",
    /// Local port of a socket, host byte order.
    sk_num = "sock.__sk_common.skc_num",
    /// Address family of a socket.
    sk_family = "sock.__sk_common.skc_family",
    /// SOCK_STREAM and the like.
    sk_type = "sock.sk_type",
    /// What a file's driver keeps: of a socket's file, the socket.
    file_private = "file.private_data",
    /// Where a unix socket lies in the file system.
    unix_path = "unix_sock.path",
    /// Name of a unix socket.
    unix_address = "unix_sock.addr",
    /// Who a unix socket is connected to.
    unix_peer = "unix_sock.peer",
    /// Bytes of a unix address, its family among them.
    unix_address_length = "unix_address.len",
    /// The address itself.
    unix_address_name = "unix_address.name",
    /// Thread id.
    task_pid = "task_struct.pid",
    /// Name of a thread.
    task_comm = "task_struct.comm",
    /// User of credentials, in the initial user namespace.
    cred_uid = "cred.uid",
    /// Control groups of a task.
    task_cgroups = "task_struct.cgroups",
    /// Control group of the second version.
    css_set_cgroup = "css_set.dfl_cgrp",
    /// Directory of a control group.
    cgroup_node = "cgroup.kn",
    /// Its number.
    node_id = "kernfs_node.id",
    /// Program that an address space belongs to.
    mm_exe_file = "mm_struct.exe_file",
    /// Flags of a socket: tells whether the peer has ended.
    sk_flags = "sock_common.skc_flags",
    /// Payload bytes of a TCP connection that were sent, repeated ones too.
    tcp_bytes_sent = "tcp_sock.bytes_sent",
    /// Payload bytes that were sent again.
    tcp_bytes_retrans = "tcp_sock.bytes_retrans",
    /// Bytes that came, the end mark counted as one.
    tcp_bytes_received = "tcp_sock.bytes_received",
}
const _: () = assert!(size_of::<Offsets>() == 4 * Offsets::PATHS.len());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_member_can_be_set() {
        let mut o = Offsets::NONE;
        for (i, (name, path)) in Offsets::PATHS.iter().enumerate() {
            assert!(o.set(name, i as u32), "{name}");
            assert!(path.contains('.'), "{path}");
        }
        assert_eq!((o.task_tgid, o.task_leader, o.task_start), (0, 1, 2));
        assert!(!o.set("no_such_member", 1));
    }
}
