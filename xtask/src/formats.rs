//! `cargo xtask formats`: writes docs/formats.md.
//!
//! The page is made by the library's own tests, which also find it stale; this only runs them.

use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::sh;

/// Writes docs/formats.md out of the formats themselves.
#[derive(Args)]
pub struct Formats {}

/// Runs the command.
pub fn run(_: &Formats) -> Result<ExitCode> {
    let status = sh::cargo()
        .args(["test", "--quiet", "--package", "slmguard-core", "--lib"])
        .args(["--", "--ignored", "--exact"])
        .arg("alert::format::tests::page::write_the_page")
        .stdin(Stdio::null())
        .status()
        .context("starting what writes the page")?;
    Ok(ExitCode::from(u8::from(!status.success())))
}
