//! The play: ten acts with a real inference server, a real agent, and an
//! attacker who only has text.
//!
//! With the guard every attack must be prevented, without it every attack must
//! succeed; both ways benign requests must be served. What happened is judged
//! from the victims' evidence ([`act`]); what the guard says of itself is shown
//! and compared ([`alert`]).

pub mod act;
pub mod alert;
mod approval;
mod play;
pub mod show;

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::container::Container;
use crate::daemon::{self, Daemon, quote};
use crate::recording::Recording;
use crate::scene::{Parts, Scene};
use act::ATTACKS;
use play::Play;
use show::Show;

/// The name of the guarded workload.
const WORKLOAD: &str = "assistant";
/// What happens to the daemon before the attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freeze {
    /// It is stopped, and woken up after the attacks.
    Stop,
    /// It is killed.
    Kill,
}

/// How to play.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `slmguard` executable.
    pub slmguard: PathBuf,
    /// Where the play may write; it makes a folder of its own in there.
    pub work_dir: PathBuf,
    /// Where `npm ci` put what the inference server needs.
    pub modules: PathBuf,
    /// One JSON object per act.
    pub json: bool,
    /// Play without the guard.
    pub without_guard: bool,
    /// Leave everything running at the end.
    pub keep: bool,
    /// Play with server and agent in a container, as root inside.
    pub container: bool,
    /// Let the workload use io_uring, so that the last two acts are stopped by
    /// what is done through it.
    pub allow_io_uring: bool,
    /// What happens to the daemon before the attacks.
    pub freeze: Option<Freeze>,
    /// Where the daemon is to record what it takes in.
    pub record: Option<PathBuf>,
}

/// What must be cleaned up, also when the play is broken off.
#[derive(Default)]
pub struct Cleanup {
    daemon: Mutex<Option<Arc<Daemon>>>,
    container: Mutex<Option<Arc<Container>>>,
    directories: Mutex<Vec<PathBuf>>,
}

impl Cleanup {
    /// Ends the daemon and removes what was written. Server, agent and
    /// namespace end with this process.
    pub fn run(&self) {
        let daemon = self
            .daemon
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(Err(error)) = daemon.map(|daemon| daemon.stop()) {
            eprintln!("demo: {error:#}");
        }
        let container = self
            .container
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(container) = container {
            container.remove();
        }
        let mut directories = self
            .directories
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for directory in directories.drain(..) {
            if let Err(error) = fs::remove_dir_all(directory) {
                eprintln!("demo: remove the play's folder: {error}");
            }
        }
    }
}

/// Plays all acts; true if each went as it should.
pub fn play(options: &Options, cleanup: &Cleanup) -> Result<bool> {
    let show = Show::new(options.json);
    show.title(match options.without_guard {
        false => "slmguard: a real inference server, a real agent, and an attacker who only has text",
        true => "Without a guard: a real inference server, a real agent, and an attacker who only has text",
    });
    let directory = make_directory(options, cleanup)?;
    let parts = if options.container {
        let place = folder_in(&env::temp_dir(), "slmguard-demo-", cleanup)?;
        let passable = fs::Permissions::from_mode(0o711);
        fs::set_permissions(&place, passable).context("open the container's folder")?;
        Parts::lay_out_contained(&directory, &options.modules, &place)?
    } else {
        Parts::lay_out(&directory, &options.modules)?
    };
    let stage = Scene::prepare(parts.clone())?;
    let container = stage.container().cloned();
    *cleanup
        .container
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = container.clone();
    show.ready(
        "scene",
        "a network namespace with weather, metrics, resolver, metadata service and attacker",
    );
    let daemon = if options.without_guard {
        None
    } else {
        let workload = workload(options, &parts, container.as_deref());
        Some(start_daemon(options, cleanup, &parts, workload, &show)?)
    };
    let recording = match (&options.record, &daemon) {
        (Some(file), Some(daemon)) => {
            let recording = Recording::start(daemon, file, "cargo xtask demo")?;
            show.ready("recording", &format!("everything into {}", file.display()));
            Some(recording)
        }
        _ => None,
    };
    let scene = stage.open()?;
    if let Some(container) = container {
        let inside = container.apart()?;
        ensure!(inside > 2, "only {inside} processes are in the container");
        show.ready(
            "container",
            "pid, mount, net, user and cgroup namespaces of their own for both, root inside",
        );
    }
    show.ready(
        "server",
        &format!(
            "llama.cpp serves the scripted model, pid {}",
            scene.server.pid()?
        ),
    );
    show.ready(
        "agent",
        &format!(
            "waits for prompts and performs tool calls, pid {}",
            scene.agent.pid()?
        ),
    );

    let tier = daemon
        .as_ref()
        .map_or(Ok("none".to_owned()), |daemon| daemon.tier())?;
    let mut play = Play::new(options, show, scene, daemon, tier);
    play.record(recording);
    play.learn()?;
    play.enforce()?;
    play.freeze()?;
    for act in &ATTACKS {
        play.attack(act)?;
    }
    play.thaw()?;
    play.closing()
}

