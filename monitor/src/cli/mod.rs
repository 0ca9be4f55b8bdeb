//! The command line: one file per command. Reading commands ask the daemon over its socket; all of
//! them print for people, or with `--json` one object per line for scripts.

mod accelerate;
mod alerts;
mod baseline;
pub mod client;
mod config_check;
mod detach;
mod doctor;
mod events;
mod exec;
mod explain;
mod explain_workload;
mod hooks;
mod lines;
mod mode;
pub mod out;
mod policy;
mod record;
mod replay;
mod run;
mod status;
pub mod table;
mod workloads;

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::{
    config,
    exit::{Exit, Failure},
};

/// Guards small-language-model inference servers from inside the kernel: learns what each of them
/// does, and stops what does not belong.
#[derive(Debug, Parser)]
#[command(name = "slmguard", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed or unhealthy, 2 wrong usage, 3 daemon not \
running, 4 denied, 69 kernel feature missing, 77 privilege missing, 78 bad configuration. `exec` \
ends as the command that it starts does; 126 that command cannot be executed, 127 it is not there.";

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Configuration file; `conf.d/*.toml` beside it is read as well.
    ///
    /// [default: /etc/slmguard/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Socket of the daemon, instead of the one in the configuration.
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// Output for people or for scripts.
#[derive(Clone, Copy, Debug, Args)]
pub struct Format {
    /// Print one JSON object per line.
    #[arg(long)]
    pub json: bool,
}

/// Which lines of a stream.
#[derive(Clone, Debug, Args)]
pub struct Stream {
    /// Go on printing what happens, until interrupted.
    #[arg(long, short)]
    pub follow: bool,
    /// Print at most so many of the latest.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// Only what concerns this workload.
    #[arg(long, short, value_name = "WORKLOAD")]
    pub workload: Option<String>,
    /// Output format.
    #[command(flatten)]
    pub format: Format,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon.
    Run(run::Options),
    /// Start a program inside the guard.
    ///
    /// The program is a member of the workload before its first instruction, whatever other rules
    /// say about its executable. Where the kernel cannot deny by itself (no BPF LSM) and the
    /// workload enforces, Landlock and seccomp are made from its policy as well: files, programs and
    /// kinds of sockets outside of it are refused, with or without the daemon, and the program lives
    /// on. slmguard becomes the program: process id, signals and exit status are its own. Where
    /// something cannot be set up, the program is not started.
    #[command(after_help = exec::EXAMPLES)]
    Exec(exec::Options),
    /// Tell what this kernel can do, hook by hook.
    ///
    /// Asks the running daemon; where none runs, loads the kernel programs for a moment to try
    /// them (needs the same privileges as the daemon).
    Doctor(Format),
    /// Show the daemon's state in short.
    Status(Format),
    /// Show workloads, why they are some, their processes and agents; decide about detected ones.
    Workloads(workloads::Options),
    /// Show what workloads did, as the kernel reported it.
    Events(events::Options),
    /// Show alerts.
    Alerts(alerts::Options),
    /// Explain an alert: what happened, what is known instead, who did it, what to do.
    Explain(explain::Options),
    /// Decide a recording again, without a kernel, a daemon or privileges.
    ///
    /// Prints each event and each alert as the daemon decided it when the recording was made, and
    /// about the recording itself on standard error.
    Replay(replay::Options),
    /// Look at what was learned, approve it, take it elsewhere.
    #[command(subcommand)]
    Baseline(baseline::Command),
    /// Show or change the mode of a workload.
    Mode(mode::Options),
    /// Try what would be enforced.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(config_check::Command),
    /// End enforcement: remove everything that was pinned in the kernel.
    ///
    /// A daemon that is still running reports every hook as missing from then on; restart it to
    /// guard again.
    Detach(Format),
    /// List the kernel programs, their tiers and their tests.
    #[command(hide = true)]
    Hooks(Format),
}

/// Runs a command.
pub fn run(cli: Cli) -> Result<Exit, Failure> {
    let Cli { global, command } = cli;
    match command {
        Command::Run(options) => run::run(&global, &options),
        Command::Exec(options) => exec::run(&global, &options),
        Command::Doctor(format) => doctor::run(&global, format),
        Command::Status(format) => status::run(&global, format),
        Command::Workloads(options) => workloads::run(&global, &options),
        Command::Events(options) => events::run(&global, &options),
        Command::Replay(options) => replay::run(&options),
        Command::Alerts(options) => alerts::run(&global, &options),
        Command::Explain(options) => explain::run(&global, &options),
        Command::Baseline(command) => baseline::run(&global, &command),
        Command::Mode(options) => mode::run(&global, &options),
        Command::Policy(command) => policy::run(&global, &command),
        Command::Config(command) => config_check::run(&global, &command),
        Command::Detach(format) => detach::run(&global, format),
        Command::Hooks(format) => hooks::run(format),
    }
}

