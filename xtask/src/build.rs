//! `cargo xtask build`: the kernel object, then everything that embeds or drives it.
//!
//! Knows the order and the inputs; which compiler and linker are used is `toolchain`'s matter.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{paths, setup, sh, toolchain, ui};

/// Sets up and builds everything: the program is target/release/slmguard.
///
/// The kernel object, target/bpf/slmguard.bpf.o, is built first and embedded in it; it is not built
/// again while nothing that goes into it has changed.
#[derive(Args)]
pub struct Build {
    /// Only the kernel object.
    #[arg(long)]
    bpf: bool,
}

/// Runs the command.
pub fn run(args: &Build) -> Result<()> {
    kernel_object()?;
    if !args.bpf {
        workspace()?;
        ui::note("build", "ready", &relative(&paths::release_bin("slmguard")));
    }
    Ok(())
}

/// Builds the kernel object, unless nothing that goes into it has changed.
pub fn kernel_object() -> Result<PathBuf> {
    let tools = setup::kernel_tools()?;
    let source = paths::root().join("monitor-ebpf");
    let object = paths::kernel_object();
    let flags = toolchain::kernel_flags(&tools.linker);
    let stamp = object.with_extension("stamp");
    let key = {
        let mut digest = Digest::default();
        digest.add(tools.compiler.identity.as_bytes());
        digest.add(flags.as_encoded_bytes());
        digest.add_tree(&source)?;
        digest.add_tree(&paths::root().join("monitor-common"))?;
        digest.finish()
    };
    if object.is_file() && fs::read_to_string(&stamp).is_ok_and(|old| old == key) {
        return Ok(object);
    }
    let built = ui::step("build", "kernel object", |progress| {
        let mut cargo = tools.compiler.cargo();
        cargo
            .args(["build"])
            .args(KERNEL_ARGS)
            .arg("--message-format=json-render-diagnostics");
        kernel_env(&mut cargo, &source, &flags);
        let watched = sh::watch(cargo, progress)?;
        if !watched.success {
            bail!(
                "building the kernel object failed ({})\n{}",
                watched.status,
                sh::words(&watched.all)
            );
        }
        let words = sh::words(&watched.all);
        if !words.trim().is_empty() {
            ui::line(&words);
        }
        executable(&watched.stdout).context("cargo named no executable: has monitor-ebpf a bin?")
    })?;
    let folder = object.parent().context("the kernel object has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    // Copied beside and renamed: a build that embeds it never sees half a file. An object that is
    // the same keeps its time, so that nothing embedding it is rebuilt.
    let bytes = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
    if fs::read(&object).ok().as_deref() != Some(&bytes) {
        let temp = object.with_extension(format!("tmp-{}", std::process::id()));
        fs::write(&temp, &bytes).with_context(|| format!("writing {}", temp.display()))?;
        fs::rename(&temp, &object).with_context(|| format!("writing {}", object.display()))?;
    }
    fs::write(&stamp, key).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(object)
}

const KERNEL_ARGS: [&str; 5] = [
    "--release",
    "--target",
    "bpfel-unknown-none",
    "-Z",
    "build-std=core",
];

fn kernel_env(cargo: &mut std::process::Command, source: &Path, flags: &std::ffi::OsStr) {
    cargo
        .current_dir(source)
        .env("CARGO_TARGET_DIR", paths::target().join("bpf-build"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags);
}

/// Lints the kernel object, warnings denied; `Ok(false)` where its compiler has no clippy.
pub fn kernel_clippy(progress: &ui::Progress) -> Result<bool> {
    let tools = setup::kernel_tools()?;
    if tools.compiler.clippy.is_none() {
        return Ok(false);
    }
    let mut cargo = tools.compiler.cargo();
    cargo.arg("clippy").args(KERNEL_ARGS);
    kernel_env(
        &mut cargo,
        &paths::root().join("monitor-ebpf"),
        &toolchain::kernel_flags(&tools.linker),
    );
    cargo.args(["--", "-D", "warnings"]);
    sh::run(cargo, progress).map(|_| true)
}

/// Compiles the kernel object for another processor, without linking it.
pub fn kernel_check(progress: &ui::Progress, processor: &str) -> Result<()> {
    let tools = setup::kernel_tools()?;
    let mut cargo = tools.compiler.cargo();
    let lints = tools.compiler.clippy.is_some();
    cargo
        .arg(if lints { "clippy" } else { "check" })
        .args(KERNEL_ARGS)
        .args(["--no-default-features", "--features", processor]);
    kernel_env(
        &mut cargo,
        &paths::root().join("monitor-ebpf"),
        &toolchain::kernel_flags(&tools.linker),
    );
    if lints {
        cargo.args(["--", "-D", "warnings"]);
    }
    sh::run(cargo, progress).map(drop)
}

/// Builds every program of the workspace.
pub fn workspace() -> Result<()> {
    ui::step("build", "slmguard and its tests' programs", |progress| {
        let mut cargo = sh::cargo();
        cargo.args(["build", "--release", "--workspace"]);
        sh::run(cargo, progress).map(drop)
    })
}

fn executable(json: &str) -> Option<PathBuf> {
    json.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
}

/// `path` as seen from the repository root, for people.
pub fn relative(path: &Path) -> String {
    path.strip_prefix(paths::root())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// A fingerprint (64-bit FNV-1a) of inputs: only ever compared with an earlier one of this clone.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0xff]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Names and contents of all files below `dir`, build output left out.
    fn add_tree(&mut self, dir: &Path) -> Result<()> {
        let reading = || format!("reading {}", dir.display());
        let mut entries: Vec<PathBuf> = fs::read_dir(dir)
            .with_context(reading)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .with_context(reading)?;
        entries.sort();
        for path in entries {
            if path.is_dir() {
                if !path.ends_with("target") {
                    self.add_tree(&path)?;
                }
            } else {
                self.add(path.as_os_str().as_encoded_bytes());
                let bytes =
                    fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
                self.add(&bytes);
            }
        }
        Ok(())
    }

    fn finish(&self) -> String {
        format!("{:016x}", self.0)
    }
}

/// The fingerprint of one file's contents.
pub fn digest(bytes: &[u8]) -> String {
    let mut digest = Digest::default();
    digest.add(bytes);
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_tells_changes_and_boundaries_apart() {
        assert_eq!(digest(b"same"), digest(b"same"));
        assert_ne!(digest(b"one"), digest(b"two"));
        let mut split = Digest::default();
        split.add(b"ab");
        split.add(b"c");
        let mut other = Digest::default();
        other.add(b"a");
        other.add(b"bc");
        assert_ne!(split.finish(), other.finish());
    }

    #[test]
    fn the_executable_is_the_last_one_cargo_names() {
        let json = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
                    {\"reason\":\"compiler-artifact\",\"executable\":\"/t/slmguard-ebpf\"}\n\
                    {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(json), Some(PathBuf::from("/t/slmguard-ebpf")));
        assert_eq!(executable("not json"), None);
    }
}
