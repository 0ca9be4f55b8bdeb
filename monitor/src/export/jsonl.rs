//! The alert file: one alert per line in the configured format, for whoever follows the file.
//!
//! Delivery is at least once: the lines are on disk (`fdatasync`) before the outbox is told, and
//! what it was not told comes again. After a crash between the two, the end of the file says which
//! alerts are in it already, so that they are not written twice. A line that a crash or a full disk
//! cut short is ended, never continued.

use std::{
    borrow::Cow,
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use slmguard_core::alert::{
    Alert,
    format::{Format, id_of_line},
};

use crate::store::{Pending, Store, StoreError};

/// Name of the sink in the outbox and in metrics.
pub const SINK: &str = "file";
/// Alerts per write.
const BATCH: usize = 512;
/// How much of the file's end is read at start.
const TAIL: u64 = 256 << 10;

/// Why alerts could not be handed on. They are safe in the outbox.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The file.
    #[error("cannot write alerts to {}: {source}; they are kept and tried again", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The outbox.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The sink.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    format: Format,
    file: Option<File>,
    /// Ids that were found at the end of the file.
    present: HashSet<String>,
}

impl JsonLines {
    /// A sink that writes to this file in this format; it is opened when there is something to
    /// write.
    pub fn new(path: impl Into<PathBuf>, format: Format) -> Self {
        let path = path.into();
        let present = ids_at_end(&path).unwrap_or_default();
        Self {
            path,
            format,
            file: None,
            present,
        }
    }

    /// Writes what the outbox holds for this sink; returns how many alerts went.
    pub fn deliver(&mut self, store: &Store) -> Result<usize, SinkError> {
        let mut total = 0;
        loop {
            let pending = store.pending_alerts(SINK, BATCH)?;
            let Some(last) = pending.last() else {
                return Ok(total);
            };
            self.append(&pending).map_err(|source| SinkError::File {
                path: self.path.clone(),
                source,
            })?;
            store.acknowledge(SINK, last.sequence)?;
            total += pending.len();
        }
    }

    fn append(&mut self, alerts: &[Pending]) -> io::Result<()> {
        let mut text = String::new();
        for alert in alerts.iter().filter(|a| !self.present.contains(&a.id)) {
            text.push_str(&line(alert, self.format));
            text.push('\n');
        }
        // A file that was rotated away is opened anew under its name.
        if self
            .file
            .as_ref()
            .is_none_or(|f| !is_still_there(f, &self.path))
        {
            self.file = Some(open(&self.path)?);
        }
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let result = write_whole(file, text.as_bytes());
        if result.is_err() {
            self.file = None;
        } else {
            self.present.clear();
        }
        result
    }
}

/// A stored alert in a format. One that this version cannot read, of a newer one, goes as it is
/// stored: that is one line as well, and better than none.
fn line(alert: &Pending, format: Format) -> Cow<'_, str> {
    if format == Format::Json {
        return Cow::Borrowed(&alert.body);
    }
    match Alert::from_json_line(&alert.body) {
        Ok(read) => Cow::Owned(format.render(&read)),
        Err(e) => {
            let id = slmguard_core::text::escape(alert.id.as_bytes());
            tracing::warn!("alert {id} is written as it is stored, not as {format}: {e}");
            Cow::Borrowed(&alert.body)
        }
    }
}

/// All or nothing, as far as the file system allows: what was written in part is taken back.
fn write_whole(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    if let Err(e) = file.write_all(bytes).and_then(|()| file.sync_data()) {
        let _ = file.set_len(before);
        return Err(e);
    }
    Ok(())
}

/// Opens for appending; a last line without its end gets one.
fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

