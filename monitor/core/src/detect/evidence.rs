//! Evidence and verdict: what was seen, what it weighs, and what it adds up to.
//!
//! Weights are hundredths, so that sums are exact; [`THRESHOLD`] is a whole.

use super::servers::Detector;

/// From this sum on, in hundredths, a process is taken for a workload.
pub const THRESHOLD: u32 = 100;

/// What kind of thing was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The program, script, module or process title is that of a known server.
    Program,
    /// Its first word on the command line is the one that makes it serve.
    Command,
    /// A shared library that computes models is mapped.
    Library,
    /// A model file is mapped or open.
    Model,
    /// An option names a model.
    Option,
    /// There is as much anonymous memory as the open model file is long.
    Memory,
    /// It listens on TCP.
    Listener,
    /// An accelerator is open.
    Accelerator,
    /// Names of environment variables.
    Environment,
}

impl Source {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Command => "command",
            Self::Library => "library",
            Self::Model => "model",
            Self::Option => "option",
            Self::Memory => "memory",
            Self::Listener => "listener",
            Self::Accelerator => "accelerator",
            Self::Environment => "environment",
        }
    }
}

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What kind of thing.
    pub source: Source,
    /// What exactly, in words; text of the process in it is escaped.
    pub seen: String,
    /// Hundredths that it adds; 0 for what is shown and does not count.
    pub weight: u32,
    /// Which detector says so.
    pub detector: Detector,
}

/// What all of it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The detector that fits best.
    pub detector: Detector,
    /// The sum in hundredths.
    pub score: u32,
    /// What was seen, the weightiest first.
    pub evidence: Vec<Evidence>,
}

impl Verdict {
    /// Whether this is a workload.
    pub fn found(&self) -> bool {
        self.score >= THRESHOLD
    }

    /// Whether a server that is known by name was recognised by its name.
    pub fn named(&self) -> bool {
        self.evidence.iter().any(|e| e.source == Source::Program)
    }
}
