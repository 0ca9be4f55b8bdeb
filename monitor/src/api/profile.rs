//! What the API says about lists of what workloads may do. Re-exported by [`super::view`].

use serde::{Deserialize, Serialize};

/// `GET /v1/profile/{workload}/{learned|approved}`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Workload.
    pub workload: String,
    /// SHA-256 of the content, hexadecimal.
    pub fingerprint: String,
    /// The profile, TOML.
    pub text: String,
    /// Who approved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approval>,
}

/// Who approved a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// When, RFC 3339.
    pub time: String,
    /// User.
    pub uid: u32,
    /// Why.
    pub reason: String,
    /// Whether the workload is held to it outside of mode `learn`; false after it learned again.
    pub active: bool,
}

/// `POST /v1/baseline/{workload}/{approve|reject|import|reset}`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BaselineOrder {
    /// Why; kept in the audit trail.
    pub reason: String,
    /// Only these families.
    pub families: Vec<String>,
    /// Only processes with this role.
    pub role: Option<String>,
    /// Only in this phase.
    pub phase: Option<String>,
    /// Only this subject.
    pub subject: Option<String>,
    /// The profile to import, TOML.
    pub profile: Option<String>,
}

/// `GET /v1/evidence/{workload}`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Workload.
    pub workload: String,
    /// Steps of its lifecycle: what was watched and what is missing, in sentences.
    pub lifecycle: Vec<String>,
    /// Families of which anything is known.
    pub families: Vec<FamilyEvidence>,
    /// What is known about bytes, per connector.
    #[serde(default)]
    pub volumes: Vec<VolumeEvidence>,
    /// Connectors that there was no room for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwatched: Option<String>,
    /// Whether its episodes are judged as a whole, in sentences.
    #[serde(default)]
    pub episodes: Vec<String>,
    /// Its lineages, and what waits to be on its lists.
    #[serde(default)]
    pub lineage: Lineage,
}

/// The lineages of a workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// When each began and why, in sentences, the latest last.
    pub began: Vec<String>,
    /// What was tried and is not on its lists.
    pub waiting: Vec<Waiting>,
    /// How much more waits.
    pub more: usize,
}

/// Something that was tried and is not on a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// Role.
    pub role: String,
    /// Phase.
    pub phase: String,
    /// Family.
    pub family: String,
    /// Destination, path or name.
    pub subject: String,
    /// How often it was tried.
    pub times: u64,
    /// On how many days.
    pub days: u32,
    /// For what it waits, in words; empty where it is added next.
    pub waits: Vec<String>,
}

/// What is known about the bytes of one connector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VolumeEvidence {
    /// Role.
    pub role: String,
    /// Phase.
    pub phase: String,
    /// Always `volume`.
    pub family: String,
    /// Destination, or `*:8080/tcp` for a port of the workload's own.
    pub connector: String,
    /// Bursts are judged.
    pub bursts: bool,
    /// Slow leaks are watched for.
    pub leaks: bool,
    /// For a person.
    pub lines: Vec<String>,
}

/// How complete the baseline of one family is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FamilyEvidence {
    /// Role.
    pub role: String,
    /// Phase.
    pub phase: String,
    /// Family.
    pub family: String,
    /// What a deviation may lead to, in a word.
    pub tier: String,
    /// The mode that amounts to: `learn`, `monitor` or `enforce`.
    pub state: String,
    /// `none`, `evidence` or `declared`.
    pub basis: String,
    /// Days to the next tier at this rate, where it can be said.
    pub days: Option<f64>,
    /// For a person, one sentence each.
    pub lines: Vec<String>,
}
