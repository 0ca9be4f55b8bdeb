//! Files that a process maps or holds open, and what their first bytes say they are.
//!
//! A file is reached through `/proc/<pid>/fd` or `map_files`, which lead to that very file whatever
//! its path says by now, and is opened for reading only after it was seen to be a regular one:
//! opening a device or a pipe can have effects, or block.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::Read,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::Mode,
};
use serde::{Deserialize, Serialize};
use slmguard_core::detect::{
    FileSeen, How,
    model::{self, Format},
};

/// Mappings and descriptors of one process that are looked at.
const MOST: usize = 16_384;
/// Bytes of a text file of /proc that are read.
const LARGEST_TEXT: u64 = 8 << 20;
/// Files that are sniffed for one process.
const SNIFFED_PER_PROCESS: usize = 256;
/// Answers that are remembered.
const REMEMBERED: usize = 65_536;
/// Files shorter than this are no models.
const SMALLEST: u64 = 16;
/// A file without a telling name is looked at from this length on.
const LARGE: u64 = 64 << 10;

/// Ends of names that models have.
const ENDINGS: &[&str] = &[
    ".gguf",
    ".ggml",
    ".safetensors",
    ".onnx",
    ".ort",
    ".pt",
    ".pth",
    ".bin",
    ".ckpt",
    ".h5",
    ".keras",
    ".tflite",
    ".llamafile",
    ".npy",
    ".pkl",
    ".data",
];
/// Ends of names that are certainly none.
const NOT_MODELS: &[&str] = &[
    ".so", ".py", ".pyc", ".js", ".mjs", ".log", ".sqlite", ".db", ".db-wal", ".db-shm", ".jsonl",
    ".mo", ".cache", ".txt", ".conf", ".rlib", ".rmeta", ".o", ".a",
];

/// A file as it was when it was looked at; one that was changed or replaced is another.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct FileId {
    /// Device, as stat says.
    pub device: u64,
    /// Inode.
    pub inode: u64,
    /// Length.
    pub size: u64,
    /// Last change of the contents, nanoseconds.
    pub changed: i64,
}

/// A model file that a process uses or names.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// Which file.
    pub id: FileId,
    /// Its path as the process sees it.
    pub path: String,
    /// Its format.
    pub format: Format,
    /// Where it can be opened while the process is there.
    pub place: Place,
}

/// A way to a file of another process.
#[derive(Clone, Debug)]
pub enum Place {
    /// A link of `/proc` that leads to that very file.
    Link(PathBuf),
    /// A path as the process names it, and the process's directory in `/proc`.
    Named(PathBuf, String),
}

impl ModelFile {
    /// Opens it, if it still is the same file.
    pub fn open(&self) -> Option<File> {
        let file = match &self.place {
            Place::Link(link) => open_regular(link),
            Place::Named(process, path) => open_named(process, path),
        }?;
        (identity(&file.metadata().ok()?) == Some(self.id)).then_some(file)
    }
}

/// What one process uses.
#[derive(Debug, Default)]
pub(super) struct Used {
    pub libraries: Vec<String>,
    pub files: Vec<FileSeen>,
    pub models: Vec<ModelFile>,
    pub devices: Vec<String>,
    /// Inodes of its sockets.
    pub sockets: std::collections::HashSet<u64>,
    /// What descriptors 0 and 1 are connected to.
    pub stdio: slmguard_core::detect::mcp::Stdio,
}

/// Inodes of the sockets that a process holds, now.
pub(super) fn sockets(proc: &Path) -> std::collections::HashSet<u64> {
    let Ok(descriptors) = fs::read_dir(proc.join("fd")) else {
        return std::collections::HashSet::new();
    };
    descriptors
        .flatten()
        .take(MOST)
        .filter_map(|entry| socket_inode(fs::read_link(entry.path()).ok()?.to_str()?))
        .collect()
}

