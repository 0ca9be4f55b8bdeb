//! `slmguard run`

use clap::Args;

use super::Global;
use crate::{
    daemon,
    exit::{Exit, Failure},
    log,
};

/// How to run.
#[derive(Debug, Args)]
pub struct Options {
    /// Take enforcement away at a clean stop. Without this it stays in the kernel until
    /// `slmguard detach`.
    #[arg(long)]
    detach_on_exit: bool,
}

pub(super) fn run(global: &Global, options: &Options) -> Result<Exit, Failure> {
    let loaded = global.load()?;
    log::start(&loaded.config.log);
    daemon::run(
        loaded.config,
        daemon::Options {
            detach_on_exit: options.detach_on_exit,
        },
    )?;
    Ok(Exit::Ok)
}
