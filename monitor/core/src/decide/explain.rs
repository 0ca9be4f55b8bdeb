//! From an observation to a decision: what follows, and why, in sentences for a person.
//!
//! The kernel has judged already; this explains its verdict and says what the operator can do. It
//! must not judge again: a verdict is never made better or worse here.

use monitor_common::{
    class::{Family, Mode},
    event::{Verdict, change::Action},
    facility::INVARIANT_FACILITIES,
    path::permission::{READ, WRITE},
};

use super::invariants::{guarded_endpoint, guarded_file};
use crate::{
    baseline::{
        Baseline,
        destinations::host,
        is_learnable,
        subject::{is_class, learned_as},
    },
    decision::{Decision, Outcome},
    observation::{Fact, Observation},
    text,
    workload::{mode_name, phase_name, role_name},
};

/// How many similar subjects a decision shows.
const NEAREST: usize = 3;

/// What is made of an observation. The baseline is the one that holds now; the observation has not
/// been absorbed yet.
pub fn decide(observation: Observation, baseline: &Baseline) -> Decision {
    let (outcome, reasons) = if observation.families().is_empty() {
        (Outcome::Count, vec![])
    } else if observation.verdict.is_adverse() {
        (Outcome::Alert, alert_reasons(&observation, baseline))
    } else if is_learnable(&observation) {
        (
            Outcome::Learn,
            vec![format!(
                "{} It is new, and the mode is learn.",
                what(&observation)
            )],
        )
    } else if observation.verdict == Verdict::New {
        let why = match observation.fact {
            Fact::Facility { .. } => {
                "It is never learned: only a rule in the configuration allows it."
            }
            _ => match observation.fact.file() {
                Some(file) if !file.is_whole() => {
                    "Its path is not known from the root, so it cannot be learned."
                }
                _ => "No rule can name it, so it cannot be learned.",
            },
        };
        (Outcome::Count, vec![what(&observation), why.into()])
    } else {
        (Outcome::Count, vec![])
    };
    let nearest = if outcome == Outcome::Alert {
        nearest(&observation, baseline)
    } else {
        vec![]
    };
    Decision {
        observation,
        outcome,
        reasons,
        name: None,
        nearest,
        budgeted: false,
        first: None,
        before: None,
    }
}

/// What is made of something that the kernel let through only because it compares whole names: a
/// class of names is allowed in that folder, and this is not one of them. `mode` is that of its
/// family, not learn.
pub fn decide_widened(mut observation: Observation, mode: Mode, baseline: &Baseline) -> Decision {
    observation.verdict = match mode {
        Mode::Enforce => Verdict::Audited,
        Mode::Learn | Mode::Monitor => Verdict::WouldBlock,
    };
    observation.mode = mode;
    let unknown = unknown_families(&observation, baseline);
    let why = "It was let through: a class of names is allowed in that folder, the kernel compares whole names only, and this name is not of the class.";
    let_through(observation, baseline, &unknown, why)
}

/// What is made of a look-up of a name that was not learned, in a workload that is held to something.
/// `mode` is that of its family, not learn. Nothing refuses a look-up.
pub fn decide_name(mut observation: Observation, mode: Mode, baseline: &Baseline) -> Decision {
    observation.verdict = Verdict::Audited;
    observation.mode = mode;
    let why = "A question can carry data out by itself, and comes before a call to a new place. It was let through: looking a name up is told, not refused; connecting to what was not learned is.";
    let_through(observation, baseline, &[Family::Name], why)
}

/// Tells what the kernel let through although it is unknown in these families, and why it did.
fn let_through(
    observation: Observation,
    baseline: &Baseline,
    unknown: &[Family],
    why: &str,
) -> Decision {
    let reasons = vec![
        what(&observation),
        known_instead(&observation, baseline, unknown),
        why.to_owned(),
        how_to_allow(&observation, unknown),
    ];
    Decision {
        nearest: nearest(&observation, baseline),
        ..Decision::told(observation, reasons)
    }
}

