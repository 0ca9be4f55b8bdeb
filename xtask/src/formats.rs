//! `cargo xtask formats`: writes docs/formats.md.
//!
//! The page is made and printed by one of the library's own tests, which also finds it stale; this only
//! writes what it prints.

use std::{
    fs,
    process::{ExitCode, Stdio},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{paths, sh};

/// Writes docs/formats.md out of the formats themselves.
#[derive(Args)]
pub struct Formats {}

/// Runs the command.
pub fn run(_: &Formats) -> Result<ExitCode> {
    // It fails while the page is stale, which is no reason not to write it.
    let output = sh::cargo()
        .args(["test", "--quiet", "--package", "slmguard-core", "--lib"])
        .args(["--", "--nocapture", "--exact"])
        .arg("alert::format::tests::page::the_page_shows_what_the_formats_are")
        .stdin(Stdio::null())
        .output()
        .context("starting what makes the page")?;
    let text = String::from_utf8(output.stdout).context("the page is not text")?;
    let page = text
        .split_once("PAGE BEGINS\n")
        .and_then(|(_, rest)| rest.rsplit_once("PAGE ENDS"));
    let Some((page, _)) = page else {
        bail!(
            "no page was made: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let file = paths::root().join("docs/formats.md");
    fs::write(&file, page).with_context(|| format!("writing {}", file.display()))?;
    Ok(ExitCode::SUCCESS)
}
