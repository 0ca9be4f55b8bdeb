//! Adding up: what speaks for a process being an inference workload.

use super::{
    accelerator::accelerator,
    evidence::{Evidence, Source, Verdict},
    facts::{FileSeen, How, ProcessFacts},
    library::{is_inference_library, owns},
    lookalikes::handles_any_file,
    program::{Program, base_name, program},
    servers::{Detector, MODEL_OPTIONS, SERVERS, Server, fits},
};
use crate::text::escape;

/// Hundredths of each sign.
mod weight {
    pub const PROGRAM: u32 = 60;
    pub const COMMAND: u32 = 20;
    pub const LIBRARY: u32 = 70;
    pub const MODEL: u32 = 80;
    /// A model file so small, and only read, that anything could look at it.
    pub const SMALL_MODEL: u32 = 50;
    /// A model file that an option names, and that is not open.
    pub const NAMED_MODEL: u32 = 60;
    pub const OPTION: u32 = 30;
    pub const MEMORY: u32 = 30;
    pub const ACCELERATOR: u32 = 20;
    pub const KNOWN_PORT: u32 = 20;
    /// A service that computes models: each half of that says more beside the other.
    pub const SERVES_LIBRARY: u32 = 30;
    pub const LISTENS: u32 = 10;
    pub const OWN_VARIABLES: u32 = 20;
    pub const OTHER_VARIABLES: u32 = 5;
}

/// From this length on a model file that is only read counts in full.
const LARGE: u64 = 1 << 20;
/// From this length on memory is compared with the file's length.
const HUGE: u64 = 16 << 20;
/// Things of one kind that are shown.
const SHOWN: usize = 4;
/// Variables of frameworks that many programs share.
const OTHER_VARIABLES: &[&str] = &[
    "HF_HOME",
    "HF_HUB_",
    "CUDA_VISIBLE_DEVICES",
    "TRANSFORMERS_",
];

/// Scores one process: once for each server of which it has a sign, and the highest score wins.
pub fn score(facts: &ProcessFacts) -> Verdict {
    let program = program(facts);
    let signed = SERVERS
        .iter()
        .filter(|server| has_sign(server, facts, &program));
    let mut best: Option<Verdict> = None;
    for server in signed {
        let verdict = score_as(Some(server), facts, &program);
        if best.as_ref().is_none_or(|b| verdict.score > b.score) {
            best = Some(verdict);
        }
    }
    best.unwrap_or_else(|| score_as(None, facts, &program))
}

fn score_as(server: Option<&Server>, facts: &ProcessFacts, program: &Program<'_>) -> Verdict {
    let detector = server.map_or(Detector::Generic, |s| s.id);
    let mut found = Findings {
        detector,
        evidence: vec![],
    };
    if let Some(server) = server {
        found.named(server, facts, program);
    }
    found.library(server, facts);
    found.models(facts, program);
    found.option(server, facts, program);
    found.listener(server, facts);
    found.accelerator(facts);
    found.environment(server, facts);
    let mut evidence = found.evidence;
    evidence.sort_by_key(|e| (std::cmp::Reverse(e.weight), e.source));
    Verdict {
        detector,
        score: evidence.iter().map(|e| e.weight).sum(),
        evidence,
    }
}

/// Whether there is a sign of this very server.
fn has_sign(server: &Server, facts: &ProcessFacts, program: &Program<'_>) -> bool {
    name_sign(server, facts, program).is_some() || facts.libraries.iter().any(|l| owns(server, l))
}

