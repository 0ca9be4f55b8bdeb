//! Profile: what a workload may do, as a text that people read, review, sign and take to another
//! host.
//!
//! A profile is a baseline without its history: subjects by role, phase and family, in a fixed
//! order, so that two of them can be compared line by line in a pull request. It knows baselines and
//! rules; it does not know where profiles are kept, nor whose keys are trusted.

mod diff;
mod signature;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::class::{Family, Phase, Role};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use diff::{Change, diff};
pub use signature::{Signature, SignatureError};

use crate::{
    baseline::{Baseline, Entry},
    config::Rules,
    decide::policy::check_rules,
    observation::Scope,
    workload::{family_from, family_name, phase_from, phase_name, role_from, role_name},
};

/// The form that this version writes and reads.
pub const FORMAT: u32 = 1;

/// Where the content of a profile comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provenance {
    /// Seen by slmguard while the workload ran.
    Recorded,
    /// Written from documentation and source code, and held against no running server: it may be
    /// learned from, never enforced.
    Derived,
}

/// What one workload may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// [`FORMAT`].
    pub format: u32,
    /// The workload it was made for; it can be applied to one of another name.
    pub workload: String,
    /// Where it comes from.
    pub provenance: Provenance,
    /// For people: version of the server, what was exercised, who looked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Families for which the lists below are complete, so that what is not in them is refused. What
    /// belongs to other families is told only.
    #[serde(default = "every_family")]
    pub families: Vec<String>,
    /// Parts, ordered by role and phase.
    #[serde(rename = "scope", default)]
    pub parts: Vec<Part>,
    /// Who vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// What the processes of one role and phase may do: rules as in `[workload.allow]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Part {
    /// Role.
    pub role: String,
    /// Phase.
    pub phase: String,
    /// Destinations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect: Vec<String>,
    /// Files to read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<String>,
    /// Files to write.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub write: Vec<String>,
    /// Programs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exec: Vec<String>,
    /// Unix sockets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unix: Vec<String>,
    /// Local endpoints to listen on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<String>,
    /// Names that are looked up; told, not enforced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Facilities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub facilities: Vec<String>,
}

fn every_family() -> Vec<String> {
    let names = Family::ALL.into_iter().map(family_name);
    names.map(str::to_owned).collect()
}

/// Why a text is no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Not the text of one.
    #[error("not a profile: {0}")]
    Syntax(String),
    /// Of a later version.
    #[error("the profile has format {0}; this version of slmguard reads format {FORMAT}")]
    Format(u32),
    /// A family that is none.
    #[error("families: `{0}` is not a family")]
    Family(String),
    /// A word that means nothing.
    #[error("scope {number}: `{word}` is not a {what}")]
    Word {
        /// Which scope, from 1.
        number: usize,
        /// What it should have been.
        what: &'static str,
        /// What it was.
        word: String,
    },
    /// Two parts for the same processes.
    #[error("scope {number}: {role}, {phase} stands in the profile twice")]
    Twice {
        /// The second one, from 1.
        number: usize,
        /// Role.
        role: String,
        /// Phase.
        phase: String,
    },
    /// A rule that cannot be enforced.
    #[error("scope {number} ({role}, {phase}), {list}, entry {at}: {problem}")]
    Rule {
        /// Which scope, from 1.
        number: usize,
        /// Role.
        role: String,
        /// Phase.
        phase: String,
        /// Which list.
        list: &'static str,
        /// Which entry of it, from 1.
        at: usize,
        /// What is wrong with it.
        problem: String,
    },
}

impl Part {
    /// The list of a family.
    pub fn list(&self, family: Family) -> &Vec<String> {
        match family {
            Family::Destination => &self.connect,
            Family::Read => &self.read,
            Family::Write => &self.write,
            Family::Exec => &self.exec,
            Family::Unix => &self.unix,
            Family::Listen => &self.listen,
            Family::Name => &self.names,
            Family::Facility => &self.facilities,
        }
    }

    fn list_mut(&mut self, family: Family) -> &mut Vec<String> {
        match family {
            Family::Destination => &mut self.connect,
            Family::Read => &mut self.read,
            Family::Write => &mut self.write,
            Family::Exec => &mut self.exec,
            Family::Unix => &mut self.unix,
            Family::Listen => &mut self.listen,
            Family::Name => &mut self.names,
            Family::Facility => &mut self.facilities,
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            connect: self.connect.clone(),
            read: self.read.clone(),
            write: self.write.clone(),
            exec: self.exec.clone(),
            unix: self.unix.clone(),
            listen: self.listen.clone(),
            facilities: self.facilities.clone(),
        }
    }

    fn has_any(&self) -> bool {
        Family::ALL
            .iter()
            .any(|family| !self.list(*family).is_empty())
    }

    /// Role and phase; `None` where the words mean nothing.
    fn kind(&self) -> Option<(Role, Phase)> {
        Some((role_from(&self.role)?, phase_from(&self.phase)?))
    }
}

impl Profile {
    /// What a baseline has seen of a workload. Entries that somebody put in and nobody has seen yet
    /// (count 0) are left out.
    pub fn of(workload: &str, baseline: &Baseline) -> Self {
        let mut parts = vec![];
        for scope in baseline.scopes().filter(|scope| scope.workload == workload) {
            let mut part = Part {
                role: role_name(scope.role).into(),
                phase: phase_name(scope.phase).into(),
                ..Part::default()
            };
            for (family, subject, entry) in baseline.entries(scope) {
                if entry.count > 0 {
                    part.list_mut(family).push(subject.to_owned());
                }
            }
            if part.has_any() {
                parts.push(part);
            }
        }
        let mut profile = Self {
            format: FORMAT,
            workload: workload.into(),
            provenance: Provenance::Recorded,
            note: String::new(),
            families: every_family(),
            parts,
            signature: None,
        };
        profile.order();
        profile
    }

