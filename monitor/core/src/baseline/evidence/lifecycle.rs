//! Lifecycle: what every service goes through sooner or later, and which of it was watched.
//!
//! Rare steps (a log rotation, a renewed certificate) bring behaviour that no number of requests
//! shows: they are waited for by name. Knows observations; what a step means for promotion,
//! [`super::promotion`] says. Paths are judged by their names, never read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use monitor_common::{
    class::{Phase, Role},
    event::change::Action,
    path::permission::{READ, WRITE},
};
use serde::{Deserialize, Serialize};

use crate::{
    observation::{Fact, FileAccess, Observation, ProcessKey},
    text,
};

/// Files whose replacement is watched for, per workload.
const MAX_FILES: usize = 1024;
/// Server processes that are followed at once.
const MAX_SERVERS: usize = 4096;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The service was started.
    Start,
    /// It was started again, for whatever reason.
    Restart,
    /// A model was mapped before it served.
    Load,
    /// It was called for the first time.
    Serve,
    /// A model or cache was replaced while it served.
    Refresh,
    /// A log file was put aside, or a new one was opened in its place.
    Rotation,
    /// A certificate, key or token was replaced and read again.
    Renewal,
    /// Its configuration was read again.
    Reload,
    /// It died, and was started again.
    Crash,
    /// More than one of it ran at once.
    ScaleOut,
    /// It was stopped in good order.
    Stop,
}

impl Step {
    /// Every step, in the order in which they are listed.
    pub const ALL: [Self; 11] = [
        Self::Start,
        Self::Load,
        Self::Serve,
        Self::Refresh,
        Self::Rotation,
        Self::Renewal,
        Self::Reload,
        Self::ScaleOut,
        Self::Stop,
        Self::Restart,
        Self::Crash,
    ];

    /// The word that commands and the store know it by.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Load => "load",
            Self::Serve => "serve",
            Self::Refresh => "refresh",
            Self::Rotation => "rotation",
            Self::Renewal => "renewal",
            Self::Reload => "reload",
            Self::Crash => "crash",
            Self::ScaleOut => "scale-out",
            Self::Stop => "stop",
        }
    }

    /// The step for a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.word() == word)
    }

    /// How it can be recognised.
    pub const fn recognised(self) -> Recognised {
        match self {
            Self::Start
            | Self::Restart
            | Self::Serve
            | Self::Crash
            | Self::ScaleOut
            | Self::Stop => Recognised::Always,
            // Who reads models without mapping them shows no load and no refresh.
            Self::Load | Self::Refresh | Self::Rotation | Self::Renewal | Self::Reload => {
                Recognised::ByFiles
            }
        }
    }

    /// Whether an operator may say that it does not apply. A start and a restart always do.
    pub const fn may_not_apply(self) -> bool {
        !matches!(self, Self::Start | Self::Restart)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Load => "loading of a model",
            Self::Serve => "first call",
            Self::Refresh => "replacement of a model or cache",
            Self::Rotation => "log rotation",
            Self::Renewal => "renewal of a certificate or token",
            Self::Reload => "reload of the configuration",
            Self::Crash => "restart after a crash",
            Self::ScaleOut => "scaling out",
            Self::Stop => "stop in good order",
        })
    }
}

/// How a step can be recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// From events that the kernel always tells.
    Always,
    /// From names and identities of files: it may go unnoticed where these are unusual, and then the
    /// operator declares it.
    ByFiles,
}

/// What is known of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// It was watched.
    Watched {
        /// How often.
        times: u64,
        /// When it was last, nanoseconds since the epoch.
        last: u64,
    },
    /// The operator says that it does not apply.
    NotApplicable {
        /// Why.
        reason: String,
        /// When that was said.
        since: u64,
    },
}

/// The list of one workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lifecycle {
    steps: BTreeMap<Step, Coverage>,
    /// Inode of each file whose replacement is watched for.
    #[serde(skip)]
    files: BTreeMap<Vec<u8>, (u64, u64)>,
    /// Configuration files read before it served.
    #[serde(skip)]
    configuration: BTreeSet<Vec<u8>>,
    /// Servers and agents that live: a workload may have both, and each is started for itself.
    #[serde(skip)]
    living: BTreeMap<ProcessKey, Role>,
    /// Numbers of the roles that were started at some time.
    #[serde(default)]
    started: BTreeSet<u8>,
    #[serde(default)]
    crashed: bool,
}

