//! `slmguard baseline explain` and `baseline does-not-apply`: how complete a baseline is.

use clap::Args;

use crate::{
    api::view::{BaselineOrder, Decided, Lineage, Standing},
    cli::{Format, Global, in_url, out},
    exit::{Exit, Failure},
};

/// Of what.
#[derive(Debug, Args)]
pub struct Explain {
    /// Name of the workload.
    workload: String,
    /// Only this family.
    #[arg(long, value_name = "FAMILY")]
    family: Option<String>,
    /// Output format.
    #[command(flatten)]
    format: Format,
}

/// Which step.
#[derive(Debug, Args)]
pub struct DoesNotApply {
    /// Name of the workload.
    workload: String,
    /// The step: load, serve, refresh, rotation, renewal, reload, scale-out, stop or crash.
    step: String,
    /// Why; kept in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Output format.
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(global: &Global, options: &Explain) -> Result<Exit, Failure> {
    let mut standing: Standing = global
        .client()?
        .get(&format!("/v1/evidence/{}", in_url(&options.workload)?))?;
    if let Some(family) = &options.family {
        standing.families.retain(|of| of.family == *family);
        standing.volumes.retain(|of| of.family == *family);
    }
    if options.format.json {
        for family in &standing.families {
            out::json(family)?;
        }
        for volume in &standing.volumes {
            out::json(volume)?;
        }
        return Ok(Exit::Ok);
    }
    for line in page(&standing) {
        out::line(&line)?;
    }
    Ok(Exit::Ok)
}

pub(super) fn does_not_apply(global: &Global, options: &DoesNotApply) -> Result<Exit, Failure> {
    let order = BaselineOrder {
        reason: options.reason.clone(),
        ..BaselineOrder::default()
    };
    let path = format!(
        "/v1/evidence/{}/{}",
        in_url(&options.workload)?,
        in_url(&options.step)?
    );
    let decided: Decided = global.client()?.post(&path, &order)?;
    if options.format.json {
        out::json(&decided)?;
    } else {
        out::line(&decided.done)?;
    }
    Ok(Exit::Ok)
}

fn page(standing: &Standing) -> Vec<String> {
    if standing.families.is_empty() && standing.volumes.is_empty() {
        return vec![format!(
            "Nothing of {} has been watched long enough to say anything.",
            standing.workload
        )];
    }
    let mut lines = vec![];
    for family in &standing.families {
        lines.push(format!(
            "{} {}, {}: {}",
            family.role, family.phase, family.family, family.state
        ));
        lines.extend(family.lines.iter().map(|line| format!("  {line}")));
    }
    for volume in &standing.volumes {
        lines.push(format!("{} {}, volume", volume.role, volume.phase));
        lines.extend(volume.lines.iter().map(|line| format!("  {line}")));
    }
    lines.extend(standing.episodes.clone());
    lines.extend(standing.unwatched.clone());
    lines.push(String::new());
    lines.push("Life of the workload".into());
    lines.extend(standing.lifecycle.iter().map(|line| format!("  {line}")));
    lines.extend(lineage(standing));
    lines
}

/// In which shape it is, and what waits.
fn lineage(standing: &Standing) -> Vec<String> {
    let Lineage {
        began,
        waiting,
        more,
    } = &standing.lineage;
    let mut lines = vec![];
    if !began.is_empty() {
        lines.extend([String::new(), "Lineages".into()]);
        lines.extend(began.iter().map(|line| format!("  {line}")));
    }
    if waiting.is_empty() {
        return lines;
    }
    lines.extend([String::new(), "Tried, and on no list".into()]);
    for one in waiting {
        let place = format!("{} {}, {}", one.role, one.phase, one.family);
        lines.push(format!("  {place}: {}", one.subject));
        let waits = match one.waits.is_empty() {
            true => "is added next".to_owned(),
            false => one.waits.join(", "),
        };
        lines.push(format!(
            "    tried {} times on {} days; {waits}",
            one.times, one.days
        ));
    }
    if *more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines.push(format!(
        "  Allow one: slmguard baseline approve {} --subject SUBJECT --reason TEXT",
        standing.workload
    ));
    lines
}
