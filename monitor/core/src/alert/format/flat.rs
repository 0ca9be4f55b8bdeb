//! An alert as a list of fields, for formats that have nothing but keys and values: CEF, LEEF and
//! RFC 5424. The values are harmless text ([`harmless`]) and not yet escaped for any format.
//!
//! **Lists** are one value: their items in a row with a separator between, which is written by its
//! number (`\x2c`, `\x3b`) where it stands in an item. A list without items is no field.
//!
//! **Length.** A value that is too long for its key, or a line that is too long for the format, is
//! cut: the longest values first, between characters and never inside an escape, with `…` where the
//! rest was. A field `truncated` says of each how many bytes it had.

use std::borrow::Cow;

use super::{super::Alert, view::Target};
use crate::{
    alert::ChainStep,
    text::{harmless, tokens},
};

/// A field: what it is called in the alert, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name; fixed words.
    pub name: &'static str,
    /// Value.
    pub value: String,
}

/// Every field of an alert that says something, the most important first. The id is the first of
/// all.
pub fn fields(alert: &Alert) -> Vec<Field> {
    let mut list = List(vec![]);
    let process = &alert.process;
    list.text("id", &alert.id);
    list.text("time", &alert.time);
    list.text("host", &alert.host);
    list.text("workload", &alert.workload);
    list.text("kind", &alert.kind);
    list.text("subject", &alert.subject);
    list.text("verdict", &alert.verdict);
    list.plain("prevented", &alert.prevented);
    list.plain("severity", &alert.severity.word());
    list.plain("count", &alert.count);
    list.text("role", &alert.role);
    list.text("phase", &alert.phase);
    list.text("mode", &alert.mode);
    list.text("tier", &alert.tier);
    list.text("hook", &alert.hook);
    list.maybe("access", alert.access.as_deref());
    match alert.target() {
        Target::Endpoint {
            ip, port, protocol, ..
        } => {
            list.plain("dst", &ip);
            list.plain("dst_port", &port);
            list.text("protocol", protocol);
        }
        Target::Port { port, protocol } => {
            list.plain("dst_port", &port);
            list.text("protocol", protocol);
        }
        Target::File(path) => list.text("path", path),
        Target::Unix(_) => list.plain("protocol", &"unix"),
        Target::Host(_) | Target::Other => {}
    }
    list.maybe("name", alert.name.as_deref());
    list.text("exe", &process.exe);
    list.plain("pid", &process.pid);
    list.plain("uid", &process.uid);
    list.plain("start_time", &process.start_time);
    list.text("cgroup", &process.cgroup);
    list.plain("adopted", &process.adopted);
    list.plain("policy", &format_args!("{:013x}", alert.policy_version));
    list.text("first_seen", &alert.first_seen);
    list.text("last_seen", &alert.last_seen);
    list.items("attack", &alert.attack, ',');
    list.items("atlas", &alert.atlas, ',');
    list.items("owasp", &alert.owasp, ',');
    list.items("argv", &process.argv, ';');
    list.items("ancestors", &process.ancestors, ';');
    list.items("nearest", &alert.nearest, ';');
    let chain: Vec<_> = alert.chain.iter().map(step).collect();
    list.items("chain", &chain, ';');
    list.items("reasons", &alert.reasons, ';');
    list.0
}

/// Parted by commas: milliseconds since the first step, step, class (or `-`), whether it is in the
/// list (or `-`), subject.
fn step(step: &ChainStep) -> String {
    let known = match step.known {
        Some(true) => "listed",
        Some(false) => "unlisted",
        None => "-",
    };
    let parts = [
        step.after_ms.to_string(),
        step.step.clone(),
        step.class.clone().unwrap_or_else(|| "-".into()),
        known.into(),
        step.subject.clone(),
    ];
    joined(&parts, ',')
}

struct List(Vec<Field>);