/// Says what name the address of an observation goes by: `names` are those that its workload was
/// given the address for. A server name that is not among them is a reason of its own.
pub fn name_it(decision: &mut Decision, names: &[&str]) {
    decision.name = names.first().map(|name| (*name).to_owned());
    let Some(address) = decision.observation.fact.address() else {
        return;
    };
    if let Fact::Hello {
        name: Some(name), ..
    } = &decision.observation.fact
    {
        let name = text::escape(name);
        if !names.contains(&name.as_str()) {
            let instead = match names {
                [] => "for no name that it looked up".to_owned(),
                [one] => format!("for {one}"),
                several => format!("for {} names", several.len()),
            };
            decision.reasons.push(format!(
                "The server name {name} was called at {address}, which the workload was given {instead}."
            ));
        }
    } else if decision.outcome == Outcome::Alert && !names.is_empty() {
        let more = match names.len() {
            1 => String::new(),
            n => format!(" and {} other names", n - 1),
        };
        let sentence = format!("{address} was the answer for {}{more}.", names[0]);
        decision
            .reasons
            .insert(1.min(decision.reasons.len()), sentence);
        if let Some(how) = by_name(&decision.observation, names)
            && let Some(last) = decision.reasons.last_mut()
        {
            last.push(' ');
            last.push_str(&how);
        }
    }
}

/// How to allow a destination by its name rather than by its address of the day.
fn by_name(seen: &Observation, names: &[&str]) -> Option<String> {
    let (Fact::Connect(endpoint) | Fact::Send(endpoint)) = &seen.fact else {
        return None;
    };
    let [name] = names else {
        return None;
    };
    let rule = host::learned_as(name, endpoint).filter(|_| !seen.invariant)?;
    Some(format!(
        "By name, whatever addresses name servers give for it: `slmguard baseline approve {} --subject \
         {rule}` with its --role, --phase and --family.",
        seen.scope.workload
    ))
}

fn alert_reasons(seen: &Observation, baseline: &Baseline) -> Vec<String> {
    let mut reasons = vec![what(seen)];
    let workload = &seen.scope.workload;
    if seen.invariant {
        let guarded = match seen.fact.inner() {
            Fact::Connect(endpoint) | Fact::Send(endpoint) => guarded_endpoint(endpoint),
            fact => fact.file().and_then(guarded_file),
        };
        if let Fact::Facility { facility, .. } = &seen.fact
            && INVARIANT_FACILITIES & facility.bit() != 0
        {
            reasons.push(
                "It reaches around what is guarded: out of bounds for every workload, whatever was learned or allowed."
                    .into(),
            );
            reasons.push(effect(seen));
            return reasons;
        }
        match guarded {
            Some((_, kept_there)) => {
                let verb = if seen.fact.file().is_some() {
                    "It holds"
                } else {
                    "That is"
                };
                reasons.push(format!(
                    "{verb} {kept_there}: out of bounds for every workload, whatever was learned or allowed."
                ));
                reasons.push(effect(seen));
            }
            None if matches!(
                &seen.fact,
                Fact::Change {
                    action: Action::RenameFrom | Action::LinkFrom,
                    ..
                }
            ) =>
            {
                reasons.push(
                    "Something that is forbidden under this name, or below it, would not be under the other."
                        .into(),
                );
                reasons.push(effect(seen));
            }
            None => {
                reasons.push(
                    "A deny rule of the operator forbids it, whatever was learned or allowed."
                        .into(),
                );
                reasons.push(effect(seen));
                reasons.push(format!(
                    "To allow it, approve it with `slmguard baseline approve {workload}` if it was \
                     rejected, or change [workload.deny] of the workload in the configuration."
                ));
            }
        }
        return reasons;
    }
    let unknown = unknown_families(seen, baseline);
    reasons.push(known_instead(seen, baseline, &unknown));
    reasons.push(effect(seen));
    reasons.extend(of_its_kind(seen, &unknown));
    reasons.push(how_to_allow(seen, &unknown));
    reasons
}