impl Lifecycle {
    /// Takes an observation of the workload in; returns the steps that it shows.
    pub fn observe(&mut self, seen: &Observation) -> Vec<Step> {
        let mut steps = self.of_process(seen);
        steps.extend(self.of_files(seen));
        for step in &steps {
            self.watched(*step, seen.time);
        }
        steps
    }

    /// A step was watched, says who knows: another host, or the operator who triggered it.
    pub fn watched(&mut self, step: Step, time: u64) {
        match self.steps.get_mut(&step) {
            Some(Coverage::Watched { times, last }) => {
                *times = times.saturating_add(1);
                *last = (*last).max(time);
            }
            _ => {
                self.steps.insert(
                    step,
                    Coverage::Watched {
                        times: 1,
                        last: time,
                    },
                );
            }
        }
    }

    /// The operator says that a step does not apply. Refused for those that always do. What was
    /// watched stays so.
    pub fn declare(&mut self, step: Step, reason: &str, time: u64) -> Result<(), String> {
        if !step.may_not_apply() {
            return Err(format!("every service has a {step}: it has to be watched"));
        }
        if reason.trim().is_empty() {
            return Err("a declaration needs a reason".into());
        }
        self.steps
            .entry(step)
            .or_insert_with(|| Coverage::NotApplicable {
                reason: text::escape(reason.as_bytes()),
                since: time,
            });
        Ok(())
    }

    /// The list of a workload that begins anew: what an operator said of its steps still holds.
    pub fn anew(&self) -> Self {
        let declared =
            |(_, coverage): &(&Step, &Coverage)| matches!(coverage, Coverage::NotApplicable { .. });
        let steps = self.steps.iter().filter(declared);
        Self {
            steps: steps.map(|(step, of)| (*step, of.clone())).collect(),
            ..Self::default()
        }
    }

    /// What is known of a step; `None` where it is missing.
    pub fn coverage(&self, step: Step) -> Option<&Coverage> {
        self.steps.get(&step)
    }

    /// Steps that are neither watched nor declared.
    pub fn missing(&self) -> Vec<Step> {
        let missing = |step: &Step| !self.steps.contains_key(step);
        Step::ALL.into_iter().filter(missing).collect()
    }

    /// Whether the list is complete.
    pub fn is_whole(&self) -> bool {
        Step::ALL.iter().all(|step| self.steps.contains_key(step))
    }

    /// What another host watched counts as well; what was watched anywhere is more than a
    /// declaration.
    pub fn merge(&mut self, other: &Self) {
        self.started.extend(&other.started);
        for (step, theirs) in &other.steps {
            match (self.steps.get_mut(step), theirs) {
                (
                    Some(Coverage::Watched { times, last }),
                    Coverage::Watched {
                        times: more,
                        last: later,
                    },
                ) => {
                    *times = times.saturating_add(*more);
                    *last = (*last).max(*later);
                }
                (Some(_), Coverage::NotApplicable { .. }) => {}
                _ => {
                    self.steps.insert(*step, theirs.clone());
                }
            }
        }
    }

    /// For a person: what is covered, what is missing, and what can be done about it.
    pub fn lines(&self) -> Vec<String> {
        let mut covered = vec![];
        let mut lines = vec![];
        for step in Step::ALL {
            match self.steps.get(&step) {
                Some(Coverage::Watched { times, .. }) => covered.push(match times {
                    1 => step.to_string(),
                    n => format!("{step} ({n} times)"),
                }),
                Some(Coverage::NotApplicable { reason, .. }) => {
                    lines.push(format!("does not apply: {step} ({reason})"));
                }
                None => {}
            }
        }
        if !covered.is_empty() {
            lines.insert(0, format!("watched: {}", covered.join(", ")));
        }
        for step in self.missing() {
            let advice = match (step.recognised(), step.may_not_apply()) {
                (_, false) => "do it once",
                (Recognised::Always, true) => "do it once, or declare that it does not apply",
                (Recognised::ByFiles, true) => {
                    "do it once; if it goes unnoticed or does not apply, declare that"
                }
            };
            lines.push(format!("missing: {step}: {advice}"));
        }
        lines
    }

