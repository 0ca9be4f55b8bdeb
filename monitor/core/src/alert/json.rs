//! JSON lines: a value, and the alert itself, as one line of JSON.

use std::fmt::Write;

use serde::Serialize;

use super::Alert;
use crate::text::is_hostile;

/// One line of JSON, without the line's end. Whatever the value's texts hold, the line has no
/// character that ends, reorders or hides text: what is left of those by the escaping of the texts
/// themselves becomes `\uNNNN`.
pub(super) fn one_line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("strings and numbers can always be written");
    // Hostile characters can only stand inside JSON strings, where any character may be written by
    // its number.
    let mut line = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hostile(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(c);
        }
    }
    line
}

impl Alert {
    /// The alert as one line of JSON, without the line's end: what is stored, and the format
    /// `json`.
    pub fn to_json_line(&self) -> String {
        one_line(self)
    }

    /// The alert that a line of JSON holds.
    pub fn from_json_line(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }
}