impl List {
    fn text(&mut self, name: &'static str, value: &str) {
        let value = harmless(value).into_owned();
        self.0.push(Field { name, value });
    }
    fn maybe(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }
    /// Numbers and words of our own.
    fn plain(&mut self, name: &'static str, value: &impl ToString) {
        let value = value.to_string();
        self.0.push(Field { name, value });
    }
    fn items(&mut self, name: &'static str, items: &[String], separator: char) {
        if !items.is_empty() {
            let value = joined(items, separator);
            self.0.push(Field { name, value });
        }
    }
}

fn joined(items: &[String], separator: char) -> String {
    let parts: Vec<_> = items
        .iter()
        .map(|item| without(&harmless(item), separator))
        .collect();
    parts.join(separator.encode_utf8(&mut [0; 4]))
}

/// Harmless text with a character written by its number. An escape never holds one of those that
/// are asked for, so that every one of them stands for itself.
pub fn without(text: &str, c: char) -> String {
    text.replace(c, &format!("\\x{:02x}", u32::from(c)))
}

/// A format's rules for a value.
pub struct Rules {
    /// A character as the format writes it in a value.
    pub write: fn(char) -> Cow<'static, str>,
    /// Bytes that a field needs besides its value: key, quotes, separators.
    pub around: fn(&Field) -> usize,
    /// Most bytes that the format or the key has for the value as written.
    pub longest: fn(&Field) -> usize,
}

impl Rules {
    /// Text as the format writes it in a value.
    pub fn written(&self, text: &str) -> String {
        text.chars().map(self.write).collect()
    }

    fn length(&self, text: &str) -> usize {
        text.chars().map(|c| (self.write)(c).len()).sum()
    }

    /// The fields in so many bytes, with a last one that says which were cut.
    pub fn fitted(&self, mut fields: Vec<Field>, room: usize) -> Vec<Field> {
        let lengths: Vec<usize> = fields
            .iter()
            .map(|field| self.length(&field.value))
            .collect();
        let limits: Vec<usize> = fields.iter().map(self.longest).collect();
        let around: usize = fields.iter().map(self.around).sum();
        // What it takes to say of all of them that they were cut.
        let note: usize = fields
            .iter()
            .map(|field| field.name.len() + 22)
            .sum::<usize>()
            + 64;
        let within = |cap: usize| -> usize {
            let sizes = lengths.iter().zip(&limits);
            sizes
                .map(|(length, limit)| *length.min(limit).min(&cap))
                .sum()
        };
        let cut_anyway = lengths
            .iter()
            .zip(&limits)
            .any(|(length, limit)| length > limit);
        if !cut_anyway && around + within(usize::MAX) <= room {
            return fields;
        }
        let room = room.saturating_sub(around + note);
        let cap = if within(usize::MAX) <= room {
            usize::MAX
        } else {
            // The largest cap that fits: what it leaves grows with it.
            let (mut fits, mut too_much) = (0, room + 1);
            while too_much - fits > 1 {
                let middle = fits.midpoint(too_much);
                if within(middle) <= room {
                    fits = middle;
                } else {
                    too_much = middle;
                }
            }
            fits
        };
        let mut cut = vec![];
        for ((field, length), limit) in fields.iter_mut().zip(&lengths).zip(&limits) {
            let cap = *limit.min(&cap);
            if *length > cap {
                cut.push(format!("{}:{}", field.name, field.value.len()));
                field.value = self.shortened(&field.value, cap);
            }
        }
        fields.push(Field {
            name: "truncated",
            value: cut.join(","),
        });
        fields
    }

    /// The beginning of a text, with the sign that there was more.
    pub fn shortened(&self, text: &str, longest: usize) -> String {
        if self.length(text) <= longest {
            return text.to_owned();
        }
        let room = longest.saturating_sub(CUT.len());
        let mut used = 0;
        let whole = tokens(text).take_while(|token| {
            used += self.length(token);
            used <= room
        });
        let mut out: String = whole.collect();
        out.push_str(CUT);
        out
    }
}

/// Where the rest of a value was.
const CUT: &str = "…";
