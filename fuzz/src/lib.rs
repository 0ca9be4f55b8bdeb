//! What the fuzz targets share: a table of classes, and what has to hold for every text that is
//! shown to anybody.

/// Readers of the formats of alerts, which the unit tests read them with as well.
#[path = "../../monitor/core/src/alert/format/tests/parsers.rs"]
pub mod parsers;

use monitor_common::class::{ClassId, Phase};
use slmguard_core::{
    decode::ClassNames,
    observation::Scope,
    workload::{PHASES, ROLES},
};

/// The classes 3 to 14: every role of one workload in both phases.
pub struct Classes;

impl ClassNames for Classes {
    fn scope(&self, class: ClassId) -> Option<Scope> {
        let n = usize::from(class.checked_sub(3)?);
        Some(Scope {
            workload: "assistant".into(),
            role: *ROLES.get(n / PHASES.len())?,
            phase: PHASES[n % PHASES.len()],
        })
    }
}

/// The first of [`Classes`].
pub fn scope() -> Scope {
    Scope {
        workload: "assistant".into(),
        role: ROLES[0],
        phase: Phase::Start,
    }
}

/// Panics if a text holds anything that could end, reorder or hide text. Written apart from the
/// escaping that it checks: by the properties of the characters rather than by a list of ours.
pub fn is_harmless(text: &str) {
    for c in text.chars() {
        let bidirectional = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{200e}' | '\u{200f}' | '\u{61c}');
        let separator = matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}');
        let invisible = matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}'
            | '\u{e0000}'..='\u{e007f}');
        assert!(
            !(c.is_control() || bidirectional || separator || invisible),
            "{c:?} in {text:?}"
        );
    }
}
