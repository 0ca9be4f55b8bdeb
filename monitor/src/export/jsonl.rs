//! The JSON-lines file: one alert per line, for whoever follows the file.
//!
//! Delivery is at least once: the lines are on disk (`fdatasync`) before the outbox is told, and
//! what it was not told comes again. After a crash between the two, the end of the file says which
//! alerts are in it already, so that they are not written twice. A line that a crash or a full disk
//! cut short is ended, never continued.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
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
    file: Option<File>,
    /// Ids that were found at the end of the file.
    present: HashSet<String>,
}

impl JsonLines {
    /// A sink that writes to this file; it is opened when there is something to write.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let present = ids_at_end(&path).unwrap_or_default();
        Self {
            path,
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
            text.push_str(&alert.body);
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

/// Ids in the whole lines at the end of the file.
fn ids_at_end(path: &Path) -> io::Result<HashSet<String>> {
    #[derive(serde::Deserialize)]
    struct Id {
        id: String,
    }
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = vec![];
    file.take(TAIL).read_to_end(&mut bytes)?;
    let lines = bytes.split(|b| *b == b'\n');
    Ok(lines
        .filter_map(|l| Some(serde_json::from_slice::<Id>(l).ok()?.id))
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
        let mut sink = JsonLines::new(&path);
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
        let mut sink = JsonLines::new(&path);
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
        JsonLines::new(&path).deliver(&store).unwrap();
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
        JsonLines::new(&path).deliver(&store).unwrap();
        assert_eq!(lines(&path), ["{\"id\":\"a0\"", "{\"id\":\"a0\"}"]);
    }

    #[test]
    fn a_rotated_file_is_opened_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let store = store(dir.path(), 0..1);
        let mut sink = JsonLines::new(&path);
        sink.deliver(&store).unwrap();
        fs::rename(&path, dir.path().join("alerts.1")).unwrap();
        add(&store, 1..2);
        sink.deliver(&store).unwrap();
        assert_eq!(lines(&path), ["{\"id\":\"a1\"}"]);
    }
}
