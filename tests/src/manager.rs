//! A real service manager: systemd as the first process of a pid namespace,
//! over a cgroup of a test's own.
//!
//! It sees the scene's network, a cgroup tree that ends at its own cgroup, and
//! no unit but the test's. What belongs to the machine (host name, kernel
//! settings, console, files) is out of its reach. Knows systemd; must not know
//! the guard.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::cgroup::Cgroup;
use crate::namespace::Namespace;
use crate::probe::Probe;
use crate::wait;
use crate::{child, command};

/// How long it may take to start, and to do what it is told; emulated machines are slow.
const PATIENCE: Duration = Duration::from_secs(180);

/// Moves into the cgroup and makes the namespaces: `$1` is the cgroup's list of
/// processes, the rest is what to run in there.
const APART: &str = r#"set -e
echo $$ > "$1"
shift
exec unshare --cgroup --uts --ipc --pid --fork --kill-child --mount --mount-proc "$@"
"#;

/// What becomes the manager: `$1` is the folder of units.
const BOOT: &str = r#"set -e
mount --make-rprivate /
umount --lazy /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
for console in /dev/console /dev/kmsg; do
    [ ! -e $console ] || mount --bind /dev/null $console
done
mount --bind /proc/sys /proc/sys
for fixed in /proc/sys /sys /; do
    mount -o remount,bind,ro $fixed
done
exec env -i container=scene SYSTEMD_UNIT_PATH="$1:" PATH=/usr/bin:/bin:/usr/sbin:/sbin \
    /lib/systemd/systemd --system --unit=scene.target --log-level=warning
"#;

/// What stands between a test and a unit that speaks through named pipes: `$1`
/// takes its orders, `$2` gives its answers.
const BRIDGE: &str = r#"cat "$2" &
exec cat > "$1"
"#;

/// The manager. Dropping it ends its units and removes its cgroups.
pub struct Manager {
    namespace: Arc<Namespace>,
    child: Child,
    units: PathBuf,
    cgroup: Cgroup,
}

impl Manager {
    /// Starts it in the scene's namespace; units are kept in `directory`.
    pub fn start(namespace: &Arc<Namespace>, directory: &Path) -> Result<Self> {
        let units = directory.join("units");
        fs::create_dir_all(&units).with_context(|| format!("create {}", units.display()))?;
        fs::set_permissions(&units, fs::Permissions::from_mode(0o755))?;
        fs::write(
            units.join("scene.target"),
            "[Unit]\nDefaultDependencies=no\n",
        )?;
        let cgroup = Cgroup::create("-manager")?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", APART, "sh"])
            .arg(cgroup.procs())
            .args(["/bin/sh", "-c", BOOT, "sh"])
            .arg(&units)
            .stdin(Stdio::null());
        let child = namespace
            .run(move || child::tie(&mut command, Signal::SIGKILL).spawn())?
            .context("start a service manager")?;
        let manager = Self {
            namespace: namespace.clone(),
            child,
            units,
            cgroup,
        };
        wait::until("systemd answers", PATIENCE, || {
            let output = manager.ask(&["is-active", "scene.target"])?;
            Ok(output.status.success().then_some(()))
        })?;
        Ok(manager)
    }

    /// A unit that runs the probe `program`, with more lines for its `[Service]` section.
    pub fn probe(&self, unit: &str, program: &Path, settings: &str) -> Result<Probe> {
        let [orders, answers] = ["in", "out"].map(|end| self.units.join(format!("{unit}.{end}")));
        for pipe in [&orders, &answers] {
            mkfifo(pipe, Mode::S_IRUSR | Mode::S_IWUSR)
                .with_context(|| format!("make the pipe {}", pipe.display()))?;
        }
        let text = format!(
            "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart={}\nStandardInput=file:{}\n\
             StandardOutput=file:{}\nIPAccounting=yes\n{settings}\n",
            program.display(),
            orders.display(),
            answers.display()
        );
        let file = self.units.join(unit);
        fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
        self.systemctl(&["daemon-reload"])?;
        // It waits for the other end of its pipes before it becomes the probe.
        self.systemctl(&["start", "--no-block", unit])?;
        let mut bridge = Command::new("/bin/sh");
        bridge.args(["-c", BRIDGE, "sh"]).args([&orders, &answers]);
        Probe::start_by(&self.namespace, bridge)
            .with_context(|| format!("systemd says: {}", self.told(&["status", unit])))
    }

    /// The processes of a unit, as this side numbers them.
    pub fn processes(&self, unit: &str) -> Result<Vec<i32>> {
        let file = self.cgroup_of(unit).join("cgroup.procs");
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        text.lines()
            .map(|line| {
                line.parse()
                    .with_context(|| format!("a process id: {line}"))
            })
            .collect()
    }

    /// Where a unit's cgroup is.
    pub fn cgroup_of(&self, unit: &str) -> PathBuf {
        self.folder().join("system.slice").join(unit)
    }

    fn folder(&self) -> PathBuf {
        self.cgroup
            .tree()
            .join(self.cgroup.path().trim_start_matches('/'))
    }

    /// Tells it something; returns what it printed.
    pub fn systemctl(&self, words: &[&str]) -> Result<String> {
        let output = self.ask(words)?;
        ensure!(
            output.status.success(),
            "systemctl {} ended with {}: {}",
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// How many packets a unit has sent, by systemd's own program. Refused ones count.
    pub fn sent(&self, unit: &str) -> Result<u64> {
        let text = self.systemctl(&["show", "--property=IPEgressPackets", unit])?;
        let value = text.trim().rsplit('=').next().unwrap_or_default();
        match value.parse() {
            Ok(packets) => Ok(packets),
            Err(_) => bail!("systemd counts no packets: {text}"),
        }
    }

    fn told(&self, words: &[&str]) -> String {
        self.ask(words).map_or_else(
            |error| format!("{error:#}"),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    }

    fn ask(&self, words: &[&str]) -> Result<Output> {
        let words = self.words(words);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_remove("SYSTEMD_UNIT_PATH");
        command::output(command, PATIENCE)
    }

    /// The words that tell it something, from anywhere.
    fn words(&self, more: &[&str]) -> Vec<String> {
        let outside = self.child.id();
        let mut words = vec![
            "nsenter".to_owned(),
            format!("--mount=/proc/{outside}/ns/mnt"),
            format!("--pid=/proc/{outside}/ns/pid_for_children"),
            "systemctl".to_owned(),
        ];
        words.extend(more.iter().map(|&word| word.to_owned()));
        words
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // With the one outside ends the first process inside, and with that one all others.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let folder = self.folder();
        let gone = wait::until("the units' cgroups are removed", PATIENCE, || {
            Ok(remove_below(&folder).ok())
        });
        if let Err(error) = gone {
            eprintln!("scene: {}: {error:#}", folder.display());
        }
    }
}

/// Removes every cgroup below this one.
fn remove_below(cgroup: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_below(&entry.path())?;
            fs::remove_dir(entry.path())?;
        }
    }
    Ok(())
}
