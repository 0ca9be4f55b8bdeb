//! Whether a state file can be used, asked without changing a byte of it; and the way to move one
//! aside that cannot.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{Result, StoreError, io, schema, wal};

/// What every SQLite file starts with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Endings of the files that belong to one database.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// Looks at a database before it is opened for use. Returns whether there is one.
pub(super) fn examine(path: &Path) -> Result<bool> {
    let damaged = |what: &str| StoreError::Damaged {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(io(path)(e)),
    };
    let meta = file.metadata().map_err(io(path))?;
    if !meta.is_file() {
        return Err(damaged("it is not a regular file"));
    }
    if meta.len() == 0 {
        // A start that was cut off before its first commit.
        return Ok(false);
    }
    let mut magic = [0; 16];
    if file.read_exact(&mut magic).is_err() || &magic != MAGIC {
        return Err(damaged("it is not an SQLite database"));
    }
    let log = part(path, "-wal");
    let mut has_log = false;
    match fs::read(&log) {
        Ok(bytes) => match wal::examine(&bytes) {
            _ if bytes.is_empty() => {}
            wal::Finding::Damaged => {
                return Err(damaged(
                    "its write-ahead log, the file ending in -wal, does not add up",
                ));
            }
            wal::Finding::CutShort => {
                has_log = true;
                tracing::warn!("the last change before the machine went down was not complete");
            }
            wal::Finding::Whole => has_log = true,
        },
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(io(&log)(e)),
    }
    let connection = if has_log {
        Connection::open(path)
    } else {
        // Without a log SQLite would make one.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        Connection::open_with_flags(unchanging(path), flags)
    };
    let connection = connection.map_err(|e| explain(path, e))?;
    // Closing it must leave the files as they are.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(|e| explain(path, e))?;
    let found = schema::version(&connection).map_err(|e| explain(path, e))?;
    match found {
        None => return Err(damaged("it belongs to another program")),
        Some(found) if found > schema::LATEST => {
            return Err(StoreError::Newer {
                path: path.to_owned(),
                found,
                known: schema::LATEST,
            });
        }
        Some(_) => {}
    }
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|e| explain(path, e))?;
    if verdict != "ok" {
        return Err(damaged(&slmguard_core::text::escape(verdict.as_bytes())));
    }
    Ok(true)
}

/// The address of a database that is only looked at.
fn unchanging(path: &Path) -> String {
    let encoded = path.as_os_str().as_encoded_bytes().iter().map(|b| match b {
        b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
            char::from(*b).to_string()
        }
        other => format!("%{other:02x}"),
    });
    format!("file:{}?immutable=1", encoded.collect::<String>())
}

/// What SQLite says of a file that it cannot read.
fn explain(path: &Path, error: rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => StoreError::Damaged {
            path: path.to_owned(),
            what: error.to_string(),
        },
        _ => StoreError::Sql {
            what: "read what is there",
            source: error,
        },
    }
}

/// Moves a database aside, with all that belongs to it; nothing is overwritten. Returns its new
/// name.
pub(super) fn move_aside(path: &Path) -> Result<PathBuf> {
    let aside = (1..)
        .map(|n| part(path, &format!(".aside-{n}")))
        .find(|candidate| {
            PARTS
                .iter()
                .all(|ending| part(candidate, ending).symlink_metadata().is_err())
        });
    let aside = aside.unwrap_or_else(|| part(path, ".aside"));
    // The log first: a database without its log is no database, but the log can be put back.
    for ending in PARTS.iter().rev() {
        let (from, to) = (part(path, ending), part(&aside, ending));
        match fs::rename(&from, &to) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(io(&from)(e)),
            _ => {}
        }
    }
    Ok(aside)
}

