//! Scanning: who runs, who was looked at lately, and what the detectors said.
//!
//! A process is looked at when it is new, when its program or name changed, and then ever more
//! rarely: servers map their models seconds after they start, and hardly ever hours after.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use monitor_common::enrol::ExecutableKey;
use slmguard_core::detect::{
    FileSeen, How, ProcessFacts, Verdict,
    capability::{McpSource, mcp_sources},
    mcp,
    model::Format,
    program, score,
};

use super::{
    facts::{Gathered, gather},
    files::{ModelFile, Place, Sniffer, open_named},
    sockets::Sockets,
};
use crate::enrich::procfs::Proc;

/// First pause between two looks at a process, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// Hundredths from which on a process is remembered although it is no workload.
const NOTABLE: u32 = 50;
/// Options whose value is a file that belongs to the model.
const FILE_OPTIONS: &[&str] = &[
    "-m",
    "--model",
    "--model-path",
    "--lora",
    "--lora-scaled",
    "--mmproj",
    "--draft-model",
    "-md",
    "--control-vector",
    "--weights",
    "--onnx",
    "--gguf",
];

/// A process that was looked at and is worth remembering.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Its id.
    pub pid: u32,
    /// Its start in ticks since boot.
    pub start_ticks: u64,
    /// Its parent.
    pub parent: u32,
    /// What it shows of itself.
    pub facts: ProcessFacts,
    /// What the detectors say.
    pub verdict: Verdict,
    /// Its program, as the kernel knows it.
    pub executable: Option<ExecutableKey>,
    /// It sees the files that the daemon sees.
    pub own_files: bool,
    /// Its network namespace.
    pub namespace: u64,
    /// Inodes of its sockets.
    pub sockets: HashSet<u64>,
    /// How standard input and output are connected.
    pub stdio: mcp::Stdio,
    /// Model files that it uses or names.
    pub models: Vec<ModelFile>,
    /// MCP servers that its command line defines.
    pub mcp: Vec<mcp::Server>,
}

/// When a process is to be looked at again.
#[derive(Debug)]
struct Visit {
    start_ticks: u64,
    identity: (Vec<u8>, String),
    next: Instant,
    pause: Duration,
}

/// The scanner.
#[derive(Debug)]
pub struct Scanner {
    proc: Proc,
    root: PathBuf,
    visits: HashMap<u32, Visit>,
    sightings: HashMap<u32, Sighting>,
    sniffer: Sniffer,
    sockets: Sockets,
    mounts: Option<u64>,
}

impl Scanner {
    /// A scanner that has seen nothing yet.
    pub fn new(proc: Proc) -> Self {
        let root = proc.root().to_owned();
        Self {
            mounts: namespace(&root.join("self/ns/mnt")),
            proc,
            root,
            visits: HashMap::new(),
            sightings: HashMap::new(),
            sniffer: Sniffer::default(),
            sockets: Sockets::default(),
        }
    }

    /// Looks at everybody who is due. `member` tells whom to remember whatever the detectors say.
    ///
    /// # Errors
    /// `/proc` cannot be listed.
    pub fn scan(&mut self, member: &dyn Fn(u32) -> bool) -> std::io::Result<()> {
        self.sockets.clear();
        let own = std::process::id();
        let mut alive = HashSet::new();
        for pid in self.proc.pids()? {
            if pid == own {
                continue;
            }
            let Some(stat) = self.proc.stat(pid).filter(|stat| !stat.kernel) else {
                continue;
            };
            alive.insert(pid);
            if self.is_due(pid, stat.start_ticks) {
                self.look(pid, stat.parent, stat.start_ticks, member(pid));
            } else if let Some(sighting) = self.sightings.get_mut(&pid) {
                sighting.parent = stat.parent;
            }
        }
        self.visits.retain(|pid, _| alive.contains(pid));
        self.sightings.retain(|pid, _| alive.contains(pid));
        Ok(())
    }