    /// What the kernel can be told of it, by role and phase.
    pub fn rules(&self) -> impl Iterator<Item = ((Role, Phase), Rules)> {
        let parts = self.parts.iter();
        parts.filter_map(|part| Some((part.kind()?, part.rules())))
    }

    /// Whether its list for a family is complete.
    pub fn covers(&self, family: Family) -> bool {
        self.families.iter().any(|name| name == family_name(family))
    }

    /// Takes the lists of a family over from another profile, whatever this one had.
    pub fn take_family(&mut self, family: Family, from: &Self) {
        for part in &mut self.parts {
            part.list_mut(family).clear();
        }
        for part in &from.parts {
            let list = part.list(family).clone();
            if !list.is_empty() {
                *self.part_mut(&part.role, &part.phase).list_mut(family) = list;
            }
        }
        if !self.covers(family) {
            self.families.push(family_name(family).into());
        }
        self.parts.retain(Part::has_any);
        self.order();
    }

    /// Adds a subject; false if it is there.
    pub fn add(&mut self, role: Role, phase: Phase, family: Family, subject: &str) -> bool {
        let list = self
            .part_mut(role_name(role), phase_name(phase))
            .list_mut(family);
        let is_new = !list.iter().any(|known| known == subject);
        if is_new {
            list.push(subject.into());
        }
        self.order();
        is_new
    }

    /// Takes a subject out; false if it is not there.
    pub fn remove(&mut self, role: Role, phase: Phase, family: Family, subject: &str) -> bool {
        let list = self
            .part_mut(role_name(role), phase_name(phase))
            .list_mut(family);
        let before = list.len();
        list.retain(|known| known != subject);
        let removed = list.len() < before;
        self.parts.retain(Part::has_any);
        removed
    }

    fn part_mut(&mut self, role: &str, phase: &str) -> &mut Part {
        let at = self
            .parts
            .iter()
            .position(|part| part.role == role && part.phase == phase);
        let at = at.unwrap_or_else(|| {
            self.parts.push(Part {
                role: role.into(),
                phase: phase.into(),
                ..Part::default()
            });
            self.parts.len() - 1
        });
        &mut self.parts[at]
    }

    /// Everything in its place, so that equal content is equal text.
    fn order(&mut self) {
        self.families.sort_unstable();
        self.families.dedup();
        for part in &mut self.parts {
            for family in Family::ALL {
                let list = part.list_mut(family);
                list.sort_unstable();
                list.dedup();
            }
        }
        self.parts
            .sort_by(|a, b| (&a.role, &a.phase).cmp(&(&b.role, &b.phase)));
    }

    /// The baseline in which exactly this is known of `workload`. Nothing in it was counted.
    pub fn to_baseline(&self, workload: &str) -> Baseline {
        let mut baseline = Baseline::default();
        for part in &self.parts {
            let Some((role, phase)) = part.kind() else {
                continue;
            };
            let scope = Scope {
                workload: workload.into(),
                role,
                phase,
            };
            for family in Family::ALL {
                for subject in part.list(family) {
                    baseline.insert(&scope, family, subject, Entry::default());
                }
            }
        }
        baseline
    }

    /// Reads and checks the text of a profile. A signature is taken along, not checked:
    /// [`Profile::verify`].
    pub fn from_toml(text: &str) -> Result<Self, ProfileError> {
        let mut profile: Self =
            toml::from_str(text).map_err(|e| ProfileError::Syntax(e.to_string()))?;
        if profile.format != FORMAT {
            return Err(ProfileError::Format(profile.format));
        }
        profile.check()?;
        profile.order();
        Ok(profile)
    }

    fn check(&self) -> Result<(), ProfileError> {
        let unknown = |name: &&String| family_from(name).is_none();
        if let Some(name) = self.families.iter().find(unknown) {
            return Err(ProfileError::Family(name.clone()));
        }
        let mut kinds = BTreeSet::new();
        for (number, part) in (1..).zip(&self.parts) {
            let bad = |what, word: &str| ProfileError::Word {
                number,
                what,
                word: word.into(),
            };
            role_from(&part.role).ok_or_else(|| bad("role", &part.role))?;
            phase_from(&part.phase).ok_or_else(|| bad("phase", &part.phase))?;
            if !kinds.insert((&part.role, &part.phase)) {
                return Err(ProfileError::Twice {
                    number,
                    role: part.role.clone(),
                    phase: part.phase.clone(),
                });
            }
            if let Some((list, at, problem)) = check_rules(&part.rules(), false).into_iter().next()
            {
                return Err(ProfileError::Rule {
                    number,
                    role: part.role.clone(),
                    phase: part.phase.clone(),
                    list,
                    at: at + 1,
                    problem: problem.to_string(),
                });
            }
        }
        Ok(())
    }

    /// The text. Equal profiles have equal texts.
    pub fn to_toml(&self) -> String {
        let mut ordered = self.clone();
        ordered.order();
        // Strings, numbers and lists of strings: there is nothing that cannot be written.
        toml::to_string_pretty(&ordered).unwrap_or_default()
    }

    /// What a signature is made over: the text without any.
    fn content(&self) -> String {
        let mut bare = self.clone();
        bare.signature = None;
        bare.to_toml()
    }

    /// SHA-256 of the content, in hexadecimal: names this very profile, signed or not.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(self.content());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Subjects by family, over all scopes.
    pub fn sizes(&self) -> BTreeMap<Family, usize> {
        let size = |family| self.parts.iter().map(|part| part.list(family).len()).sum();
        Family::ALL.into_iter().map(|f| (f, size(f))).collect()
    }
}
