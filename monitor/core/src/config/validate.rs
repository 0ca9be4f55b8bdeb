//! Whether a configuration makes sense: every mistake at once, each with what to do about it.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Component, Path, PathBuf},
};

use monitor_common::{
    class::{self, Phase, Role},
    enrol::{MAX_ARGS, SLOTS},
    hash::HashKey,
    limits::{EVENT_ARGV, MAX_ARGUMENTS, MAX_CLASSES, MAX_EXECUTABLES, MAX_PROXIES},
};

use super::{BY_APPROVAL, BY_QUORUM, Config, MAX_OF_WORKLOAD, Process, Rules, Workload, proxy};
use crate::{
    baseline::Baseline,
    decide::{
        CompileError, Undeniable,
        policy::{PolicyInputs, PolicyLimits, check_rules, compile_policy},
    },
    observation::Scope,
    text::escape,
    workload::{PHASES, hook_from, mode_from, role_from, role_name},
};

/// Longest path of a unix socket: `sockaddr_un` holds 108 bytes with the zero at the end.
const SOCKET_PATH: usize = 107;
/// Longest name of a user (`LOGIN_NAME_MAX`).
const USER_NAME: usize = 256;

/// A mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `workload[0].allow.connect[2]`.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Every mistake in a configuration; none means that it can be used.
pub fn validate(config: &Config) -> Vec<Problem> {
    let mut found = Problems::default();
    for (key, path) in [
        ("state_dir", &config.state_dir),
        ("socket", &config.socket),
        ("pin_dir", &config.pin_dir),
    ] {
        found.directory(key, path);
    }
    if let Some(file) = &config.alerts.file {
        found.directory("alerts.file", file);
    }
    let socket = config.socket.as_os_str().len();
    if socket > SOCKET_PATH {
        found.add(
            "socket",
            format!("is {socket} bytes long; a unix socket's path can have {SOCKET_PATH}"),
        );
    }
    if let Err(message) = metrics_address(config) {
        found.add("metrics.listen", message);
    }
    found.word(
        "log.level",
        &config.log.level,
        &["error", "warn", "info", "debug", "trace"],
    );
    found.word("log.format", &config.log.format, &["human", "json"]);
    found.word(
        "kernel.tier",
        &config.kernel.tier,
        &["auto", "lsm", "cgroup"],
    );
    if let Err((key, message)) = config.volume.settings() {
        found.add(key, message);
    }
    for (at, hook) in config.kernel.disable_hooks.iter().enumerate() {
        if hook_from(hook).is_none() {
            let hook = quoted(hook);
            found.add(
                &format!("kernel.disable_hooks[{at}]"),
                format!("{hook} is not a hook; `slmguard doctor` lists their names"),
            );
        }
    }
    let odd = config.alerts.odd_per_day;
    if !(odd.is_finite() && odd >= 0.0) {
        found.add(
            "alerts.odd_per_day",
            "must be a number of 0 or more; 0 switches it off",
        );
    }
    for (at, workload) in config.workloads.iter().enumerate() {
        found.workload(&format!("workload[{at}]"), workload);
    }
    found.across_workloads(&config.workloads);
    if found.0.is_empty() {
        for (at, workload) in config.workloads.iter().enumerate() {
            found.fits(&format!("workload[{at}]"), workload);
        }
    }
    found.0
}

/// Where metrics are served; `None` where they are off.
pub fn metrics_address(config: &Config) -> Result<Option<SocketAddr>, String> {
    match config.metrics.listen.as_str() {
        "off" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            format!(
                "{} is not an address and port; write \"127.0.0.1:9464\" or \"off\"",
                quoted(text)
            )
        }),
    }
}

/// The file that alerts go to.
pub fn alerts_file(config: &Config) -> PathBuf {
    config
        .alerts
        .file
        .clone()
        .unwrap_or_else(|| config.state_dir.join("alerts.jsonl"))
}

