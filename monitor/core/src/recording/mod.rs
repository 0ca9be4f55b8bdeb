//! Recordings: what came from the kernel, byte by byte, with everything that is needed to decode
//! and decide it again; as lines that can be written, read and checked.
//!
//! A recording is text. Its first line says what it is and in which format; every other line is the
//! CRC-32 of the rest of the line in eight hexadecimal digits, a space, and one [`Record`] as JSON.
//! Raw bytes stand in base64. A line is whole or it is not: what a crash leaves half written is told
//! from damage in the middle, and everything before it can be used. `docs/recordings.md` describes
//! the format for people.
//!
//! This module knows lines and their order. It does not know where they come from or go to, and
//! decides nothing.

mod base64;
mod reader;
mod record;
#[cfg(test)]
mod tests;

pub use base64::Base64;
pub use reader::{Ending, LineError, Reader};
pub use record::{BY_KERNEL, BY_RECORDER, End, Header, Member, Record};

/// Version of the format. A reader takes its own only: a recording that is read wrongly is worse
/// than one that is refused.
pub const FORMAT: u32 = 1;
/// The first line up to the version.
const MAGIC: &str = "slmguard-recording ";
/// No line is longer than this, bytes with the line's end.
pub const LONGEST_LINE: usize = 16 << 20;

/// The line that every recording starts with, with its end.
pub fn first_line() -> String {
    format!("{MAGIC}{FORMAT}\n")
}

/// A record as a line, with its end. `None` if it would be longer than [`LONGEST_LINE`].
pub fn line(record: &Record) -> Option<String> {
    let json = serde_json::to_string(record).ok()?;
    let line = format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
    (line.len() <= LONGEST_LINE).then_some(line)
}
