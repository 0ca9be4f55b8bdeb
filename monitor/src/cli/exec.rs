//! `slmguard exec`: starts a program inside the guard, or shows how that would be done.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use monitor_common::class::{Family, Mode, Role};
use slmguard_core::{
    config::{Config, Workload},
    decide::{
        Modes,
        sandbox::{self, Plan, Request, confines, reachable},
    },
    text::escape,
    workload::{family_from, mode_from, role_from, role_name},
};

use super::{Global, in_url, out};
use crate::{
    api::view::{BaselineEntry, LaunchPlan, Launched},
    exit::{Exit, Failure},
    launch::{self, Command, Files, Prepared, unit},
};

/// How it is used.
pub const EXAMPLES: &str = "\
Examples:
  slmguard exec --workload assistant -- /usr/local/bin/llama-server -m model.gguf
  slmguard exec --workload assistant --role agent -- /usr/bin/node agent.mjs
  slmguard exec --workload assistant --print-plan -- /usr/local/bin/llama-server
  slmguard exec --print-unit llama.service > /etc/systemd/system/llama.service.d/slmguard.conf

Without a daemon (containers, hosts that cannot run it) only Landlock and seccomp guard:
  slmguard baseline show assistant --json > policy.jsonl      # where it was learned
  slmguard exec --workload assistant --without-daemon --policy policy.jsonl -- CMD

What Landlock cannot express is listed by --print-plan. The command cannot gain privileges
(no_new_privs) once it is confined: setuid programs run as their caller.";

/// When to use Landlock and seccomp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sandbox {
    /// Where the kernel cannot deny (no BPF LSM), or with --policy.
    Auto,
    /// On every kernel.
    Always,
    /// Not at all.
    Never,
}

/// Options of `exec`.
#[derive(Debug, Args)]
pub struct Options {
    /// Workload that the command belongs to.
    #[arg(
        long,
        short,
        value_name = "WORKLOAD",
        required_unless_present = "print_unit"
    )]
    workload: Option<String>,
    /// Role of the command in it: server, agent, tool, shell, sidecar or loader [default: server].
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// When to confine the command with Landlock and seccomp; never while the workload learns.
    #[arg(long, value_enum, default_value = "auto")]
    sandbox: Sandbox,
    /// Confine to this instead of what the daemon has learned: lines of `slmguard baseline show
    /// WORKLOAD --json`. The workload's rules in the configuration hold as well.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// TCP port that the command may listen on; may be repeated. Without it, listening is not
    /// restricted.
    #[arg(long, value_name = "PORT")]
    listen: Vec<u16>,
    /// Start nothing unless the daemon guards it (this is the default).
    #[arg(long, conflicts_with = "without_daemon")]
    require_daemon: bool,
    /// Do not ask the daemon: the command is not enrolled, and confined by the configuration file
    /// and --policy alone.
    #[arg(long)]
    without_daemon: bool,
    /// Show what the command would be confined to, and what of the policy cannot be expressed;
    /// start nothing.
    #[arg(long, visible_alias = "explain")]
    print_plan: bool,
    /// With --print-plan: one JSON object.
    #[arg(long, requires = "print_plan")]
    json: bool,
    /// Show a systemd drop-in that starts a service through slmguard; start nothing. The command is
    /// the one given, or that of UNIT (a name or a file that ends in `.service`).
    #[arg(long, conflicts_with = "print_plan")]
    print_unit: bool,
    /// Say nothing but errors.
    #[arg(long, short)]
    quiet: bool,
    /// The command and its arguments, or with --print-unit a UNIT.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD",
        required_unless_present_any = ["print_plan", "print_unit"]
    )]
    command: Vec<OsString>,
}

