//! The daemon's memory: one SQLite file in the state directory, for baselines, modes, class
//! numbers, the audit trail, and alerts on their way out.
//!
//! It stores what it is given and knows nothing of what it means. One daemon at a time: a lock file
//! keeps a second one out. Every commit is synced to disk before it counts as done.

mod approved;
mod audit;
mod baseline;
mod damage;
mod detected;
mod evidence;
mod ledger;
mod outbox;
mod schema;
mod wal;
mod workload;

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use approved::{ApprovedRow, Rejected};
pub use audit::AuditEntry;
pub use detected::{AgentRow, DetectedRow};
pub use ledger::Ledger;
pub use outbox::{KEPT as KEPT_ALERTS, Pending, StoredAlert};
use rusqlite::Connection;
pub use workload::{Basis, ClassRow, WorkloadState};

/// Name of the database in the state directory.
pub const DATABASE: &str = "state.db";
/// Name of the lock file in the state directory.
pub const LOCK: &str = "daemon.lock";

/// How often, and after how long a pause, a state directory that is in use is tried again.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

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
        "the state in {} has schema {found}, this slmguard knows up to {known}; nothing was changed, \
         and what the kernel enforces goes on: start the version that wrote it, or begin anew with \
         `slmguard run --reset-state`, which moves it aside", path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Schema of the file.
        found: i64,
        /// Latest schema that this version knows.
        known: i64,
    },
    /// It cannot be read any more, or was never ours.
    #[error(
        "the state in {} is damaged ({what}); nothing was changed, and what the kernel enforces \
         goes on: put a copy of it back, or begin anew with `slmguard run --reset-state`, which \
         moves it aside; what was learned must then be learned again, and modes start as configured", path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
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
    #[error("cannot {what} in the state database: {source}; {}", advice(source))]
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
    /// More classes than the kernel can hold.
    #[error(
        "the kernel holds {limit} classes (workload × role × phase), and more are wanted: guard \
             fewer workloads with one daemon"
    )]
    Full {
        /// How many it holds.
        limit: u32,
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
    /// Nobody can say what class numbers in the kernel meant.
    is_new: AtomicBool,
    /// Held for as long as the store is open.
    _lock: File,
}

impl Store {
    /// Opens the store in a directory, creating both where missing, and keeps others out. What is
    /// there and cannot be used is left as it is.
    pub fn open(directory: &Path) -> Result<Self> {
        make_private_directory(directory)?;
        Self::open_locked(directory, lock(directory)?)
    }

    /// The same, but a state that is damaged or of a later version is moved aside; its new name
    /// comes back as well.
    pub fn open_or_reset(directory: &Path) -> Result<(Self, Option<PathBuf>)> {
        make_private_directory(directory)?;
        let lock = lock(directory)?;
        let path = directory.join(DATABASE);
        let aside = match damage::examine(&path) {
            Err(StoreError::Damaged { .. } | StoreError::Newer { .. }) => {
                Some(damage::move_aside(&path)?)
            }
            _ => None,
        };
        Ok((Self::open_locked(directory, lock)?, aside))
    }

    fn open_locked(directory: &Path, lock: File) -> Result<Self> {
        let path = directory.join(DATABASE);
        let is_new = !damage::examine(&path)?;
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
        schema::migrate(&mut connection)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(io(&path))?;
        Ok(Self {
            connection: Mutex::new(connection),
            path,
            is_new: AtomicBool::new(is_new),
            _lock: lock,
        })
    }

    /// Whether numbers of classes that an earlier daemon left in the kernel mean nothing here: there
    /// was no state before, or numbers were given anew.
    pub fn is_new(&self) -> bool {
        self.is_new.load(Ordering::Relaxed)
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
    // A process that this one is just starting holds a copy of every descriptor until its exec.
    let mut locked = file.try_lock();
    for _ in 0..LOCK_TRIES {
        if !matches!(locked, Err(TryLockError::WouldBlock)) {
            break;
        }
        std::thread::sleep(LOCK_PAUSE);
        locked = file.try_lock();
    }
    match locked {
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
    // For others to read; a full disk must not keep a daemon from starting.
    if let Err(e) = write(&mut file) {
        tracing::warn!("cannot write the process id to {}: {e}", path.display());
    }
    Ok(file)
}

/// What to do when SQLite refuses.
fn advice(error: &rusqlite::Error) -> &'static str {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            "make room on the file system of the state directory; it goes on by itself"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "the file is damaged: restart slmguard, which says what to do about it"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "check that the state directory can be written and has space"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program has the file open; stop it"
        }
        _ => "check the state directory's disk, its space and its permissions",
    }
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
            Err(StoreError::Damaged { .. })
        ));
    }
}
