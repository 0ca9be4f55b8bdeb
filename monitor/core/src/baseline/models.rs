//! Models by digest: which a workload has used while it learned, and which are new.
//!
//! A model file keeps its name when its contents are replaced, and then every path is known and every
//! weight may be an attacker's. Digests are worked out after a file was opened: this tells, and
//! refuses nothing. Pure: files, digests and times come from the caller.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::observation::{ModelFile, ProcessKey, Scope};

/// Digests that are kept of a workload; the one seen least recently goes.
pub const KEPT: usize = 256;
/// Findings that wait to be told.
const WAITING: usize = 1_024;

/// What a workload uses, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Path, escaped.
    pub path: String,
    /// SHA-256 of all of it, in hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Loading its format runs code.
    pub runs_code: bool,
}

/// A model that was not learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Who uses it.
    pub scope: Scope,
    /// A process that does.
    pub process: ProcessKey,
    /// When it was found, nanoseconds since the epoch.
    pub time: u64,
    /// What it is.
    pub model: ModelFile,
}

/// What is known of one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// Where it was last.
    path: String,
    first: u64,
    last: u64,
    /// It was told, not learned.
    told: bool,
}

/// One workload's models by digest, for the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    models: BTreeMap<String, Known>,
}

/// The models of all workloads.
#[derive(Clone, Debug, Default)]
pub struct Models {
    workloads: BTreeMap<String, Row>,
    findings: Vec<Finding>,
    unsaved: bool,
}

impl Models {
    /// Takes in that a scope uses a model at `time`, nanoseconds since the epoch. What is used while
    /// it learns is learned, and so is what it uses first: without anything to compare with there is
    /// nothing to tell. Anything else is told once.
    pub fn observe(
        &mut self,
        scope: &Scope,
        process: ProcessKey,
        model: &Use,
        learning: bool,
        time: u64,
    ) {
        let row = self.workloads.entry(scope.workload.clone()).or_default();
        if let Some(known) = row.models.get_mut(&model.sha256) {
            self.unsaved |= known.path != model.path || learning && known.told;
            known.last = time;
            known.path.clone_from(&model.path);
            known.told &= !learning;
            return;
        }
        // Other files that were there from the beginning come in one look.
        let first_look = row.models.values().all(|known| known.first == time);
        let told = !learning && !first_look;
        if told {
            if self.findings.len() >= WAITING {
                return;
            }
            let before = row.models.iter().filter(|(_, k)| k.path == model.path);
            let before = before.max_by_key(|(_, k)| k.last);
            self.findings.push(Finding {
                scope: scope.clone(),
                process,
                time,
                model: ModelFile {
                    path: model.path.clone(),
                    sha256: model.sha256.clone(),
                    size: model.size,
                    runs_code: model.runs_code,
                    before: before.map(|(digest, _)| digest.clone()),
                    known: row.models.values().filter(|k| !k.told).count() as u64,
                },
            });
        }
        if row.models.len() >= KEPT {
            let oldest = row.models.iter().min_by_key(|(_, known)| known.last);
            if let Some(oldest) = oldest.map(|(digest, _)| digest.clone()) {
                row.models.remove(&oldest);
            }
        }
        let known = Known {
            path: model.path.clone(),
            first: time,
            last: time,
            told,
        };
        row.models.insert(model.sha256.clone(), known);
        self.unsaved = true;
    }

    /// What was found since the last time.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// Forgets a workload.
    pub fn forget(&mut self, workload: &str) {
        self.unsaved |= self.workloads.remove(workload).is_some();
        self.findings
            .retain(|finding| finding.scope.workload != workload);
    }

    /// What is known, a row per workload; `None` where nothing has changed since the last time.
    pub fn changed_rows(&mut self) -> Option<Vec<(String, Row)>> {
        let rows = self.workloads.iter();
        std::mem::take(&mut self.unsaved)
            .then(|| rows.map(|(w, r)| (w.clone(), r.clone())).collect())
    }

    /// Saving failed.
    pub fn still_unsaved(&mut self) {
        self.unsaved = true;
    }

    /// Takes a workload back in.
    pub fn restore(&mut self, workload: &str, row: Row) {
        self.workloads.insert(workload.to_owned(), row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scope;

    const WHO: ProcessKey = ProcessKey {
        pid: 7,
        start_time: 9,
    };

    fn file(path: &str, sha256: &str) -> Use {
        Use {
            path: path.into(),
            sha256: sha256.into(),
            size: 5,
            runs_code: false,
        }
    }

    #[test]
    fn what_replaces_a_learned_model_is_told_once() {
        let mut models = Models::default();
        let (good, bad) = (file("/m/a.gguf", "aa"), file("/m/a.gguf", "bb"));
        models.observe(&scope(), WHO, &good, true, 1);
        models.observe(&scope(), WHO, &good, false, 2);
        assert_eq!(models.take_findings(), []);
        for time in 3..6 {
            models.observe(&scope(), WHO, &bad, false, time);
        }
        let findings = models.take_findings();
        assert_eq!(findings.len(), 1);
        let model = &findings[0].model;
        assert_eq!(model.before.as_deref(), Some("aa"));
        assert_eq!((model.sha256.as_str(), model.known), ("bb", 1));
        models.observe(&scope(), WHO, &good, false, 7);
        assert_eq!(models.take_findings(), [], "back to what was learned");
    }

    #[test]
    fn who_never_learned_is_compared_with_what_it_used_first() {
        let mut models = Models::default();
        models.observe(&scope(), WHO, &file("/m/a", "aa"), false, 1);
        models.observe(&scope(), WHO, &file("/m/b", "bb"), false, 1);
        assert_eq!(models.take_findings(), []);
        models.observe(&scope(), WHO, &file("/m/c", "cc"), false, 2);
        let findings = models.take_findings();
        assert_eq!(findings.len(), 1);
        assert_eq!(
            (&findings[0].model.before, findings[0].model.known),
            (&None, 2)
        );
    }

    #[test]
    fn learning_again_makes_a_told_model_a_learned_one() {
        let mut models = Models::default();
        models.observe(&scope(), WHO, &file("/m/a", "aa"), true, 1);
        models.observe(&scope(), WHO, &file("/m/a", "bb"), false, 2);
        models.observe(&scope(), WHO, &file("/m/a", "bb"), true, 3);
        models.observe(&scope(), WHO, &file("/m/a", "cc"), false, 4);
        let known: Vec<u64> = models
            .take_findings()
            .iter()
            .map(|f| f.model.known)
            .collect();
        assert_eq!(known, [1, 2]);
    }

    #[test]
    fn what_is_stored_is_what_is_known_and_there_is_a_bound() {
        let mut models = Models::default();
        for n in 0..KEPT as u64 + 9 {
            models.observe(&scope(), WHO, &file("/m/a", &n.to_string()), true, n);
        }
        let rows = models.changed_rows().unwrap();
        assert_eq!(models.changed_rows(), None);
        assert_eq!(rows[0].1.models.len(), KEPT);
        let text = serde_json::to_string(&rows[0].1).unwrap();
        let mut again = Models::default();
        again.restore(&rows[0].0, serde_json::from_str(&text).unwrap());
        again.observe(&scope(), WHO, &file("/m/a", "20"), false, 999);
        assert_eq!(again.take_findings(), []);
        again.observe(&scope(), WHO, &file("/m/a", "2"), false, 999);
        assert_eq!(again.take_findings().len(), 1, "it had to go");
    }
}