/// Starts the program; returns only if there is nothing to start or it cannot be.
pub fn run(global: &Global, options: &Options) -> Result<Exit, Failure> {
    if options.print_unit {
        return print_unit(global, options);
    }
    let command = if options.command.is_empty() {
        None
    } else {
        let path = std::env::var_os("PATH");
        Some(Command::find(&options.command, path.as_deref())?)
    };
    let inputs = Inputs::gather(global, options)?;
    let wanted = inputs.is_sandboxed(options);
    let plan = if wanted || options.print_plan {
        Some(inputs.plan(options, command.as_ref())?)
    } else {
        None
    };
    if options.print_plan {
        let plan = plan.unwrap_or_default();
        return print_plan(options, &inputs, wanted, &plan);
    }
    let Some(command) = command else {
        return Ok(Exit::Usage);
    };
    if let Some(Plan { landlock: None, .. }) = &plan {
        return Err(Failure::new(
            Exit::KernelFeature,
            "cannot confine the command, so it is not started: this kernel has no Landlock \
             (CONFIG_SECURITY_LANDLOCK, and `landlock` among the active security modules, \
             lsm= on the kernel's command line); --sandbox never starts it without",
        ));
    }
    let prepared = plan.as_ref().map(Prepared::new).transpose()?;
    if !options.without_daemon {
        inputs.enrol(global)?;
    }
    if !options.quiet {
        inputs.say(options, plan.as_ref());
    }
    Err(launch::become_command(prepared, &command))
}

/// What is known about the workload.
struct Inputs {
    workload: String,
    role: Role,
    mode: Mode,
    /// The daemon's; absent where it was not asked.
    tier: Option<String>,
    learned: Vec<(Family, String)>,
    allow: slmguard_core::config::Rules,
    deny: slmguard_core::config::Rules,
}

impl Inputs {
    fn gather(global: &Global, options: &Options) -> Result<Self, Failure> {
        let workload = options.workload.as_deref().unwrap_or_default();
        let role = role(options.role.as_deref())?;
        let mut inputs = if options.without_daemon {
            Self::from_files(global, workload, role)?
        } else {
            Self::from_daemon(global, workload, role)?
        };
        if let Some(file) = &options.policy {
            inputs.learned = saved_policy(file, workload, role)?;
            inputs.mode = Mode::Enforce;
        }
        Ok(inputs)
    }

    fn from_daemon(global: &Global, workload: &str, role: Role) -> Result<Self, Failure> {
        let path = format!("/v1/launch/{}/{}", in_url(workload)?, role_name(role));
        let plan: LaunchPlan = global.client()?.get(&path).map_err(without_a_daemon)?;
        let odd = |what: &str| {
            Failure::new(
                Exit::Failure,
                format!(
                    "the daemon knows {}, which this slmguard does not; are they of the same \
                     version?",
                    escape(what.as_bytes())
                ),
            )
        };
        let learned = plan.learned.into_iter().map(|(family, subject)| {
            let family = family_from(&family).ok_or_else(|| odd(&family))?;
            Ok((family, subject))
        });
        Ok(Self {
            workload: plan.workload,
            role,
            mode: mode_from(&plan.mode).ok_or_else(|| odd(&plan.mode))?,
            tier: Some(plan.tier),
            learned: learned.collect::<Result<_, Failure>>()?,
            allow: plan.allow,
            deny: plan.deny,
        })
    }

    fn from_files(global: &Global, name: &str, role: Role) -> Result<Self, Failure> {
        let config = global.load()?.config;
        let workload = find(&config, name)?;
        Ok(Self {
            workload: name.into(),
            role,
            // The configuration was checked.
            mode: mode_from(&workload.mode).unwrap_or(Mode::Enforce),
            tier: None,
            learned: vec![],
            allow: workload.allow.clone(),
            deny: workload.deny.clone(),
        })
    }

    fn is_sandboxed(&self, options: &Options) -> bool {
        let wanted = match options.sandbox {
            Sandbox::Never => false,
            Sandbox::Always => true,
            Sandbox::Auto => options.policy.is_some() || self.tier.as_deref() != Some("lsm"),
        };
        wanted && confines(Modes::all(self.mode))
    }

    fn plan(&self, options: &Options, command: Option<&Command>) -> Result<Plan, Failure> {
        let request = Request {
            modes: Modes::all(self.mode),
            abi: launch::landlock_version(),
            learned: &self.learned,
            allow: &self.allow,
            deny: &self.deny,
            start: &command.map(Command::files).unwrap_or_default(),
            listen: (!options.listen.is_empty()).then_some(&options.listen),
        };
        sandbox::plan(&request, &Files).map_err(|e| {
            Failure::new(
                Exit::Config,
                format!("the policy of {} cannot be used: {e}", self.workload),
            )
        })
    }

