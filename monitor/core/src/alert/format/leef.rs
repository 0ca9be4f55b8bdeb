//! IBM Log Event Extended Format 2.0 (QRadar).
//!
//! The format has no escaping. The header is made of fixed words, fields are parted by tabs, which
//! cannot occur in a value, and an equals sign in a value is written `\x3d`: a rule that looks for
//! `key=` anywhere in the line finds the field and nothing that a value pretends to be.

use std::borrow::Cow;

use super::{
    super::Alert,
    LONGEST,
    flat::{Field, Rules, fields},
    view::{PRODUCT, VERSION},
};
use crate::text::harmless;

/// Names that the format has for fields; the others are called as in the alert.
const KEYS: &[(&str, &str)] = &[
    ("id", "alertId"),
    ("kind", "cat"),
    ("host", "identHostName"),
    ("uid", "usrName"),
    ("dst_port", "dstPort"),
    ("protocol", "proto"),
];

fn key(name: &'static str) -> &'static str {
    let found = KEYS.iter().find(|(field, _)| *field == name);
    found.map_or(name, |(_, key)| key)
}

const RULES: Rules = Rules {
    write: |c| match c {
        '=' => Cow::Borrowed("\\x3d"),
        c => Cow::Owned(c.into()),
    },
    around: |field| key(field.name).len() + 2,
    longest: |_| LONGEST,
};

/// How times are written: a pattern of Java's `SimpleDateFormat`, of those that QRadar suggests.
const TIME_PATTERN: &str = "MMM dd yyyy HH:mm:ss.SSS z";

/// The alert as one line.
pub fn line(alert: &Alert) -> String {
    let mut line = format!(
        "LEEF:2.0|{PRODUCT}|{PRODUCT}|{VERSION}|{}|x09|",
        alert.fixed_kind()
    );
    let mut list = fields(alert);
    let mut add = |name, value| list.push(Field { name, value });
    add("sev", alert.severity.degrees().ten.to_string());
    if let Ok(time) = alert.time.parse::<jiff::Timestamp>() {
        add(
            "devTime",
            time.strftime("%b %d %Y %H:%M:%S.%3f GMT").to_string(),
        );
        add("devTimeFormat", TIME_PATTERN.into());
    }
    add("msg", harmless(&alert.summary()).into_owned());
    let room = LONGEST - line.len();
    let fields: Vec<String> = RULES
        .fitted(list, room)
        .iter()
        .map(|field| format!("{}={}", key(field.name), RULES.written(&field.value)))
        .collect();
    line.push_str(&fields.join("\t"));
    line
}
