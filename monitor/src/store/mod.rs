//! The daemon's memory: one SQLite file in the state directory, for baselines, modes, class
//! numbers, the audit trail, and alerts on their way out.
//!
//! It stores what it is given and knows nothing of what it means. One daemon at a time: a lock file
//! keeps a second one out. Every commit is synced to disk before it counts as done.

mod audit;
mod baseline;
mod detected;
mod outbox;
mod schema;
mod workload;

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use audit::AuditEntry;
pub use detected::{AgentRow, DetectedRow};
pub use outbox::{KEPT as KEPT_ALERTS, Pending, StoredAlert};
use rusqlite::Connection;
pub use workload::{Basis, ClassRow, WorkloadState};

/// Name of the database in the state directory.
pub const DATABASE: &str = "state.db";
/// Name of the lock file in the state directory.
pub const LOCK: &str = "daemon.lock";

/// Why the store could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another daemon has it.
    #[error(
        "another slmguard{holder} uses the state directory {}: stop it, or give this one a \
         state_dir of its own", path.display()
    )]
    InUse {
        /// The state directory.
        path: PathBuf,
        /// ` (pid N)`, where it is known.
        holder: String,
    },
    /// Written by a later version.
    #[error(
        "the state in {} has schema {found}, this slmguard knows up to {known}: start the version \
         that wrote it, or move the file away to begin anew", path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Schema of the file.
        found: i64,
        /// Latest schema that this version knows.
        known: i64,
    },
    /// The file system refused.
    #[error("cannot use {}: {source}; check that it exists, is writable and has space", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("cannot {what} in the state database: {source}")]
    Sql {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// The kernel has no numbers left for more classes.
    #[error(
        "{used} of {limit} classes (workload × role × phase) are in use, and {wanted} more do not \
         fit: let go of detected workloads with `slmguard workloads dismiss NAME`"
    )]
    ClassesFull {
        /// Numbers in use.
        used: usize,
        /// Classes that were asked for.
        wanted: usize,
        /// Numbers in all.
        limit: usize,
    },
    /// A row that this version did not write.
    #[error("the state database holds {what} that makes no sense: {value}")]
    Corrupt {
        /// Which column.
        what: &'static str,
        /// What stands there, escaped.
        value: String,
    },
}

/// Result of the store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The open store. Shared between threads; one operation at a time.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
    path: PathBuf,
    /// Held for as long as the store is open.
    _lock: File,
}

impl Store {
    /// Opens the store in a directory, creating both where missing, and keeps others out.
    pub fn open(directory: &Path) -> Result<Self> {
        make_private_directory(directory)?;
        let lock = lock(directory)?;
        let path = directory.join(DATABASE);
        let mut connection = Connection::open(&path).map_err(sql("open the file"))?;
        connection
            .busy_timeout(Duration::from_secs(5))
            .map_err(sql("set a time-out"))?;
        for (pragma, value) in [
            ("journal_mode", "WAL"),
            ("synchronous", "FULL"),
            ("foreign_keys", "ON"),
        ] {
            connection
                .pragma_update(None, pragma, value)
                .map_err(sql("set a pragma"))?;
        }
        schema::migrate(&mut connection, &path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(io(&path))?;
        Ok(Self {
            connection: Mutex::new(connection),
            path,
            _lock: lock,
        })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A poisoned lock is taken all the same: SQLite rolls an unfinished transaction back.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Creates a directory that only its owner can enter, with its parents; one that is there is
/// closed to others.
fn make_private_directory(directory: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(io(directory))?;
    fs::set_permissions(directory, Permissions::from_mode(0o700)).map_err(io(directory))
}

fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            let holder = match text.trim().parse::<u32>() {
                Ok(pid) => format!(" (pid {pid})"),
                Err(_) => String::new(),
            };
            return Err(StoreError::InUse {
                path: directory.to_owned(),
                holder,
            });
        }
        Err(TryLockError::Error(source)) => return Err(StoreError::Io { path, source }),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(io(&path))?;
    Ok(file)
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source }
}

fn sql(what: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |source| StoreError::Sql { what, source }
}

/// SQLite has no unsigned integers; what does not fit is cut to the largest that does.
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The way back of [`integer`].
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A stored word that has to be one of a closed list.
fn word<T>(what: &'static str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
    parse(text).ok_or_else(|| StoreError::Corrupt {
        what,
        value: slmguard_core::text::escape(text.as_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/b");
        let store = Store::open(&state).unwrap();
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(store.path())), (0o700, 0o600));
    }

    #[test]
    fn a_second_daemon_is_refused_and_told_why() {
        let dir = tempfile::tempdir().unwrap();
        let first = Store::open(dir.path()).unwrap();
        let message = Store::open(dir.path()).unwrap_err().to_string();
        assert!(
            message.contains(&format!("pid {}", std::process::id())),
            "{message}"
        );
        assert!(message.contains("state_dir"), "{message}");
        drop(first);
        Store::open(dir.path()).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let message = Store::open(&file.join("state")).unwrap_err().to_string();
        assert!(message.contains("file/state"), "{message}");
    }

    #[test]
    fn a_file_that_is_no_database_is_an_error_not_a_fresh_start() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(DATABASE), [b'x'; 4096]).unwrap();
        assert!(matches!(
            Store::open(dir.path()),
            Err(StoreError::Sql { .. })
        ));
    }
}