    fn enrol(&self, global: &Global) -> Result<Launched, Failure> {
        let path = format!(
            "/v1/launch/{}/{}",
            in_url(&self.workload)?,
            role_name(self.role)
        );
        let client = global.client()?;
        client
            .post(&path, &serde_json::json!({}))
            .map_err(without_a_daemon)
    }

    fn say(&self, options: &Options, plan: Option<&Plan>) {
        let who = format!("{} ({})", self.workload, role_name(self.role));
        let enrolled = if options.without_daemon {
            "not enrolled (no daemon was asked)"
        } else {
            "enrolled"
        };
        let confined = match plan {
            Some(plan) => format!(
                "confined by Landlock and seccomp; {} differences from the policy, see \
                 --print-plan",
                plan.notes.len()
            ),
            None if self.mode == Mode::Learn => "not confined, because it learns".into(),
            None if options.sandbox == Sandbox::Never => "not confined (--sandbox never)".into(),
            None => "not confined, because this kernel denies by itself".into(),
        };
        eprintln!("slmguard: {who}: {enrolled}, {confined}");
    }
}

/// Adds to the message of a daemon that does not run what can be done here.
fn without_a_daemon(failure: Failure) -> Failure {
    if failure.exit != Exit::NotRunning {
        return failure;
    }
    let message = format!(
        "{}; the command is not started. --without-daemon starts it all the same, confined by the \
         configuration alone",
        failure.message
    );
    Failure::new(failure.exit, message)
}

fn role(word: Option<&str>) -> Result<Role, Failure> {
    let word = word.unwrap_or("server");
    role_from(word).ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            format!(
                "{} is no role; use server, agent, tool, shell, sidecar or loader",
                escape(word.as_bytes())
            ),
        )
    })
}

fn find<'a>(config: &'a Config, name: &str) -> Result<&'a Workload, Failure> {
    let workload = config.workloads.iter().find(|w| w.name == name);
    workload.ok_or_else(|| {
        let known: Vec<&str> = config.workloads.iter().map(|w| w.name.as_str()).collect();
        Failure::new(
            Exit::Failure,
            format!(
                "there is no workload {} in the configuration; it has: {}",
                escape(name.as_bytes()),
                if known.is_empty() {
                    "none".into()
                } else {
                    known.join(", ")
                }
            ),
        )
    })
}

/// What was learned, as it was saved; of every role that the command and its children can have.
fn saved_policy(file: &Path, workload: &str, role: Role) -> Result<Vec<(Family, String)>, Failure> {
    let bad = |what: String| {
        Failure::new(
            Exit::Config,
            format!("cannot use the policy {}: {what}", file.display()),
        )
    };
    let text = fs::read_to_string(file).map_err(|e| bad(e.to_string()))?;
    let mut entries = vec![];
    for (number, line) in text.lines().enumerate() {
        let entry: BaselineEntry = serde_json::from_str(line).map_err(|e| {
            bad(format!(
                "line {}: {e}; it has to be what `slmguard baseline show {workload} --json` prints",
                number + 1
            ))
        })?;
        let (Some(of_role), Some(family)) = (role_from(&entry.role), family_from(&entry.family))
        else {
            return Err(bad(format!(
                "line {}: a role or family that this slmguard does not know",
                number + 1
            )));
        };
        entries.push((entry.workload, of_role, family, entry.subject));
    }
    let roles: Vec<Role> = entries.iter().map(|(_, role, ..)| *role).collect();
    let roles = reachable(role, &roles);
    let learned: Vec<_> = entries
        .into_iter()
        .filter(|(name, role, ..)| name == workload && roles.contains(role))
        .map(|(_, _, family, subject)| (family, subject))
        .collect();
    if learned.is_empty() {
        return Err(bad(format!(
            "it says nothing about workload {workload} in role {}",
            role_name(role)
        )));
    }
    Ok(learned)
}