/// What in names is this server's: program, module, script or title.
fn name_sign(server: &Server, facts: &ProcessFacts, program: &Program<'_>) -> Option<String> {
    let any = |patterns: &[&str], name: &str| patterns.iter().any(|p| fits(p, name));
    let command = program.command(&facts.argv);
    if command.is_some_and(|c| server.other_commands.contains(&c)) {
        return None;
    }
    let placed = |p: &&str| p.starts_with('/') && facts.exe.contains(*p);
    let named = any(server.programs, program.name) || server.programs.iter().any(placed);
    if !program.interpreter && named {
        return Some(format!("runs {}", escape(facts.exe.as_bytes())));
    }
    if let Some((_, script)) = program.script {
        let name = base_name(script);
        let stem = name.strip_suffix(".py").unwrap_or(name);
        if any(server.scripts, stem) || any(server.programs, name) {
            let (what, script) = (escape(program.name.as_bytes()), escape(script.as_bytes()));
            return Some(format!("{what} runs {script}"));
        }
    }
    let first = facts.argv.first().map_or("", String::as_str);
    let title = server
        .titles
        .iter()
        .find(|t| facts.comm.starts_with(**t) || first.starts_with(**t))?;
    Some(format!("calls itself {title}…"))
}

struct Findings {
    detector: Detector,
    evidence: Vec<Evidence>,
}

impl Findings {
    /// `own`: a sign of this very server, not of inference in general.
    fn add(&mut self, source: Source, weight: u32, own: bool, seen: String) {
        let detector = if own {
            self.detector
        } else {
            Detector::Generic
        };
        self.evidence.push(Evidence {
            source,
            seen,
            weight,
            detector,
        });
    }

    fn has(&self, source: Source) -> bool {
        self.evidence
            .iter()
            .any(|e| e.source == source && e.weight > 0)
    }

    fn named(&mut self, server: &Server, facts: &ProcessFacts, program: &Program<'_>) {
        let Some(seen) = name_sign(server, facts, program) else {
            return;
        };
        self.add(Source::Program, weight::PROGRAM, true, seen);
        let command = program.command(&facts.argv);
        if let Some(word) = command.filter(|c| server.commands.contains(c)) {
            let seen = format!("told to `{}`", escape(word.as_bytes()));
            self.add(Source::Command, weight::COMMAND, true, seen);
        }
    }

    fn library(&mut self, server: Option<&Server>, facts: &ProcessFacts) {
        let own = |l: &&String| server.is_some_and(|s| owns(s, l));
        let library = facts
            .libraries
            .iter()
            .find(own)
            .or_else(|| facts.libraries.iter().find(|l| is_inference_library(l)));
        if let Some(library) = library {
            let seen = format!("maps {}", escape(library.as_bytes()));
            let own = own(&library);
            self.add(Source::Library, weight::LIBRARY, own, seen);
        }
    }

    fn models(&mut self, facts: &ProcessFacts, program: &Program<'_>) {
        let any_file = handles_any_file(&facts.exe)
            || program.script.is_some_and(|(_, s)| handles_any_file(s));
        let mut files: Vec<&FileSeen> = facts
            .files
            .iter()
            .filter(|f| f.format.is_some_and(|format| format.is_model()))
            .collect();
        files.sort_by_key(|f| (std::cmp::Reverse((f.how, f.size)), &f.path));
        for (i, file) in files.iter().take(SHOWN).enumerate() {
            let weight = match file.how {
                _ if any_file || i > 0 => 0,
                How::Mapped => weight::MODEL,
                How::Read if file.size >= LARGE => weight::MODEL,
                How::Read => weight::SMALL_MODEL,
                How::Named => weight::NAMED_MODEL,
                How::Written => 0,
            };
            let how = match file.how {
                How::Mapped => "maps",
                How::Read => "has open",
                How::Named => "names",
                How::Written => "writes",
            };
            let format = file.format.map_or("", |f| f.name());
            let path = escape(file.path.as_bytes());
            let note = match (any_file, file.how) {
                (true, _) => " (a program that handles files of any kind: does not count)",
                (_, How::Written) => " (does not count)",
                _ => "",
            };
            let seen = format!("{how} the {format} file {path}{note}");
            self.add(Source::Model, weight, false, seen);
        }
        let Some(file) = files.first().filter(|f| f.how == How::Read && !any_file) else {
            return;
        };
        if file.size >= HUGE && facts.heap >= file.size {
            let seen = "holds as much memory of its own as the model file is long".to_owned();
            self.add(Source::Memory, weight::MEMORY, false, seen);
        }
    }

