//! Baselines as rows, for the store and the API: names instead of numbers, so that a stored row
//! means the same in every version.

use serde::{Deserialize, Serialize};

use super::{Baseline, Entry};
use crate::{
    decide::policy::is_rule,
    observation::Scope,
    workload::{family_from, family_name, phase_from, phase_name, role_from, role_name},
};

/// One subject of one scope and family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Workload.
    pub workload: String,
    /// Role.
    pub role: String,
    /// Phase.
    pub phase: String,
    /// Family.
    pub family: String,
    /// Subject, as in alerts.
    pub subject: String,
    /// Times it was seen.
    pub count: u64,
    /// First time, nanoseconds since the epoch.
    pub first_seen: u64,
    /// Last time.
    pub last_seen: u64,
}

/// Why a row cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "baseline row for `{subject}`: `{word}` is not a {what}; was it written by a newer version?"
)]
pub struct RowError {
    /// Subject of the row.
    pub subject: String,
    /// What it should have been.
    pub what: &'static str,
    /// What it was.
    pub word: String,
}

impl Baseline {
    /// Every row, in a fixed order.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        self.scopes().flat_map(move |scope| {
            self.entries(scope)
                .map(move |(family, subject, entry)| Row {
                    workload: scope.workload.clone(),
                    role: role_name(scope.role).into(),
                    phase: phase_name(scope.phase).into(),
                    family: family_name(family).into(),
                    subject: subject.into(),
                    count: entry.count,
                    first_seen: entry.first_seen,
                    last_seen: entry.last_seen,
                })
        })
    }

    /// The baseline that rows describe. Of two rows for one subject the later one counts.
    pub fn from_rows(rows: impl IntoIterator<Item = Row>) -> Result<Self, RowError> {
        let mut baseline = Self::default();
        for row in rows {
            let error = |what, word: &str| RowError {
                subject: row.subject.clone(),
                what,
                word: word.into(),
            };
            let role = role_from(&row.role).ok_or_else(|| error("role", &row.role))?;
            let phase = phase_from(&row.phase).ok_or_else(|| error("phase", &row.phase))?;
            let family = family_from(&row.family).ok_or_else(|| error("family", &row.family))?;
            let entry = Entry {
                count: row.count,
                first_seen: row.first_seen,
                last_seen: row.last_seen,
            };
            let scope = Scope {
                workload: row.workload,
                role,
                phase,
            };
            // Before classes there were, a brace stood for itself.
            let subject = match is_rule(family, &row.subject) {
                true => row.subject,
                false => row.subject.replace('{', "\\x7b").replace('}', "\\x7d"),
            };
            baseline.remove(&scope, family, &subject);
            baseline.add(&scope, family, &subject, entry);
        }
        Ok(baseline)
    }
}
