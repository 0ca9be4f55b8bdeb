//! `cargo xtask run`: the daemon on this machine, from this clone, with defaults.
//!
//! Knows where a clone's state and config go; must not know what the daemon does with them.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{apt, build, paths, sh, ui};

/// Sets up, builds and starts the daemon on this machine with defaults.
///
/// Uses /etc/slmguard/config.toml if it exists. Otherwise writes target/run/config.toml once
/// (embedded store, loopback listeners, workloads start in `learn`), for you to edit: it keeps
/// everything below target/run.
#[derive(Args)]
pub struct Run {
    /// More arguments for `slmguard run`.
    #[arg(last = true)]
    rest: Vec<String>,
}

const SYSTEM_CONFIG: &str = "/etc/slmguard/config.toml";

/// Runs the command; returns only if the daemon could not be started.
pub fn run(args: &Run) -> Result<()> {
    if !apt::is_root()? {
        bail!("loading kernel programs needs root: run this as root");
    }
    build::kernel_object()?;
    build::workspace()?;
    let program = paths::release_bin("slmguard");
    let config = if Path::new(SYSTEM_CONFIG).is_file() {
        PathBuf::from(SYSTEM_CONFIG)
    } else {
        own_config()?
    };
    ui::note("run", "config", &build::relative(&config));
    ui::note("run", "program", &build::relative(&program));
    let call = format!(
        "{} --config {}",
        build::relative(&program),
        build::relative(&config)
    );
    ui::note("run", "what it can do here", &format!("{call} doctor"));
    ui::note("run", "what it sees", &format!("{call} status"));
    ui::note(
        "run",
        "stop",
        "Ctrl-C; what it enforced then stays in force",
    );
    ui::note("run", "take that away", &format!("{call} detach"));
    ui::line("");
    let mut daemon = sh::command(&program);
    daemon
        .arg("--config")
        .arg(&config)
        .arg("run")
        .args(&args.rest);
    let error = daemon.exec();
    Err(error).with_context(|| format!("starting {}", program.display()))
}

/// The clone's own config, written if it is not there yet.
fn own_config() -> Result<PathBuf> {
    let home = paths::target().join("run");
    let config = home.join("config.toml");
    if !config.is_file() {
        fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))?;
        fs::write(&config, default_config(&home))
            .with_context(|| format!("writing {}", config.display()))?;
    }
    Ok(config)
}

fn default_config(home: &Path) -> String {
    let home = home.display();
    format!(
        "# slmguard started from a clone: everything stays in this folder.\n\
         state_dir = \"{home}/state\"\n\
         socket = \"{home}/api.sock\"\n\
         \n\
         [metrics]\n\
         listen = \"127.0.0.1:9464\"\n\
         \n\
         [alerts]\n\
         file = \"{home}/alerts.jsonl\"\n\
         \n\
         # A workload is one inference service. Name yours, and start this again:\n\
         #\n\
         # [[workload]]\n\
         # name = \"assistant\"\n\
         # mode = \"learn\"\n\
         # [[workload.process]]\n\
         # role = \"server\"\n\
         # exe = \"/usr/local/bin/llama-server\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_config_stays_in_its_folder_and_on_loopback() {
        let text = default_config(Path::new("/clone/target/run"));
        assert!(text.contains("socket = \"/clone/target/run/api.sock\""));
        assert!(text.contains("listen = \"127.0.0.1:9464\""));
    }
}