    fn option(&mut self, server: Option<&Server>, facts: &ProcessFacts, program: &Program<'_>) {
        let own = server.filter(|_| self.has(Source::Program));
        let Some((_, option, value)) = model_argument(own, facts, program) else {
            return;
        };
        let names_model = facts.files.iter().any(|f| {
            f.format.is_some_and(|format| format.is_model())
                && base_name(&f.path) == base_name(value)
        });
        if own.is_some() || names_model {
            let value = escape(value.as_bytes());
            let seen = format!("{option} {value}");
            self.add(Source::Option, weight::OPTION, own.is_some(), seen);
        }
    }

    fn listener(&mut self, server: Option<&Server>, facts: &ProcessFacts) {
        let Some(first) = facts.ports.first() else {
            return;
        };
        let known = facts
            .ports
            .iter()
            .find(|port| server.is_some_and(|s| s.ports.contains(port)));
        let (weight, port, note) = match known {
            _ if self.has(Source::Library) => (weight::SERVES_LIBRARY, known.unwrap_or(first), ""),
            Some(port) => (weight::KNOWN_PORT, port, ", its usual port"),
            None => (weight::LISTENS, first, ""),
        };
        let more = match facts.ports.len() {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        let seen = format!("listens on TCP port {port}{note}{more}");
        self.add(Source::Listener, weight, known.is_some(), seen);
    }

    fn accelerator(&mut self, facts: &ProcessFacts) {
        let found = facts
            .devices
            .iter()
            .find_map(|d| accelerator(d).map(|a| (a, d)));
        if let Some((accelerator, path)) = found {
            let path = escape(path.as_bytes());
            let seen = format!("has the accelerator {path} open ({})", accelerator.name);
            self.add(Source::Accelerator, weight::ACCELERATOR, false, seen);
        }
    }

    fn environment(&mut self, server: Option<&Server>, facts: &ProcessFacts) {
        let with = |starts: &[&str]| {
            let mut names: Vec<String> = facts
                .env
                .iter()
                .filter(|name| starts.iter().any(|s| name.starts_with(s)))
                .map(|name| escape(name.as_bytes()))
                .collect();
            names.sort();
            names.dedup();
            names.truncate(SHOWN);
            names
        };
        let own = with(server.map_or(&[][..], |s| s.variables));
        let (weight, names) = if own.is_empty() {
            (weight::OTHER_VARIABLES, with(OTHER_VARIABLES))
        } else {
            (weight::OWN_VARIABLES, own)
        };
        let own = weight == weight::OWN_VARIABLES;
        if !names.is_empty() {
            let seen = format!("environment has {}", names.join(", "));
            self.add(Source::Environment, weight, own, seen);
        }
    }
}

/// The argument that names the model: which one it is, the option, and the value.
pub(super) fn model_argument<'a>(
    server: Option<&Server>,
    facts: &'a ProcessFacts,
    program: &Program<'_>,
) -> Option<(usize, &'a str, &'a str)> {
    let options = server.map_or(&[][..], |s| s.model_options);
    let is_option = |word: &str| options.contains(&word) || MODEL_OPTIONS.contains(&word);
    for (at, word) in facts.argv.iter().enumerate().skip(program.first) {
        if let Some((option, value)) = word.split_once('=')
            && is_option(option)
            && !value.is_empty()
        {
            return Some((at, option, value));
        }
        if is_option(word)
            && let Some(value) = facts.argv.get(at + 1).filter(|v| !v.is_empty())
        {
            return Some((at + 1, word, value));
        }
    }
    // `vllm serve MODEL`
    let command = program.command(&facts.argv)?;
    let serves = server.is_some_and(|s| s.commands.contains(&command));
    let value = facts.argv.get(program.first + 1)?;
    (serves && !value.starts_with('-')).then_some((program.first + 1, "serves", value.as_str()))
}
