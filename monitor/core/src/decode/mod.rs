//! Decode: bytes of a kernel event in, one [`Observation`] out; one file per family.
//!
//! It knows the layouts of [`monitor_common::event`] and nothing of rings, policies or baselines.
//! No bytes make it panic: whatever does not fit the layout is an error that names the field.

mod accept;
mod change;
mod connect;
#[cfg(test)]
mod encode;
mod exec;
mod facility;
#[cfg(test)]
mod file_tests;
mod flow;
mod map;
mod name;
mod names;
mod open;
mod process;
mod reader;
#[cfg(test)]
mod socket_tests;
#[cfg(test)]
mod tests;
mod unix;

use monitor_common::{
    class::{ClassId, Family, Mode, NONE},
    event::{Header, Kind, Verdict, flag},
    hook::Hook,
};

pub use name::name_of;
use reader::Reader;

use crate::{
    observation::{Fact, FileAccess, Observation, ProcessKey, Scope},
    text,
};

/// Names behind the class numbers of the kernel.
pub trait ClassNames {
    /// What a class stands for; `None` if it never was one of ours.
    fn scope(&self, class: ClassId) -> Option<Scope>;
}

/// What turns the kernel's clock into the wall clock. Given by the shell, so that replaying a
/// recorded stream gives the same times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockOffset {
    /// Nanoseconds to add to CLOCK_MONOTONIC to get nanoseconds since the epoch.
    pub monotonic_to_wall_ns: i64,
}

impl ClockOffset {
    fn wall(self, monotonic: u64) -> u64 {
        monotonic.saturating_add_signed(self.monotonic_to_wall_ns)
    }
}

/// Why bytes are not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("the event ends inside `{field}`: {has} bytes in all")]
    Short {
        /// The field.
        field: &'static str,
        /// Bytes there are.
        has: usize,
    },
    /// The header promises more bytes than there are, or fewer than the layout needs.
    #[error("the event says it is {declared} bytes long but {actual} arrived")]
    Length {
        /// What the header says.
        declared: u32,
        /// What there is.
        actual: usize,
    },
    /// A length field points behind the end.
    #[error("`{field}` is {length} but only {has} bytes follow")]
    Overrun {
        /// The field.
        field: &'static str,
        /// What it says.
        length: usize,
        /// What there is.
        has: usize,
    },
    /// An enumeration has no such value.
    #[error(
        "`{field}` has the unknown value {value}; are daemon and kernel programs of the same version?"
    )]
    Unknown {
        /// The field.
        field: &'static str,
        /// What it says.
        value: u64,
    },
    /// The names table does not have the class.
    #[error("`{field}` names class {class}, which belongs to no workload")]
    UnknownClass {
        /// The field.
        field: &'static str,
        /// The class.
        class: ClassId,
    },
}

/// Turns the bytes of one event into an observation.
///
/// The bytes may be longer than the event says (a hook reserves for the longest path), never
/// shorter.
pub fn decode(
    bytes: &[u8],
    classes: &dyn ClassNames,
    clock: ClockOffset,
) -> Result<Observation, DecodeError> {
    let raw = header(bytes)?;
    let kind = Kind::from_u8(raw.kind).ok_or(unknown("kind", raw.kind))?;
    let hook = Hook::from_u8(raw.hook).ok_or(unknown("hook", raw.hook))?;
    let verdict = Verdict::from_u8(raw.verdict).ok_or(unknown("verdict", raw.verdict))?;
    let mode = Mode::from_u8(raw.mode).ok_or(unknown("mode", raw.mode))?;
    Family::from_u8(raw.family).ok_or(unknown("family", raw.family))?;

    let mut body = Reader::new(&bytes[..raw.length as usize]);
    body.skip_header()?;
    let mut listener = None;
    let fact = match kind {
        Kind::Fork => process::fork(&mut body)?,
        Kind::Exit => process::exit(&mut body)?,
        Kind::Phase => process::phase(&mut body, classes)?,
        Kind::Connect => Fact::Connect(connect::endpoint(&mut body)?),
        Kind::Send => Fact::Send(connect::endpoint(&mut body)?),
        Kind::Listen => Fact::Listen(connect::endpoint(&mut body)?),
        Kind::Accept => accept::accept(&mut body)?,
        Kind::Caller => {
            let (fact, scope) = accept::caller(&mut body, classes)?;
            listener = Some(scope);
            fact
        }
        Kind::Unix => unix::unix(&mut body, raw.flags)?,
        Kind::Flow => flow::flow(&mut body, raw.time)?,
        Kind::Query => names::query(&mut body)?,
        Kind::Answer => names::answer(&mut body)?,
        Kind::Hello => names::hello(&mut body)?,
        Kind::Request => names::request(&mut body)?,
        Kind::Open => open::open(&mut body, raw.flags)?,
        Kind::Map => map::map(&mut body, raw.flags)?,
        Kind::Change => change::change(&mut body, raw.flags)?,
        Kind::Facility => facility::facility(&mut body)?,
        Kind::Exec => exec::exec(&mut body, raw.flags, classes)?,
    };
    // A program that made its process a member by being started has no class before that, and a
    // caller has none at all.
    let scope = match (&fact, listener) {
        (_, Some(listener)) => listener,
        (
            Fact::Exec {
                after: Some(after), ..
            },
            None,
        ) if raw.class == NONE => after.clone(),
        _ => scope(classes, "class", raw.class)?,
    };
    let comm = raw.comm.split(|b| *b == 0).next().unwrap_or_default();
    Ok(Observation {
        time: clock.wall(raw.time),
        process: ProcessKey {
            pid: raw.tgid,
            start_time: raw.start_time,
        },
        thread: raw.pid,
        uid: raw.uid,
        cgroup: raw.cgroup,
        comm: text::escape(comm),
        scope,
        hook,
        verdict,
        mode,
        policy: raw.policy,
        invariant: raw.flags & flag::INVARIANT != 0,
        single_thread: raw.flags & flag::SINGLE_THREAD != 0,
        count: raw.count,
        fact,
    })
}

/// Reads the start of an event as it is, for those who only need to know whose it is (the daemon's
/// own probes, for one). Checks that the event is as long as it says.
pub fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let header = Reader::new(bytes).header()?;
    let declared = header.length as usize;
    if declared > bytes.len() || declared < size_of::<Header>() {
        return Err(DecodeError::Length {
            declared: header.length,
            actual: bytes.len(),
        });
    }
    Ok(header)
}

fn unknown(field: &'static str, value: u8) -> DecodeError {
    DecodeError::Unknown {
        field,
        value: value.into(),
    }
}

fn scope(
    classes: &dyn ClassNames,
    field: &'static str,
    class: ClassId,
) -> Result<Scope, DecodeError> {
    classes
        .scope(class)
        .ok_or(DecodeError::UnknownClass { field, class })
}

fn file(path: &[u8], flags: u8, inode: (u64, u64), access: u8) -> FileAccess {
    FileAccess {
        path: path.to_vec(),
        name: name_of(path, flags),
        inode,
        access,
        cut: flags & flag::PATH_CUT != 0,
        incomplete: flags & flag::PATH_INCOMPLETE != 0,
    }
}