impl Global {
    /// The way to the daemon.
    fn client(&self) -> Result<client::Client, Failure> {
        Ok(client::Client::new(config::socket(
            self.socket.as_deref(),
            self.path(),
        )?))
    }

    /// The configuration, with what the command line overrides.
    fn load(&self) -> Result<config::Loaded, Failure> {
        let mut loaded = config::load(self.path())?;
        if let Some(socket) = &self.socket {
            loaded.config.socket.clone_from(socket);
        }
        Ok(loaded)
    }

    /// Whether the configuration file is there.
    fn has_config(&self) -> bool {
        self.path().exists()
    }

    /// The configuration file.
    fn path(&self) -> &Path {
        self.config
            .as_deref()
            .unwrap_or(Path::new(config::DEFAULT_PATH))
    }
}

/// A workload's name as part of a URL. Names hold nothing that has to be escaped; what does is no
/// name.
fn in_url(workload: &str) -> Result<&str, Failure> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    if !workload.is_empty() && workload.bytes().all(fits) && !workload.starts_with('.') {
        return Ok(workload);
    }
    let name = slmguard_core::text::escape(workload.as_bytes());
    Err(Failure::new(
        Exit::Failure,
        format!("there is no workload {name}; `slmguard workloads` lists them"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["slmguard"], arguments].concat())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_documented_forms_are_accepted() {
        for line in [
            "run",
            "run --detach-on-exit",
            "--config /x.toml run",
            "run --config /x.toml --socket /s",
            "exec --workload a -- cmd --json -x",
            "exec -w a --role agent --sandbox always cmd",
            "exec -w a --without-daemon --policy /p --listen 80 --listen 81 cmd",
            "exec -w a --print-plan --json cmd",
            "exec --print-unit x.service",
            "doctor --json",
            "status --json",
            "workloads --json",
            "workloads --explain",
            "workloads a --explain --json",
            "workloads confirm a --reason because",
            "workloads dismiss a",
            "workloads restore a --json",
            "workloads enrol-agent a scene-agent",
            "workloads dismiss-agent a 4711",
            "workloads candidates --json",
            "events --follow --limit 10 --workload a --json",
            "events --record /x --note y --for 90s --max-size 64MiB",
            "replay /x --alerts --json",
            "replay /x --expect /y",
            "alerts -f -n 10 -w a",
            "explain 01A --json",
            "baseline show a --json",
            "baseline diff a --profile /x --json",
            "baseline approve a --reason because",
            "baseline approve a --family read --family exec --reason because --json",
            "baseline approve a --subject /x --role agent --phase serve --reason because",
            "baseline reject a --subject /x --reason because",
            "baseline export a --approved --sign /k --note n -o /x",
            "baseline import a /x --trust /k --reason because",
            "baseline reset a --reason because",
            "baseline explain a --family read --json",
            "baseline does-not-apply a renewal --reason because",
            "policy simulate /x --profile /y --workload a --json",
            "policy simulate /x --learned --expect-none --config /z",
            "mode a auto",
            "mode a",
            "mode a learn --json",
            "mode a enforce --declare --reason because",
            "config check",
            "detach",
            "hooks --json",
        ] {
            let arguments: Vec<_> = line.split(' ').collect();
            assert!(
                parse(&arguments).is_ok(),
                "{line}: {}",
                parse(&arguments).unwrap_err()
            );
        }
    }

    #[test]
    fn wrong_usage_is_exit_code_2() {
        for line in [
            "",
            "fly",
            "exec -w a",
            "exec cmd",
            "exec -w a --sandbox maybe cmd",
            "exec -w a --without-daemon --require-daemon cmd",
            "mode a enforce --declare",
            "mode a paranoid",
            "baseline approve a",
            "baseline approve a --role agent --reason because",
            "baseline import a --reason because",
            "events --limit x",
            "events --record /x --follow",
            "events --note y",
            "events --record /x --max-size 5",
            "replay",
            "policy",
            "policy simulate",
            "policy simulate /x --learned --profile /y",
        ] {
            let arguments: Vec<_> = line.split_whitespace().collect();
            assert_eq!(parse(&arguments).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn a_name_that_needs_escaping_is_no_name() {
        assert_eq!(in_url("llama-3.1_8b").unwrap(), "llama-3.1_8b");
        for name in ["", "../x", "a/b", "a?b", "A", "..", "é"] {
            assert!(in_url(name).is_err(), "{name}");
        }
    }
}