/// Whether a text can be a workload's name: `[a-z0-9][a-z0-9-_.]{0,62}`.
pub fn is_workload_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|b| letter(*b))
        && bytes.len() <= 63
        && bytes
            .iter()
            .all(|b| letter(*b) || matches!(b, b'-' | b'_' | b'.'))
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, path: &str, message: impl Into<String>) {
        self.0.push(Problem {
            path: path.into(),
            message: message.into(),
        });
    }

    fn word(&mut self, path: &str, word: &str, known: &[&str]) {
        if !known.contains(&word) {
            self.add(
                path,
                format!(
                    "{} is not known; write one of: {}",
                    quoted(word),
                    known.join(", ")
                ),
            );
        }
    }

    fn directory(&mut self, key: &str, path: &Path) {
        if path.as_os_str().is_empty() {
            self.add(key, "is empty; write an absolute path");
        } else if !path.is_absolute() {
            self.add(key, format!("{} is not an absolute path", shown(path)));
        } else if !is_plain(path) {
            self.add(
                key,
                format!("{} holds `..`; write the path that is meant", shown(path)),
            );
        } else if path.parent().is_none() {
            self.add(key, "is the root directory; write a path of its own");
        }
    }

    fn workload(&mut self, at: &str, workload: &Workload) {
        if !is_workload_name(&workload.name) {
            self.add(
                &format!("{at}.name"),
                format!(
                    "{} is not a name: use 1 to 63 of a-z, 0-9, `-`, `_`, `.`, starting with a letter or digit",
                    quoted(&workload.name)
                ),
            );
        }
        if mode_from(&workload.mode).is_none() && workload.mode != "auto" {
            self.word(
                &format!("{at}.mode"),
                &workload.mode,
                &["learn", "monitor", "enforce", "auto"],
            );
        }
        if workload.processes.is_empty() {
            self.add(at, "has no process; add [[workload.process]] with a role and an exe, a cgroup or a unit");
        }
        for (i, process) in workload.processes.iter().enumerate() {
            self.process(&format!("{at}.process[{i}]"), process);
        }
        for (word, rules, denies) in [
            ("allow", &workload.allow, false),
            ("deny", &workload.deny, true),
        ] {
            for (list, i, error) in check_rules(rules, denies) {
                self.add(&format!("{at}.{word}.{list}[{i}]"), error.to_string());
            }
        }
        for (key, list) in [
            ("private", &workload.private),
            ("untrusted", &workload.untrusted),
        ] {
            let rules = Rules {
                read: list.clone(),
                ..Rules::default()
            };
            for (_, i, error) in check_rules(&rules, false) {
                self.add(&format!("{at}.{key}[{i}]"), error.to_string());
            }
        }
        self.word(
            &format!("{at}.adapt"),
            &workload.adapt,
            &[BY_APPROVAL, BY_QUORUM],
        );
        for (i, text) in workload.proxies.iter().enumerate() {
            if let Err(message) = proxy(text) {
                self.add(&format!("{at}.proxies[{i}]"), message);
            }
        }
        if workload.proxies.len() > MAX_OF_WORKLOAD {
            self.add(
                &format!("{at}.proxies"),
                format!("has more than {MAX_OF_WORKLOAD} proxies; name those that it really calls"),
            );
        }
        for (role, word) in &workload.undeniable {
            let path = format!("{at}.undeniable.{}", escape(role.as_bytes()));
            self.role(&path, role);
            if Undeniable::from_word(word).is_none() {
                self.word(&path, word, &["kill", "alert"]);
            }
        }
    }

    /// Whether the rules alone, before anything is learned, are more than the kernel can hold.
    fn fits(&mut self, at: &str, workload: &Workload) {
        let scope = Scope {
            workload: workload.name.clone(),
            role: Role::Tool,
            phase: Phase::Start,
        };
        let compiled = compile_policy(&PolicyInputs {
            policy: 0,
            key: HashKey { k0: 1, k1: 2 },
            first_state: 1,
            baseline: &Baseline::default(),
            scope: &scope,
            allow: &workload.allow,
            deny: &workload.deny,
            limits: PolicyLimits::default(),
        });
        match compiled {
            // Under another key there is none.
            Ok(_) | Err(CompileError::HashCollision { .. }) => {}
            Err(e) => self.add(at, format!("its rules do not fit: {e}")),
        }
    }

    fn role(&mut self, path: &str, word: &str) {
        if role_from(word).is_none() {
            self.word(path, word, &crate::workload::ROLES.map(role_name));
        }
    }

    fn process(&mut self, at: &str, process: &Process) {
        self.role(&format!("{at}.role"), &process.role);
        if process.exe.is_none() && process.cgroup.is_none() && process.unit.is_none() {
            self.add(
                at,
                "says nothing that a process can be recognised by; add exe, cgroup or unit",
            );
        }
        if let Some(exe) = &process.exe {
            self.directory(&format!("{at}.exe"), exe);
        }
        if process.argv.len() > MAX_ARGS {
            self.add(
                &format!("{at}.argv"),
                format!("has more than {MAX_ARGS} arguments; name the telling ones"),
            );
        }
        for (i, argument) in process.argv.iter().enumerate() {
            let path = format!("{at}.argv[{i}]");
            if argument.is_empty() || argument.contains('\0') {
                self.add(
                    &path,
                    "is empty or holds a zero byte; no argument can be recognised by it",
                );
            } else if argument.len() >= EVENT_ARGV {
                self.add(
                    &path,
                    format!(
                        "is longer than the {EVENT_ARGV} bytes of arguments that are looked at"
                    ),
                );
            }
        }
        if let Some(cgroup) = &process.cgroup
            && (!cgroup.starts_with('/') || !is_plain(Path::new(cgroup)) || cgroup.contains('\0'))
        {
            let cgroup = quoted(cgroup);
            self.add(
                &format!("{at}.cgroup"),
                format!("{cgroup} is not a path below the cgroup mount; write for example \"/system.slice/llama.service\""),
            );
        }
        if let Some(unit) = &process.unit
            && (unit.is_empty()
                || unit.len() > 255
                || unit.contains(['/', '\0'])
                || unit.starts_with('.'))
        {
            let unit = quoted(unit);
            self.add(
                &format!("{at}.unit"),
                format!("{unit} is not the name of a unit; write for example \"llama.service\""),
            );
        }
        if let Some(user) = &process.user
            && (user.is_empty() || user.len() > USER_NAME || user.contains([':', '/', '\0', '\n']))
        {
            let user = quoted(user);
            self.add(
                &format!("{at}.user"),
                format!("{user} is not the name or number of a user"),
            );
        }
    }

    /// What only shows when all workloads are seen together: names, and room in the kernel's maps.
    fn across_workloads(&mut self, workloads: &[Workload]) {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut rules: BTreeMap<String, String> = BTreeMap::new();
        let mut slots: BTreeMap<Option<&Path>, usize> = BTreeMap::new();
        let mut classes = usize::from(class::FIRST);
        let mut arguments = 0;
        let proxies = workloads.iter().map(|w| w.proxies.len()).sum();
        for (i, workload) in workloads.iter().enumerate() {
            if let Some(first) = names.insert(&workload.name, i) {
                let name = quoted(&workload.name);
                self.add(
                    &format!("workload[{i}].name"),
                    format!("{name} is the name of workload[{first}] already; names must differ"),
                );
            }
            // Every workload has the role of programs without a rule of their own.
            let mut roles = vec![Role::Tool];
            for (k, process) in workload.processes.iter().enumerate() {
                let at = format!("workload[{i}].process[{k}]");
                roles.extend(role_from(&process.role).filter(|role| !roles.contains(role)));
                arguments += process.argv.len();
                *slots.entry(process.exe.as_deref()).or_default() += 1;
                let same = Process {
                    role: String::new(),
                    ..process.clone()
                };
                if let Some(first) = rules.insert(format!("{same:?}"), at.clone()) {
                    self.add(
                        &at,
                        format!(
                            "recognises the same processes as {first}; only one of them could win"
                        ),
                    );
                }
            }
            classes += roles.len() * PHASES.len();
        }
        for (exe, count) in &slots {
            if *count > SLOTS {
                let exe = exe.map_or("processes without exe".into(), shown);
                self.add(
                    "workload",
                    format!("{count} process rules are about {exe}; the kernel holds {SLOTS}"),
                );
            }
        }
        for (what, count, limit) in [
            ("executables", slots.len(), MAX_EXECUTABLES),
            ("arguments", arguments, MAX_ARGUMENTS),
            ("proxies", proxies, MAX_PROXIES),
            ("classes (workload × role × phase)", classes, MAX_CLASSES),
        ] {
            if count > limit as usize {
                self.add(
                    "workload",
                    format!("all workloads together need {count} {what}; the kernel holds {limit}"),
                );
            }
        }
    }
}

/// No `..` in it.
fn is_plain(path: &Path) -> bool {
    path.components().all(|c| {
        matches!(
            c,
            Component::RootDir | Component::Normal(_) | Component::CurDir
        )
    })
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escape(text.as_bytes()))
}

fn shown(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}