    /// Looks at one process now, whenever it would be due.
    pub fn look_at(&mut self, pid: u32) -> Option<&Sighting> {
        let stat = self.proc.stat(pid).filter(|stat| !stat.kernel)?;
        self.look(pid, stat.parent, stat.start_ticks, true);
        self.sightings.get(&pid)
    }

    /// Everybody who is remembered.
    pub fn sightings(&self) -> impl Iterator<Item = &Sighting> {
        self.sightings.values()
    }

    /// One who is remembered.
    pub fn sighting(&self, pid: u32) -> Option<&Sighting> {
        self.sightings.get(&pid)
    }

    /// The remembered process that is at the top of the one's ancestry for as long as `fits` holds
    /// somewhere on the way.
    pub fn topmost(&self, pid: u32, fits: &dyn Fn(&Sighting) -> bool) -> u32 {
        const DEPTH: usize = 32;
        let (mut top, mut at) = (pid, pid);
        for _ in 0..DEPTH {
            let parent = match self.sightings.get(&at) {
                Some(sighting) => sighting.parent,
                None => match self.proc.stat(at) {
                    Some(stat) => stat.parent,
                    None => break,
                },
            };
            if parent <= 1 {
                break;
            }
            if self.sightings.get(&parent).is_some_and(fits) {
                top = parent;
            }
            at = parent;
        }
        top
    }

    /// The sockets around a process, read anew at most once per scan.
    pub(super) fn sockets_around(
        &mut self,
        pid: u32,
    ) -> (u64, &[slmguard_core::detect::socket::Socket]) {
        self.sockets.around(&self.root.join(pid.to_string()))
    }

    /// The next question about sockets is answered anew.
    pub(super) fn forget_sockets(&mut self) {
        self.sockets.clear();
    }

    /// The network namespace of a process.
    pub(super) fn network(&self, pid: u32) -> Option<u64> {
        namespace(&self.directory(pid).join("ns/net"))
    }

    /// Where processes are.
    pub(super) fn proc(&self) -> &Proc {
        &self.proc
    }

    /// The directory of a process.
    pub(super) fn directory(&self, pid: u32) -> PathBuf {
        self.root.join(pid.to_string())
    }

    fn is_due(&mut self, pid: u32, start_ticks: u64) -> bool {
        let identity = (
            self.proc.exe(pid).unwrap_or_default(),
            super::files::read_text(&self.directory(pid).join("comm"), 64),
        );
        let now = Instant::now();
        match self.visits.get_mut(&pid) {
            Some(visit) if visit.start_ticks == start_ticks && visit.identity == identity => {
                if now < visit.next {
                    return false;
                }
                visit.pause = (visit.pause * 2).min(PAUSES.1);
                visit.next = now + visit.pause;
            }
            _ => {
                let visit = Visit {
                    start_ticks,
                    identity,
                    next: now + PAUSES.0,
                    pause: PAUSES.0,
                };
                self.visits.insert(pid, visit);
            }
        }
        true
    }

    fn look(&mut self, pid: u32, parent: u32, start_ticks: u64, keep: bool) {
        let directory = self.directory(pid);
        let Gathered {
            mut facts,
            used,
            namespace: network,
        } = gather(&directory, &mut self.sniffer, &mut self.sockets);
        let mut models = used.models;
        self.add_named(&directory, &mut facts, &mut models);
        let verdict = score(&facts);
        if verdict.score < NOTABLE && !keep {
            self.sightings.remove(&pid);
            return;
        }
        let mcp = definitions(&directory, &facts);
        let sighting = Sighting {
            pid,
            start_ticks,
            parent,
            verdict,
            executable: self.proc.identity(pid),
            own_files: namespace(&directory.join("ns/mnt")) == self.mounts,
            namespace: network,
            sockets: used.sockets,
            stdio: used.stdio,
            models,
            mcp,
            facts,
        };
        self.sightings.insert(pid, sighting);
    }

