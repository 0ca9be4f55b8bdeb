//! `slmguard events --record`: what the daemon records, into a file.
//!
//! Only whole lines are written, so that whatever happens the file can be replayed. What it holds
//! (paths, arguments) is for nobody but its owner.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use slmguard_core::{
    recording::{Ending, Reader},
    text::escape,
};

use super::{Global, client::Flow, out};
use crate::{
    api::view::RecordingOrder,
    exit::{Exit, Failure},
};

/// Bytes that may come after the recording was asked to end: what was waiting in the daemon.
const REST: u64 = 256 << 20;

/// What to record.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// Record what happens into this new file, for `slmguard replay`, until interrupted.
    ///
    /// The file holds the kernel's events as they came, and what is needed to decide them again:
    /// among it paths, command lines and the baseline. It is readable by its owner only.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["follow", "limit", "workload", "json"])]
    pub record: Option<PathBuf>,
    /// What the recording is for; kept in it.
    #[arg(long, value_name = "TEXT", requires = "record", default_value = "")]
    note: String,
    /// End the recording after so long: `90s`, `15min`, `2h`.
    #[arg(long = "for", value_name = "TIME", requires = "record", value_parser = time)]
    duration: Option<Duration>,
    /// End the recording when it is that large: `64MiB`, `2GiB`.
    #[arg(long, value_name = "SIZE", requires = "record", value_parser = size, default_value = "1GiB")]
    max_size: u64,
}

pub(super) fn run(global: &Global, file: &Path, options: &Options) -> Result<Exit, Failure> {
    let command: Vec<String> = std::env::args_os()
        .map(|a| escape(a.as_encoded_bytes()))
        .collect();
    let order = RecordingOrder {
        command: command.join(" "),
        note: options.note.clone(),
    };
    let client = global.client()?;
    let mut output = Output::new(file, options.max_size);
    let result = client.record(&order, options.duration, |bytes| output.take(bytes));
    let written = output.close();
    result?;
    eprintln!("{}", written?);
    Ok(Exit::Ok)
}

/// The file, made when the daemon has agreed to record.
struct Output<'a> {
    path: &'a Path,
    file: Option<File>,
    most: u64,
    size: u64,
    waiting: Vec<u8>,
    reader: Reader,
    events: u64,
}

impl<'a> Output<'a> {
    fn new(path: &'a Path, most: u64) -> Self {
        Self {
            path,
            file: None,
            most,
            size: 0,
            waiting: vec![],
            reader: Reader::default(),
            events: 0,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<Flow, Failure> {
        if self.file.is_none() {
            self.file = Some(self.create()?);
            eprintln!(
                "recording to {}; interrupt this to end it",
                self.path.display()
            );
        }
        self.waiting.extend_from_slice(bytes);
        let end = self
            .waiting
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.waiting.drain(..end).collect();
        for line in lines.split_inclusive(|b| *b == b'\n') {
            let record = self.reader.line(line).map_err(|e| {
                self.failed(format!(
                    "the daemon sent a recording that cannot be read ({e}); are slmguard and its \
                     daemon of the same version?"
                ))
            })?;
            self.events += u64::from(record.is_some_and(|r| r.kind() == "event"));
        }
        if let Some(file) = &mut self.file {
            let written = file.write_all(&lines);
            written.map_err(|e| self.failed(e.to_string()))?;
        }
        self.size += lines.len() as u64;
        Ok(if self.size > self.most.saturating_add(REST) {
            Flow::Stop
        } else if self.size >= self.most {
            Flow::End("it had reached the size given with --max-size")
        } else {
            Flow::On
        })
    }

    fn create(&self) -> Result<File, Failure> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path)
            .map_err(|e| match e.kind() {
                std::io::ErrorKind::AlreadyExists => self
                    .failed("the file exists already, and recordings are not overwritten".into()),
                _ => self.failed(e.to_string()),
            })
    }

    fn failed(&self, why: String) -> Failure {
        Failure::new(
            Exit::Failure,
            format!("cannot record to {}: {why}", self.path.display()),
        )
    }

    /// Puts everything on disk, and says what there is.
    fn close(mut self) -> Result<String, Failure> {
        let Some(file) = self.file.take() else {
            return Ok(String::new());
        };
        file.sync_all().map_err(|e| self.failed(e.to_string()))?;
        let recorded = format!(
            "{} in {} bytes",
            out::count(self.events, "event", "events"),
            self.size
        );
        Ok(match self.reader.finish() {
            Ending::Whole(end) if end.lost > 0 => format!(
                "{recorded}; {} missing, which the recording says where; it ended because {}",
                out::count(end.lost, "event is", "events are"),
                escape(end.reason.as_bytes())
            ),
            Ending::Whole(end) => {
                let reason = escape(end.reason.as_bytes());
                format!("{recorded}; it ended because {reason}")
            }
            _ => format!("{recorded}; it was broken off: the daemon ended before it could finish"),
        })
    }
}

/// `90s`, `15min`, `2h`, `14d`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let units = [
        ("ms", 1),
        ("s", 1000),
        ("min", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    quantity(text, &units)
        .map(Duration::from_millis)
        .ok_or_else(|| "write a time like 90s, 15min, 2h or 14d".into())
}

/// `64MiB`, `2GiB`.
fn size(text: &str) -> Result<u64, String> {
    quantity(
        text,
        &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)],
    )
    .ok_or_else(|| "write a size like 64MiB or 2GiB".into())
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn quantities_have_units() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(time("2h"), Ok(Duration::from_secs(7200)));
        for text in ["", "5", "MiB", "-1MiB", "1 MiB", "99999999999GiB", "1mib"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_whole_lines_reach_the_file_and_nobody_else_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.recording");
        let mut output = Output::new(&path, 1 << 20);
        let first = slmguard_core::recording::first_line();
        let (start, rest) = first.as_bytes().split_at(5);
        assert_eq!(output.take(start).unwrap(), Flow::On);
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        output.take(rest).unwrap();
        output.take(b"0000").unwrap();
        let told = output.close().unwrap();
        assert!(told.contains("broken off"), "{told}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), first);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Output::new(&path, 1).take(b"").unwrap_err().to_string();
        assert!(again.contains("not overwritten"), "{again}");
    }

    #[test]
    fn a_recording_that_is_large_enough_is_asked_to_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.recording");
        let mut output = Output::new(&path, 10);
        let flow = output.take(slmguard_core::recording::first_line().as_bytes());
        assert!(matches!(flow, Ok(Flow::End(_))));
        let nonsense = output.take(b"00000000 {}\n").unwrap_err().to_string();
        assert!(nonsense.contains("same version"), "{nonsense}");
    }
}
