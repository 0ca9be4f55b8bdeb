//! Events: what the kernel tells the daemon. One file per family; every event starts with a
//! [`Header`].

pub mod accept;
pub mod change;
pub mod connect;
pub mod exec;
pub mod facility;
pub mod flow;
pub mod map;
pub mod name;
pub mod open;
pub mod process;
pub mod unix;

use crate::{assert_layout, class::ClassId};

/// The oldest [`crate::ABI`] whose events have the present layouts: recordings made since can still
/// be decoded. New kinds of events do not raise it; another layout of an old one does.
pub const SINCE_ABI: u32 = 1;

/// Declares the kinds of events once.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $number:literal,)+) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $kind = $number,)+ }

        impl Kind {
            /// The kind for a byte read from the kernel, if it is one.
            pub const fn from_u8(v: u8) -> Option<Self> {
                Some(match v {
                    $($number => Self::$kind,)+
                    _ => return None,
                })
            }
        }
    };
}

kinds! {
    /// [`process::ForkEvent`]
    Fork = 1,
    /// [`process::ExitEvent`]
    Exit = 2,
    /// [`process::PhaseEvent`]
    Phase = 3,
    /// [`connect::ConnectEvent`]
    Connect = 16,
    /// [`connect::ConnectEvent`] of an unconnected send
    Send = 17,
    /// [`connect::ConnectEvent`] with the local endpoint
    Listen = 18,
    /// [`accept::AcceptEvent`]
    Accept = 19,
    /// [`accept::CallerEvent`]
    Caller = 20,
    /// [`unix::UnixEvent`]
    Unix = 21,
    /// [`flow::FlowEvent`]
    Flow = 22,
    /// [`name::QueryEvent`]
    Query = 23,
    /// [`name::AnswerEvent`]
    Answer = 24,
    /// [`name::HelloEvent`]
    Hello = 25,
    /// [`name::HelloEvent`] of a request to an HTTP proxy
    Request = 26,
    /// [`open::OpenEvent`]
    Open = 32,
    /// [`map::MapEvent`]
    Map = 33,
    /// [`change::ChangeEvent`]
    Change = 34,
    /// [`exec::ExecEvent`]
    Exec = 48,
    /// [`facility::FacilityEvent`]
    Facility = 64,
}

/// What the kernel did about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Verdict {
    /// In the policy; let through. Reported at its first sight only.
    Known = 0,
    /// Not in the policy, mode learn; let through.
    New = 1,
    /// Not in the policy, mode monitor; let through.
    WouldBlock = 2,
    /// Denied: the operation did not take effect.
    Blocked = 3,
    /// The process was killed before it could use the result.
    Killed = 4,
    /// Against the policy or an invariant, but let through: learn mode, or a tier that cannot deny
    /// and a policy that says not to kill.
    Audited = 5,
}
impl Verdict {
    /// The verdict for a byte read from the kernel, if it is one.
    pub const fn from_u8(v: u8) -> Option<Self> {
        Some(match v {
            0 => Self::Known,
            1 => Self::New,
            2 => Self::WouldBlock,
            3 => Self::Blocked,
            4 => Self::Killed,
            5 => Self::Audited,
            _ => return None,
        })
    }
    /// Whether the ring for verdicts carries it.
    #[inline(always)]
    pub const fn is_adverse(self) -> bool {
        self as u8 >= Self::WouldBlock as u8
    }
}

/// Bits of [`Header::flags`].
pub mod flag {
    /// An invariant or an operator's deny rule was met, whatever the baseline says.
    pub const INVARIANT: u8 = 1;
    /// The path is longer than the event: its part nearest the root is missing.
    pub const PATH_CUT: u8 = 2;
    /// The path could not be followed to the root (too deep, or on a detached mount).
    pub const PATH_INCOMPLETE: u8 = 4;
    /// The path lies in `/proc` of the process itself.
    pub const PROC_SELF: u8 = 8;
    /// The path lies in `/proc` of another process.
    pub const PROC_OTHER: u8 = 16;
    /// The process had one thread, shared its descriptors with nobody and was not traced: nobody
    /// else could use what it was killed for.
    pub const SINGLE_THREAD: u8 = 32;
}

/// Start of every event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// Nanoseconds since boot, CLOCK_MONOTONIC.
    pub time: u64,
    /// Start of the process (its first thread), nanoseconds since boot, CLOCK_BOOTTIME.
    pub start_time: u64,
    /// cgroup v2 id.
    pub cgroup: u64,
    /// Times this behaviour occurred since it was last reported, this one included.
    pub count: u64,
    /// Process, in the initial pid namespace.
    pub tgid: u32,
    /// Thread, in the initial pid namespace.
    pub pid: u32,
    /// User, in the initial user namespace.
    pub uid: u32,
    /// Number of the policy that decided.
    pub policy: u32,
    /// Bytes of the whole event.
    pub length: u32,
    /// Class of the process.
    pub class: ClassId,
    /// [`Kind`]
    pub kind: u8,
    /// [`crate::hook::Hook`]
    pub hook: u8,
    /// [`Verdict`]
    pub verdict: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// [`crate::class::Family`]
    pub family: u8,
    /// [`crate::class::Mode`] of the family.
    pub mode: u8,
    /// Always zero.
    pub zero: u32,
    /// Name of the thread; not terminated if full.
    pub comm: [u8; 16],
}
assert_layout!(Header, 80);
