//! Reads a recording line by line: checksums, order, and how it ends.

use std::ops::RangeInclusive;

use monitor_common::{ABI, event};

use super::{FORMAT, LONGEST_LINE, MAGIC, Record, record::End};
use crate::text::escape;

/// Layouts of events that this version decodes.
const READABLE: RangeInclusive<u32> = event::SINCE_ABI..=ABI;

/// Why a recording cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The first line is not that of a recording.
    #[error("this is not a recording of slmguard: its first line is not `{MAGIC}{FORMAT}`")]
    NotARecording,
    /// Another format.
    #[error(
        "the recording has format {0}, and this slmguard reads format {FORMAT}: use a slmguard of \
         the version that made it"
    )]
    Format(String),
    /// Another layout of events.
    #[error(
        "its events have the layout of ABI {found} (slmguard {version}), and this slmguard reads \
         ABI {} to {}: use a slmguard of the version that made it", READABLE.start(), READABLE.end()
    )]
    Abi {
        /// That of the recording.
        found: u32,
        /// Version of slmguard that made it.
        version: String,
    },
    /// A line is not what was written.
    #[error("line {line} is damaged: {why}")]
    Damaged {
        /// Its number, from 1.
        line: u64,
        /// In what way.
        why: String,
    },
    /// A line stands where it does not belong.
    #[error("line {line}: a record `{kind}` does not belong here")]
    Misplaced {
        /// Its number, from 1.
        line: u64,
        /// Kind of the record.
        kind: &'static str,
    },
}

/// How a recording ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Whole(End),
    /// After a whole line, but without an end: whoever wrote it was interrupted.
    BrokenOff,
    /// In the middle of a line, of which so many bytes are there.
    Truncated(usize),
    /// Before the state in which it starts was complete: nothing in it can be decided.
    NoBeginning,
}

/// Where in a recording a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    Header,
    State,
    Stream,
    Ended,
}

/// Takes lines in their order.
#[derive(Clone, Debug)]
pub struct Reader {
    place: Place,
    lines: u64,
    end: Option<End>,
    left: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            place: Place::Start,
            lines: 0,
            end: None,
            left: 0,
        }
    }
}

impl Reader {
    /// Takes the next line, with its end if it has one. `None` for the first line, and for a last
    /// one that is not whole, which [`Self::finish`] tells.
    pub fn line(&mut self, line: &[u8]) -> Result<Option<Record>, LineError> {
        self.lines += 1;
        let Some(whole) = line.strip_suffix(b"\n") else {
            if self.place == Place::Start && !super::first_line().as_bytes().starts_with(line) {
                return Err(LineError::NotARecording);
            }
            if line.len() >= LONGEST_LINE {
                return Err(self.damaged(format!("it is longer than {LONGEST_LINE} bytes")));
            }
            self.left = line.len();
            return Ok(None);
        };
        if self.left > 0 {
            return Err(self.damaged("it follows one that has no end".into()));
        }
        if self.place == Place::Start {
            return self.first(whole).map(|()| None);
        }
        let record = self.record(whole)?;
        self.step(&record)?;
        Ok(Some(record))
    }

    /// How it ends, once there are no more lines.
    pub fn finish(self) -> Ending {
        match (self.end, self.place, self.left) {
            (Some(end), ..) => Ending::Whole(end),
            (None, Place::Stream, 0) => Ending::BrokenOff,
            (None, Place::Stream, left) => Ending::Truncated(left),
            _ => Ending::NoBeginning,
        }
    }

    fn first(&mut self, line: &[u8]) -> Result<(), LineError> {
        let version = line
            .strip_prefix(MAGIC.as_bytes())
            .ok_or(LineError::NotARecording)?;
        if version != FORMAT.to_string().as_bytes() {
            let shown = &version[..version.len().min(32)];
            return Err(LineError::Format(escape(shown)));
        }
        self.place = Place::Header;
        Ok(())
    }

    fn record(&self, line: &[u8]) -> Result<Record, LineError> {
        let (checksum, json) = match line.split_at_checked(9) {
            Some((start, json)) if start[8] == b' ' => (&start[..8], json),
            _ => return Err(self.damaged("it has no checksum".into())),
        };
        let computed = format!("{:08x}", crc32fast::hash(json));
        if checksum != computed.as_bytes() {
            return Err(self.damaged(format!(
                "its checksum is {computed}, and it says {}",
                escape(checksum)
            )));
        }
        serde_json::from_slice(json).map_err(|e| {
            self.damaged(format!(
                "its checksum is right, but it is no record that this version knows: {}",
                escape(e.to_string().as_bytes())
            ))
        })
    }

    fn step(&mut self, record: &Record) -> Result<(), LineError> {
        let next = match (self.place, record) {
            (Place::Header, Record::Header(header)) => {
                if !READABLE.contains(&header.abi) {
                    return Err(LineError::Abi {
                        found: header.abi,
                        version: escape(header.version.as_bytes()),
                    });
                }
                Place::State
            }
            (Place::State, Record::Begin) => Place::Stream,
            (Place::State | Place::Stream, Record::Workload(_) | Record::Class(_))
            | (Place::State | Place::Stream, Record::Mode { .. } | Record::Policy { .. })
            | (Place::State | Place::Stream, Record::Process { .. } | Record::Clock { .. })
            | (Place::State, Record::Known(_))
            | (Place::State, Record::Name { .. } | Record::Order(_))
            | (Place::Stream, Record::Flow { .. })
            | (Place::Stream, Record::Event { .. } | Record::Lost { .. }) => self.place,
            (Place::Stream, Record::End(end)) => {
                self.end = Some(end.clone());
                Place::Ended
            }
            _ => {
                return Err(LineError::Misplaced {
                    line: self.lines,
                    kind: record.kind(),
                });
            }
        };
        self.place = next;
        Ok(())
    }

    fn damaged(&self, why: String) -> LineError {
        LineError::Damaged {
            line: self.lines,
            why,
        }
    }
}
