//! `/proc/<pid>`: what there is to know about a process from outside. Everything read here can be
//! gone, or another process, a moment later; callers compare start times.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use monitor_common::{enrol::ExecutableKey, path::permission};
use slmguard_core::procfs;
pub use slmguard_core::procfs::Stat;

use super::identity;

/// Nanoseconds of one tick in which `/proc` counts start times: USER_HZ is 100 on every
/// architecture that slmguard runs on.
pub const TICK_NS: u64 = 10_000_000;

/// A mounted proc file system.
#[derive(Clone, Debug)]
pub struct Proc {
    root: PathBuf,
}

impl Default for Proc {
    fn default() -> Self {
        Self {
            root: "/proc".into(),
        }
    }
}

impl Proc {
    /// One that is mounted, or imitated, elsewhere.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Processes, in no particular order.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let entries = fs::read_dir(&self.root)?;
        Ok(entries
            .filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
            .collect())
    }

    /// Parent and start time.
    pub fn stat(&self, pid: u32) -> Option<Stat> {
        procfs::stat(&fs::read(self.file(pid, "stat")).ok()?)
    }

    /// Whether this is the process that started at that time, as far as ticks can tell; a time of
    /// zero was never learned and fits any.
    pub fn is(&self, pid: u32, start_time: u64) -> bool {
        self.stat(pid)
            .is_some_and(|stat| start_time == 0 || stat.start_ticks == start_time / TICK_NS)
    }

    /// Path of its program, raw; a mark that it was deleted is taken off.
    pub fn exe(&self, pid: u32) -> Option<Vec<u8>> {
        let link = fs::read_link(self.file(pid, "exe")).ok()?;
        let bytes = link.as_os_str().as_bytes();
        Some(bytes.strip_suffix(b" (deleted)").unwrap_or(bytes).to_vec())
    }

    /// Identity of its program.
    pub fn identity(&self, pid: u32) -> Option<ExecutableKey> {
        identity::of_process(&self.root, pid).ok()
    }

    /// Its arguments, raw.
    pub fn arguments(&self, pid: u32) -> Vec<Vec<u8>> {
        let bytes = fs::read(self.file(pid, "cmdline")).unwrap_or_default();
        procfs::arguments(&bytes)
    }

    /// Its real user.
    pub fn user(&self, pid: u32) -> Option<u32> {
        procfs::user(&fs::read(self.file(pid, "status")).ok()?)
    }

    /// Path of its cgroup in the version 2 hierarchy.
    pub fn cgroup(&self, pid: u32) -> Option<String> {
        let text = fs::read(self.file(pid, "cgroup")).ok()?;
        procfs::cgroup(&text).map(str::to_owned)
    }

    /// Whether it holds a TCP socket that listens, in whatever network namespace it lives.
    pub fn listens(&self, pid: u32) -> bool {
        let listening: HashSet<u64> = ["net/tcp", "net/tcp6"]
            .into_iter()
            .flat_map(|table| {
                let text = fs::read(self.file(pid, table)).unwrap_or_default();
                procfs::listening_inodes(&text)
            })
            .collect();
        if listening.is_empty() {
            return false;
        }
        let Ok(descriptors) = fs::read_dir(self.file(pid, "fd")) else {
            return false;
        };
        descriptors
            .filter_map(|d| fs::read_link(d.ok()?.path()).ok())
            .any(|target| {
                procfs::socket_inode(target.as_os_str().as_bytes())
                    .is_some_and(|inode| listening.contains(&inode))
            })
    }

    /// Files that it has open, by path, with the access that was asked for ([`permission`]). What
    /// has no path (pipes, sockets, deleted files) is left out.
    pub fn open_files(&self, pid: u32) -> Vec<(Vec<u8>, u8)> {
        let Ok(descriptors) = fs::read_dir(self.file(pid, "fd")) else {
            return vec![];
        };
        let mut files: Vec<_> = descriptors
            .flatten()
            .filter_map(|d| {
                let target = fs::read_link(d.path()).ok()?;
                let path = target.as_os_str().as_bytes();
                if path.first() != Some(&b'/') || path.ends_with(b" (deleted)") {
                    return None;
                }
                let info = self.file(pid, "fdinfo").join(d.file_name());
                let info = fs::read_to_string(info).ok()?;
                let flags = info.lines().find_map(|l| l.strip_prefix("flags:"))?;
                let flags = i32::from_str_radix(flags.trim(), 8).ok()?;
                if flags & libc::O_PATH != 0 {
                    return None;
                }
                let access = match flags & libc::O_ACCMODE {
                    libc::O_RDONLY => permission::READ,
                    libc::O_WRONLY => permission::WRITE,
                    _ => permission::READ | permission::WRITE,
                };
                Some((path.to_vec(), access))
            })
            .collect();
        files.sort();
        files.dedup();
        files
    }

    fn file(&self, pid: u32, name: &str) -> PathBuf {
        self.root.join(pid.to_string()).join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn me() -> u32 {
        std::process::id()
    }

    #[test]
    fn a_process_reads_itself() {
        let proc = Proc::default();
        assert!(proc.pids().unwrap().contains(&me()));
        let stat = proc.stat(me()).unwrap();
        assert_eq!(stat.parent, std::os::unix::process::parent_id());
        assert!(!stat.kernel && stat.start_ticks > 0);
        assert!(proc.is(me(), stat.start_ticks * TICK_NS + 1));
        assert!(proc.is(me(), 0));
        assert!(!proc.is(me(), (stat.start_ticks + 1) * TICK_NS));
        let exe = std::env::current_exe().unwrap();
        assert_eq!(proc.exe(me()).unwrap(), exe.as_os_str().as_bytes());
        assert_eq!(proc.arguments(me()).len(), std::env::args_os().len());
        assert!(proc.user(me()).is_some());
    }

    #[test]
    fn hostile_names_do_not_shift_the_fields() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("7")).unwrap();
        let tail = "S 3 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        fs::write(dir.path().join("7/stat"), format!("7 (a) S 1 \n) {tail}")).unwrap();
        let stat = Proc::at(dir.path()).stat(7).unwrap();
        assert_eq!((stat.parent, stat.start_ticks), (3, 12345));
    }

    #[test]
    fn what_is_gone_is_none_not_a_panic() {
        let proc = Proc::at("/nowhere");
        assert!(proc.stat(1).is_none() && proc.exe(1).is_none() && proc.user(1).is_none());
        assert!(proc.arguments(1).is_empty() && !proc.listens(1) && !proc.is(1, 0));
    }

    #[test]
    fn open_files_are_told_with_their_access() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "x").unwrap();
        let _read = fs::File::open(&path).unwrap();
        let _append = fs::OpenOptions::new().append(true).open(&path).unwrap();
        let gone = dir.path().join("gone");
        let _gone = fs::File::create(&gone).unwrap();
        fs::remove_file(&gone).unwrap();
        let all = Proc::default().open_files(me());
        let bytes = path.as_os_str().as_bytes().to_vec();
        assert!(all.contains(&(bytes.clone(), permission::READ)));
        assert!(all.contains(&(bytes, permission::WRITE)));
        let gone = gone.as_os_str().as_bytes();
        assert!(all.iter().all(|(path, _)| !path.starts_with(gone)));
    }

    #[test]
    fn a_listener_is_seen_while_it_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(Proc::default().listens(me()));
        drop(listener);
    }
}
