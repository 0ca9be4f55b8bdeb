//! A whole syslog message with structured data (RFC 5424), without the framing of a transport.
//!
//! Header fields that an alert's words do not fit into are the nil value; the words are in the
//! structured data in any case, where a quotation mark, a backslash and a closing bracket are
//! escaped (6.3.3). The text at the end only repeats, for people.

use std::borrow::Cow;

use super::{
    super::Alert,
    LONGEST,
    flat::{Rules, fields},
    view::{PRODUCT, VERSION},
};
use crate::text::harmless;

/// Facility 13, log audit.
const FACILITY: u32 = 13;
/// Name of our structured data. 32473 is the private enterprise number for documentation
/// (RFC 5612): there is none of our own yet.
const SD_ID: &str = "slmguard@32473";
/// Most bytes of the text for people.
const TEXT: usize = 1024;
/// The text is UTF-8 (6.4).
const BOM: char = '\u{feff}';
/// What is said where there is nothing to say.
const NIL: &str = "-";

const RULES: Rules = Rules {
    write: |c| match c {
        '"' => Cow::Borrowed("\\\""),
        '\\' => Cow::Borrowed("\\\\"),
        ']' => Cow::Borrowed("\\]"),
        c => Cow::Owned(c.into()),
    },
    // A space, an equals sign and two quotation marks.
    around: |field| field.name.len() + 4,
    longest: |_| LONGEST,
};

/// Text for people: nothing to escape.
const PLAIN: Rules = Rules {
    write: |c| Cow::Owned(c.into()),
    around: |_| 0,
    longest: |_| TEXT,
};

/// The alert as one message.
pub fn message(alert: &Alert) -> String {
    let priority = FACILITY * 8 + alert.severity.degrees().syslog;
    let time = alert.time.parse::<jiff::Timestamp>();
    let time = time.map_or_else(|_| NIL.into(), |time| format!("{time:.6}"));
    let host = header(&alert.host, 255);
    let kind = alert.fixed_kind();
    // No PROCID: the alert does not know the daemon's.
    let start = format!("<{priority}>1 {time} {host} {PRODUCT} {NIL} {kind} ");
    let origin = format!("[origin software=\"{PRODUCT}\" swVersion=\"{VERSION}\"]");
    let text = format!("{} {}", alert.summary(), alert.reasons.join(" "));
    let text = PLAIN.shortened(&harmless(text.trim_end()), TEXT);
    let end = format!("] {BOM}{text}");

    let mut line = format!("{start}{origin}[{SD_ID}");
    let room = LONGEST - line.len() - end.len();
    for field in RULES.fitted(fields(alert), room) {
        line.push_str(&format!(
            " {}=\"{}\"",
            field.name,
            RULES.written(&field.value)
        ));
    }
    line.push_str(&end);
    line
}

/// Text that fits into a field of the header (printable ASCII, not too long); nil otherwise.
fn header(text: &str, longest: usize) -> &str {
    let fits = !text.is_empty() && text.len() <= longest;
    if fits && text.bytes().all(|b| b.is_ascii_graphic()) {
        text
    } else {
        NIL
    }
}
