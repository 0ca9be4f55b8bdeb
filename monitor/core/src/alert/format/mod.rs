//! Formats: an alert in the form that some other system reads. Each is a projection of [`Alert`],
//! made when it is sent; what is stored stays an alert.
//!
//! **By construction.** A format never pastes text together out of an alert's words: JSON formats
//! are typed values ([`ocsf`], [`ecs`]) that serde writes; the others are lists of fields
//! ([`flat`]) whose values pass through one function that escapes for that format. Keys and headers
//! are words of our own. Whatever the values hold, a line is one event, and its fields are the ones
//! that the alert has.

mod cef;
pub mod ecs;
mod flat;
mod id;
mod leef;
mod object;
pub mod ocsf;
mod own;
mod rfc5424;
#[cfg(test)]
mod tests;
mod view;

use std::{fmt, str::FromStr};

pub use id::id_of_line;
use serde::Deserialize;

use super::{Alert, json::one_line};

/// Longest line of CEF, LEEF and RFC 5424, in bytes: the longest message that rsyslog takes unless
/// told otherwise. Formats of JSON are never cut.
pub const LONGEST: usize = 8192;

/// A format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum Format {
    /// The alert itself, as it is stored: [`Alert::to_json_line`].
    #[default]
    Json,
    /// OCSF 1.8.0, Detection Finding (class 2004).
    Ocsf,
    /// Elastic Common Schema 9.4.0.
    Ecs,
    /// ArcSight Common Event Format, version 0.
    Cef,
    /// IBM Log Event Extended Format 2.0.
    Leef,
    /// A whole syslog message with structured data: RFC 5424.
    Rfc5424,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] = [
        Self::Json,
        Self::Ocsf,
        Self::Ecs,
        Self::Cef,
        Self::Leef,
        Self::Rfc5424,
    ];

    /// The word for it in configuration and on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ocsf => "ocsf",
            Self::Ecs => "ecs",
            Self::Cef => "cef",
            Self::Leef => "leef",
            Self::Rfc5424 => "rfc5424",
        }
    }

    /// The alert in this format: one line, without the line's end.
    pub fn render(self, alert: &Alert) -> String {
        match self {
            Self::Json => alert.to_json_line(),
            Self::Ocsf => one_line(&ocsf::Finding::of(alert)),
            Self::Ecs => one_line(&ecs::Document::of(alert)),
            Self::Cef => cef::line(alert),
            Self::Leef => leef::line(alert),
            Self::Rfc5424 => rfc5424::message(alert),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that names no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a format; write one of {}", crate::text::escape(.0.as_bytes()), words())]
pub struct UnknownFormat(String);

fn words() -> String {
    Format::ALL.map(Format::word).join(", ")
}

impl FromStr for Format {
    type Err = UnknownFormat;
    fn from_str(word: &str) -> Result<Self, UnknownFormat> {
        let found = Self::ALL.into_iter().find(|format| format.word() == word);
        found.ok_or_else(|| UnknownFormat(word.into()))
    }
}

impl TryFrom<String> for Format {
    type Error = UnknownFormat;
    fn try_from(word: String) -> Result<Self, UnknownFormat> {
        word.parse()
    }
}