/// The form that stands for all files of its kind, where there is one.
fn of_its_kind(seen: &Observation, unknown: &[Family]) -> Option<String> {
    let mut forms = unknown.iter().map(|family| learned_as(*family, &seen.fact));
    let form = forms.find(|form| is_class(form))?;
    Some(format!(
        "Files of its kind are {form}: approve that subject to allow all of them."
    ))
}

/// Who did what.
fn what(seen: &Observation) -> String {
    let scope = &seen.scope;
    let done = !matches!(seen.verdict, Verdict::Blocked | Verdict::Killed);
    let verb = match (&seen.fact, done) {
        (Fact::Found(fact), _) => match fact.inner() {
            Fact::Open(_) => "already had open",
            _ => "was already connected to",
        },
        (Fact::Connect(_), true) => "connected to",
        (Fact::Connect(_), false) => "tried to connect to",
        (Fact::Send(_), true) => "sent to",
        (Fact::Send(_), false) => "tried to send to",
        (Fact::Exec { .. }, true) => "started",
        (Fact::Exec { .. }, false) => "tried to start",
        (Fact::Unix(_), true) => "reached the unix socket",
        (Fact::Unix(_), false) => "tried to reach the unix socket",
        (Fact::Listen(_), true) => "listened on",
        (Fact::Listen(_), false) => "tried to listen on",
        (Fact::Query(_), true) => "looked up",
        (Fact::Query(_), false) => "tried to look up",
        (Fact::Facility { .. }, true) => "used",
        (Fact::Facility { .. }, false) => "tried to use",
        (Fact::Change { action, .. }, done) => change_verb(*action, done),
        (_, true) => "opened",
        (_, false) => "tried to open",
    };
    let purpose = match seen.fact.inner() {
        Fact::Open(file) => match file.access & (READ | WRITE) {
            READ => " for reading",
            WRITE => " for writing",
            0 => "",
            _ => " for reading and writing",
        },
        _ => "",
    };
    format!(
        "The {} of workload {} (phase {}) {verb} {}{purpose}.",
        role_name(scope.role),
        scope.workload,
        phase_name(scope.phase),
        seen.subject()
    )
}

fn change_verb(action: Action, done: bool) -> &'static str {
    match (action, done) {
        (Action::Unlink | Action::Rmdir, true) => "removed",
        (Action::Unlink | Action::Rmdir, false) => "tried to remove",
        (Action::RenameFrom, true) => "renamed",
        (Action::RenameFrom, false) => "tried to rename",
        (Action::RenameTo, true) => "renamed something to",
        (Action::RenameTo, false) => "tried to rename something to",
        (Action::LinkFrom, true) => "gave another name to",
        (Action::LinkFrom, false) => "tried to give another name to",
        (Action::LinkTo, true) => "linked something as",
        (Action::LinkTo, false) => "tried to link something as",
        (Action::Truncate, true) => "cut",
        (Action::Truncate, false) => "tried to cut",
        (Action::Symlink | Action::Mkdir | Action::Mknod, true) => "made",
        (Action::Symlink | Action::Mkdir | Action::Mknod, false) => "tried to make",
    }
}

/// What the kernel did about it.
fn effect(seen: &Observation) -> String {
    if matches!(seen.fact, Fact::Found(_)) {
        return "It was there before the process became a member, and lives on.".into();
    }
    match (seen.verdict, seen.mode) {
        (Verdict::Blocked, _) => "The kernel refused it before it took effect.".into(),
        (Verdict::Killed, _) => {
            "This tier cannot refuse it, so the kernel killed the process before it could use the result."
                .into()
        }
        (Verdict::WouldBlock, mode) => format!(
            "It was let through because the mode is {}; in enforce it would not be.",
            mode_name(mode)
        ),
        (_, Mode::Learn) => "It was let through because the mode is learn, and it was not learned.".into(),
        _ => "It was let through: this tier cannot refuse it, and the policy says to alert rather than kill."
            .into(),
    }
}

