//! Where things are: the repository, its build output, and the cache shared by all clones.
//!
//! Knows folder names only; must not create, download or build anything.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// The folder that holds the workspace's `Cargo.toml`.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| find_root().unwrap_or_else(|| PathBuf::from(".")))
}

/// Looked up at run time, never baked in: a clone may move, and build output may be shared.
fn find_root() -> Option<PathBuf> {
    let from_cargo = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let from_cwd = env::current_dir().ok();
    [from_cargo, from_cwd]
        .into_iter()
        .flatten()
        .find_map(|start| {
            start
                .ancestors()
                .find(|dir| {
                    dir.join("Cargo.toml").is_file() && dir.join("xtask/Cargo.toml").is_file()
                })
                .map(Path::to_path_buf)
        })
}

/// Everything slmguard's tooling writes inside the clone goes below this folder.
pub fn target() -> PathBuf {
    root().join("target")
}

/// Cargo's own build folder: `target`, unless `CARGO_TARGET_DIR` says otherwise.
pub fn cargo_target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(PathBuf::from(dir)),
        None => target(),
    }
}

/// A release binary of the workspace.
pub fn release_bin(name: &str) -> PathBuf {
    cargo_target().join("release").join(name)
}

/// The kernel object, where `monitor/build.rs` looks for it.
pub fn kernel_object() -> PathBuf {
    target().join("bpf/slmguard.bpf.o")
}

/// What is built or downloaded once for all clones of one user.
pub fn cache() -> Result<PathBuf> {
    let named = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let dir = if let Some(dir) = named("SLMGUARD_CACHE") {
        dir
    } else if let Some(dir) = named("XDG_CACHE_HOME") {
        dir.join("slmguard")
    } else if let Some(home) = named("HOME") {
        home.join(".cache/slmguard")
    } else {
        bail!("no cache folder: set SLMGUARD_CACHE (or HOME) to a folder that can be written");
    };
    if dir.is_absolute() {
        Ok(dir)
    } else {
        Ok(env::current_dir()
            .context("reading the working directory")?
            .join(dir))
    }
}

/// The first file called `name` in `PATH` or in the system folders that `PATH` may lack.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}
