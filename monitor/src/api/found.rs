//! What the API shows of workloads that were found: evidence, capabilities, models, agents. Values
//! only, as in [`super::view`].

use serde::{Deserialize, Serialize};

/// What the detectors say about a workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The detector that fits best.
    pub detector: String,
    /// The sum of the evidence.
    pub score: f64,
    /// From this sum on it is a workload.
    pub threshold: f64,
    /// What was seen.
    pub evidence: Vec<Evidence>,
    /// What its command line says it may do.
    pub capabilities: Vec<Capability>,
    /// MCP servers that it was told of.
    pub mcp_servers: Vec<String>,
    /// Models and adapters, the largest first.
    pub models: Vec<Model>,
    /// systemd unit.
    pub unit: Option<String>,
    /// Container: runtime and id.
    pub container: Option<String>,
    /// Uid of the Kubernetes pod.
    pub pod: Option<String>,
    /// TCP ports that its servers listen on.
    pub ports: Vec<u16>,
    /// Its servers' processes; several are replicas or workers.
    pub servers: Vec<u32>,
}

/// One thing that was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// `program`, `command`, `library`, `model`, `option`, `memory`, `listener`, `accelerator`,
    /// `environment`.
    pub source: String,
    /// What exactly.
    pub seen: String,
    /// What it adds.
    pub weight: f64,
    /// Which detector says so.
    pub detector: String,
}

/// Something that a server was told it may do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capability {
    /// The word for it.
    pub what: String,
    /// The option that says so.
    pub option: String,
    /// In a sentence.
    pub means: String,
}

/// A model or adapter file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its path, as the server sees it.
    pub path: String,
    /// Its format.
    pub format: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256; absent while it is being worked out.
    pub sha256: Option<String>,
    /// Why there is no digest.
    pub error: Option<String>,
    /// Its name for itself.
    pub name: Option<String>,
    /// Architecture, or who made it.
    pub architecture: Option<String>,
    /// Quantisation, or types of its tensors.
    pub quantisation: Option<String>,
    /// Tokens that it can attend to.
    pub context: Option<u64>,
    /// Tensors.
    pub tensors: Option<u64>,
    /// It is an adapter to another model.
    pub adapter: bool,
    /// SHA-256 of its chat template, which is code.
    pub template_sha256: Option<String>,
    /// Loading it runs code that is in it.
    pub runs_code: bool,
    /// Other metadata.
    pub metadata: Vec<(String, String)>,
    /// The file could not be read to the end of its header.
    pub partial: bool,
}

/// A local process that calls a workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Its name in this workload.
    pub id: String,
    /// `offered`, `enrolled`, `dismissed`.
    pub state: String,
    /// Its program.
    pub exe: String,
    /// Arguments by which it is recognised.
    pub arguments: Vec<String>,
    /// systemd unit.
    pub unit: Option<String>,
    /// Its user.
    pub uid: u32,
    /// Its processes.
    pub pids: Vec<u32>,
    /// What was seen of it, in sentences.
    pub evidence: Vec<String>,
    /// The next one like it is recognised when it starts; otherwise only those that run are
    /// enrolled.
    pub recognisable: bool,
}

/// `GET /v1/detection`: the search itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Whether workloads are looked for.
    pub enabled: bool,
    /// Processes that come near and stay below the threshold.
    pub candidates: Vec<Candidate>,
    /// Names of workloads that are not to be found again.
    pub dismissed: Vec<String>,
    /// What was found and could not be guarded, in sentences.
    pub refused: Vec<String>,
}

/// A process that comes near.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its id.
    pub pid: u32,
    /// Its program.
    pub exe: String,
    /// The detector that fits best.
    pub detector: String,
    /// The sum of the evidence.
    pub score: f64,
    /// What was seen.
    pub evidence: Vec<Evidence>,
}

/// `POST /v1/workloads/{workload}/{action}`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// The agent, by its name or by the number of one of its processes.
    #[serde(default)]
    pub agent: Option<String>,
    /// Why; kept in the audit trail.
    #[serde(default)]
    pub reason: String,
}

/// The answer to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// What was done, in a sentence.
    pub done: String,
}
