//! `slmguard baseline approve | reject | pin | unpin | reset`

use clap::Args;

use crate::{
    api::view::{BaselineOrder, Decided},
    cli::{Format, Global, in_url, out},
    exit::{Exit, Failure},
};

/// About what.
#[derive(Debug, Args)]
pub struct Decide {
    /// Name of the workload.
    workload: String,
    /// Only this subject, as `slmguard baseline show` or an alert writes it.
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Only this family: destination, read, write, exec, unix, listen, name or facility. May be
    /// given more than once.
    #[arg(long, value_name = "FAMILY")]
    family: Vec<String>,
    /// Only processes with this role.
    #[arg(long, value_name = "ROLE", requires = "subject")]
    role: Option<String>,
    /// Only in this phase.
    #[arg(long, value_name = "PHASE", requires = "subject")]
    phase: Option<String>,
    /// Why; kept in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Output format.
    #[command(flatten)]
    format: Format,
}

/// Which workload.
#[derive(Debug, Args)]
pub struct Reset {
    /// Name of the workload.
    workload: String,
    /// Why; kept in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Output format.
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(global: &Global, action: &str, options: &Decide) -> Result<Exit, Failure> {
    let order = BaselineOrder {
        reason: options.reason.clone(),
        families: options.family.clone(),
        role: options.role.clone(),
        phase: options.phase.clone(),
        subject: options.subject.clone(),
        profile: None,
    };
    send(global, &options.workload, action, &order, options.format)
}

pub(super) fn reset(global: &Global, options: &Reset) -> Result<Exit, Failure> {
    let order = BaselineOrder {
        reason: options.reason.clone(),
        ..BaselineOrder::default()
    };
    send(global, &options.workload, "reset", &order, options.format)
}

/// Has the daemon carry an order out, and prints what it says.
pub(super) fn send(
    global: &Global,
    workload: &str,
    action: &str,
    order: &BaselineOrder,
    format: Format,
) -> Result<Exit, Failure> {
    let path = format!("/v1/baseline/{}/{action}", in_url(workload)?);
    let decided: Decided = global.client()?.post(&path, order)?;
    if format.json {
        out::json(&decided)?;
    } else {
        out::line(&decided.done)?;
    }
    Ok(Exit::Ok)
}
