//! One daemon per pin directory: whoever holds the lock may attach, take over and remove what is
//! pinned there. The lock is on the directory itself and ends with its holder, however that ends;
//! nothing of it can be left behind.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::MetadataExt,
    path::Path,
};

use super::{KernelError, pins};

/// Tries to lock a directory that somebody else removes at the same moment.
const ATTEMPTS: usize = 10;

/// The lock; letting go of it is dropping it.
#[derive(Debug)]
pub struct PinLock {
    _directory: File,
}

impl PinLock {
    /// Makes the directory where it is missing, and locks it.
    ///
    /// # Errors
    /// Another daemon holds it, or it cannot be made where it is wanted.
    pub fn take(pin_dir: &Path) -> Result<Self, KernelError> {
        let error = |what: String| KernelError::Pins {
            path: pin_dir.into(),
            what,
        };
        pins::ensure_bpf_fs(pin_dir)?;
        for _ in 0..ATTEMPTS {
            fs::create_dir_all(pin_dir).map_err(|e| error(format!("cannot be made: {e}")))?;
            let directory =
                File::open(pin_dir).map_err(|e| error(format!("cannot be opened: {e}")))?;
            match directory.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(KernelError::InUse {
                        path: pin_dir.into(),
                        holder: holder(pin_dir).unwrap_or_default(),
                    });
                }
                Err(TryLockError::Error(e)) => {
                    return Err(error(format!("cannot be locked: {e}")));
                }
            }
            let same = |file: &File| {
                let (ours, there) = (file.metadata().ok()?, fs::metadata(pin_dir).ok()?);
                Some((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
            };
            if same(&directory) == Some(true) {
                return Ok(Self {
                    _directory: directory,
                });
            }
        }
        Err(error(
            "is removed and made again all the time; stop whatever does that".into(),
        ))
    }
}

/// Who holds the lock, as ` (pid N)` or as nothing where the kernel does not say; `None`: nobody.
pub fn holder(pin_dir: &Path) -> Option<String> {
    let directory = File::open(pin_dir).ok()?;
    if directory.try_lock().is_ok() {
        return None;
    }
    let inode = directory.metadata().ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    Some(match flock_owner(&locks, inode) {
        Some(pid) => format!(" (pid {pid})"),
        None => String::new(),
    })
}

/// The process with a whole-file lock on this inode, in the text of `/proc/locks`.
fn flock_owner(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, place, ..] = fields[..] else {
            return None;
        };
        let number = place.rsplit(':').next()?.parse::<u64>().ok()?;
        (number == inode).then(|| pid.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_lock_is_found_by_inode() {
        let locks = "1: POSIX  ADVISORY  WRITE 77 00:1a:500 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 4711 00:1f:500 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 4712 00:1f:501 0 EOF\n";
        assert_eq!(flock_owner(locks, 500), Some(4711));
        assert_eq!(flock_owner(locks, 502), None);
        assert_eq!(flock_owner("rubbish\n", 500), None);
    }
}
