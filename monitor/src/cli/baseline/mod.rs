//! `slmguard baseline …`: what was learned, what is approved, and how to decide about it.

mod decide;
mod exchange;
mod explain;
mod show;

use clap::Subcommand;

pub(super) use exchange::{ask, profile_at};

use super::{Format, Global};
use crate::exit::{Exit, Failure};

/// What to do with baselines.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print what was learned for a workload.
    Show {
        /// Name of the workload.
        workload: String,
        /// Output format.
        #[command(flatten)]
        format: Format,
    },
    /// Tell how complete what was learned is: what is missing, what is to be expected, and when.
    ///
    /// For each family of behaviour: how many things are known, how many new ones a day are to be
    /// expected, what the next step up needs and when it comes at this rate, and what would have
    /// been refused lately, had it been enforced.
    Explain(explain::Explain),
    /// Say that a step of the workload's life does not apply, so that it is not waited for.
    DoesNotApply(explain::DoesNotApply),
    /// Compare what was learned with what is approved.
    ///
    /// `+` was learned and is not approved, `-` is approved and was not seen. With --profile the
    /// comparison is with a file instead of the approved list.
    Diff(exchange::Diff),
    /// Approve what was learned, so that it can be enforced.
    ///
    /// The list is frozen: what is learned later does not widen it. Without --family everything is
    /// approved; families that are not approved only alert in mode `enforce`. With --subject one
    /// subject is added to the list.
    Approve(decide::Decide),
    /// Take a subject out of what was learned; it is refused from now on, whatever is learned.
    Reject(decide::Decide),
    /// Keep a subject whatever happens: what is needed once a year.
    ///
    /// It does not go stale when it is not used for a month and the workload changed, it stays when
    /// another model, program or flags begin another lineage, and it is expected again after a reset.
    Pin(decide::Decide),
    /// Take a pin back; the subject stays on its list.
    Unpin(decide::Decide),
    /// Print a profile: what the workload may do, as TOML to review, sign and apply elsewhere.
    Export(exchange::Export),
    /// Hold a workload to a profile that was reviewed.
    ///
    /// With --trust the profile must be signed by that key. A derived profile is only expected to
    /// be right: its subjects are no news, and are approved once they were seen.
    Import(exchange::Import),
    /// Forget everything that was learned, approved and rejected; only in mode `learn`.
    Reset(decide::Reset),
}

pub(super) fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Show { workload, format } => show::run(global, workload, *format),
        Command::Explain(options) => explain::run(global, options),
        Command::DoesNotApply(options) => explain::does_not_apply(global, options),
        Command::Diff(options) => exchange::diff(global, options),
        Command::Approve(options) => decide::run(global, "approve", options),
        Command::Reject(options) => decide::run(global, "reject", options),
        Command::Pin(options) => decide::run(global, "pin", options),
        Command::Unpin(options) => decide::run(global, "unpin", options),
        Command::Export(options) => exchange::export(global, options),
        Command::Import(options) => exchange::import(global, options),
        Command::Reset(options) => decide::reset(global, options),
    }
}
