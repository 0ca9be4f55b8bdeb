//! Device and inode of a file as the kernel's own structures hold them.
//!
//! `stat` is no substitute: overlayfs and btrfs answer it with numbers of their own. What
//! `/proc/self/fdinfo` and `mountinfo` say comes from the very inode and super block that our
//! kernel programs read.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::Path,
};

use monitor_common::enrol::ExecutableKey;

use super::mounts;

/// The identity of a file, following symbolic links.
pub fn of_path(path: &Path) -> io::Result<ExecutableKey> {
    of_file(&open(path)?, None)
}

/// The identity of the program that a process runs. The process may live in a mount namespace of
/// its own, so its table of mounts is asked as well.
pub fn of_process(proc: &Path, pid: u32) -> io::Result<ExecutableKey> {
    let directory = proc.join(pid.to_string());
    of_file(
        &open(&directory.join("exe"))?,
        Some(&directory.join("mountinfo")),
    )
}

/// A handle that cannot be read from or written to and runs nothing of the file's driver.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
        .open(path)
}

fn of_file(file: &File, other_mounts: Option<&Path>) -> io::Result<ExecutableKey> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let field = |name: &str| {
        info.lines()
            .find_map(|l| l.strip_prefix(name)?.trim().parse::<u64>().ok())
    };
    if let (Some(inode), Some(mount)) = (field("ino:"), field("mnt_id:")) {
        let tables = [Some(Path::new("/proc/self/mountinfo")), other_mounts];
        for table in tables.into_iter().flatten() {
            let text = fs::read(table).unwrap_or_default();
            if let Some(found) = mounts::parse(&text).into_iter().find(|m| m.id == mount) {
                return Ok(ExecutableKey {
                    device: found.device,
                    inode,
                });
            }
        }
    }
    // A kernel before 5.14, or a mount that no table shows: what stat says is right on plain
    // file systems.
    let meta = file.metadata()?;
    let device = mounts::device(
        u64::from(libc::major(meta.dev())),
        u64::from(libc::minor(meta.dev())),
    );
    Ok(ExecutableKey {
        device,
        inode: meta.ino(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_the_process_that_runs_it_have_one_identity() {
        let exe = std::env::current_exe().unwrap();
        let by_path = of_path(&exe).unwrap();
        let by_pid = of_process(Path::new("/proc"), std::process::id()).unwrap();
        assert_eq!(by_path, by_pid);
        assert_ne!((by_path.device, by_path.inode), (0, 0));
        assert_ne!(by_path, of_path(Path::new("/proc/self/mountinfo")).unwrap());
    }

    #[test]
    fn links_are_followed_and_absence_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
        assert_eq!(
            of_path(&link).unwrap(),
            of_path(Path::new("/bin/sh")).unwrap()
        );
        assert!(of_path(&dir.path().join("none")).is_err());
    }
}
