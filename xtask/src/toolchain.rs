//! The compiler and the linker that build the kernel object.
//!
//! Picks what is there: a rustup toolchain with `rust-src`, else Debian's `rustc-web` set. The
//! linker must speak the same LLVM as the compiler, so its version follows from `rustc -vV`.
//! Knows nothing about what is built.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt::{self, Package};
use crate::{paths, sh, ui};

/// The release of the linker this repository is built and tested with.
pub const LINKER_VERSION: &str = "0.13.0";
/// The LLVM majors that this release of the linker can be built for.
const LINKER_LLVM: [u32; 3] = [21, 22, 23];

/// Debian's compiler set; recent enough only in the `-web` flavour, which follows browsers' needs.
fn debian_set() -> [Package; 4] {
    [
        Package::new("rustc-web", "compiler for the kernel object"),
        Package::new("cargo-web", "cargo of the same release"),
        Package::new("rust-web-src", "source of `core`, built for the BPF target"),
        Package::new("rust-web-clippy", "clippy for the kernel object"),
    ]
}

/// A compiler that can build `core` for the BPF target.
#[derive(Debug)]
pub struct Compiler {
    /// For the person: where it comes from and its version.
    pub name: String,
    /// Its `rustc`.
    pub rustc: PathBuf,
    /// Its `cargo`.
    pub cargo: PathBuf,
    /// Its `cargo-clippy`, if it has one.
    pub clippy: Option<PathBuf>,
    /// Major version of its LLVM.
    pub llvm: u32,
    /// The whole of `rustc -vV`; part of the key of what it builds.
    pub identity: String,
}

impl Compiler {
    fn new(origin: &str, rustc: PathBuf, cargo: PathBuf, clippy: PathBuf) -> Result<Self> {
        let mut ask = Command::new(&rustc);
        ask.arg("-vV")
            .env_remove("LD_LIBRARY_PATH")
            .env_remove("RUSTUP_TOOLCHAIN");
        let identity = sh::output(ask)?;
        let llvm = llvm_major(&identity)
            .with_context(|| format!("{} -vV names no LLVM version", rustc.display()))?;
        let release = field(&identity, "release").unwrap_or("?").to_owned();
        Ok(Self {
            name: format!("{origin} {release}, LLVM {llvm}"),
            rustc,
            cargo,
            clippy: clippy.is_file().then_some(clippy),
            llvm,
            identity,
        })
    }

    /// This compiler's cargo, shut off from rustup and from flags meant for other targets.
    pub fn cargo(&self) -> Command {
        let mut cargo = sh::command(&self.cargo);
        for name in [
            "CARGO",
            "RUSTUP_TOOLCHAIN",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
        ] {
            cargo.env_remove(name);
        }
        let bin = self.rustc.parent().map(Path::to_path_buf);
        let path = env::var_os("PATH").unwrap_or_default();
        let joined = env::join_paths(bin.into_iter().chain(env::split_paths(&path)));
        cargo
            .env("PATH", joined.unwrap_or(path))
            .env("RUSTC", &self.rustc);
        // Building `core` is a nightly feature; a stable compiler allows it when told so.
        cargo.env("RUSTC_BOOTSTRAP", "1");
        cargo
    }
}

fn field<'a>(identity: &'a str, name: &str) -> Option<&'a str> {
    identity
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

