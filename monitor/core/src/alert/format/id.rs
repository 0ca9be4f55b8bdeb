//! Which alert a line is about, whatever the format: so that a file's end tells what is in it
//! already.

use serde::Deserialize;

/// The id of the alert that a line holds, in any [`super::Format`]; `None` for a line that is none
/// of them, or was cut short before its last field (of JSON: anywhere). The last field only repeats.
pub fn id_of_line(line: &str) -> Option<String> {
    if line.starts_with('{') {
        return of_json(line);
    }
    if line.starts_with("CEF:0|") {
        // An equals sign that is not escaped belongs to a key.
        let (whole, _) = line.rsplit_once(" msg=")?;
        let (_, fields) = after_pipes(whole, 7)?;
        let value = fields.strip_prefix("externalId=")?;
        // The next field begins after a space; values never begin or end with one.
        return value.split(" slmguardTime=").next().map(unescaped);
    }
    if line.starts_with("LEEF:2.0|") {
        let (whole, _) = line.rsplit_once("\tmsg=")?;
        let (_, fields) = after_pipes(whole, 6)?;
        let value = fields.strip_prefix("alertId=")?;
        return value.split('\t').next().map(|id| id.replace("\\x3d", "="));
    }
    // The mark before the text occurs once.
    let (whole, _) = line.split_once("\"] \u{feff}")?;
    let whole = whole.strip_prefix('<')?;
    let (_, data) = whole.split_once("[slmguard@32473 id=\"")?;
    // A quotation mark of the value's own has a backslash before it, and so has a backslash.
    let mut id = String::new();
    let mut rest = data.chars();
    loop {
        match rest.next()? {
            '"' => return Some(id),
            '\\' => id.push(rest.next()?),
            c => id.push(c),
        }
    }
}

/// The alert itself, OCSF or ECS.
fn of_json(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        id: Option<String>,
        metadata: Option<Metadata>,
        event: Option<Event>,
    }
    #[derive(Deserialize)]
    struct Metadata {
        uid: String,
    }
    #[derive(Deserialize)]
    struct Event {
        id: String,
    }
    let line: Line = serde_json::from_str(line).ok()?;
    let uid = line.metadata.map(|metadata| metadata.uid);
    line.id.or(uid).or(line.event.map(|event| event.id))
}

/// What stands before and after so many pipes. Headers are fixed words without any.
fn after_pipes(line: &str, count: usize) -> Option<(&str, &str)> {
    let (at, _) = line.match_indices('|').nth(count - 1)?;
    Some((&line[..at], &line[at + 1..]))
}

/// A value of CEF as it was before it was escaped.
fn unescaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => out.extend(rest.next()),
            c => out.push(c),
        }
    }
    out
}