/// Families of the observation in which its subject is not known; all of them if it is known in
/// every one by now.
fn unknown_families(seen: &Observation, baseline: &Baseline) -> Vec<Family> {
    let families = seen.families();
    let unknown: Vec<_> = families
        .iter()
        .copied()
        .filter(|family| !is_known(seen, *family, baseline))
        .collect();
    if unknown.is_empty() {
        families
    } else {
        unknown
    }
}

fn is_known(seen: &Observation, family: Family, baseline: &Baseline) -> bool {
    baseline.known_as(&seen.scope, family, &seen.fact).is_some()
}

fn known_instead(seen: &Observation, baseline: &Baseline, unknown: &[Family]) -> String {
    if unknown
        .iter()
        .all(|family| is_known(seen, *family, baseline))
    {
        return "It has been learned meanwhile, but was not in the policy that decided.".into();
    }
    let known: Vec<String> = unknown
        .iter()
        .map(|family| {
            let (one, many) = match family {
                Family::Destination => ("destination", "destinations"),
                Family::Read => ("file that it reads", "files that it reads"),
                Family::Write => ("file that it writes", "files that it writes"),
                Family::Exec => ("program that it starts", "programs that it starts"),
                Family::Unix => ("unix socket", "unix sockets"),
                Family::Listen => (
                    "endpoint that it listens on",
                    "endpoints that it listens on",
                ),
                Family::Name => ("name that it looks up", "names that it looks up"),
                Family::Facility => ("facility that it uses", "facilities that it uses"),
            };
            match baseline.len(&seen.scope, *family) {
                0 => format!("no {one} is known"),
                1 => format!("it is not the one known {one}"),
                count => format!("it is not among the {count} known {many}"),
            }
        })
        .collect();
    let sentence = known.join(", and ");
    format!("{}{}.", sentence[..1].to_uppercase(), &sentence[1..])
}

fn how_to_allow(seen: &Observation, unknown: &[Family]) -> String {
    let workload = &seen.scope.workload;
    if seen.fact.file().is_some_and(|file| !file.is_whole()) {
        return "Its path is not known from the root, so no rule can allow it.".into();
    }
    let rule = toml_string(&seen.subject());
    let rules: Vec<String> = unknown
        .iter()
        .filter_map(|family| {
            let list = match family {
                Family::Destination => "connect",
                Family::Read => "read",
                Family::Write => "write",
                Family::Exec => "exec",
                Family::Unix => "unix",
                Family::Listen => "listen",
                Family::Facility => "facilities",
                Family::Name => return None,
            };
            Some(format!("{list} = [{rule}]"))
        })
        .collect();
    if rules.is_empty() {
        return format!(
            "If it is meant, approve it with `slmguard baseline approve {workload} --subject {}` and \
             its --role, --phase and --family, or let it learn again: `slmguard mode {workload} learn`.",
            seen.subject()
        );
    }
    format!(
        "To allow it, approve it with `slmguard baseline approve {workload}`, or add {} to \
         [workload.allow] of workload {workload} in the configuration.",
        rules.join(" and ")
    )
}

/// A TOML string: in single quotes backslashes are themselves.
fn toml_string(text: &str) -> String {
    if text.contains('\'') {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    } else if text.contains('\\') {
        format!("'{text}'")
    } else {
        format!("\"{}\"", text.replace('"', "\\\""))
    }
}

fn nearest(seen: &Observation, baseline: &Baseline) -> Vec<String> {
    let subject = seen.subject();
    let mut all: Vec<String> = vec![];
    for family in unknown_families(seen, baseline) {
        for near in baseline.nearest(&seen.scope, family, &subject) {
            if !all.contains(&near) {
                all.push(near);
            }
        }
    }
    all.truncate(NEAREST);
    all
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
