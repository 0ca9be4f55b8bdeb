//! Whether everything compiles for 64-bit ARM: the kernel object with that processor's registers
//! and system calls, and the daemon with the tests' programs. Nothing is linked or run.

use anyhow::Result;

use crate::apt::{self, Package};
use crate::{build, paths, setup, ui};

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Checks both; the compiler of the kernel object brings the source of `std`, which is built for
/// the other processor here, because no compiled one can be had everywhere.
pub fn check(progress: &ui::Progress) -> Result<()> {
    let tools = setup::kernel_tools()?;
    build::kernel_check(progress, "arch-aarch64")?;
    apt::ensure(&[
        Package::for_program(
            "gcc-aarch64-linux-gnu",
            "aarch64-linux-gnu-gcc",
            "compiles SQLite for 64-bit ARM",
        ),
        Package::new(
            "libc6-dev-arm64-cross",
            "headers for compiling SQLite for 64-bit ARM",
        ),
    ])?;
    let mut cargo = tools.compiler.cargo();
    cargo
        .args(["check", "--quiet", "--target", TARGET])
        .args(["-Z", "build-std=std,panic_abort"])
        .args(["--package", "slmguard", "--package", "slmguard-tests"])
        .env("CARGO_TARGET_DIR", paths::target().join("aarch64"));
    crate::sh::run(cargo, progress).map(drop)
}