fn llvm_major(identity: &str) -> Option<u32> {
    field(identity, "LLVM version")?
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// Finds a usable compiler, installing Debian's if nothing else will do.
pub fn compiler() -> Result<Compiler> {
    let (found, rejected) = from_rustup();
    if let Some(compiler) = found {
        return Ok(compiler);
    }
    apt::ensure(&debian_set()).with_context(|| {
        let mut help = "the kernel object needs a Rust compiler with the source of `core`: \
                        Debian's rustc-web set, or `rustup toolchain install nightly \
                        --component rust-src`"
            .to_owned();
        for reason in &rejected {
            help.push_str("\n  not usable: ");
            help.push_str(reason);
        }
        help
    })?;
    let compiler = from_debian()?;
    if check_match(&compiler).is_ok() {
        return Ok(compiler);
    }
    // An older release may be installed than the one the security archive has.
    apt::install(&debian_set())?;
    let compiler = from_debian()?;
    check_match(&compiler)?;
    Ok(compiler)
}

/// The first rustup toolchain with the source of `core` and a linker to match; and why not others.
fn from_rustup() -> (Option<Compiler>, Vec<String>) {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".rustup")));
    let Some(entries) = home.and_then(|home| fs::read_dir(home.join("toolchains")).ok()) else {
        return (None, Vec::new());
    };
    let mut dirs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let name = |dir: &Path| {
        dir.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    // Nightly first: there, building `core` needs no special permission.
    dirs.sort_by_key(|dir| (!name(dir).starts_with("nightly"), name(dir)));
    let mut rejected = Vec::new();
    for dir in dirs {
        let short = name(&dir).replace("-x86_64-unknown-linux-gnu", "");
        if !dir
            .join("lib/rustlib/src/rust/library/core/Cargo.toml")
            .is_file()
        {
            rejected.push(format!("rustup's {short} (it has no rust-src component)"));
            continue;
        }
        let bin = dir.join("bin");
        let candidate = Compiler::new(
            &format!("rustup's {short}"),
            bin.join("rustc"),
            bin.join("cargo"),
            bin.join("cargo-clippy"),
        );
        match candidate.and_then(|compiler| check_match(&compiler).map(|()| compiler)) {
            Ok(compiler) => return (Some(compiler), rejected),
            Err(error) => rejected.push(format!("rustup's {short} ({error:#})")),
        }
    }
    (None, rejected)
}

fn from_debian() -> Result<Compiler> {
    let find = |package: &str, name: &str| -> Result<PathBuf> {
        apt::files(package)?
            .into_iter()
            .find(|file| file.ends_with(Path::new("bin").join(name)))
            .with_context(|| format!("Debian's package {package} holds no program `{name}`"))
    };
    let compiler = Compiler::new(
        "Debian's rustc-web",
        find("rustc-web", "rustc")?,
        find("cargo-web", "cargo")?,
        find("rust-web-clippy", "cargo-clippy")?,
    )?;
    let mut ask = Command::new(&compiler.rustc);
    ask.args(["--print", "sysroot"])
        .env_remove("LD_LIBRARY_PATH");
    let sysroot = PathBuf::from(sh::output(ask)?.trim());
    let source = sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml");
    if !source.is_file() {
        bail!(
            "{} looks for the source of `core` at {} and it is not there: \
             are rustc-web and rust-web-src of the same version? Try `apt-get upgrade`",
            compiler.name,
            source.display()
        );
    }
    Ok(compiler)
}

/// Fails, in words, where no linker can be had for this compiler's LLVM.
fn check_match(compiler: &Compiler) -> Result<()> {
    let llvm = compiler.llvm;
    if !LINKER_LLVM.contains(&llvm) {
        bail!(
            "{} ({}) uses LLVM {llvm}, but bpf-linker {LINKER_VERSION} can be built for LLVM \
             {LINKER_LLVM:?} only: install a rustc built on one of these \
             (on Debian 12 rustc-web comes from the security archive)",
            compiler.name,
            compiler.rustc.display()
        );
    }
    if has_llvm(llvm) || apt::available(&format!("llvm-{llvm}-dev")).unwrap_or(false) {
        return Ok(());
    }
    bail!(
        "{} ({}) uses LLVM {llvm}, and neither /usr/lib/llvm-{llvm} nor a package \
         llvm-{llvm}-dev to install it from was found",
        compiler.name,
        compiler.rustc.display()
    );
}

fn llvm_prefix(llvm: u32) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{llvm}"))
}

fn has_llvm(llvm: u32) -> bool {
    llvm_prefix(llvm).join("bin/llvm-config").is_file()
}

