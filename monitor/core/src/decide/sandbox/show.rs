//! A plan in words and as a value for scripts.

use serde::Serialize;

use super::{Difference, Landlock, Plan, calls::Answer, right};
use crate::text;

/// Names of rights, in the order of their bits.
const RIGHTS: [(u32, &str); 16] = [
    (right::EXECUTE, "execute"),
    (right::WRITE_FILE, "write_file"),
    (right::READ_FILE, "read_file"),
    (right::READ_DIR, "read_dir"),
    (right::REMOVE_DIR, "remove_dir"),
    (right::REMOVE_FILE, "remove_file"),
    (right::MAKE_CHAR, "make_char"),
    (right::MAKE_DIR, "make_dir"),
    (right::MAKE_REG, "make_reg"),
    (right::MAKE_SOCK, "make_sock"),
    (right::MAKE_FIFO, "make_fifo"),
    (right::MAKE_BLOCK, "make_block"),
    (right::MAKE_SYM, "make_sym"),
    (right::REFER, "refer"),
    (right::TRUNCATE, "truncate"),
    (right::IOCTL_DEV, "ioctl_dev"),
];

/// The names of rights.
pub fn right_names(rights: u32) -> Vec<&'static str> {
    RIGHTS
        .iter()
        .filter(|(bit, _)| rights & bit != 0)
        .map(|(_, name)| *name)
        .collect()
}

/// A path rule for scripts.
#[derive(Debug, Serialize)]
struct PathLine<'a> {
    path: String,
    rights: Vec<&'a str>,
}

/// Landlock's part for scripts.
#[derive(Debug, Serialize)]
struct LandlockLine<'a> {
    abi: u32,
    handled: Vec<&'a str>,
    paths: Vec<PathLine<'a>>,
    connect_ports: Option<Vec<u16>>,
    listen_ports: Option<Vec<u16>>,
    scopes: Vec<&'a str>,
}

impl Landlock {
    fn scopes(&self) -> Vec<&'static str> {
        [
            (self.scope_abstract, "abstract_unix_socket"),
            (self.scope_signals, "signal"),
        ]
        .into_iter()
        .filter_map(|(on, name)| on.then_some(name))
        .collect()
    }

    fn line(&self) -> LandlockLine<'_> {
        let ports = |ports: &Option<std::collections::BTreeSet<u16>>| {
            ports.as_ref().map(|p| p.iter().copied().collect())
        };
        LandlockLine {
            abi: self.abi,
            handled: right_names(self.handled),
            paths: self
                .paths
                .iter()
                .map(|rule| PathLine {
                    path: text::escape(&rule.path),
                    rights: right_names(rule.rights),
                })
                .collect(),
            connect_ports: ports(&self.connect),
            listen_ports: ports(&self.bind),
            scopes: self.scopes(),
        }
    }
}

impl Plan {
    /// For scripts.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "landlock": self.landlock.as_ref().map(Landlock::line),
            "seccomp": self.calls,
            "not_expressible": self.notes,
        })
    }

    /// For people, in lines.
    pub fn to_lines(&self) -> Vec<String> {
        let mut lines = vec![];
        match &self.landlock {
            Some(landlock) => landlock_lines(landlock, &mut lines),
            None => lines.push("Landlock: none".into()),
        }
        if self.calls.is_empty() {
            lines.push("seccomp: none".into());
        } else {
            lines.push(
                "seccomp: calls of another ABI (32-bit, x32) end the process; calls that this \
                 version does not know answer ENOSYS; refused besides:"
                    .into(),
            );
        }
        let mut reasons: Vec<(&str, Answer, Vec<&str>)> = vec![];
        for rule in &self.calls {
            match reasons
                .iter_mut()
                .find(|(why, answer, _)| *why == rule.why && *answer == rule.answer)
            {
                Some((.., calls)) if calls.contains(&rule.call) => {}
                Some((.., calls)) => calls.push(rule.call),
                None => reasons.push((rule.why, rule.answer, vec![rule.call])),
            }
        }
        for (why, answer, calls) in reasons {
            let answer = match answer {
                Answer::Refused => "EPERM",
                Answer::Unknown => "ENOSYS",
            };
            lines.push(format!("  {} ({answer}): {why}", calls.join(", ")));
        }
        for (difference, title) in [
            (Difference::Wider, "allows more than the policy"),
            (Difference::Narrower, "refuses what the policy allows"),
            (Difference::Hooks, "left to the kernel hooks"),
        ] {
            let mut notes = self
                .notes
                .iter()
                .filter(|note| note.difference == difference)
                .peekable();
            if notes.peek().is_some() {
                lines.push(format!("not expressible, {title}:"));
            }
            for note in notes {
                let to = note.to.as_ref().map(|to| format!(" [{to}]"));
                lines.push(format!(
                    "  {}: {}{}",
                    note.rule,
                    note.what,
                    to.unwrap_or_default()
                ));
            }
        }
        lines
    }
}

fn landlock_lines(landlock: &Landlock, lines: &mut Vec<String>) {
    lines.push(format!(
        "Landlock {}: refused unless allowed below: {}",
        landlock.abi,
        right_names(landlock.handled).join(", ")
    ));
    for rule in &landlock.paths {
        let below = if rule.directory && rule.path != b"/" {
            "/"
        } else {
            ""
        };
        lines.push(format!(
            "  {}{below}: {}",
            text::escape(&rule.path),
            right_names(rule.rights).join(", ")
        ));
    }
    for (what, ports) in [("connect", &landlock.connect), ("listen", &landlock.bind)] {
        if let Some(ports) = ports {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            let ports = if ports.is_empty() {
                "none".into()
            } else {
                ports.join(", ")
            };
            lines.push(format!("  TCP {what}, ports: {ports}"));
        }
    }
    let scopes = landlock.scopes();
    if !scopes.is_empty() {
        lines.push(format!("  scopes: {}", scopes.join(", ")));
    }
}