fn socket_inode(target: &str) -> Option<u64> {
    target
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// Remembers formats.
#[derive(Debug, Default)]
pub(super) struct Sniffer {
    known: HashMap<FileId, Option<Format>>,
}

impl Sniffer {
    /// Everything that a process maps or holds open.
    pub(super) fn used(&mut self, proc: &Path) -> Used {
        let mut used = Used::default();
        let mut budget = SNIFFED_PER_PROCESS;
        self.mapped(proc, &mut used, &mut budget);
        self.open(proc, &mut used, &mut budget);
        used
    }

    fn mapped(&mut self, proc: &Path, used: &mut Used, budget: &mut usize) {
        let maps = read_text(&proc.join("maps"), LARGEST_TEXT);
        let mut seen: HashMap<&str, ()> = HashMap::new();
        for line in maps.lines().take(MOST) {
            let mut fields = line.splitn(6, ' ');
            let (Some(range), Some(path)) = (fields.next(), fields.nth(4)) else {
                continue;
            };
            let path = path.trim_start();
            if !path.starts_with('/') || seen.insert(path, ()).is_some() {
                continue;
            }
            let name = path.strip_suffix(" (deleted)").unwrap_or(path);
            if is_library(name) {
                used.libraries.push(name.to_owned());
            } else if !name.starts_with("/dev/") && !name.starts_with("/memfd:") {
                let place = proc.join("map_files").join(unpadded(range));
                self.look(&place, name, How::Mapped, used, budget);
            }
        }
    }

    fn open(&mut self, proc: &Path, used: &mut Used, budget: &mut usize) {
        let Ok(descriptors) = fs::read_dir(proc.join("fd")) else {
            return;
        };
        for entry in descriptors.flatten().take(MOST) {
            let place = entry.path();
            let Ok(target) = fs::read_link(&place) else {
                continue;
            };
            let target = target.to_string_lossy().into_owned();
            let number = entry.file_name();
            let connected = target.starts_with("pipe:[") || target.starts_with("socket:[");
            match number.to_str() {
                Some("0") => used.stdio.input = connected,
                Some("1") => used.stdio.output = connected,
                _ => {}
            }
            if let Some(inode) = socket_inode(&target) {
                used.sockets.insert(inode);
            } else if target.starts_with("/dev/") {
                if !used.devices.contains(&target) {
                    used.devices.push(target);
                }
            } else if target.starts_with('/') {
                let name = target.strip_suffix(" (deleted)").unwrap_or(&target);
                if used.files.iter().any(|f| f.path == name) || !is_worth(name, u64::MAX) {
                    continue;
                }
                let number = number.to_string_lossy();
                let flags = read_text(&proc.join("fdinfo").join(&*number), 4096);
                let how = if is_written(&flags) {
                    How::Written
                } else {
                    How::Read
                };
                self.look(&place, name, how, used, budget);
            }
        }
    }

    /// Sniffs one file, and keeps it if it is anything.
    fn look(&mut self, place: &Path, path: &str, how: How, used: &mut Used, budget: &mut usize) {
        let Some((format, id)) = self.format(place, path, budget) else {
            return;
        };
        used.files.push(FileSeen {
            path: path.to_owned(),
            size: id.size,
            format: Some(format),
            how,
        });
        if how != How::Written {
            used.models.push(ModelFile {
                id,
                path: path.to_owned(),
                format,
                place: Place::Link(place.to_owned()),
            });
        }
    }

    /// The format of the file at a place, if it is a model or something like one.
    pub(super) fn format(
        &mut self,
        place: &Path,
        path: &str,
        budget: &mut usize,
    ) -> Option<(Format, FileId)> {
        let id = identify(place)?;
        if !is_worth(path, id.size) {
            return None;
        }
        if let Some(known) = self.known.get(&id) {
            return known.map(|format| (format, id));
        }
        *budget = budget.checked_sub(1)?;
        let file = open_regular(place)?;
        let mut start = vec![0; model::SNIFFED];
        let read = file.read_at(&mut start, 0).ok()?;
        start.truncate(read);
        let format = model::sniff(&start, id.size, path);
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(id, format);
        format.map(|format| (format, id))
    }
}

/// Whether a file could be a model, by its name and length.
fn is_worth(path: &str, size: u64) -> bool {
    let lower = path.to_ascii_lowercase();
    let named = ENDINGS.iter().any(|end| lower.ends_with(end));
    let other = NOT_MODELS.iter().any(|end| lower.ends_with(end))
        || ["/proc/", "/sys/", "/dev/", "/run/"]
            .iter()
            .any(|start| lower.starts_with(start));
    size >= SMALLEST && !other && (named || size >= LARGE)
}

fn is_library(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.ends_with(".so") || name.contains(".so.") || name.ends_with(".node")
}

/// `0`-padded ranges of `maps` are written without padding in `map_files`.
fn unpadded(range: &str) -> String {
    range
        .split('-')
        .map(|end| {
            let digits = end.trim_start_matches('0');
            if digits.is_empty() { "0" } else { digits }
        })
        .collect::<Vec<_>>()
        .join("-")
}

/// Whether the flags in an fdinfo say that the descriptor can be written to.
fn is_written(fdinfo: &str) -> bool {
    let flags = fdinfo.lines().find_map(|l| l.strip_prefix("flags:"));
    flags
        .and_then(|f| i32::from_str_radix(f.trim(), 8).ok())
        .is_some_and(|f| f & libc::O_ACCMODE != libc::O_RDONLY)
}

/// A regular file at a place, told by its metadata.
pub(super) fn identify(place: &Path) -> Option<FileId> {
    identity(&fs::metadata(place).ok()?)
}

fn identity(meta: &fs::Metadata) -> Option<FileId> {
    meta.file_type().is_file().then(|| FileId {
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.len(),
        changed: meta
            .mtime()
            .saturating_mul(1_000_000_000)
            .saturating_add(meta.mtime_nsec()),
    })
}

/// Opens the file at a place for reading if it is a regular one: first without opening it in
/// earnest, then that very file.
pub fn open_regular(place: &Path) -> Option<File> {
    let path = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
        .open(place)
        .ok()?;
    reopen(&path)
}

fn reopen(path: &File) -> Option<File> {
    if !path.metadata().ok()?.file_type().is_file() {
        return None;
    }
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY)
        .open(format!("/proc/self/fd/{}", path.as_raw_fd()))
        .ok()
}

