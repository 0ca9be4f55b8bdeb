//! `demo`: plays the ten acts of [`scene::demo`] on this machine.
//!
//! Exit status: 0 if every act went as expected, 1 if one did not, 2 for a
//! wrong call, 130 when broken off.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, process, thread};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{SigSet, Signal};
use scene::demo::{self, Cleanup, Freeze, Options};

const USAGE: &str = "usage: demo --work-dir DIR [options]
  --work-dir DIR       where to write; a folder of its own is made and removed in there
  --node-modules DIR   where `npm ci` put the inference server's modules
                       (default: $SLMGUARD_NODE_MODULES, or where `cargo xtask setup` puts them)
  --slmguard PATH      the guard (default: $SLMGUARD_BIN, or the one beside this program)
  --without-guard      play unprotected: every attack must succeed
  --freeze stop|kill   stop (SIGSTOP) or kill (SIGKILL) the daemon before the attacks
  --record FILE        have the daemon record what it takes in, and replay it at the end
  --allow-io-uring     let the workload set up rings: acts 9 and 10 are stopped all the same
  --container          server and agent in a container of their own, as root inside
  --json               one JSON object per act on standard output
  --keep               leave everything running until Ctrl-C";

fn main() -> ExitCode {
    let options = match arguments(env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("demo: {error:#}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let cleanup = Arc::new(Cleanup::default());
    if let Err(error) = clean_up_on_signals(cleanup.clone()) {
        eprintln!("demo: {error:#}");
        return ExitCode::FAILURE;
    }
    let result = demo::play(&options, &cleanup);
    cleanup.run();
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// All threads leave SIGINT and SIGTERM to one that waits for them.
fn clean_up_on_signals(cleanup: Arc<Cleanup>) -> Result<()> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block().context("block signals")?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            if signals.wait().is_ok() {
                eprintln!("\ndemo: cleaning up");
                cleanup.run();
                process::exit(130);
            }
        })
        .context("start the signal thread")?;
    Ok(())
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Options> {
    let (mut work_dir, mut modules, mut slmguard, mut freeze) = (None, None, None, None);
    let mut record = None;
    let (mut json, mut without_guard, mut keep) = (false, false, false);
    let (mut allow_io_uring, mut container) = (false, false);
    while let Some(word) = words.next() {
        let mut path = || {
            words
                .next()
                .map(PathBuf::from)
                .with_context(|| format!("{word} needs a value"))
        };
        match word.as_str() {
            "--work-dir" => work_dir = Some(path()?),
            "--node-modules" => modules = Some(path()?),
            "--record" => record = Some(path()?),
            "--slmguard" => slmguard = Some(path()?),
            "--freeze" => {
                freeze = Some(match path()?.to_str() {
                    Some("stop") => Freeze::Stop,
                    Some("kill") => Freeze::Kill,
                    _ => bail!("--freeze is stop or kill"),
                });
            }
            "--json" => json = true,
            "--without-guard" => without_guard = true,
            "--keep" => keep = true,
            "--allow-io-uring" => allow_io_uring = true,
            "--container" => container = true,
            other => bail!("unknown argument {other}"),
        }
    }
    ensure!(
        !(without_guard && freeze.is_some()),
        "--freeze and --without-guard exclude each other"
    );
    ensure!(
        record.is_none() || !(without_guard || freeze.is_some()),
        "--record needs a daemon that is awake"
    );
    let modules = match modules {
        Some(path) => path,
        None => scene::scene::installed_modules()?,
    };
    let slmguard = match slmguard {
        Some(path) => path,
        None if without_guard => PathBuf::new(),
        None => scene::daemon::program()?,
    };
    let work_dir = work_dir.context("--work-dir DIR is missing")?;
    Ok(Options {
        slmguard,
        work_dir,
        modules,
        json,
        without_guard,
        keep,
        container,
        allow_io_uring,
        freeze,
        record,
    })
}
