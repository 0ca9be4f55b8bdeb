//! `slmguard policy simulate`: what a list would have refused of what a recording holds.
//!
//! Finds list, rules and recording, and prints; what is judged how is
//! [`slmguard_core::decide::simulate`]'s.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use slmguard_core::{
    config::{Rules, Workload},
    decide::simulate::{Effect, Finding, Operator, Simulation, Totals, Why},
    profile::{Profile, Provenance},
    recording::{Ending, Record},
    text::escape,
};

use super::{Format, Global, baseline, out, replay};
use crate::{
    config::shown,
    daemon::replay::Replay,
    exit::{Exit, Failure},
};

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell what would have been refused, had a list been enforced over what a recording holds.
    ///
    /// Without --profile the list is the one that the running daemon has approved. The operator's
    /// allow and deny rules are those of the recording, or with --config those of that file. Nothing
    /// is changed, and with a profile nothing but the files is needed: no root, no kernel, no daemon.
    Simulate(Simulate),
}

/// Which list, over what.
#[derive(Debug, Args)]
pub struct Simulate {
    /// A recording made by `slmguard events --record`.
    recording: PathBuf,
    /// The list: a profile as `slmguard baseline export` writes it.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Ask the daemon for what it has learned instead of what is approved.
    #[arg(long, conflicts_with = "profile")]
    learned: bool,
    /// Which workload of the recording; needed where it holds several.
    #[arg(long, short, value_name = "WORKLOAD")]
    workload: Option<String>,
    /// Exit with 1 if anything would have been refused.
    #[arg(long)]
    expect_none: bool,
    /// Output format.
    #[command(flatten)]
    format: Format,
}

/// A simulation, and what it is made of.
struct Trial {
    simulation: Simulation,
    workload: String,
    /// Where the list is from.
    list: String,
    /// Where the operator's rules are from.
    rules: String,
    derived: bool,
}

/// The last line for scripts.
#[derive(Serialize)]
struct Sum<'a> {
    workload: &'a str,
    list: &'a str,
    rules: &'a str,
    totals: Totals,
}

pub(super) fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let Command::Simulate(options) = command;
    let (trial, replay, ending) = simulate(global, options)?;
    eprintln!("{}", replay::summary(&replay, &ending));
    let Some(trial) = trial else {
        return Ok(Exit::Failure);
    };
    eprintln!("list: {}; rules: {}", trial.list, trial.rules);
    if trial.derived {
        eprintln!(
            "the list is derived, not recorded: it is expected to be right, and is not enforced as it is"
        );
    }
    let (findings, totals) = (trial.simulation.findings(), trial.simulation.totals());
    if options.format.json {
        findings.iter().try_for_each(out::json)?;
        out::json(&Sum {
            workload: &trial.workload,
            list: &trial.list,
            rules: &trial.rules,
            totals,
        })?;
    } else {
        page(&trial.workload, &findings, totals)
            .iter()
            .try_for_each(|line| out::line(line))?;
    }
    let refused = findings.iter().any(|f| f.effect == Effect::Refused);
    Ok(match options.expect_none && refused {
        true => Exit::Failure,
        false => Exit::Ok,
    })
}

/// Reads the recording; there is no trial where it ends before its first event.
fn simulate(
    global: &Global,
    options: &Simulate,
) -> Result<(Option<Trial>, Replay, Ending), Failure> {
    let file = &options.recording;
    let mut recorded = BTreeMap::new();
    let mut trial: Option<Trial> = None;
    let mut replay = Replay::default();
    let ending = replay::read(file, |record| {
        match &record {
            Record::Workload(workload) => {
                recorded.insert(workload.name.clone(), workload.clone());
            }
            Record::Begin => trial = Some(prepare(global, options, &recorded)?),
            _ => {}
        }
        let watcher = |seen: &_| {
            if let Some(trial) = &mut trial {
                trial.simulation.take(seen);
            }
        };
        let decided = replay.watch(record, watcher);
        decided.map(drop).map_err(|e| replay::broken(file, &e))
    })?;
    Ok((trial, replay, ending))
}

