//! What is in one profile and not in another.

use monitor_common::class::Family;
use serde::Serialize;

use super::{Part, Profile};
use crate::workload::family_name;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// Role.
    pub role: String,
    /// Phase.
    pub phase: String,
    /// Family.
    pub family: &'static str,
    /// What it is about.
    pub subject: String,
    /// It is in the second one only; otherwise in the first one only.
    pub added: bool,
}

/// Every difference from `before` to `after`, in a fixed order.
pub fn diff(before: &Profile, after: &Profile) -> Vec<Change> {
    let mut changes = vec![];
    one_way(after, before, true, &mut changes);
    one_way(before, after, false, &mut changes);
    changes.sort_unstable();
    changes
}

/// What is in `here` and not in `there`.
fn one_way(here: &Profile, there: &Profile, added: bool, changes: &mut Vec<Change>) {
    let nothing = Part::default();
    for part in &here.parts {
        let other = there
            .parts
            .iter()
            .find(|p| (&p.role, &p.phase) == (&part.role, &part.phase))
            .unwrap_or(&nothing);
        for family in Family::ALL {
            let missing = |subject: &&String| !other.list(family).contains(subject);
            changes.extend(
                part.list(family)
                    .iter()
                    .filter(missing)
                    .map(|subject| Change {
                        role: part.role.clone(),
                        phase: part.phase.clone(),
                        family: family_name(family),
                        subject: subject.clone(),
                        added,
                    }),
            );
        }
    }
}