    /// Model files that the command line names and that are closed by now.
    fn add_named(
        &mut self,
        directory: &Path,
        facts: &mut ProcessFacts,
        models: &mut Vec<ModelFile>,
    ) {
        // An interpreter's own options mean other things.
        let first = program(facts).first;
        let mut named = vec![];
        for (at, word) in facts.argv.iter().enumerate().skip(first) {
            let value = match word.split_once('=') {
                Some((option, value)) if FILE_OPTIONS.contains(&option) => Some(value),
                _ if FILE_OPTIONS.contains(&word.as_str()) => {
                    facts.argv.get(at + 1).map(String::as_str)
                }
                _ => None,
            };
            let Some(path) = value.filter(|v| !models.iter().any(|m| m.path == *v)) else {
                continue;
            };
            let Some(file) = open_named(directory, path) else {
                continue;
            };
            use std::os::fd::AsRawFd;
            let place = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            if let Some((format, id)) = self.sniffer.format(&place, path, &mut 1)
                && !models.iter().any(|m| m.id == id)
            {
                named.push(FileSeen {
                    path: path.to_owned(),
                    size: id.size,
                    format: Some(format),
                    how: How::Named,
                });
                models.push(ModelFile {
                    id,
                    path: path.to_owned(),
                    format,
                    place: Place::Named(directory.to_owned(), path.to_owned()),
                });
            }
        }
        facts.files.extend(named);
        models.retain(|m| m.format.is_model() || m.format == Format::Pickle);
        models.sort_by(|a, b| {
            (std::cmp::Reverse(a.id.size), &a.path).cmp(&(std::cmp::Reverse(b.id.size), &b.path))
        });
    }
}

/// MCP servers from the command line and from the files that it names.
fn definitions(directory: &Path, facts: &ProcessFacts) -> Vec<mcp::Server> {
    let mut found = vec![];
    for source in mcp_sources(facts) {
        match source {
            McpSource::Inline(servers) => found.extend(servers),
            McpSource::File(path) => {
                use std::io::Read;
                let mut bytes = vec![];
                if let Some(file) = open_named(directory, &path) {
                    // What was read before an error counts.
                    let _ = file
                        .take(mcp::LARGEST_CONFIG as u64)
                        .read_to_end(&mut bytes);
                }
                found.extend(mcp::parse_config(&bytes));
            }
        }
    }
    found
}

fn namespace(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|m| m.ino())
}

/// The largest model of a process, adapters last.
pub fn main_model(models: &[ModelFile]) -> Option<&ModelFile> {
    models.iter().find(|m| m.format.is_model())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_that_looks_like_nothing_is_not_remembered() {
        let mut child = Command::new("/bin/cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut scanner = Scanner::new(Proc::default());
        scanner.scan(&|_| false).unwrap();
        assert!(scanner.sighting(child.id()).is_none());
        assert!(scanner.sighting(std::process::id()).is_none(), "nor are we");
        let sighting = scanner.look_at(child.id()).unwrap();
        assert!(sighting.own_files && sighting.stdio.input && !sighting.verdict.found());
        drop(child.stdin.take());
        child.wait().unwrap();
        scanner.scan(&|_| true).unwrap();
        assert!(scanner.sighting(child.id()).is_none(), "it is gone");
    }

    #[test]
    fn a_copy_of_a_program_under_a_servers_name_with_a_model_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let exe = dir.path().join("llama-server");
        std::fs::copy("/bin/sleep", &exe).unwrap();
        let model = dir.path().join("m.gguf");
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.resize(2 << 20, 0);
        std::fs::write(&model, bytes).unwrap();
        // The shell keeps a descriptor open over the exec.
        let script = format!("exec 7<{}; exec {} 600", model.display(), exe.display());
        let mut child = Command::new("/bin/sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut scanner = Scanner::new(Proc::default());
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(seen) = scanner.look_at(child.id())
                && seen.verdict.found()
            {
                assert_eq!(seen.verdict.detector.id(), "llama.cpp");
                assert_eq!(
                    main_model(&seen.models).unwrap().path,
                    model.to_str().unwrap()
                );
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{:?}",
                scanner.sighting(child.id())
            );
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