fn make_directory(options: &Options, cleanup: &Cleanup) -> Result<PathBuf> {
    let work = &options.work_dir;
    fs::create_dir_all(work).with_context(|| format!("create {}", work.display()))?;
    folder_in(work, "demo-", cleanup)
}

fn folder_in(place: &Path, prefix: &str, cleanup: &Cleanup) -> Result<PathBuf> {
    let directory = tempfile::Builder::new()
        .prefix(prefix)
        .tempdir_in(place)
        .with_context(|| format!("create a folder in {}", place.display()))?
        .keep();
    let directory = directory
        .canonicalize()
        .with_context(|| format!("find {}", directory.display()))?;
    cleanup
        .directories
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(directory.clone());
    Ok(directory)
}

/// The guard's configuration: who server and agent are.
fn workload(options: &Options, parts: &Parts, container: Option<&Container>) -> String {
    let rings = match options.allow_io_uring {
        true => "[workload.allow]\nfacilities = [\"io_uring\"]\n\n",
        false => "",
    };
    // A container is known by its cgroup, whatever its files are.
    let (server, agent) = match container {
        Some(container) => {
            let cgroup = format!("cgroup = {}", quote(&container.cgroup()));
            (cgroup.clone(), format!("{cgroup}\nargv = [\"--server\"]"))
        }
        None => {
            let exe = |path: &Path| format!("exe = {}", quote(&path.display().to_string()));
            (exe(&parts.node), exe(&parts.agent))
        }
    };
    format!(
        "[[workload]]\nname = {}\nmode = \"learn\"\n\n{rings}\
         [[workload.process]]\nrole = \"server\"\n{server}\nargv = [\"server.mjs\"]\n\n\
         [[workload.process]]\nrole = \"agent\"\n{agent}\n",
        quote(WORKLOAD),
    )
}

fn start_daemon(
    options: &Options,
    cleanup: &Cleanup,
    parts: &Parts,
    workload: String,
    show: &Show,
) -> Result<Arc<Daemon>> {
    let directory = parts.directory.join("guard");
    let settings = daemon::Options::new(options.slmguard.clone(), &directory, workload);
    let daemon = Arc::new(Daemon::prepare(settings)?);
    *cleanup
        .daemon
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = Some(daemon.clone());
    daemon.launch()?;
    let status = daemon.status()?;
    let tier = status["tier"].as_str().unwrap_or("unknown");
    show.ready(
        "slmguard",
        &format!("watches from the kernel, tier {tier}, workload {WORKLOAD} in mode learn"),
    );
    for reason in status["degraded"].as_array().into_iter().flatten() {
        show.ready(
            "",
            &format!("degraded: {}", reason.as_str().unwrap_or_default()),
        );
    }
    Ok(daemon)
}
