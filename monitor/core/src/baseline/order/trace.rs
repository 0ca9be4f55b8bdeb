//! Trace: what came before something in its episode, as an alert tells it.

use monitor_common::class::Role;

use super::chain::Step;
use crate::{baseline::evidence::episode::Kind, decision::Decision, workload::role_name};

/// How the sentence begins that has the whole chain.
pub const BEFORE: &str = "What came before in ";

/// What came before. All texts are escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// In sentences.
    pub sentences: Vec<String>,
    /// Steps of the episode, what it is about last; with nanoseconds since the first one.
    pub steps: Vec<(u64, Step)>,
    /// It completes the trifecta.
    pub trifecta: bool,
}

/// Puts what came before into a decision. What would allow it stays its last reason.
pub fn trace_it(decision: &mut Decision, trace: Trace) {
    let at = decision.reasons.len().saturating_sub(1);
    decision
        .reasons
        .splice(at..at, trace.sentences.iter().cloned());
    decision.before = Some(trace);
}

/// How the sentence about an episode begins, and how sure it is. `of`: one of so many.
/// The word for a kind of episode, for people.
pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Request => "requests",
        Kind::ToolLife => "lives of tools",
        Kind::Slot => "minutes of background work",
    }
}

pub(super) fn beginning(kind: Kind, of: u16) -> String {
    match kind {
        Kind::Request if of > 1 => format!(
            "{BEFORE}this request, or in others that were open with it (at least {of} were, and who did \
             what for which cannot be told):"
        ),
        Kind::Request => format!("{BEFORE}this request:"),
        Kind::ToolLife => format!("{BEFORE}the life of this tool and in what started it:"),
        Kind::Slot => {
            format!("{BEFORE}this background work (what belongs together is not known here):")
        }
    }
}

/// The three facts of a trifecta.
pub(super) fn trifecta(untrusted: &str, private: &str, of: u16) -> String {
    let doubt = if of > 1 {
        " Requests that were open at once are taken for one here."
    } else {
        ""
    };
    format!(
        "All three are there: text that strangers may have written ({untrusted}), something private \
         ({private}), and a way out to a destination that is not in the list. Together that is how \
         injected text carries data out; each alone is everyday work.{doubt}"
    )
}

/// A pair of connectors that is news. `before`: none where the episode began with the second.
pub(super) fn pair(before: Option<&str>, after: &str, episodes: u64) -> String {
    match before {
        Some(before) => format!(
            "In this episode {after} was called right after {before}; that order was not seen in \
             {episodes} learned episodes. By itself that is no sign of an attack."
        ),
        None => format!(
            "This episode began with a call of {after}; none of {episodes} learned episodes did. By \
             itself that is no sign of an attack."
        ),
    }
}

/// What the role read before this episode, and may have read again without being told.
pub(super) fn earlier(role: Role, what: &[(&str, &str, u64)]) -> String {
    let what: Vec<String> = what
        .iter()
        .map(|(kind, file, seconds)| format!("{kind} {file} ({seconds} s before)"))
        .collect();
    format!(
        "Before this episode the role {} read {}. A file that is known is reported once and counted \
         from then on, so that it may have been read again here.",
        role_name(role),
        what.join(" and ")
    )
}