/// Opens a regular file by the path that a process names, in that process's own tree of files: its
/// symbolic links lead nowhere else.
pub(super) fn open_named(proc: &Path, path: &str) -> Option<File> {
    let whole = if path.starts_with('/') {
        PathBuf::from(path)
    } else {
        fs::read_link(proc.join("cwd")).ok()?.join(path)
    };
    let below = whole.strip_prefix("/").ok()?;
    let root = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)
        .open(proc.join("root"))
        .ok()?;
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .mode(Mode::empty())
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let found = openat2(root.as_fd(), below, how).ok()?;
    reopen(&File::from(found))
}

/// Text of a file of /proc, up to a bound; what is not text is replaced.
pub(super) fn read_text(path: &Path, most: u64) -> String {
    String::from_utf8_lossy(&read_bytes(path, most)).into_owned()
}

/// Bytes of a file of /proc, up to a bound.
pub(super) fn read_bytes(path: &Path, most: u64) -> Vec<u8> {
    let mut bytes = vec![];
    if let Ok(file) = File::open(path) {
        // What was read before an error counts.
        let _ = file.take(most).read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> PathBuf {
        format!("/proc/{}", std::process::id()).into()
    }

    fn gguf() -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.resize(100, 0);
        bytes
    }

    #[test]
    fn an_open_model_is_seen_and_its_use_told() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("a.gguf");
        fs::write(&model, gguf()).unwrap();
        let read = File::open(&model).unwrap();
        let other = dir.path().join("b.gguf");
        let written = File::options()
            .create(true)
            .append(true)
            .open(&other)
            .unwrap();
        fs::write(&other, gguf()).unwrap();
        let used = Sniffer::default().used(&me());
        let how = |path: &Path| {
            let path = path.to_str().unwrap();
            used.files
                .iter()
                .find(|f| f.path == path)
                .map(|f| (f.format, f.how))
        };
        assert_eq!(how(&model), Some((Some(Format::Gguf), How::Read)));
        assert_eq!(how(&other), Some((Some(Format::Gguf), How::Written)));
        assert!(
            used.models
                .iter()
                .any(|m| m.path == model.to_str().unwrap())
        );
        assert!(
            used.libraries.iter().any(|l| l.contains("libc.so")),
            "{:?}",
            used.libraries
        );
        drop((read, written));
    }

    #[test]
    fn pipes_and_devices_are_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("x.gguf");
        nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        assert!(identify(&pipe).is_none());
        assert!(
            open_regular(&pipe).is_none(),
            "and it does not wait for a writer"
        );
        assert!(open_named(&me(), pipe.to_str().unwrap()).is_none());
        assert!(open_named(&me(), "/dev/null").is_none());
    }

    #[test]
    fn a_named_file_is_found_in_the_processs_own_tree() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("m.gguf");
        fs::write(&model, gguf()).unwrap();
        let link = dir.path().join("link.gguf");
        std::os::unix::fs::symlink(&model, &link).unwrap();
        for path in [&model, &link] {
            assert!(
                open_named(&me(), path.to_str().unwrap()).is_some(),
                "{path:?}"
            );
        }
        assert!(open_named(&me(), "/no/such").is_none());
    }

    #[test]
    fn a_file_that_was_changed_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        fs::write(&path, gguf()).unwrap();
        let before = identify(&path).unwrap();
        fs::write(&path, [gguf(), gguf()].concat()).unwrap();
        assert_ne!(identify(&path).unwrap(), before);
    }

    #[test]
    fn names_and_lengths_say_what_is_worth_a_look() {
        assert!(is_worth("/m/a.GGUF", 100) && is_worth("/blobs/sha256-aa", 1 << 20));
        assert!(!is_worth("/m/a.gguf", 3) && !is_worth("/x/notes", 100));
        assert!(!is_worth("/usr/lib/x.so", 1 << 20) && !is_worth("/proc/kcore", 1 << 40));
        assert_eq!(unpadded("00400000-0040b000"), "400000-40b000");
        assert!(is_written("pos:\t0\nflags:\t0100002\n") && !is_written("flags:\t0100000\n"));
    }
}