fn part(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{DATABASE, Store};

    fn filled(dir: &Path) -> PathBuf {
        let store = Store::open(dir).unwrap();
        let alerts: Vec<_> = (0..200)
            .map(|n| crate::store::StoredAlert {
                id: format!("a{n}"),
                workload: "w".into(),
                body: "x".repeat(500),
            })
            .collect();
        store.add_alerts(&alerts).unwrap();
        dir.join(DATABASE)
    }

    fn refused(dir: &Path) -> String {
        let path = dir.join(DATABASE);
        let before = fs::read(&path).unwrap();
        let had_log = part(&path, "-wal").exists();
        let error = Store::open(dir).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before, "not a byte was changed");
        let log = part(&path, "-wal");
        assert_eq!(log.exists(), had_log, "no file was made either");
        let message = error.to_string();
        assert!(message.contains("--reset-state"), "{message}");
        message
    }

    #[test]
    fn a_header_that_is_no_header_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = filled(dir.path());
        let mut bytes = fs::read(&path).unwrap();
        bytes[..16].fill(0);
        fs::write(&path, bytes).unwrap();
        assert!(refused(dir.path()).contains("not an SQLite database"));
    }

    #[test]
    fn a_page_that_is_rubbish_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = filled(dir.path());
        let mut bytes = fs::read(&path).unwrap();
        let pages = bytes.len() / 4096;
        assert!(pages > 8, "{pages} pages");
        for page in 2..pages {
            bytes[page * 4096..page * 4096 + 64].fill(0xa5);
        }
        fs::write(&path, bytes).unwrap();
        refused(dir.path());
    }

    #[test]
    fn a_file_that_was_cut_short_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = filled(dir.path());
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        refused(dir.path());
    }

    #[test]
    fn a_path_is_written_so_that_sqlite_takes_it_as_one() {
        let odd = unchanging(Path::new("/a b/50%?x=1#y/state.db"));
        assert_eq!(odd, "file:/a%20b/50%25%3fx%3d1%23y/state.db?immutable=1");
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("50%?mode=memory");
        filled(&state);
        assert_eq!(
            Store::open(&state)
                .unwrap()
                .alerts(None, 1000)
                .unwrap()
                .len(),
            200
        );
    }

    #[test]
    fn another_programs_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Connection::open(dir.path().join(DATABASE))
            .unwrap()
            .execute("CREATE TABLE theirs (x)", [])
            .unwrap();
        assert!(refused(dir.path()).contains("another program"));
    }

    #[test]
    fn a_damaged_log_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for n in 0..5 {
            let alert = crate::store::StoredAlert {
                id: format!("a{n}"),
                workload: "w".into(),
                body: "x".into(),
            };
            store.add_alerts(&[alert]).unwrap();
        }
        // As after a crash: the log was never folded into the file.
        let other = tempfile::tempdir().unwrap();
        for ending in ["", "-wal"] {
            let name = format!("{DATABASE}{ending}");
            fs::copy(dir.path().join(&name), other.path().join(&name)).unwrap();
        }
        let log = other.path().join(format!("{DATABASE}-wal"));
        let mut bytes = fs::read(&log).unwrap();
        bytes[32 + 24 + 40] ^= 1;
        fs::write(&log, &bytes).unwrap();
        assert!(refused(other.path()).contains("-wal"));
        assert_eq!(fs::read(&log).unwrap(), bytes);
    }

    #[test]
    fn a_reset_moves_aside_what_is_damaged_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = filled(dir.path());
        let (store, aside) = Store::open_or_reset(dir.path()).unwrap();
        assert!(aside.is_none() && !store.is_new(), "a good state stays");
        assert_eq!(store.alerts(None, 1000).unwrap().len(), 200);
        drop(store);
        for n in 1..=2 {
            fs::write(&path, "rubbish").unwrap();
            let (store, aside) = Store::open_or_reset(dir.path()).unwrap();
            assert!(store.is_new());
            let aside = aside.unwrap();
            assert!(aside.ends_with(format!("state.db.aside-{n}")), "{aside:?}");
            assert_eq!(fs::read(aside).unwrap(), b"rubbish");
        }
    }
}
