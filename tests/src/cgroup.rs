//! A cgroup of a test's own in the cgroup v2 tree.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait;

/// A cgroup. Dropping it removes it; its processes must be gone by then.
pub struct Cgroup {
    mount: PathBuf,
    path: PathBuf,
}

impl Cgroup {
    /// Makes a cgroup whose name ends with `suffix`, at the root of the tree.
    pub fn create(suffix: &str) -> Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mount = mount()?;
        let path = mount.join(format!("slmguard-trial-{}-{number}{suffix}", process::id()));
        fs::create_dir(&path).with_context(|| format!("create the cgroup {}", path.display()))?;
        Ok(Self { mount, path })
    }

    /// The same cgroup's child.
    pub fn child(&self, name: &str) -> Result<Self> {
        let path = self.path.join(name);
        fs::create_dir(&path).with_context(|| format!("create the cgroup {}", path.display()))?;
        Ok(Self {
            mount: self.mount.clone(),
            path,
        })
    }

    /// Its last component, the name of a unit if it ends like one.
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// Its path below the mount, as configurations name it.
    pub fn path(&self) -> String {
        let below = self.path.strip_prefix(&self.mount).unwrap_or(&self.path);
        format!("/{}", below.display())
    }

    /// The file that takes the processes that move into it.
    pub fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Where the whole tree is mounted.
    pub fn tree(&self) -> &Path {
        &self.mount
    }

    /// Moves a process into it.
    pub fn add(&self, pid: i32) -> Result<()> {
        let file = self.procs();
        fs::write(&file, pid.to_string())
            .with_context(|| format!("move process {pid} into {}", file.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Cgroup {
    /// Removes it, if that has not been done.
    pub fn remove(&self) {
        // A process that has just been reaped may still hold it for a moment.
        let removed = wait::until("the cgroup is removed", Duration::from_secs(5), || {
            Ok(match fs::remove_dir(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Some(()),
                other => other.ok(),
            })
        });
        if let Err(error) = removed {
            eprintln!("scene: {}: {error:#}", self.path.display());
        }
    }
}

/// Where the whole cgroup v2 tree is mounted.
fn mount() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
    mounts
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .filter(|(_, kind)| kind.starts_with("cgroup2 "))
        .filter_map(|(place, _)| {
            let mut fields = place.split(' ').skip(3);
            (fields.next()? == "/").then(|| fields.next().map(PathBuf::from))?
        })
        .next()
        .context("no cgroup v2 tree is mounted")
}