fn is_still_there(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Ids in the whole lines at the end of the file, whatever format each is in.
fn ids_at_end(path: &Path) -> io::Result<HashSet<String>> {
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    let start = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![];
    file.take(TAIL).read_to_end(&mut bytes)?;
    let mut lines: Vec<_> = bytes.split(|b| *b == b'\n').collect();
    // What has no end yet was cut short; what has no beginning could be anything.
    lines.pop();
    let whole = lines.into_iter().skip(usize::from(start > 0));
    Ok(whole
        .filter_map(|line| id_of_line(std::str::from_utf8(line).ok()?))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoredAlert;
    use std::os::unix::fs::PermissionsExt;

    fn store(dir: &Path, alerts: std::ops::Range<u32>) -> Store {
        let store = Store::open(&dir.join("state")).unwrap();
        add(&store, alerts);
        store
    }

    fn add(store: &Store, alerts: std::ops::Range<u32>) {
        let alerts: Vec<_> = alerts
            .map(|n| StoredAlert {
                id: format!("a{n}"),
                workload: "w".into(),
                body: format!("{{\"id\":\"a{n}\"}}"),
            })
            .collect();
        store.add_alerts(&alerts).unwrap();
    }

    fn lines(path: &Path) -> Vec<String> {
        fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn alerts_are_written_once_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let store = store(dir.path(), 0..1200);
        let mut sink = JsonLines::new(&path, Format::Json);
        assert_eq!(sink.deliver(&store).unwrap(), 1200);
        assert_eq!(sink.deliver(&store).unwrap(), 0);
        add(&store, 1200..1201);
        assert_eq!(sink.deliver(&store).unwrap(), 1);
        let written = lines(&path);
        assert_eq!(written.len(), 1201);
        assert_eq!(written[1200], "{\"id\":\"a1200\"}");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn nothing_is_lost_while_the_file_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("later/alerts.jsonl");
        let store = store(dir.path(), 0..3);
        let mut sink = JsonLines::new(&path, Format::Json);
        let error = sink.deliver(&store).unwrap_err().to_string();
        assert!(error.contains("later/alerts.jsonl"), "{error}");
        assert_eq!(store.backlog(SINK).unwrap(), 3);
        fs::create_dir(dir.path().join("later")).unwrap();
        assert_eq!(sink.deliver(&store).unwrap(), 3);
        assert_eq!(lines(&path).len(), 3);
    }

    #[test]
    fn a_crash_before_the_acknowledgement_writes_nothing_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let store = store(dir.path(), 0..3);
        fs::write(&path, "{\"id\":\"a0\"}\n{\"id\":\"a1\"}\n").unwrap();
        JsonLines::new(&path, Format::Json).deliver(&store).unwrap();
        assert_eq!(
            lines(&path),
            ["{\"id\":\"a0\"}", "{\"id\":\"a1\"}", "{\"id\":\"a2\"}"]
        );
    }

    #[test]
    fn a_line_that_was_cut_short_is_ended_and_its_alert_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let store = store(dir.path(), 0..1);
        fs::write(&path, "{\"id\":\"a0\"").unwrap();
        JsonLines::new(&path, Format::Json).deliver(&store).unwrap();
        assert_eq!(lines(&path), ["{\"id\":\"a0\"", "{\"id\":\"a0\"}"]);
    }

    #[test]
    fn a_rotated_file_is_opened_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let store = store(dir.path(), 0..1);
        let mut sink = JsonLines::new(&path, Format::Json);
        sink.deliver(&store).unwrap();
        fs::rename(&path, dir.path().join("alerts.1")).unwrap();
        add(&store, 1..2);
        sink.deliver(&store).unwrap();
        assert_eq!(lines(&path), ["{\"id\":\"a1\"}"]);
    }

    /// An alert of the daemon's, by number.
    fn stored(number: u32) -> StoredAlert {
        let id = format!("0190a5b4-7c3d-7e21-9f00-{number:012}");
        let line = include_str!("../../core/src/alert/golden/connect_blocked.json");
        let body = line
            .trim_end()
            .replacen("\"id\":\"01\"", &format!("\"id\":\"{id}\""), 1);
        StoredAlert {
            id,
            workload: "assistant".into(),
            body,
        }
    }

    #[test]
    fn in_every_format_a_crash_writes_nothing_twice_and_loses_nothing() {
        for format in Format::ALL {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("alerts");
            let store = store(dir.path(), 0..0);
            let alerts: Vec<_> = (0..4).map(stored).collect();
            store.add_alerts(&alerts).unwrap();
            let whole: Vec<String> = alerts
                .iter()
                .map(|alert| format.render(&Alert::from_json_line(&alert.body).unwrap()))
                .collect();
            // Two were written, a third in part, and none was acknowledged.
            let (part, _) = whole[2].split_at(whole[2].len() / 2);
            fs::write(&path, format!("{}\n{}\n{part}", whole[0], whole[1])).unwrap();
            assert_eq!(JsonLines::new(&path, format).deliver(&store).unwrap(), 4);
            let expected = [&whole[0], &whole[1], part, &whole[2], &whole[3]];
            assert_eq!(lines(&path), expected, "{format}");
        }
    }

    #[test]
    fn what_another_format_wrote_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts");
        let store = store(dir.path(), 0..0);
        store.add_alerts(&[stored(0), stored(1)]).unwrap();
        let first = Alert::from_json_line(&stored(0).body).unwrap();
        fs::write(&path, Format::Cef.render(&first) + "\n").unwrap();
        JsonLines::new(&path, Format::Ocsf).deliver(&store).unwrap();
        let written = lines(&path);
        assert_eq!(written.len(), 2);
        assert!(written[0].starts_with("CEF:0|") && written[1].starts_with('{'));
    }

    #[test]
    fn an_alert_that_cannot_be_read_goes_as_it_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts");
        let store = store(dir.path(), 0..1);
        JsonLines::new(&path, Format::Cef).deliver(&store).unwrap();
        assert_eq!(lines(&path), ["{\"id\":\"a0\"}"]);
    }
}
