//! The bench of an end-to-end test: a world, a guard that knows one workload,
//! and probes that do what a test orders.
//!
//! Each trial has its own copy of the probe, hence its own executable in the
//! kernel's eyes, and its own daemon, so that trials run side by side. The
//! twin of a guarded trial has no guard: what is refused here must work there.

use std::cell::Cell;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::{self, ALERT, Daemon, quote};
use crate::namespace::Namespace;
use crate::probe::{Fate, Launch, Order, Probe};
use crate::scene::beside;
use crate::wait;
use crate::world::{ADDRESSES, RESOLVER, World};

/// The name of a trial's workload.
pub const WORKLOAD: &str = "trial";

/// What is particular about a trial's guard.
#[derive(Debug, Clone)]
pub struct Setup {
    role: &'static str,
    mode: &'static str,
    tier: Option<&'static str>,
    process: Option<String>,
    sections: String,
    detach_on_exit: bool,
    prefix: Vec<String>,
}

impl Setup {
    /// A workload whose process has this role, in mode `learn`.
    pub fn role(role: &'static str) -> Self {
        Self {
            role,
            mode: "learn",
            tier: None,
            process: None,
            sections: String::new(),
            detach_on_exit: true,
            prefix: Vec::new(),
        }
    }

    /// The usual: a tool.
    pub fn tool() -> Self {
        Self::role("tool")
    }

    /// The mode in which the workload starts.
    pub fn mode(self, mode: &'static str) -> Self {
        Self { mode, ..self }
    }

    /// A tier other than the best one.
    pub fn tier(self, tier: &'static str) -> Self {
        Self {
            tier: Some(tier),
            ..self
        }
    }

    /// How the process is recognised, instead of by its executable.
    pub fn recognised(self, process: String) -> Self {
        Self {
            process: Some(process),
            ..self
        }
    }

    /// More of the workload's configuration, such as `[workload.allow]`.
    pub fn with(self, sections: &str) -> Self {
        Self {
            sections: format!("{}\n{sections}\n", self.sections),
            ..self
        }
    }

    /// What starts the daemon: see [`daemon::masked`].
    pub fn inside(self, prefix: Vec<String>) -> Self {
        Self { prefix, ..self }
    }

    /// Leave enforcement in place when the daemon stops.
    pub fn pinned(self) -> Self {
        Self {
            detach_on_exit: false,
            ..self
        }
    }
}

/// A trial.
pub struct Trial {
    /// Who can be attacked.
    pub world: World,
    /// Where that lives.
    pub namespace: Arc<Namespace>,
    daemon: Option<Daemon>,
    member: PathBuf,
    outsider: PathBuf,
    marks: Cell<u32>,
    directory: TempDir,
}

