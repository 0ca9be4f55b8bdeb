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
    /// Begin anew where the state is damaged or of a later version: it is moved aside, never
    /// removed. A state that can be used is kept.
    #[arg(long)]
    reset_state: bool,
}

pub(super) fn run(global: &Global, options: &Options) -> Result<Exit, Failure> {
    let loaded = global.load()?;
    log::start(&loaded.config.log);
    daemon::run(
        loaded.config,
        daemon::Options {
            detach_on_exit: options.detach_on_exit,
            reset_state: options.reset_state,
        },
    )?;
    Ok(Exit::Ok)
}