fn print_plan(
    options: &Options,
    inputs: &Inputs,
    wanted: bool,
    plan: &Plan,
) -> Result<Exit, Failure> {
    let mode = slmguard_core::workload::mode_name(inputs.mode);
    let role = role_name(inputs.role);
    if options.json {
        let mut value = plan.to_json();
        value["workload"] = inputs.workload.as_str().into();
        value["role"] = role.into();
        value["mode"] = mode.into();
        value["tier"] = inputs.tier.as_deref().into();
        value["used"] = wanted.into();
        return out::json(&value).map(|()| Exit::Ok);
    }
    let used = match (wanted, inputs.mode) {
        (true, _) => "it would be used",
        (false, Mode::Learn) => "nothing is confined while it learns",
        (false, _) => "it would not be used (--sandbox always uses it)",
    };
    let mut text = format!("{} ({role}), mode {mode}: {used}\n", inputs.workload);
    if confines(Modes::all(inputs.mode)) {
        for line in plan.to_lines() {
            text.push_str(&line);
            text.push('\n');
        }
    }
    out::line(text.trim_end()).map(|()| Exit::Ok)
}

fn print_unit(global: &Global, options: &Options) -> Result<Exit, Failure> {
    let name = match options.command.as_slice() {
        [only] => only.to_str().filter(|name| name.ends_with(".service")),
        _ => None,
    };
    let (workload, role) = match (&options.workload, &options.role) {
        (Some(workload), role) => (workload.clone(), role.clone()),
        (None, role) => {
            let (workload, of_unit) = workload_of(&global.load()?.config, name)?;
            (workload, role.clone().or(of_unit))
        }
    };
    let role = role_name(self::role(role.as_deref())?);
    let usage = |what: String| Failure::new(Exit::Usage, what);
    let commands = match name {
        Some(name) => {
            let (path, text) = unit_file(name)?;
            let bad = |e| Failure::new(Exit::Failure, format!("cannot use {path}: {e}"));
            unit::commands(&text).map_err(bad)?
        }
        None if options.command.is_empty() => {
            return Err(usage(
                "which command? Name a unit (NAME.service), or give the command behind `--`".into(),
            ));
        }
        None => {
            let words: Option<Vec<&str>> =
                options.command.iter().map(|word| word.to_str()).collect();
            let words = words
                .ok_or_else(|| usage("systemd units hold UTF-8, the command does not".into()))?;
            vec![unit::quoted(&words)]
        }
    };
    let slmguard = std::env::current_exe()
        .map_err(|e| Failure::new(Exit::Failure, format!("cannot find myself: {e}")))?;
    let config = global.path().to_string_lossy();
    let wrap = unit::Wrap {
        slmguard: &slmguard.to_string_lossy(),
        config: (*config != *crate::config::DEFAULT_PATH).then_some(&*config),
        workload: in_url(&workload)?,
        role,
    };
    out::line(unit::drop_in(&wrap, &commands).trim_end()).map(|()| Exit::Ok)
}

/// The workload that names a unit, with the role that it gives it, or the only one.
fn workload_of(config: &Config, unit: Option<&str>) -> Result<(String, Option<String>), Failure> {
    let file_name = |unit: &str| unit.rsplit('/').next().unwrap_or(unit).to_owned();
    for workload in &config.workloads {
        for process in &workload.processes {
            if process.unit.is_some() && process.unit == unit.map(file_name) {
                return Ok((workload.name.clone(), Some(process.role.clone())));
            }
        }
    }
    match config.workloads.as_slice() {
        [only] => Ok((only.name.clone(), None)),
        _ => Err(Failure::new(
            Exit::Usage,
            "which workload? Name it with --workload",
        )),
    }
}

/// Where systemd keeps units, the first wins.
const UNIT_FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

fn unit_file(name: &str) -> Result<(String, String), Failure> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![name.into()]
    } else {
        UNIT_FOLDERS.map(|f| Path::new(f).join(name)).into()
    };
    for path in candidates {
        match fs::read_to_string(&path) {
            Ok(text) => return Ok((path.display().to_string(), text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => {
                let message = format!("cannot read {}: {e}", path.display());
                return Err(Failure::new(Exit::Failure, message));
            }
        }
    }
    Err(Failure::new(
        Exit::Failure,
        format!(
            "there is no unit file {}; give its path, or the command behind `--`",
            escape(name.as_bytes())
        ),
    ))
}