impl Trial {
    /// A trial without a guard.
    pub fn unguarded() -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("slmguard-trial-")
            .tempdir()
            .context("create a folder")?;
        // Probes of other users start in there as well.
        let passable = fs::Permissions::from_mode(0o711);
        fs::set_permissions(directory.path(), passable).context("open the folder")?;
        let (member, outsider) = (
            directory.path().join("member"),
            directory.path().join("outsider"),
        );
        for copy in [&member, &outsider] {
            fs::copy(beside("scene-probe")?, copy)
                .with_context(|| format!("copy the probe to {}", copy.display()))?;
        }
        let namespace = Arc::new(Namespace::new(
            &ADDRESSES,
            RESOLVER,
            &directory.path().join("etc"),
        )?);
        let world = World::open(&namespace, "no secret")?;
        Ok(Self {
            world,
            namespace,
            daemon: None,
            member,
            outsider,
            marks: Cell::new(0),
            directory,
        })
    }

    /// A trial with a guard.
    pub fn guarded(setup: Setup) -> Result<Self> {
        Self::unguarded()?.with_guard(setup)
    }

    /// Gives this trial a guard, and starts it.
    pub fn with_guard(self, setup: Setup) -> Result<Self> {
        let trial = self.configured(setup)?;
        trial.daemon()?.launch()?;
        Ok(trial)
    }

    /// A trial whose guard is configured and does not run yet.
    pub fn prepared(setup: Setup) -> Result<Self> {
        Self::unguarded()?.configured(setup)
    }

    /// Gives this trial a guard that does not run yet.
    pub fn configured(self, setup: Setup) -> Result<Self> {
        let mut trial = self;
        let Setup {
            role,
            mode,
            tier,
            process,
            sections,
            detach_on_exit,
            prefix,
        } = setup;
        let exe = || format!("exe = {}", quote(&text(&trial.member)));
        let workload = format!(
            "[[workload]]\nname = {}\nmode = {}\n{sections}\n[[workload.process]]\nrole = {}\n{}\n",
            quote(WORKLOAD),
            quote(mode),
            quote(role),
            process.unwrap_or_else(exe),
        );
        let mut options = daemon::Options::new(
            daemon::program()?,
            &trial.directory.path().join("guard"),
            workload,
        );
        options.detach_on_exit = detach_on_exit;
        options.prefix = prefix;
        if let Some(tier) = tier {
            options.tier = tier.to_owned();
        }
        trial.daemon = Some(Daemon::prepare(options)?);
        Ok(trial)
    }

    /// The guard.
    pub fn daemon(&self) -> Result<&Daemon> {
        self.daemon.as_ref().context("this trial has no guard")
    }

    /// Starts a process of the workload.
    pub fn member(&self) -> Result<Probe> {
        self.member_with(Launch::default())
    }

    /// The same, started in a particular way.
    pub fn member_with(&self, launch: Launch) -> Result<Probe> {
        Probe::start(&self.namespace, &self.member, launch)
    }

    /// The same, started in a particular way.
    pub fn outsider_with(&self, launch: Launch) -> Result<Probe> {
        Probe::start(&self.namespace, &self.outsider, launch)
    }

    /// The executable of outsiders; for members, a tool.
    pub fn tool_program(&self) -> &Path {
        &self.outsider
    }

    /// The executable of the workload.
    pub fn member_program(&self) -> &Path {
        &self.member
    }

    /// Starts a process that has nothing to do with the workload.
    pub fn outsider(&self) -> Result<Probe> {
        self.outsider_with(Launch::default())
    }

    /// Lives one life of a member in which it carries out `orders`, which are
    /// its normal behaviour, and then holds the workload to it.
    pub fn learn_and_enforce(&self, orders: &[Order]) -> Result<()> {
        let mut probe = self.member()?;
        for order in orders {
            let fate = probe.ask(order)?;
            ensure!(
                fate.worked(),
                "normal behaviour failed while learning: {order:?}: {fate:?}"
            );
        }
        drop(probe);
        self.enforce()
    }

    /// Holds the workload to what it did so far.
    pub fn enforce(&self) -> Result<()> {
        self.daemon()?.mode(WORKLOAD, "enforce")
    }

    /// The line in `slmguard workloads` about a process, once there is one.
    pub fn enrolled(&self, pid: i32) -> Result<Value> {
        wait::until(&format!("process {pid} is enrolled"), ALERT, || {
            self.process(pid)
        })
    }

    /// The line in `slmguard workloads` about a process, if there is one.
    pub fn process(&self, pid: i32) -> Result<Option<Value>> {
        let workloads = self.daemon()?.json(&["workloads"])?;
        let processes = workloads
            .iter()
            .filter_map(|w| w["processes"].as_array())
            .flatten();
        Ok(processes
            .into_iter()
            .find(|process| process["pid"] == pid)
            .cloned())
    }

    /// Waits for the alert of this `kind` about `subject`.
    pub fn alert(&self, kind: &str, subject: &str) -> Result<Value> {
        self.daemon()?.alert(&format!("{kind} {subject}"), |alert| {
            alert["kind"] == kind && alert["subject"] == subject
        })
    }

    /// How a refused file access or program ends on this tier: EPERM where the
    /// kernel can deny, `killed` where it cannot.
    pub fn undeniable(&self, killed: Fate) -> Result<Fate> {
        Ok(if self.daemon()?.tier()? == "lsm" {
            Fate::EPERM
        } else {
            killed
        })
    }

    /// A path in the trial's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file into the trial's folder.
    pub fn file(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// A file that does not exist yet, and the order for a shell that makes it.
    pub fn shell_mark(&self) -> (PathBuf, Order) {
        self.marks.set(self.marks.get() + 1);
        let mark = self.path(&format!("mark-{}", self.marks.get()));
        let order = Order::exec(
            "/bin/sh",
            &["-c", &format!("echo ran > {}", mark.display())],
        );
        (mark, order)
    }
}

/// Whether this kernel runs LSM programs. If not, prints which test on which
/// kernel covers `test`, which is named with its file: `connect::lsm_hook_denies_first`.
///
/// # Panics
///
/// If `test` names no file: nobody could find what covers it.
pub fn lsm_or_covered(test: &str) -> bool {
    assert!(test.contains("::"), "{test}: FILE::TEST is expected");
    let active = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let runs = active.trim().split(',').any(|name| name == "bpf");
    if !runs {
        println!("not runnable: {test} (this kernel has no BPF LSM), covered by vm-6.12:{test}");
    }
    runs
}

/// A port of somebody in the world.
pub fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

/// The same address as IPv6 sockets write it.
pub fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Where the program of a process begins in its memory.
pub fn program_of(pid: i32) -> Result<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))
        .with_context(|| format!("read the mappings of process {pid}"))?;
    let start = maps.split('-').next().unwrap_or_default();
    usize::from_str_radix(start, 16).with_context(|| format!("no mappings: {maps}"))
}

/// The form under which a file that is read is learned.
pub fn read_form(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;

    use slmguard_core::baseline::paths::{Access, forms};
    let forms = forms(Access::Read, path.as_os_str().as_bytes());
    forms.map_or_else(|| text(path), |forms| forms.form)
}

/// The path as a string.
pub fn text(path: &Path) -> String {
    path.display().to_string()
}
