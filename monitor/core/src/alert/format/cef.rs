//! ArcSight Common Event Format, version 0 (Implementing ArcSight CEF, revision 25).
//!
//! The header is made of fixed words only: readers differ in how they take an escaped pipe there.
//! In values a backslash and an equals sign are escaped; a line's end cannot occur. Readers trim
//! values, so that a space at either end is written `\x20`.

use std::borrow::Cow;

use super::{
    super::Alert,
    LONGEST,
    flat::{Field, Rules, fields},
    view::{PRODUCT, Target, VERSION, file_name, milliseconds},
};
use crate::text::harmless;

/// Where each field goes: name, key, label for keys that need one, and the most bytes that the
/// dictionary has for the key. Keys that begin with `slmguard` are ours.
const KEYS: &[(&str, &str, Option<&str>, usize)] = &[
    ("id", "externalId", None, 40),
    ("host", "dvchost", None, 100),
    ("workload", "cs1", Some("workload"), 4000),
    ("kind", "cat", None, 1023),
    ("verdict", "act", None, 63),
    ("count", "cnt", None, LONGEST),
    ("dst_port", "dpt", None, LONGEST),
    ("protocol", "proto", None, 31),
    ("path", "filePath", None, 1023),
    ("name", "dhost", None, 1023),
    ("exe", "sproc", None, 1023),
    ("pid", "spid", None, LONGEST),
    ("uid", "suid", None, 1023),
    ("reasons", "cs2", Some("reasons"), 4000),
    ("policy", "cs3", Some("policy"), 4000),
    ("ancestors", "cs4", Some("ancestors"), 4000),
    ("attack", "cs5", Some("attack"), 4000),
    ("argv", "cs6", Some("argv"), 4000),
    ("subject", "slmguardSubject", None, LONGEST),
    ("prevented", "slmguardPrevented", None, LONGEST),
    ("severity", "slmguardSeverity", None, LONGEST),
    ("time", "slmguardTime", None, LONGEST),
    ("role", "slmguardRole", None, LONGEST),
    ("phase", "slmguardPhase", None, LONGEST),
    ("mode", "slmguardMode", None, LONGEST),
    ("tier", "slmguardTier", None, LONGEST),
    ("hook", "slmguardHook", None, LONGEST),
    ("access", "slmguardAccess", None, LONGEST),
    ("start_time", "slmguardStartTime", None, LONGEST),
    ("cgroup", "slmguardCgroup", None, LONGEST),
    ("adopted", "slmguardAdopted", None, LONGEST),
    ("first_seen", "slmguardFirstSeen", None, LONGEST),
    ("last_seen", "slmguardLastSeen", None, LONGEST),
    ("atlas", "slmguardAtlas", None, LONGEST),
    ("owasp", "slmguardOwasp", None, LONGEST),
    ("nearest", "slmguardNearest", None, LONGEST),
    ("chain", "slmguardChain", None, LONGEST),
    ("truncated", "slmguardTruncated", None, LONGEST),
    // Not the alert's own fields but made of them, for keys that readers look at.
    ("v4", "dst", None, LONGEST),
    ("v6", "c6a3", Some("Destination IPv6 Address"), LONGEST),
    ("received", "rt", None, LONGEST),
    ("start", "start", None, LONGEST),
    ("end", "end", None, LONGEST),
    ("file", "fname", None, 1023),
    ("message", "msg", None, 1023),
    ("outcome", "outcome", None, 63),
];

fn key(name: &str) -> (&'static str, Option<&'static str>, usize) {
    let found = KEYS.iter().find(|(field, ..)| *field == name);
    found.map_or(
        ("slmguardOther", None, LONGEST),
        |(_, key, label, longest)| (key, *label, *longest),
    )
}

const RULES: Rules = Rules {
    write: |c| match c {
        '\\' => Cow::Borrowed("\\\\"),
        '=' => Cow::Borrowed("\\="),
        c => Cow::Owned(c.into()),
    },
    around: |field| {
        let (key, label, _) = key(field.name);
        // `key=` and the space before; the label with a key of its own.
        key.len() + 2 + label.map_or(0, |label| key.len() + "Label=".len() + label.len() + 1)
    },
    longest: |field| key(field.name).2,
};

/// The alert as one line.
pub fn line(alert: &Alert) -> String {
    let header = format!(
        "CEF:0|{PRODUCT}|{PRODUCT}|{VERSION}|{}|{}|{}|",
        alert.fixed_kind(),
        alert.title(),
        alert.severity.degrees().ten
    );
    let mut list: Vec<Field> = fields(alert)
        .into_iter()
        // The two keys for addresses stand for it.
        .filter(|field| field.name != "dst")
        .collect();
    list.extend(derived(alert));
    for field in &mut list {
        field.value = ends_kept(&field.value);
    }
    let mut line = header;
    let room = LONGEST - line.len();
    for (number, field) in RULES.fitted(list, room).iter().enumerate() {
        let (key, label, _) = key(field.name);
        if number > 0 {
            line.push(' ');
        }
        line.push_str(key);
        line.push('=');
        line.push_str(&RULES.written(&field.value));
        if let Some(label) = label {
            line.push(' ');
            line.push_str(key);
            line.push_str("Label=");
            line.push_str(label);
        }
    }
    line
}

/// Fields that only repeat, in the keys that readers of CEF look at.
fn derived(alert: &Alert) -> Vec<Field> {
    let mut list = vec![];
    let mut add = |name, value: Option<String>| {
        list.extend(value.map(|value| Field { name, value }));
    };
    let time = |text| milliseconds(text).map(|ms| ms.to_string());
    add("received", time(&alert.time));
    add("start", time(&alert.first_seen));
    add("end", time(&alert.last_seen));
    let outcome = if alert.prevented {
        "prevented"
    } else {
        "not prevented"
    };
    add("outcome", Some(outcome.into()));
    match alert.target() {
        Target::Endpoint { ip, .. } => {
            add(if ip.is_ipv4() { "v4" } else { "v6" }, Some(ip.to_string()));
        }
        Target::File(path) => add("file", Some(harmless(file_name(path)).into_owned())),
        _ => {}
    }
    add("message", Some(harmless(&alert.summary()).into_owned()));
    list
}

/// Spaces at the ends of a value by their number.
fn ends_kept(text: &str) -> String {
    let inner = text.trim_matches(' ');
    let leading = text.len() - text.trim_start_matches(' ').len();
    let trailing = text.len() - leading - inner.len();
    format!(
        "{}{inner}{}",
        "\\x20".repeat(leading),
        "\\x20".repeat(trailing)
    )
}