fn prepare(
    global: &Global,
    options: &Simulate,
    recorded: &BTreeMap<String, Workload>,
) -> Result<Trial, Failure> {
    let given = match &options.profile {
        Some(path) => Some((baseline::profile_at(path)?, shown(path))),
        None => None,
    };
    let named = given.as_ref().map(|(profile, _)| profile.workload.as_str());
    let workload = choose(options.workload.as_deref(), named, recorded)?;
    let (profile, list) = match given {
        Some(given) => given,
        None => {
            let which = if options.learned {
                "learned"
            } else {
                "approved"
            };
            let profile = baseline::ask(global, &workload, which)?;
            (profile, format!("what the daemon has {which}"))
        }
    };
    let then = &recorded[&workload];
    let mut operator = Operator {
        allow: then.allow.clone(),
        deny: then.deny.clone(),
        denied_then: then.deny.clone(),
    };
    let mut rules = "those of the recording".to_owned();
    if global.config.is_some() {
        let loaded = global.load()?;
        let now = loaded.config.workloads.into_iter();
        // A workload that was found by itself stands in no configuration, and has no rules.
        let (allow, deny) = now
            .filter(|w| w.name == workload)
            .map(|w| (w.allow, w.deny))
            .next()
            .unwrap_or((Rules::default(), Rules::default()));
        (operator.allow, operator.deny) = (allow, deny);
        rules = format!("those of {}", shown(global.path()));
    }
    let simulation = made(&workload, &profile, &operator)?;
    Ok(Trial {
        simulation,
        workload,
        list,
        rules,
        derived: profile.provenance == Provenance::Derived,
    })
}

fn made(workload: &str, profile: &Profile, operator: &Operator) -> Result<Simulation, Failure> {
    Simulation::new(workload, profile, operator).map_err(|e| {
        let what = format!("cannot try the list on workload {}: {e}", name(workload));
        Failure::new(Exit::Failure, what)
    })
}

/// The workload that is meant: the one that was named, else the one that the profile is of, else the
/// only one.
fn choose(
    wanted: Option<&str>,
    of_the_list: Option<&str>,
    recorded: &BTreeMap<String, Workload>,
) -> Result<String, Failure> {
    let all: Vec<_> = recorded.keys().map(|w| name(w)).collect();
    let failed = |what: String| Failure::new(Exit::Failure, what);
    if let Some(wanted) = wanted {
        let known = recorded.contains_key(wanted).then(|| wanted.to_owned());
        return known.ok_or_else(|| {
            failed(format!(
                "the recording has no workload {}; it has {}",
                name(wanted),
                all.join(", ")
            ))
        });
    }
    let of_the_list = of_the_list.filter(|w| recorded.contains_key(*w));
    match (of_the_list, recorded.first_key_value(), recorded.len()) {
        (Some(workload), ..) => Ok(workload.to_owned()),
        (None, Some((only, _)), 1) => Ok(only.clone()),
        (None, None, _) => Err(failed(
            "the recording has no workload: there is nothing to try a list on".into(),
        )),
        _ => Err(failed(format!(
            "the recording has several workloads ({}): say which with --workload",
            all.join(", ")
        ))),
    }
}

fn name(workload: &str) -> String {
    escape(workload.as_bytes())
}

fn page(workload: &str, findings: &[Finding], totals: Totals) -> Vec<String> {
    let mut lines: Vec<String> = findings.iter().flat_map(describe).collect();
    let subjects = |effect| {
        let count = findings.iter().filter(|f| f.effect == effect).count();
        out::count(count as u64, "subject", "subjects")
    };
    let times = |n| out::count(n, "time", "times");
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.push(format!(
        "{}: {} would have been refused, {}; {} only reported, {}; let through {}",
        name(workload),
        subjects(Effect::Refused),
        times(totals.refused),
        subjects(Effect::Reported),
        times(totals.reported),
        times(totals.allowed),
    ));
    lines
}

fn describe(finding: &Finding) -> [String; 3] {
    let effect = match finding.effect {
        Effect::Refused => "refused",
        Effect::Reported => "reported",
    };
    let why = match finding.why {
        Why::NotListed => "neither on the list nor allowed by a rule",
        Why::DenyRule => "a deny rule forbids it",
        Why::Rejected => "an operator has rejected it",
        Why::Invariant => "out of bounds for every workload",
    };
    let (first, last) = (
        out::short_time(&finding.first_seen),
        out::short_time(&finding.last_seen),
    );
    let when = match finding.count {
        1 => format!("once, {first}"),
        n if first == last => format!("{n} times, {first}"),
        n => format!("{n} times, {first} to {last}"),
    };
    let then = match finding.refused_then {
        0 => String::new(),
        n => format!("; refused then as well, {}", out::count(n, "time", "times")),
    };
    let nearest = match finding.nearest.as_slice() {
        [] => String::new(),
        several => format!("; on the list: {}", several.join(", ")),
    };
    [
        format!(
            "{effect:<9} {:<7} {:<6} {:<11} {}",
            finding.role, finding.phase, finding.family, finding.subject
        ),
        format!("    {when}{then}"),
        format!("    {why}{nearest}"),
    ]
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
