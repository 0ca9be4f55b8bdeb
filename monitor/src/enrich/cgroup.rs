//! The cgroup version 2 tree: where it is mounted, and the way between ids, paths and units.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::mounts;

/// Directories that one search looks at; a larger tree is searched in part.
const SEARCH_LIMIT: usize = 20_000;
/// Ids whose path is remembered.
const REMEMBERED: usize = 4096;

/// The tree.
#[derive(Debug)]
pub struct Cgroups {
    mount: Option<PathBuf>,
    paths: HashMap<u64, String>,
}

impl Cgroups {
    /// Finds the mount in this process's own table: `/sys/fs/cgroup`, on hybrid layouts
    /// `/sys/fs/cgroup/unified`, or wherever else.
    pub fn discover() -> Self {
        let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
        Self {
            mount: find_mount(&table),
            paths: HashMap::new(),
        }
    }

    /// A tree at a known place.
    pub fn at(mount: impl Into<PathBuf>) -> Self {
        Self {
            mount: Some(mount.into()),
            paths: HashMap::new(),
        }
    }

    /// Where the tree is mounted.
    pub fn mount(&self) -> Option<&Path> {
        self.mount.as_deref()
    }

    /// The id of a cgroup given by its path below the mount.
    pub fn id(&self, path: &str) -> io::Result<u64> {
        let mount = self.mount.as_deref().ok_or(io::ErrorKind::NotFound)?;
        let meta = fs::metadata(mount.join(path.trim_start_matches('/')))?;
        if !meta.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(meta.ino())
    }

    /// Paths of the cgroups that carry a unit's name.
    pub fn units(&self, unit: &str) -> Vec<String> {
        let mut found = vec![];
        self.walk(|path, _| {
            if path.rsplit('/').next() == Some(unit) {
                found.push(path.to_owned());
            }
            true
        });
        found
    }

    /// The path of an id: what is remembered; else what `guess` says, if its id is the same; else
    /// what a search of the tree finds.
    pub fn path(&mut self, id: u64, guess: Option<String>) -> Option<String> {
        if let Some(path) = self.paths.get(&id) {
            return Some(path.clone());
        }
        let path = match guess.filter(|path| self.id(path).is_ok_and(|found| found == id)) {
            Some(path) => path,
            None => self.search(id)?,
        };
        if self.paths.len() >= REMEMBERED {
            self.paths.clear();
        }
        self.paths.insert(id, path.clone());
        Some(path)
    }

    fn search(&self, id: u64) -> Option<String> {
        let mut found = None;
        self.walk(|path, inode| {
            if inode == id {
                found = Some(path.to_owned());
            }
            found.is_none()
        });
        found
    }

    /// Visits cgroups with their path and id, parents first, until the visitor says stop.
    fn walk(&self, mut visit: impl FnMut(&str, u64) -> bool) {
        let Some(mount) = self.mount.as_deref() else {
            return;
        };
        let mut waiting = std::collections::VecDeque::from([String::new()]);
        let mut looked_at = 0;
        while let Some(path) = waiting.pop_front() {
            let directory = mount.join(path.trim_start_matches('/'));
            let Ok(meta) = fs::metadata(&directory) else {
                continue;
            };
            looked_at += 1;
            let name = if path.is_empty() { "/" } else { &path };
            if !visit(name, meta.ino()) || looked_at >= SEARCH_LIMIT {
                return;
            }
            let Ok(entries) = fs::read_dir(&directory) else {
                continue;
            };
            for entry in entries.flatten() {
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    // systemd escapes what is not ASCII; a name that is not text is no unit.
                    if let Some(name) = entry.file_name().to_str() {
                        waiting.push_back(format!("{path}/{name}"));
                    }
                }
            }
        }
    }
}

/// Whether a cgroup is another, or lies below it.
pub fn is_in(path: &str, ancestor: &str) -> bool {
    let ancestor = ancestor.trim_end_matches('/');
    path == ancestor
        || path
            .strip_prefix(ancestor)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// The best mount of a cgroup2 file system: one that shows the whole tree, the usual places first.
fn find_mount(mountinfo: &[u8]) -> Option<PathBuf> {
    let mut all: Vec<_> = mounts::parse(mountinfo)
        .into_iter()
        .filter(|m| m.kind == "cgroup2")
        .collect();
    all.sort_by_key(|m| {
        let usual = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        let place = usual
            .iter()
            .position(|p| m.point == Path::new(p))
            .unwrap_or(usual.len());
        (m.root != Path::new("/"), place)
    });
    all.into_iter().next().map(|m| m.point)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, Cgroups) {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "system.slice/llama.service/inner",
            "user.slice/llama.service",
            "a/b",
        ] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        fs::write(dir.path().join("cgroup.procs"), "").unwrap();
        let tree = Cgroups::at(dir.path());
        (dir, tree)
    }

    #[test]
    fn the_mount_is_found_on_plain_and_hybrid_layouts() {
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            find_mount(hybrid.as_bytes()),
            Some("/sys/fs/cgroup/unified".into())
        );
        let several = "1 0 0:5 /x /var/tree rw - cgroup2 none rw\n\
                       2 0 0:5 / /elsewhere rw - cgroup2 none rw\n\
                       3 0 0:5 / /sys/fs/cgroup rw - cgroup2 none rw\n";
        assert_eq!(
            find_mount(several.as_bytes()),
            Some("/sys/fs/cgroup".into())
        );
        assert_eq!(find_mount(b"1 0 0:5 / / rw - ext4 x rw\n"), None);
    }

    #[test]
    fn ids_and_paths_lead_to_each_other() {
        let (_dir, mut tree) = tree();
        let id = tree.id("/system.slice/llama.service").unwrap();
        assert_eq!(tree.path(id, None).unwrap(), "/system.slice/llama.service");
        let b = tree.id("a/b").unwrap();
        assert_eq!(
            tree.path(b, Some("/system.slice".into())).unwrap(),
            "/a/b",
            "wrong guess"
        );
        let root = tree.id("/").unwrap();
        assert_eq!(tree.path(root, None).unwrap(), "/");
        assert_eq!(tree.path(1 << 60, None), None);
        assert!(tree.id("/cgroup.procs").is_err() && tree.id("/gone").is_err());
    }

    #[test]
    fn units_are_found_wherever_they_are() {
        let (_dir, tree) = tree();
        let mut units = tree.units("llama.service");
        units.sort();
        assert_eq!(
            units,
            ["/system.slice/llama.service", "/user.slice/llama.service"]
        );
        assert!(tree.units("none.service").is_empty());
    }

    #[test]
    fn below_means_whole_components() {
        assert!(is_in("/a/b", "/a/b") && is_in("/a/b/c", "/a/b/") && is_in("/a", "/"));
        assert!(!is_in("/a/bc", "/a/b") && !is_in("/a", "/a/b"));
    }
}
