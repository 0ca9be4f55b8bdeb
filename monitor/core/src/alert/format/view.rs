//! What all formats say alike of an alert: what it is about, what became of it, when. Reads the
//! alert's words and adds nothing to them.

use std::net::IpAddr;

use monitor_common::event::Verdict;

use super::super::{Alert, Severity};
use crate::workload::verdict_from;

/// The product, as every format names it.
pub const PRODUCT: &str = "slmguard";
/// Its version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What became of an operation. Only [`Effect::Prevented`] says that it took no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It took no effect.
    Prevented,
    /// The process was killed for it; it may have taken effect.
    Killed,
    /// Let through; enforce would refuse it.
    WouldBlock,
    /// Let through and told.
    Told,
    /// In the policy.
    Known,
    /// Not in the policy, while learning.
    Learned,
    /// A word that this version does not know, or one that contradicts itself.
    Unclear,
}

impl Effect {
    /// Of a verdict and of whether the operation was prevented.
    pub const fn of(verdict: Option<Verdict>, prevented: bool) -> Self {
        match (verdict, prevented) {
            (Some(Verdict::Blocked | Verdict::Killed), true) => Self::Prevented,
            (Some(Verdict::Killed), false) => Self::Killed,
            (Some(Verdict::WouldBlock), false) => Self::WouldBlock,
            (Some(Verdict::Audited), false) => Self::Told,
            (Some(Verdict::Known), false) => Self::Known,
            (Some(Verdict::New), false) => Self::Learned,
            _ => Self::Unclear,
        }
    }

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Prevented => "prevented",
            Self::Killed => "process killed",
            Self::WouldBlock => "let through, enforce would refuse it",
            Self::Told | Self::Known | Self::Learned => "let through",
            Self::Unclear => "seen",
        }
    }
}

/// What an alert is about, by its kind and subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// An endpoint; one of the workload's own where `local`.
    Endpoint {
        /// Address.
        ip: IpAddr,
        /// Port.
        port: u16,
        /// `tcp`, `udp`, or a number.
        protocol: &'a str,
        /// It is the workload's.
        local: bool,
    },
    /// A port of the workload's own, whoever called it.
    Port {
        /// Port.
        port: u16,
        /// `tcp`, `udp`, or a number.
        protocol: &'a str,
    },
    /// A file by path.
    File(&'a str),
    /// A unix socket by path, or by `@` and its abstract name.
    Unix(&'a str),
    /// A name that was looked up.
    Host(&'a str),
    /// Something else, which only the subject names.
    Other,
}

impl<'a> Target<'a> {
    /// Of a kind and a subject.
    pub fn of(kind: &str, subject: &'a str) -> Self {
        match kind {
            "connect" | "send" | "odd" | "volume" => endpoint(subject, false),
            "listen" => endpoint(subject, true),
            "open" | "exec" | "change" | "model" => Self::File(subject),
            "found" if subject.starts_with('/') => Self::File(subject),
            "found" => endpoint(subject, false),
            "unix" => Self::Unix(subject),
            "query" => Self::Host(subject),
            _ => Self::Other,
        }
    }
}

/// `10.0.0.1:443/tcp`, `[2001:db8::1]:53/udp`, `*:8080/tcp`.
fn endpoint(subject: &str, local: bool) -> Target<'_> {
    let parts = subject.rsplit_once('/').and_then(|(place, protocol)| {
        let (host, port) = place.rsplit_once(':')?;
        Some((host, port.parse().ok()?, protocol))
    });
    let Some((host, port, protocol)) = parts else {
        return Target::Other;
    };
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    match (host, bare.unwrap_or(host).parse()) {
        ("*", _) => Target::Port { port, protocol },
        (_, Ok(ip)) => Target::Endpoint {
            ip,
            port,
            protocol,
            local,
        },
        _ => Target::Other,
    }
}

/// Number of an IP protocol by the word for it.
pub fn protocol_number(word: &str) -> Option<u32> {
    match word {
        "tcp" => Some(6),
        "udp" => Some(17),
        "icmp" => Some(1),
        "icmp6" => Some(58),
        number => number.parse().ok().filter(|n| *n < 256),
    }
}

/// Kinds that alerts have, and what each is called. Fixed words: they stand where a format has no
/// escaping to rely on.
const KINDS: &[(&str, &str)] = &[
    ("connect", "Connection"),
    ("send", "Datagram"),
    ("open", "Opening of a file"),
    ("change", "Change of a file or a name"),
    ("exec", "Start of a program"),
    ("unix", "Use of a unix socket"),
    ("listen", "Listening port"),
    ("query", "Look-up of a name"),
    ("facility", "Use of a kernel facility"),
    ("found", "What a process had before it was guarded"),
    ("volume", "Volume of traffic"),
    ("odd", "Unusual call"),
    ("model", "Model that was not learned"),
    ("episode", "Episode that is odd as a whole"),
    ("lineage", "Another shape of a workload"),
    ("held", "Alerts over the budget"),
];

impl Alert {
    /// What became of it.
    pub(super) fn effect(&self) -> Effect {
        Effect::of(verdict_from(&self.verdict), self.prevented)
    }

    /// What it is about.
    pub(super) fn target(&self) -> Target<'_> {
        Target::of(&self.kind, &self.subject)
    }

    /// The kind as a word of our own, never one of the alert's; `other` for one that this version
    /// does not know.
    pub(super) fn fixed_kind(&self) -> &'static str {
        let known = KINDS.iter().find(|(kind, _)| *kind == self.kind);
        known.map_or("other", |(kind, _)| kind)
    }

    /// What sort of thing happened, in fixed words.
    pub(super) fn sort(&self) -> &'static str {
        let known = KINDS.iter().find(|(kind, _)| *kind == self.kind);
        known.map_or("Alert", |(_, name)| name)
    }

    /// The same and what became of it, in fixed words.
    pub(super) fn title(&self) -> String {
        format!("{}: {}", self.sort(), self.effect().words())
    }

    /// What happened, in one line for people.
    pub(super) fn summary(&self) -> String {
        let access = self
            .access
            .as_deref()
            .map(|access| format!(" for {access}"));
        format!(
            "{} ({}): {} {}{}: {}",
            self.workload,
            self.role,
            self.kind,
            self.subject,
            access.unwrap_or_default(),
            self.effect().words()
        )
    }

    /// Told again about the same thing, together: not one moment but a span.
    pub(super) fn is_repeated(&self) -> bool {
        self.first_seen != self.last_seen
    }

    /// Steps that came before, with the time of each in milliseconds since the epoch: the last one
    /// is the alert's own.
    pub(super) fn chain_times(&self) -> impl Iterator<Item = i64> + '_ {
        let end = milliseconds(&self.time).unwrap_or_default();
        let whole = self.chain.last().map_or(0, |step| step.after_ms);
        self.chain.iter().map(move |step| {
            let before = i64::try_from(whole.saturating_sub(step.after_ms)).unwrap_or(i64::MAX);
            end.saturating_sub(before)
        })
    }
}

