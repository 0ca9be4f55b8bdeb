//! Pins: links and maps kept in a bpf file system, so that enforcement outlives the daemon.
//!
//! Each start makes an instance directory `<pin_dir>/v<ABI>/<n>/`. A new instance attaches beside
//! the old one, takes over its members and unread verdicts, and only then removes it: there is no
//! moment without enforcement, and no map of another layout is ever reopened.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    maps::{Map, MapData, RingBuf},
    programs::links::PinnedLink,
};
use monitor_common::{ABI, class::ClassId, limits::MAX_PIDS};
use slmguard_core::text;

use super::{KernelError, mmap::Mapped};

const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
/// Maps that the next instance reads.
const PINNED_MAPS: [&str; 3] = ["MEMBER", "VERDICTS", "SEEN"];

/// This start's directory of pins.
#[derive(Debug)]
pub struct Instance {
    pin_dir: PathBuf,
    root: PathBuf,
    number: u64,
}

impl Instance {
    /// Makes the next instance's directory.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn create(pin_dir: &Path) -> Result<Self, KernelError> {
        let error = |e: io::Error| KernelError::Pins {
            path: pin_dir.into(),
            what: format!("cannot be made: {e}"),
        };
        let root = pin_dir.join(format!("v{ABI}"));
        fs::create_dir_all(&root).map_err(error)?;
        let number = numbers(&root).into_iter().max().unwrap_or(0) + 1;
        let instance = Self {
            pin_dir: pin_dir.into(),
            root,
            number,
        };
        for part in ["links", "maps"] {
            fs::create_dir_all(instance.dir().join(part)).map_err(error)?;
        }
        Ok(instance)
    }

    fn dir(&self) -> PathBuf {
        self.root.join(self.number.to_string())
    }

    /// Where a hook's link is pinned.
    pub fn link_path(&self, hook: &str) -> PathBuf {
        self.dir().join("links").join(hook)
    }

    /// Pins the maps that the next instance reads.
    ///
    /// # Errors
    /// A map cannot be pinned.
    pub fn pin_maps(&self, loaded: &Ebpf) -> Result<(), KernelError> {
        for name in PINNED_MAPS {
            let path = self.dir().join("maps").join(name);
            let map = loaded.map(name).ok_or(KernelError::Map {
                map: name,
                what: "not in the object".into(),
            })?;
            let data = match map {
                Map::Array(d) | Map::RingBuf(d) | Map::LruHashMap(d) => d,
                _ => {
                    return Err(KernelError::Map {
                        map: name,
                        what: "of another type".into(),
                    });
                }
            };
            data.pin(&path).map_err(|e| KernelError::Pins {
                path,
                what: super::load::brief(&e),
            })?;
        }
        Ok(())
    }

    fn earlier(&self) -> impl Iterator<Item = PathBuf> {
        let earlier = numbers(&self.root).into_iter().filter(|n| *n < self.number);
        earlier.map(|n| self.root.join(n.to_string()))
    }

    /// Members of earlier instances, whose programs are still at work. What cannot be read is left
    /// out.
    pub fn earlier_members(&self) -> Vec<(u32, ClassId)> {
        let mut all = vec![];
        for dir in self.earlier() {
            if let Ok(data) = MapData::from_pin(dir.join("maps/MEMBER"))
                && let Ok(members) = Mapped::<u16>::new("MEMBER", data.fd(), MAX_PIDS as usize)
            {
                all.extend(members.non_zero().map(|(pid, class)| (pid as u32, class)));
            }
        }
        all
    }

    /// Verdicts of earlier instances that nobody has read: raw events.
    pub fn earlier_verdicts(&self) -> Vec<Vec<u8>> {
        let mut all = vec![];
        for dir in self.earlier() {
            if let Ok(data) = MapData::from_pin(dir.join("maps/VERDICTS"))
                && let Ok(mut ring) = RingBuf::try_from(Map::RingBuf(data))
            {
                while let Some(event) = ring.next() {
                    all.push(event.to_vec());
                }
            }
        }
        all
    }

    /// Removes this instance: its start failed.
    pub fn remove(&self) {
        if let Err(e) = remove_instance(&self.dir()) {
            tracing::warn!(dir = %self.dir().display(), error = %e, "pins of a failed start cannot be removed");
        }
    }

    /// Instances of other layouts than ours, whatever daemon left them: their maps cannot be read,
    /// but what they enforce must not stay beside what we enforce.
    fn foreign(&self) -> impl Iterator<Item = PathBuf> {
        let roots = roots(&self.pin_dir).filter(|root| *root != self.root);
        roots.flat_map(|root| {
            numbers(&root)
                .into_iter()
                .map(move |n| root.join(n.to_string()))
        })
    }

    /// Removes earlier instances, of this layout and of others. Returns how many went.
    pub fn remove_earlier(&self) -> usize {
        let removed = self
            .earlier()
            .chain(self.foreign())
            .filter(|dir| match remove_instance(dir) {
                Ok(()) => true,
                Err(e) => {
                    let dir = dir.display();
                    tracing::warn!(%dir, error = %e, "an earlier instance's pins cannot be removed");
                    false
                }
            })
            .count();
        for root in roots(&self.pin_dir).filter(|root| *root != self.root) {
            // Fails where something was left in it, which was told above.
            let _ = fs::remove_dir(root);
        }
        removed
    }
}