    fn of_process(&mut self, seen: &Observation) -> Vec<Step> {
        let main = |role| matches!(role, Role::Server | Role::Agent);
        match &seen.fact {
            Fact::Exec {
                after: Some(after), ..
            } if main(after.role) && after.phase == Phase::Start => {
                let mut steps = vec![];
                // A wrapper that becomes the server is one start.
                if self.living.contains_key(&seen.process) {
                    return steps;
                }
                let again = !self.started.insert(after.role as u8);
                if self.living.values().any(|role| *role == after.role) {
                    steps.push(Step::ScaleOut);
                } else if again {
                    steps.push(Step::Restart);
                    if std::mem::take(&mut self.crashed) {
                        steps.push(Step::Crash);
                    }
                }
                steps.push(Step::Start);
                if self.living.len() < MAX_SERVERS {
                    self.living.insert(seen.process, after.role);
                }
                self.configuration.clear();
                steps
            }
            Fact::Exit { status } if self.living.remove(&seen.process).is_some() => {
                if *status != 0 && !stopped(*status) {
                    self.crashed = true;
                    return vec![];
                }
                vec![Step::Stop]
            }
            Fact::Accept { .. } => self.first(Step::Serve),
            _ => match seen.stage() {
                Some(Phase::Load) => vec![Step::Load],
                Some(Phase::Reload) => vec![Step::Refresh],
                _ => vec![],
            },
        }
    }

    fn first(&self, step: Step) -> Vec<Step> {
        let watched = matches!(self.steps.get(&step), Some(Coverage::Watched { .. }));
        if watched { vec![] } else { vec![step] }
    }

    fn of_files(&mut self, seen: &Observation) -> Vec<Step> {
        let serving = matches!(seen.scope.phase, Phase::Serve | Phase::Reload);
        match &seen.fact {
            Fact::Change {
                action: Action::RenameFrom | Action::RenameTo | Action::Truncate,
                file,
            } if is_log(&file.path) => vec![Step::Rotation],
            Fact::Change {
                action: Action::RenameTo,
                file,
            } if serving && is_model(&file.path) => vec![Step::Refresh],
            Fact::Open(file) if file.access & WRITE != 0 && is_log(&file.path) => {
                self.replaced(file, Step::Rotation)
            }
            Fact::Open(file) if file.access & READ != 0 && is_secret(&file.path) => {
                self.replaced(file, Step::Renewal)
            }
            Fact::Open(file) if file.access & READ != 0 && is_configuration(&file.path) => {
                if !serving {
                    if self.configuration.len() < MAX_FILES {
                        self.configuration.insert(file.path.clone());
                    }
                    vec![]
                } else if self.configuration.contains(&file.path) {
                    vec![Step::Reload]
                } else {
                    vec![]
                }
            }
            _ => vec![],
        }
    }

    /// The step, if the name leads to another file than before.
    fn replaced(&mut self, file: &FileAccess, step: Step) -> Vec<Step> {
        // Counts that the kernel brings back come without an inode.
        if file.inode == (0, 0) {
            return vec![];
        }
        match self.files.get_mut(&file.path) {
            Some(inode) if *inode == file.inode => vec![],
            Some(inode) => {
                *inode = file.inode;
                vec![step]
            }
            None => {
                if self.files.len() < MAX_FILES {
                    self.files.insert(file.path.clone(), file.inode);
                }
                vec![]
            }
        }
    }
}

/// A wait status that says: somebody asked it to go (SIGHUP, SIGINT, SIGTERM), or its exit code
/// says the same the way shells and container runtimes do.
fn stopped(status: u32) -> bool {
    let (signal, code) = (status & 0x7f, status >> 8 & 0xff);
    matches!(signal, 1 | 2 | 15) || signal == 0 && matches!(code, 129 | 130 | 143)
}

fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or_default()
}

fn ends(name: &[u8], with: &[&str]) -> bool {
    with.iter().any(|end| name.ends_with(end.as_bytes()))
}

fn is_log(path: &[u8]) -> bool {
    let name = file_name(path);
    ends(name, &[".log"]) || name.windows(5).any(|part| part == b".log.")
}

fn is_model(path: &[u8]) -> bool {
    ends(path, &[".gguf", ".safetensors", ".onnx", ".pt", ".pth"])
}

fn is_secret(path: &[u8]) -> bool {
    ends(path, &[".pem", ".crt", ".cer", ".key", "/token"])
}

/// What the C library reads anew with every look-up says nothing about the service.
const RESOLVER: &[&[u8]] = &[
    b"/etc/resolv.conf",
    b"/etc/nsswitch.conf",
    b"/etc/host.conf",
    b"/etc/gai.conf",
];

fn is_configuration(path: &[u8]) -> bool {
    !RESOLVER.contains(&path)
        && ends(
            path,
            &[
                ".toml",
                ".yaml",
                ".yml",
                ".conf",
                ".ini",
                ".cfg",
                ".env",
                "config.json",
            ],
        )
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