impl Severity {
    /// What other systems call it: OCSF's `severity_id`, ten degrees as CEF
    /// and LEEF have them, a hundred as Elastic has them, and syslog's code (RFC 5424, 6.2.1).
    pub(super) const fn degrees(self) -> Degrees {
        let (ocsf, caption, ten, hundred, syslog) = match self {
            Self::Info => (1, "Informational", 1, 1, 6),
            Self::Low => (2, "Low", 3, 21, 5),
            Self::Medium => (3, "Medium", 5, 47, 4),
            Self::High => (4, "High", 8, 73, 3),
            Self::Critical => (5, "Critical", 10, 99, 2),
        };
        Degrees {
            ocsf,
            caption,
            ten,
            hundred,
            syslog,
        }
    }

    /// The word for it, as in the alert.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// A severity in other systems' numbers.
#[derive(Clone, Copy, Debug)]
pub struct Degrees {
    /// OCSF `severity_id`.
    pub ocsf: u32,
    /// OCSF's word for it.
    pub caption: &'static str,
    /// 1 to 10.
    pub ten: u32,
    /// 1 to 100.
    pub hundred: u32,
    /// Syslog severity code, 0 worst.
    pub syslog: u32,
}

/// Milliseconds since the epoch of an RFC 3339 time.
pub fn milliseconds(time: &str) -> Option<i64> {
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(time.as_millisecond())
}

/// The last component of a path; the path itself where it has none.
pub fn file_name(path: &str) -> &str {
    let name = path.rsplit('/').find(|part| !part.is_empty());
    name.unwrap_or(path)
}

/// `pid exe`, as ancestors are written; `None` for anything else.
pub fn ancestor(text: &str) -> Option<(u32, &str)> {
    let (pid, exe) = text.split_once(' ')?;
    let number: u32 = pid.parse().ok()?;
    (number.to_string() == pid).then_some((number, exe))
}