/// Removes every instance of every ABI under `pin_dir`.
///
/// # Errors
/// A pin cannot be removed, or the directory holds something that is not ours.
pub fn remove_all(pin_dir: &Path) -> Result<usize, KernelError> {
    let error = |e: io::Error| KernelError::Pins {
        path: pin_dir.into(),
        what: format!("cannot be removed: {e}"),
    };
    let mut removed = 0;
    for root in roots(pin_dir) {
        for number in numbers(&root) {
            remove_instance(&root.join(number.to_string())).map_err(error)?;
            removed += 1;
        }
        if entries(&root).is_empty() {
            fs::remove_dir(&root).map_err(error)?;
        }
    }
    let left = match fs::read_dir(pin_dir) {
        Ok(_) => entries(pin_dir),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(removed),
        Err(e) => return Err(error(e)),
    };
    if let Some(stranger) = left.first() {
        return Err(KernelError::Pins {
            path: pin_dir.into(),
            what: format!(
                "{removed} instances were removed and enforcement ended, but {} is not slmguard's: \
                 move it away",
                text::escape(stranger.as_os_str().as_encoded_bytes())
            ),
        });
    }
    fs::remove_dir(pin_dir).map_err(error)?;
    Ok(removed)
}

/// Links go first: what still runs must not lose its maps. Each is held open across the removal of
/// its pin and closed last: the kernel detaches at the close, where the pin's own end would be
/// deferred. A part that a crash left unmade is no obstacle.
fn remove_instance(dir: &Path) -> io::Result<()> {
    for pin in entries(&dir.join("links")) {
        match PinnedLink::from_pin(&pin) {
            Ok(link) => drop(link.unpin()?),
            Err(_) => fs::remove_file(pin)?,
        }
    }
    for pin in entries(&dir.join("maps")) {
        fs::remove_file(pin)?;
    }
    for part in ["links", "maps"] {
        match fs::remove_dir(dir.join(part)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    fs::remove_dir(dir)
}

/// Directories of instances, one per layout.
fn roots(pin_dir: &Path) -> impl Iterator<Item = PathBuf> {
    let is_abi = |name: &str| {
        let number = name.strip_prefix('v');
        number.is_some_and(|n| n.parse::<u32>().is_ok())
    };
    entries(pin_dir)
        .into_iter()
        .filter(move |p| p.file_name().and_then(|n| n.to_str()).is_some_and(is_abi))
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .map(|d| d.flatten().map(|e| e.path()).collect())
        .unwrap_or_default()
}

fn numbers(root: &Path) -> Vec<u64> {
    entries(root)
        .iter()
        .filter_map(|p| p.file_name()?.to_str()?.parse().ok())
        .collect()
}

/// Makes sure that a directory is, or will be, on a bpf file system; mounts one at `/sys/fs/bpf` if
/// there is none.
///
/// # Errors
/// The directory is elsewhere, or the mount fails.
pub fn ensure_bpf_fs(pin_dir: &Path) -> Result<(), KernelError> {
    let is_bpf =
        |p: &Path| nix::sys::statfs::statfs(p).is_ok_and(|s| s.filesystem_type().0 == BPF_FS_MAGIC);
    let existing = pin_dir
        .ancestors()
        .find(|p| p.exists())
        .unwrap_or(Path::new("/"));
    if is_bpf(existing) {
        return Ok(());
    }
    let usual = Path::new("/sys/fs/bpf");
    if !(pin_dir.starts_with(usual) && usual.is_dir()) {
        return Err(KernelError::NotBpf {
            path: pin_dir.into(),
        });
    }
    use nix::mount::{MsFlags, mount};
    mount(
        Some("bpf"),
        usual,
        Some("bpf"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        Some("mode=0700"),
    )
    .map_err(|e| KernelError::Pins {
        path: pin_dir.into(),
        what: format!(
            "no bpf file system is mounted at {}, and mounting one failed: {e}",
            usual.display()
        ),
    })
}
