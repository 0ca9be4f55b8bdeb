//! Stock Debian kernels for the guests of `cargo xtask vm`, kept in the cache, never installed.
//!
//! Knows package names and which modules a guest needs; must not know how a guest is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::apt;
use crate::{paths, sh, ui};

/// The kernel series every end-to-end test runs on besides the machine's own.
pub const SERIES: [&str; 2] = ["6.1", "6.12"];

/// Test files that run on a series in every `cargo xtask test`. Emulation is slow: what is judged in
/// the kernel is tried on both, and each has a part of the rest; `cargo xtask test --vm` runs all.
pub fn in_every_run(series: &str) -> &'static [&'static str] {
    match series {
        "6.1" => &[
            "outcomes", "doctor", "map", "unix", "exec", "host", "ring", "socket",
        ],
        _ => &[
            "outcomes",
            "doctor",
            "map",
            "unix",
            "exec",
            "name",
            "open",
            "connect",
            "send",
            "ptrace",
            "beside",
            "bad_input_clock",
        ],
    }
}

/// Packages that depend on the newest image of a series.
fn metapackages(series: &str) -> [String; 2] {
    [
        format!("linux-image-{series}-amd64"),
        "linux-image-amd64".to_owned(),
    ]
}

/// What the guest loads before its root file system; what these depend on comes before them, and
/// what a kernel has built in is not in its package.
const BOOT_MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/// The parts of a kernel package worth keeping: the image, and modules that a guest without
/// devices can use. The whole of it is 400 MB.
const KEPT: [&str; 9] = [
    "./boot/vmlinuz-*",
    "./boot/config-*",
    "./lib/modules/*/modules.*",
    "./lib/modules/*/kernel/net",
    "./lib/modules/*/kernel/fs",
    "./lib/modules/*/kernel/lib",
    "./lib/modules/*/kernel/crypto",
    "./lib/modules/*/kernel/drivers/virtio",
    "./lib/modules/*/kernel/drivers/net/*.ko*",
];

/// An unpacked kernel in the cache.
#[derive(Debug)]
pub struct Kernel {
    /// What `uname -r` will say.
    pub release: String,
    /// The kernel image.
    pub image: PathBuf,
    /// The folder to mount at `/lib/modules`.
    pub modules: PathBuf,
    /// Modules for the initial file system, uncompressed, in loading order.
    pub boot_modules: Vec<PathBuf>,
}

/// The newest kernel of `series` in the cache, fetched if there is none; with `update`, whatever
/// Debian offers now.
pub fn ensure(series: &str, update: bool) -> Result<Kernel> {
    if !SERIES.contains(&series) {
        bail!(
            "no kernel {series}: the stock kernels tested here are {}",
            SERIES.join(" and ")
        );
    }
    let shelf = paths::cache()?.join("kernels").join(series);
    if !update && let Some(kernel) = newest(&shelf)? {
        return Ok(kernel);
    }
    let package = resolve(series)?;
    let home = shelf.join(&package);
    if !home.join("complete").is_file() {
        fetch(&package, &shelf, &home)?;
    }
    open(&home)
}

fn newest(shelf: &Path) -> Result<Option<Kernel>> {
    let Ok(entries) = fs::read_dir(shelf) else {
        return Ok(None);
    };
    let complete = entries
        .flatten()
        .filter_map(|entry| Some((entry.path().join("complete").metadata().ok()?, entry.path())))
        .filter_map(|(meta, path)| Some((meta.modified().ok()?, path)))
        .max();
    complete.map(|(_, home)| open(&home)).transpose()
}

/// Debian's current image package of a series: `linux-image-6.1.0-56-amd64`.
fn resolve(series: &str) -> Result<String> {
    apt::refresh_lists()?;
    for meta in metapackages(series) {
        let mut depends = sh::command("apt-cache");
        depends.args(["depends", "--no-recommends", "--no-suggests", &meta]);
        if let Ok(text) = sh::output(depends)
            && let Some(package) = concrete(&text, series)
        {
            return Ok(package);
        }
    }
    bail!(
        "this system's package lists offer no stock {series} kernel (looked for what {} depends \
         on). Debian 12 with its security archive has both; `apt-get update` refreshes the lists",
        metapackages(series).join(" and ")
    );
}

fn concrete(depends: &str, series: &str) -> Option<String> {
    let start = format!("linux-image-{series}.");
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends:"))
        .map(str::trim)
        .find(|name| name.starts_with(&start))
        .map(str::to_owned)
}

fn fetch(package: &str, shelf: &Path, home: &Path) -> Result<()> {
    let temp = shelf.join(format!("tmp-{}", std::process::id()));
    fs::create_dir_all(&temp).with_context(|| format!("creating {}", temp.display()))?;
    apt::ensure(&[apt::Package::for_program(
        "kmod",
        "depmod",
        "indexes the guests' modules",
    )])?;
    let short = package.trim_start_matches("linux-image-");
    ui::step(
        "setup",
        &format!("kernel {short} for the VM tests"),
        |progress| {
            let mut download = sh::command("apt-get");
            download
                .args(["download", "-q", package])
                .current_dir(&temp);
            sh::run(download, progress).context("downloading a kernel package")?;
            let deb = find_in(&temp, |name| name.ends_with(".deb"))
                .with_context(|| format!("apt-get download {package} left no .deb file"))?;
            let tree = temp.join("tree");
            unpack(&deb, &tree)?;
            fs::remove_file(&deb).with_context(|| format!("removing {}", deb.display()))?;
            let release = release(&tree)?;
            let mut depmod = sh::command(paths::find_program("depmod").unwrap_or("depmod".into()));
            depmod.arg("-b").arg(&tree).arg(&release);
            sh::run(depmod, progress).context("indexing the kernel's modules")?;
            extract_boot_modules(&tree, &release)?;
            fs::write(tree.join("complete"), package).context("marking the kernel as complete")
        },
    )
    .inspect_err(|_| drop(fs::remove_dir_all(&temp)))?;
    // Another clone may have been faster; either result is the same kernel.
    if let Err(error) = fs::rename(temp.join("tree"), home)
        && !home.join("complete").is_file()
    {
        return Err(error).with_context(|| format!("putting {package} at {}", home.display()));
    }
    fs::remove_dir_all(&temp).with_context(|| format!("removing {}", temp.display()))
}

