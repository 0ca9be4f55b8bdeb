//! Class: workload × role × phase, the 16 bits that the kernel keeps per process; and the control
//! word that says what applies to a class right now.

use crate::{assert_layout, limits::MAX_CLASSES};

/// Index of a class. `NONE` means: not ours, leave it alone.
pub type ClassId = u16;

/// Not a member of any workload.
pub const NONE: ClassId = 0;
/// The daemon's own self-test processes: deny everything, so that a hook can be seen to fire.
pub const PROBE: ClassId = 1;
/// What a self-test process becomes when it listens.
pub const PROBE_BOUND: ClassId = 2;
/// First class that a workload can get.
pub const FIRST: ClassId = 3;

/// Marks the entry of a process that is no member yet and becomes one by its next exec, whatever it
/// executes: the rest of the entry is the class that it gets. Given by the daemon to a launcher that
/// asked for it; not inherited by fork, gone with the process. For every hook but exec its holder is
/// not ours.
pub const TICKET: ClassId = 0x8000;
/// What the enrolment rule of the launcher itself gives: no class, whatever other rules say.
pub const LAUNCHER: ClassId = TICKET;

/// The class that an entry is a ticket for; [`NONE`] if it is no ticket.
#[inline(always)]
pub const fn ticket(entry: ClassId) -> ClassId {
    if entry & TICKET == 0 {
        NONE
    } else {
        entry & !TICKET
    }
}

/// The class that an entry makes its process a member of; [`NONE`] for a ticket.
#[inline(always)]
pub const fn membership(entry: ClassId) -> ClassId {
    if entry & TICKET == 0 { entry } else { NONE }
}

/// Kind of process inside a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// Answers inference requests.
    Server = 1,
    /// Loads or converts models.
    Loader = 2,
    /// A program started by a member that has no rule of its own.
    Tool = 3,
    /// A helper beside the server (log shipper, exporter).
    Sidecar = 4,
    /// An interactive or command shell.
    Shell = 5,
    /// Calls the server and performs the tool calls that the model chose.
    Agent = 6,
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// From exec until it serves.
    Start = 1,
    /// Model files are being mapped.
    Load = 2,
    /// It listens.
    Serve = 3,
    /// The model is being replaced while serving.
    Reload = 4,
    /// It is going down.
    Stop = 5,
}

/// What applies to a deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Mode {
    /// Observe; invariants alert.
    Learn = 0,
    /// Invariants are denied, deviations are reported as would-block.
    Monitor = 1,
    /// Both are denied.
    Enforce = 2,
}

macro_rules! from_u8 {
    ($t:ident { $($v:ident),+ }) => {
        impl $t {
            /// The value for a byte read from the kernel, if it is one.
            #[inline(always)]
            pub const fn from_u8(v: u8) -> Option<Self> {
                $(if v == Self::$v as u8 { return Some(Self::$v); })+
                None
            }
        }
    };
}
from_u8!(Role {
    Server,
    Loader,
    Tool,
    Sidecar,
    Shell,
    Agent
});
from_u8!(Phase {
    Start,
    Load,
    Serve,
    Reload,
    Stop
});
from_u8!(Mode {
    Learn,
    Monitor,
    Enforce
});

/// What never changes while a class exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Class {
    /// Class after an exec of a program without a rule of its own.
    pub after_exec: ClassId,
    /// Class once the process listens on TCP.
    pub after_bind: ClassId,
    /// Number of the workload, for counters.
    pub workload: u16,
    /// [`Role`].
    pub role: u8,
    /// [`Phase`].
    pub phase: u8,
}
assert_layout!(Class, 8);
const _: () = assert!(MAX_CLASSES <= TICKET as u32);

/// Family of operations that has a mode of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// connect and unconnected send, by address.
    Destination = 0,
    /// Opening for reading.
    Read = 1,
    /// Opening for writing, and changing what a directory holds.
    Write = 2,
    /// Starting a program.
    Exec = 3,
    /// Unix sockets, by path or abstract name.
    Unix = 4,
    /// Listening.
    Listen = 5,
    /// Names that are looked up.
    Name = 6,
    /// Parts of the kernel that few need ([`crate::facility::Facility`]).
    Facility = 7,
}

/// Number of families; the control word has room for eight.
pub const FAMILIES: usize = 8;

impl Family {
    /// Every family, in order.
    pub const ALL: [Self; FAMILIES] = [
        Self::Destination,
        Self::Read,
        Self::Write,
        Self::Exec,
        Self::Unix,
        Self::Listen,
        Self::Name,
        Self::Facility,
    ];
}
from_u8!(Family {
    Destination,
    Read,
    Write,
    Exec,
    Unix,
    Listen,
    Name,
    Facility
});

/// What applies to a class now, in one word: a swap of policy and mode is one store.
///
/// Bits 0–31 the policy's number, 32–47 two bits of [`Mode`] per [`Family`], 48 to 50 the
/// `KILL_*` flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Control(pub u64);

impl Control {
    /// Where the tier cannot deny a deviation, kill instead of alerting.
    pub const KILL_DEVIATION: u64 = 1 << 48;
    /// Where the tier cannot deny a program outside the policy, kill instead of alerting: the
    /// victim is a new process that has not run yet, so that this costs less than the others.
    pub const KILL_EXEC: u64 = 1 << 50;
    /// Where the tier cannot deny a breach of an invariant, kill instead of alerting.
    pub const KILL_INVARIANT: u64 = 1 << 49;

    /// A control word with one mode for every family.
    pub const fn new(policy: u32, mode: Mode, flags: u64) -> Self {
        // The same two bits eight times.
        Self(policy as u64 | (mode as u64 * 0x5555) << 32 | flags)
    }
    /// The same with another mode for one family.
    pub const fn with_mode(self, family: Family, mode: Mode) -> Self {
        let shift = 32 + 2 * family as u64;
        Self(self.0 & !(3 << shift) | (mode as u64) << shift)
    }
    /// Number of the policy.
    #[inline(always)]
    pub const fn policy(self) -> u32 {
        self.0 as u32
    }
    /// Mode of a family as its number; 3 never occurs.
    #[inline(always)]
    pub const fn mode_bits(self, family: Family) -> u8 {
        (self.0 >> (32 + 2 * family as u64)) as u8 & 3
    }
    /// Whether a flag is set.
    #[inline(always)]
    pub const fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_no_membership() {
        assert_eq!((ticket(7 | TICKET), membership(7 | TICKET)), (7, NONE));
        assert_eq!((ticket(7), membership(7)), (NONE, 7));
        assert_eq!((ticket(LAUNCHER), membership(LAUNCHER)), (NONE, NONE));
    }

    #[test]
    fn a_control_word_keeps_its_parts_apart() {
        let c = Control::new(u32::MAX, Mode::Enforce, Control::KILL_DEVIATION)
            .with_mode(Family::Read, Mode::Monitor);
        assert_eq!(c.policy(), u32::MAX);
        assert_eq!(c.mode_bits(Family::Destination), Mode::Enforce as u8);
        assert_eq!(c.mode_bits(Family::Read), Mode::Monitor as u8);
        assert_eq!(c.mode_bits(Family::Exec), Mode::Enforce as u8);
        assert!(c.has(Control::KILL_DEVIATION) && !c.has(Control::KILL_INVARIANT));
    }
}
