//! Containers: a process tree in pid, mount, network, user and cgroup
//! namespaces of its own, as root inside, made by `crun` as podman and others
//! have it made.
//!
//! The root file system is an overlay with the host's `/usr` bound into it
//! read-only, so no image is needed. Each run gets a network of its own, joined
//! to the scene's by a pair of virtual interfaces; the scene's addresses are
//! reached through it. Knows OCI bundles; must not know what runs in them.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};

use crate::cgroup::Cgroup;
use crate::namespace::Namespace;
use crate::wait;

/// Root inside is this user outside.
pub const ROOT_OUTSIDE: u32 = 100_000;
/// How long a container may take to start; emulated machines are slow.
const START: Duration = Duration::from_secs(60);
/// How many users there are inside.
const USERS: u32 = 65_536;

/// What joins a container's network to the scene's: told the container's state
/// on standard input; `$1` tells pairs apart, `$2` is a number of the network.
const JOIN: &str = r#"set -e
pid=$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')
inside() { nsenter -t "$pid" -n ip "$@"; }
ip link add "slm$1" type veth peer name eth0 netns "$pid"
ip address add "10.78.$2.1/24" dev "slm$1"
ip link set "slm$1" up
inside address add "10.78.$2.2/24" dev eth0
inside link set eth0 up
inside link set lo up
inside route add default via "10.78.$2.1"
"#;

/// A root file system, and the cgroup below which its containers run.
pub struct Container {
    cgroup: Cgroup,
    namespace: Arc<Namespace>,
    directory: PathBuf,
    removed: Mutex<bool>,
}

impl Container {
    /// Lays out what containers of this scene are made from, in `directory`,
    /// which must be a place that everybody may enter.
    pub fn prepare(namespace: &Arc<Namespace>, directory: &Path) -> Result<Self> {
        let cgroup = Cgroup::create("-containers")?;
        let container = Self {
            cgroup,
            namespace: namespace.clone(),
            directory: directory.to_owned(),
            removed: Mutex::default(),
        };
        for folder in ["layers", "rootfs", "state"] {
            container.folder(folder)?;
        }
        // An overlay cannot lie on every file system; on memory it can.
        let memory = directory.join("layers");
        let (mounted, rootfs) = (memory.clone(), directory.join("rootfs"));
        let cgroups = container.cgroup.tree().to_owned();
        namespace
            .run(move || -> Result<()> {
                let none = None::<&str>;
                mount(
                    Some("tmpfs"),
                    &mounted,
                    Some("tmpfs"),
                    MsFlags::empty(),
                    Some("mode=755"),
                )
                .context("mount a file system in memory")?;
                lay_out(&mounted.join("lower"))?;
                for folder in ["upper", "work"] {
                    owned_folder(&mounted.join(folder))?;
                }
                let layers = format!(
                    "lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work",
                    mounted.display()
                );
                mount(
                    Some("overlay"),
                    &rootfs,
                    Some("overlay"),
                    MsFlags::empty(),
                    Some(layers.as_str()),
                )
                .context("mount an overlay")?;
                // crun takes no cgroup v2 tree anywhere else.
                if cgroups != Path::new("/sys/fs/cgroup") {
                    mount(
                        Some(&cgroups),
                        "/sys/fs/cgroup",
                        none,
                        MsFlags::MS_BIND,
                        none,
                    )
                    .context("lay the cgroup v2 tree over /sys/fs/cgroup")?;
                }
                Ok(())
            })?
            .context("make a container's root file system")?;
        Ok(container)
    }

    fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("open {}", path.display()))?;
        Ok(path)
    }

    /// The cgroup of all its runs, as configurations name it.
    pub fn cgroup(&self) -> String {
        self.cgroup.path()
    }

    /// How many processes run inside; fails unless each of them has namespaces of
    /// its own and is root inside and nobody outside.
    pub fn apart(&self) -> Result<usize> {
        let path = self.cgroup.path();
        let pids = processes(&self.cgroup.tree().join(path.trim_start_matches('/')))?;
        pids.iter().try_for_each(|&pid| is_apart(pid))?;
        Ok(pids.len())
    }

    /// Writes a file that root inside owns; `path` is the one seen inside.
    pub fn file(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let host = self.host(path);
        let content = content.to_owned();
        self.namespace
            .run(move || -> Result<()> {
                let folder = host.parent().context("a file in a folder")?;
                fs::create_dir_all(folder)?;
                fs::write(&host, content)?;
                fs::set_permissions(&host, fs::Permissions::from_mode(mode))?;
                chown(&host, Some(ROOT_OUTSIDE), Some(ROOT_OUTSIDE))?;
                Ok(())
            })?
            .with_context(|| format!("write {path} for the container"))
    }

    /// The content of a file, by its path inside, if it exists.
    pub fn content(&self, path: &str) -> Result<Option<String>> {
        let host = self.host(path);
        self.namespace.run(move || fs::read_to_string(host).ok())
    }

    /// Lays a file or folder of the host over `path`, which is the one seen inside.
    pub fn bind(&self, source: &Path, path: &str) -> Result<()> {
        let (host, outside) = (self.host(path), source.to_owned());
        self.namespace
            .run(move || -> Result<()> {
                if outside.is_dir() {
                    fs::create_dir_all(&host)?;
                } else {
                    fs::create_dir_all(host.parent().context("a file in a folder")?)?;
                    File::create(&host)?;
                }
                let none = None::<&str>;
                mount(Some(&outside), &host, none, MsFlags::MS_BIND, none)?;
                Ok(())
            })?
            .with_context(|| format!("lay {} over {path}", source.display()))
    }

    fn host(&self, path: &str) -> PathBuf {
        self.directory
            .join("rootfs")
            .join(path.trim_start_matches('/'))
    }

    /// A command that runs `words` in a fresh container, with its own standard
    /// input and output. It is to be started in the scene's namespace, ends with
    /// the container, and then with its status.
    pub fn command(&self, words: &[&str]) -> Result<Command> {
        static RUN: AtomicU32 = AtomicU32::new(1);
        let run = RUN.fetch_add(1, Ordering::Relaxed);
        ensure!(run < 250, "too many containers in one program");
        let bundle = self.folder(&format!("bundle-{run}"))?;
        let config = bundle.join("config.json");
        let name = format!("slmguard-{}-{run}", std::process::id());
        let text = self.config(words, run, &name).to_string();
        fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
        let mut command = Command::new(crun()?);
        command
            .arg("--cgroup-manager=cgroupfs")
            .arg("--root")
            .arg(self.directory.join("state"))
            .args(["run", "--bundle"])
            .arg(&bundle)
            .arg(&name)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Ok(command)
    }

    /// Starts a container that idles until this value, or this program, is
    /// gone; what it says of itself goes to `log`.
    pub fn idle(&self, log: &Path) -> Result<Idle> {
        // It ends with its standard input.
        let mut command = self.command(&["/bin/cat"])?;
        let name = command.get_args().last().unwrap_or_default().to_owned();
        let number = name.to_string_lossy().rsplit('-').next().map(str::parse);
        let Some(Ok(number)) = number else {
            bail!(
                "a container's name ends with its number: {}",
                name.display()
            );
        };
        let log = || File::options().create(true).append(true).open(log);
        command.stdin(Stdio::piped()).stdout(log()?).stderr(log()?);
        let mut child = self
            .namespace
            .run(move || command.spawn())?
            .context("start a container")?;
        let open = child.stdin.take();
        let idle = Idle {
            name: name.to_string_lossy().into_owned(),
            address: IpAddr::V4(Ipv4Addr::new(10, 78, number, 2)),
            state: self.directory.join("state"),
            child,
            open,
        };
        wait::until("the container runs", START, || {
            let mut state = Command::new(crun()?);
            state.arg("--root").arg(&idle.state);
            state.args(["state", &idle.name]);
            let output = self.namespace.run(move || state.output())??;
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok(told.contains("\"running\"").then_some(()))
        })?;
        Ok(idle)
    }

    fn config(&self, words: &[&str], run: u32, name: &str) -> Value {
        let capabilities = json!([
            "CAP_CHOWN",
            "CAP_DAC_OVERRIDE",
            "CAP_DAC_READ_SEARCH",
            "CAP_FOWNER",
            "CAP_KILL",
            "CAP_MKNOD",
            "CAP_NET_ADMIN",
            "CAP_NET_BIND_SERVICE",
            "CAP_NET_RAW",
            "CAP_SETGID",
            "CAP_SETUID",
            "CAP_SYS_ADMIN",
            "CAP_SYS_CHROOT",
            "CAP_SYS_PTRACE"
        ]);
        let users = json!([{"containerID": 0, "hostID": ROOT_OUTSIDE, "size": USERS}]);
        let own = ["pid", "mount", "network", "user", "cgroup", "ipc", "uts"];
        json!({
            "ociVersion": "1.0.2",
            "hostname": "container",
            "root": {"path": self.directory.join("rootfs"), "readonly": false},
            "process": {
                "terminal": false, "user": {"uid": 0, "gid": 0}, "args": words, "cwd": "/",
                "env": ["PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/root", "LANG=C.UTF-8"],
                "noNewPrivileges": false,
                "capabilities": {"bounding": capabilities, "effective": capabilities,
                    "permitted": capabilities, "inheritable": capabilities},
            },
            "hooks": {"createRuntime": [{
                "path": "/bin/sh",
                "args": ["sh", "-c", JOIN, "sh", run.to_string(), run.to_string()],
                "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            }]},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                    "options": ["nosuid", "mode=755"]},
                {"destination": "/usr", "type": "bind", "source": "/usr",
                    "options": ["rbind", "ro"]},
                {"destination": "/sys/fs/cgroup", "type": "cgroup2", "source": "cgroup2",
                    "options": ["rw", "nosuid", "noexec", "nodev"]},
            ],
            "linux": {
                "cgroupsPath": format!("{}/{name}", self.cgroup.path()),
                "namespaces": own.map(|kind| json!({"type": kind})),
                "uidMappings": users, "gidMappings": users,
            },
        })
    }
}

/// Has the process namespaces of its own, and root's place inside?
fn is_apart(pid: i32) -> Result<()> {
    for kind in ["pid", "mnt", "net", "user", "cgroup"] {
        let of = |who: &str| {
            let link = format!("/proc/{who}/ns/{kind}");
            fs::read_link(&link).with_context(|| format!("read {link}"))
        };
        ensure!(
            of(&pid.to_string())? != of("self")?,
            "process {pid} has the host's {kind} namespace"
        );
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("read the status of process {pid}"))?;
    let root = format!("\nUid:\t{ROOT_OUTSIDE}\t");
    ensure!(status.contains(&root), "process {pid} is not root inside");
    Ok(())
}

/// The processes in a cgroup and below.
fn processes(cgroup: &Path) -> Result<Vec<i32>> {
    let file = cgroup.join("cgroup.procs");
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let mut pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for entry in fs::read_dir(cgroup)?.flatten() {
        if entry.path().is_dir() {
            pids.extend(processes(&entry.path())?);
        }
    }
    Ok(pids)
}

/// A container that idles; other programs are started inside. Dropping it ends
/// it and them.
pub struct Idle {
    name: String,
    state: PathBuf,
    child: Child,
    open: Option<ChildStdin>,
    /// Where the scene reaches it.
    pub address: IpAddr,
}

impl Idle {
    /// The program and arguments that run `words` inside, in the folder `at`,
    /// with standard input, output and signals handed on, and end as those do.
    pub fn words(&self, at: &Path, words: &[String]) -> Result<(PathBuf, Vec<String>)> {
        let mut arguments = vec![
            "--cgroup-manager=cgroupfs".to_owned(),
            "--root".to_owned(),
            self.state.display().to_string(),
            "exec".to_owned(),
            "--cwd".to_owned(),
            at.display().to_string(),
            self.name.clone(),
        ];
        arguments.extend_from_slice(words);
        Ok((crun()?, arguments))
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.open.take();
        // crun ends after its container, and removes what it made.
        let ended = wait::until("the container ends", START, || Ok(self.child.try_wait()?));
        if let Err(error) = ended {
            eprintln!("scene: {error:#}");
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Container {
    /// Ends what runs and removes what was made; nothing if that was done.
    pub fn remove(&self) {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *removed, true) {
            return;
        }
        let state = self.directory.join("state");
        // A test that failed may have left one running.
        for name in fs::read_dir(&state).into_iter().flatten().flatten() {
            let removed = crun().and_then(|crun| {
                let mut command = Command::new(crun);
                command.arg("--root").arg(&state);
                command.args(["delete", "--force"]).arg(name.file_name());
                let namespace = &self.namespace;
                namespace.run(move || command.output())?.context("run crun")
            });
            if let Err(error) = removed {
                eprintln!("scene: remove a container: {error:#}");
            }
        }
        let folders = ["rootfs", "layers"].map(|folder| self.directory.join(folder));
        let unmounted = self
            .namespace
            .run(move || folders.map(|folder| umount2(&folder, MntFlags::MNT_DETACH)));
        if let Err(error) = unmounted {
            eprintln!("scene: remove a container's file system: {error:#}");
        }
        self.cgroup.remove();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.remove();
    }
}

/// What a container sees of the disk, besides the host's `/usr`.
fn lay_out(root: &Path) -> Result<()> {
    owned_folder(root)?;
    for folder in [
        "dev",
        "etc",
        "proc",
        "root",
        "srv",
        "sys",
        "sys/fs",
        "sys/fs/cgroup",
        "tmp",
        "usr",
    ] {
        owned_folder(&root.join(folder))?;
    }
    for name in ["bin", "lib", "lib64", "sbin"] {
        let host = Path::new("/").join(name);
        match fs::read_link(&host) {
            Ok(target) => symlink(target, root.join(name))
                .with_context(|| format!("link {name} in the container"))?,
            Err(_) if !host.exists() => {}
            Err(_) => {
                bail!("/{name} is a folder of its own here; the container expects it in /usr")
            }
        }
    }
    Ok(())
}

fn owned_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("create {}", path.display()))?;
    chown(path, Some(ROOT_OUTSIDE), Some(ROOT_OUTSIDE))
        .with_context(|| format!("give {} to the container", path.display()))
}

fn crun() -> Result<PathBuf> {
    ["/usr/bin/crun", "/usr/local/bin/crun"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.is_file())
        .context("crun is missing; `cargo xtask setup` installs it")
}