fn unpack(deb: &Path, tree: &Path) -> Result<()> {
    fs::create_dir_all(tree).with_context(|| format!("creating {}", tree.display()))?;
    let mut from = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let stream = from
        .stdout
        .take()
        .context("dpkg-deb's output was not piped")?;
    let out = Command::new("tar")
        .args(["-x", "--wildcards", "--no-same-owner", "-C"])
        .arg(tree)
        .args(KEPT)
        .stdin(stream)
        .output()
        .context("cannot start tar")?;
    let packed = from.wait().context("waiting for dpkg-deb")?;
    if !out.status.success() || !packed.success() {
        bail!(
            "unpacking {} failed: dpkg-deb {packed}, tar {}\n{}",
            deb.display(),
            out.status,
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(())
}

fn find_in(dir: &Path, wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .ok()?
        .flatten()
        .filter(|entry| wanted(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found.pop()
}

fn release(tree: &Path) -> Result<String> {
    let modules = tree.join("lib/modules");
    let dir = find_in(&modules, |_| true)
        .with_context(|| format!("no kernel modules below {}", modules.display()))?;
    Ok(dir
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned())
}

/// Copies the boot modules to `boot-modules/NN-name.ko`, uncompressed: the initial file system's
/// busybox loads no compressed ones.
fn extract_boot_modules(tree: &Path, release: &str) -> Result<()> {
    let index = tree.join("lib/modules").join(release).join("modules.dep");
    let dep = fs::read_to_string(&index).with_context(|| format!("reading {}", index.display()))?;
    let to = tree.join("boot-modules");
    fs::create_dir_all(&to).with_context(|| format!("creating {}", to.display()))?;
    for (number, relative) in loading_order(&dep, &BOOT_MODULES).into_iter().enumerate() {
        let from = tree.join("lib/modules").join(release).join(relative);
        let bytes = if relative.ends_with(".xz") {
            let mut unxz = Command::new("busybox");
            unxz.args(["unxz", "-c"]).arg(&from);
            let out = unxz
                .output()
                .context("cannot start busybox (package busybox-static)")?;
            if !out.status.success() {
                bail!("decompressing {} failed ({})", from.display(), out.status);
            }
            out.stdout
        } else {
            fs::read(&from).with_context(|| format!("reading {}", from.display()))?
        };
        let file = to.join(format!("{number:02}-{}.ko", module_name(relative)));
        fs::write(&file, bytes).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// The files of modules `wanted` and of all they depend on, so that each comes after its own
/// dependencies; `dep` is the text of `modules.dep`, which lists dependencies outermost first.
fn loading_order<'a>(dep: &'a str, wanted: &[&str]) -> Vec<&'a str> {
    let mut order: Vec<&str> = Vec::new();
    for name in wanted {
        let line = dep.lines().find_map(|line| {
            let (file, needs) = line.split_once(':')?;
            (module_name(file) == *name).then_some((file, needs))
        });
        let Some((file, needs)) = line else { continue };
        for module in needs.split_whitespace().rev().chain([file]) {
            if !order.contains(&module) {
                order.push(module);
            }
        }
    }
    order
}

/// `virtio_pci` for `kernel/drivers/virtio/virtio-pci.ko.xz`.
fn module_name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    base.split(".ko").next().unwrap_or(base).replace('-', "_")
}

fn open(home: &Path) -> Result<Kernel> {
    let image = find_in(&home.join("boot"), |name| name.starts_with("vmlinuz"))
        .with_context(|| format!("no kernel image below {}", home.display()))?;
    let boot = home.join("boot-modules");
    let mut boot_modules: Vec<PathBuf> = fs::read_dir(&boot)
        .with_context(|| format!("reading {}", boot.display()))?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    boot_modules.sort();
    Ok(Kernel {
        release: release(home)?,
        image,
        modules: home.join("lib/modules"),
        boot_modules,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_concrete_image_follows_from_what_the_metapackage_depends_on() {
        let text = "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n";
        assert_eq!(
            concrete(text, "6.1").as_deref(),
            Some("linux-image-6.1.0-56-amd64")
        );
        assert_eq!(
            concrete(text, "6.12"),
            None,
            "6.1 is not 6.12, nor the other way round"
        );
        let text = "  Depends: linux-image-6.12.117+deb12-amd64\n";
        assert_eq!(concrete(text, "6.1"), None);
        assert!(concrete(text, "6.12").is_some());
    }

    #[test]
    fn modules_load_after_what_they_need_compressed_or_not() {
        let dep = "kernel/net/9p/9pnet.ko.xz:\n\
                   kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko\n\
                   kernel/fs/netfs/netfs.ko:\n\
                   kernel/net/9p/9pnet-virtio.ko: kernel/net/9p/9pnet.ko.xz\n\
                   kernel/drivers/virtio/virtio-iommu.ko:\n";
        assert_eq!(
            loading_order(dep, &["virtio", "9pnet_virtio", "9p"]),
            [
                "kernel/net/9p/9pnet.ko.xz",
                "kernel/net/9p/9pnet-virtio.ko",
                "kernel/fs/netfs/netfs.ko",
                "kernel/fs/9p/9p.ko.xz"
            ],
        );
    }
}