/// The linker for this compiler, from the cache or built into it.
pub fn linker(compiler: &Compiler) -> Result<PathBuf> {
    let llvm = compiler.llvm;
    let cache = paths::cache()?;
    let home = cache.join(format!("bpf-linker-{LINKER_VERSION}-llvm{llvm}"));
    let program = home.join("bin/bpf-linker");
    if runs(&program) {
        return Ok(program);
    }
    if !has_llvm(llvm) {
        apt::ensure(&[Package::new(
            format!("llvm-{llvm}-dev"),
            "LLVM of the compiler's version, which the linker is made of",
        )])?;
        // The linker loads LLVM at run time: a cached one may be whole again now.
        if runs(&program) {
            return Ok(program);
        }
    }
    let name = format!("bpf-linker {LINKER_VERSION} for LLVM {llvm}");
    // Its build links the C++ library that LLVM is written against.
    apt::ensure(&[Package::for_program(
        "g++",
        "c++",
        "C++ library to link bpf-linker with",
    )])?;
    ui::note(
        "setup",
        &format!("building {name}"),
        "links the kernel object; kept in the cache",
    );
    fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
    let temp = cache.join(format!("tmp-linker-{}", std::process::id()));
    ui::step("setup", &name, |progress| {
        let mut install = sh::cargo();
        install
            .args([
                "install",
                "bpf-linker",
                "--locked",
                "--version",
                LINKER_VERSION,
            ])
            .args([
                "--no-default-features",
                "--features",
                &format!("llvm-{llvm}"),
                "--no-track",
            ])
            .arg("--root")
            .arg(&temp)
            .arg("--target-dir")
            .arg(temp.join("build"))
            .current_dir(&cache)
            .env("LLVM_PREFIX", llvm_prefix(llvm))
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET");
        sh::run(install, progress)
    })
    .inspect_err(|_| drop(fs::remove_dir_all(&temp)))
    .with_context(|| format!("building {name} from the crate registry"))?;
    // Another clone may have been faster; either result is the same program.
    let _ = fs::remove_dir_all(temp.join("build"));
    if home.exists() && !runs(&program) {
        let old = cache.join(format!("tmp-old-linker-{}", std::process::id()));
        fs::rename(&home, &old).with_context(|| format!("moving {} away", home.display()))?;
        let _ = fs::remove_dir_all(old);
    }
    if let Err(error) = fs::rename(&temp, &home)
        && !runs(&program)
    {
        return Err(error).with_context(|| format!("putting {name} at {}", home.display()));
    }
    let _ = fs::remove_dir_all(&temp);
    if !runs(&program) {
        bail!("{} was built but does not start", program.display());
    }
    Ok(program)
}

fn runs(program: &Path) -> bool {
    program.is_file()
        && Command::new(program)
            .arg("--version")
            .env_remove("LD_LIBRARY_PATH")
            .output()
            .is_ok_and(|out| out.status.success())
}

/// Compiler flags for the kernel object: the linker, and type information in the object.
pub fn kernel_flags(linker: &Path) -> OsString {
    let mut flags = OsString::from("-Clinker=");
    flags.push(linker);
    let arch = format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH);
    for flag in ["-Clink-arg=--btf", "-Cdebuginfo=2", &arch] {
        flags.push("\u{1f}");
        flags.push(flag);
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERBOSE: &str = "rustc 1.96.0 (built from a source tarball)\nbinary: rustc\n\
                           release: 1.96.0\nLLVM version: 22.1.8\n";

    #[test]
    fn llvm_major_is_read_from_the_verbose_version() {
        assert_eq!(llvm_major(VERBOSE), Some(22));
        assert_eq!(llvm_major("rustc 1.0\n"), None);
        assert_eq!(field(VERBOSE, "release"), Some("1.96.0"));
    }

    #[test]
    fn a_compiler_without_a_matching_linker_is_refused_in_words() {
        let compiler = Compiler {
            name: "Debian's rustc-web 1.85.0, LLVM 19".into(),
            rustc: "/usr/bin/rustc".into(),
            cargo: "/usr/bin/cargo".into(),
            clippy: None,
            llvm: 19,
            identity: String::new(),
        };
        let error = check_match(&compiler).unwrap_err().to_string();
        assert!(
            error.contains("LLVM 19") && error.contains("/usr/bin/rustc"),
            "{error}"
        );
    }
}
