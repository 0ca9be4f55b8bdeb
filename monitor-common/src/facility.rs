//! Facilities: parts of the kernel that an inference workload rarely needs and an attacker likes.
//! One bit each in a policy.

/// Declares the facilities once: bit, name in rules, alerts and metrics.
macro_rules! facilities {
    ($($(#[$doc:meta])* $facility:ident = $bit:literal, $name:literal;)+) => {
        /// A part of the kernel that has to be allowed by name. The number is its bit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Facility { $($(#[$doc])* $facility = $bit,)+ }

        impl Facility {
            /// Every facility.
            pub const ALL: &'static [Self] = &[$(Self::$facility),+];
            /// The facility for a number read from the kernel, if it is one.
            pub const fn from_u32(v: u32) -> Option<Self> {
                Some(match v {
                    $($bit => Self::$facility,)+
                    _ => return None,
                })
            }
            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$facility => $name),+ }
            }
        }
    };
}

facilities! {
    /// AF_INET and AF_INET6 with SOCK_RAW.
    Raw = 0, "socket:raw";
    /// AF_PACKET.
    Packet = 1, "socket:packet";
    /// AF_VSOCK.
    Vsock = 2, "socket:vsock";
    /// AF_NETLINK with NETLINK_ROUTE: the C library asks it for local addresses.
    NetlinkRoute = 3, "socket:netlink-route";
    /// AF_NETLINK with any other protocol.
    Netlink = 4, "socket:netlink";
    /// AF_ALG: the kernel's cryptography.
    Alg = 5, "socket:alg";
    /// ICMP echo sockets.
    Ping = 6, "socket:ping";
    /// AF_INET and AF_INET6 with a transport other than TCP, UDP and MPTCP: SCTP, DCCP, UDP-Lite.
    Transport = 7, "socket:transport";
    /// Every other socket family: Bluetooth, CAN, TIPC, XDP and the like.
    OtherSocket = 8, "socket:other";
    /// Setting up an io_uring.
    IoUring = 9, "io_uring";
    /// Attaching to, or otherwise inspecting, another process by ptrace.
    Ptrace = 10, "ptrace";
    /// Memory or descriptors of another process: process_vm_readv, process_vm_writev, pidfd_getfd.
    ProcessMemory = 11, "process-memory";
    /// Changing what is mounted where, in any namespace.
    Mount = 12, "mount";
    /// Making a user namespace.
    UserNamespace = 13, "user-namespace";
    /// Choosing the route of packets (IP_OPTIONS, IPV6_RTHDR).
    SourceRoute = 14, "source-route";
    /// bpf(2).
    Bpf = 15, "bpf";
    /// Opening files and changing names through an io_uring, which the cgroup tier cannot judge by
    /// their paths. Never learned: only an operator can allow it.
    IoUringFiles = 16, "io_uring:files";
    /// Adding names (mkdir, mknod, symlink), on the cgroup tier, which cannot tell which.
    NamesAdd = 17, "names:add";
    /// Moving names and giving files further ones (rename, link), likewise.
    NamesMove = 18, "names:move";
    /// Removing names (unlink, rmdir) and cutting files by name (truncate), likewise.
    NamesRemove = 19, "names:remove";
}

impl Facility {
    /// Its bit in a policy.
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// The facility of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|f| f.name() == name)
    }
}

/// What no workload may use, whatever was learned: the kernel's own tables, other processes, and
/// ways around the hooks.
pub const INVARIANT_FACILITIES: u64 = Facility::Raw.bit()
    | Facility::Packet.bit()
    | Facility::Ptrace.bit()
    | Facility::ProcessMemory.bit()
    | Facility::Bpf.bit();

/// What is allowed only where an operator says so, never because it was seen.
pub const UNLEARNABLE_FACILITIES: u64 = Facility::IoUringFiles.bit();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_facility_has_a_bit_and_a_name_of_its_own() {
        let mut bits = 0;
        for f in Facility::ALL {
            assert_eq!(bits & f.bit(), 0, "{f:?}");
            bits |= f.bit();
            assert_eq!(Facility::from_name(f.name()), Some(*f));
            assert_eq!(Facility::from_u32(*f as u32), Some(*f));
        }
        assert_eq!(bits & INVARIANT_FACILITIES, INVARIANT_FACILITIES);
    }
}
