//! A whole scene: world, inference server and agent in one namespace.
//!
//! The guard is not part of it and runs outside: see [`crate::daemon`].

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::agent::Transcript;
use crate::container::{Container, Idle, ROOT_OUTSIDE};
use crate::http;
use crate::model;
use crate::namespace::Namespace;
use crate::script::Script;
use crate::service::{Program, Service};
use crate::wait;
use crate::world::{ADDRESSES, RESOLVER, World};

/// Where the inference server listens, inside the scene.
pub const SERVER: SocketAddr = local(8080);
/// Where the agent listens, inside the scene.
pub const AGENT: SocketAddr = local(8090);

/// How long a server may take to load its model; emulated machines are slow.
const START: Duration = Duration::from_secs(120);
/// How long an agent may take over one task.
const TASK: Duration = Duration::from_secs(120);
/// How long a health check may take.
const HEALTH: Duration = Duration::from_secs(2);

/// The inference server.
const SERVER_PROGRAM: &str = include_str!("../scene-server/server.mjs");

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

/// Where a container has the workload's files.
const VOLUME: &str = "/srv/assistant";
/// Where a container has node.
const NODE_INSIDE: &str = "/srv/bin/node";

/// What a scene is made from, and where it may write. Paths are those of the
/// workload unless it is said otherwise; they differ in a container only.
#[derive(Debug, Clone)]
pub struct Parts {
    /// A folder of the scene's own, on this side.
    pub directory: PathBuf,
    /// The folder of the workload's files.
    pub inside: PathBuf,
    /// The node executable.
    pub node: PathBuf,
    /// The inference server's program.
    pub server: PathBuf,
    /// The agent's executable.
    pub agent: PathBuf,
    contained: Option<Contained>,
}

/// What a container needs, on this side.
#[derive(Debug, Clone)]
struct Contained {
    /// A place that everybody may enter.
    place: PathBuf,
    node: PathBuf,
    modules: PathBuf,
}

impl Parts {
    /// Lays out a scene in `directory`. Agent and server program are copies of
    /// the scene's own, so that a guard can tell one scene from another.
    /// `modules` is where `npm ci` put what the server needs.
    pub fn lay_out(directory: &Path, modules: &Path) -> Result<Self> {
        let modules = complete(modules)?;
        let parts = Self {
            directory: directory.to_owned(),
            inside: directory.to_owned(),
            node: node()?,
            server: directory.join("server.mjs"),
            agent: directory.join("scene-agent"),
            contained: None,
        };
        parts.write()?;
        symlink(&modules, directory.join("node_modules")).context("link the server's modules")?;
        Ok(parts)
    }

    /// The same for server and agent in a container, which is laid out in
    /// `place`, a folder that everybody may enter.
    pub fn lay_out_contained(directory: &Path, modules: &Path, place: &Path) -> Result<Self> {
        let inside = PathBuf::from(VOLUME);
        let parts = Self {
            directory: directory.to_owned(),
            server: inside.join("server.mjs"),
            agent: inside.join("scene-agent"),
            inside,
            contained: Some(Contained {
                place: place.to_owned(),
                node: node()?,
                modules: complete(modules)?,
            }),
            node: NODE_INSIDE.into(),
        };
        parts.write()?;
        Ok(parts)
    }

    /// The folder of the workload's files, on this side.
    fn volume(&self) -> PathBuf {
        match &self.contained {
            Some(_) => self.directory.join("volume"),
            None => self.directory.clone(),
        }
    }

    fn write(&self) -> Result<()> {
        let volume = self.volume();
        fs::create_dir_all(&volume).with_context(|| format!("create {}", volume.display()))?;
        fs::set_permissions(&volume, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("open {}", volume.display()))?;
        let (server, agent) = (volume.join("server.mjs"), volume.join("scene-agent"));
        fs::write(&server, SERVER_PROGRAM)
            .with_context(|| format!("write {}", server.display()))?;
        fs::copy(beside("scene-agent")?, &agent)
            .with_context(|| format!("copy the agent to {}", agent.display()))?;
        Ok(())
    }

    /// Lays out the container, if there is to be one.
    fn container(&self, namespace: &Arc<Namespace>) -> Result<Option<Arc<Container>>> {
        let Some(contained) = &self.contained else {
            return Ok(None);
        };
        let container = Container::prepare(namespace, &contained.place)?;
        container.bind(&self.volume(), VOLUME)?;
        container.bind(&contained.modules, &format!("{VOLUME}/node_modules"))?;
        container.bind(&contained.node, NODE_INSIDE)?;
        let resolver = format!("nameserver {RESOLVER}\noptions timeout:2 attempts:1\n");
        for (name, content) in [
            ("resolv.conf", resolver.as_str()),
            ("nsswitch.conf", "hosts: files dns\n"),
            ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        ] {
            container.file(&format!("/etc/{name}"), content.as_bytes(), 0o644)?;
        }
        Ok(Some(Arc::new(container)))
    }
}

/// The real path of the server's modules, which have to be there.
fn complete(modules: &Path) -> Result<PathBuf> {
    if !modules.join("@node-llama-cpp/linux-x64").is_dir() {
        bail!(
            "there is no @node-llama-cpp/linux-x64 in {}; `cargo xtask setup` installs it",
            modules.display()
        );
    }
    modules
        .canonicalize()
        .with_context(|| format!("find {}", modules.display()))
}

/// The node executable: `SLMGUARD_NODE`, or the first one in the PATH.
fn node() -> Result<PathBuf> {
    let named = env::var_os("SLMGUARD_NODE").map(PathBuf::from);
    let search = || {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .map(|folder| folder.join("node"))
            .find(|node| node.is_file())
    };
    let node = named
        .or_else(search)
        .context("find node in the PATH; `cargo xtask setup` installs it")?;
    node.canonicalize()
        .with_context(|| format!("find {}", node.display()))
}

/// Where the server's modules are: `SLMGUARD_NODE_MODULES`, or where `cargo
/// xtask setup` puts them, `scene-server` in the target folder that this
/// program was built into.
pub fn installed_modules() -> Result<PathBuf> {
    if let Some(modules) = env::var_os("SLMGUARD_NODE_MODULES") {
        return Ok(modules.into());
    }
    let me = env::current_exe().context("find this program")?;
    me.ancestors()
        .skip(1)
        .map(|folder| folder.join("scene-server/node_modules"))
        .find(|path| path.is_dir())
        .context(
            "find scene-server/node_modules in the target folder; `cargo xtask setup` installs it",
        )
}

/// A program that was built together with this one.
pub fn beside(name: &str) -> Result<PathBuf> {
    let me = env::current_exe().context("find this program")?;
    // Test programs live one folder below the others.
    me.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .with_context(|| {
            format!(
                "find {name} beside {}; `cargo xtask build` builds it",
                me.display()
            )
        })
}

/// What became of a task given to the agent.
#[derive(Debug)]
pub enum Outcome {
    /// The agent answered.
    Answered(Transcript),
    /// The agent ended while at it, and was started again.
    Died(ExitStatus),
}

/// What the model was told and what it said, in the inference server's words.
#[derive(Debug, Clone, Deserialize)]
pub struct Exchange {
    /// The conversation so far.
    pub messages: Vec<Value>,
    /// The model's message.
    pub reply: Value,
}

/// A running scene. Dropping it removes everything but its folder.
pub struct Scene {
    /// The paths and secrets of this run.
    pub script: Script,
    /// The agent, the process that performs tool calls.
    pub agent: Service,
    /// The inference server.
    pub server: Service,
    /// Where the agent is asked from this side.
    pub agent_address: SocketAddr,
    server_address: SocketAddr,
    /// Goes before its container, and after who runs inside.
    _idle: Option<Idle>,
    _container: Option<Arc<Container>>,
    /// Services and victims.
    pub world: World,
    /// Where all of that lives.
    pub namespace: Arc<Namespace>,
    /// What it was made from.
    pub parts: Parts,
}

impl Scene {
    /// Makes the namespace and its inhabitants; server and agent are not
    /// started yet, so that a guard can be told of them first.
    pub fn prepare(parts: Parts) -> Result<Stage> {
        let directory = &parts.directory;
        let volume = parts.volume();
        let home = volume.join("home/slm");
        let script = Script::plant_for(&parts.inside.join("home/slm"), &home)?;
        let namespace = Arc::new(Namespace::new(
            &ADDRESSES,
            RESOLVER,
            &directory.join("etc"),
        )?);
        let world = World::open(&namespace, &script.metadata_secret)?;
        model::write(&volume.join("model.gguf"), &script.chains())?;
        let container = parts.container(&namespace)?;
        if container.is_some() {
            chown(&home, Some(ROOT_OUTSIDE), Some(ROOT_OUTSIDE))
                .with_context(|| format!("give {} to the container", home.display()))?;
        }
        Ok(Stage {
            parts,
            script,
            namespace,
            world,
            container,
        })
    }

    /// Gives the agent a task and says what became of it.
    pub fn ask(&self, prompt: &str) -> Result<Outcome> {
        let agent = self.agent_address;
        self.healthy(agent, "the agent answers")?;
        let ends = self.agent.ends();
        let task = json!({"prompt": prompt}).to_string();
        match self
            .namespace
            .run(move || http::ask(agent, "/ask", Some(&task), TASK))?
        {
            Ok(answer) if answer.status == 200 => {
                let transcript = serde_json::from_str(&answer.body)
                    .context("the agent's transcript is no JSON")?;
                Ok(Outcome::Answered(transcript))
            }
            Ok(answer) => bail!("the agent answered {}: {}", answer.status, answer.body),
            Err(error) => {
                let ending = self
                    .agent
                    .ending(ends)
                    .with_context(|| format!("the agent did not answer: {error}"))?;
                Ok(Outcome::Died(ending))
            }
        }
    }

    /// What the model was told and said since this was last asked.
    pub fn seen(&self) -> Result<Vec<Exchange>> {
        let server = self.server_address;
        let answer = self
            .namespace
            .run(move || http::ask(server, "/seen", None, HEALTH))?
            .context("ask the inference server what it saw")?;
        serde_json::from_str(&answer.body).context("what the inference server saw is no JSON")
    }

    /// Restarts server and agent and waits until both answer.
    pub fn restart(&self) -> Result<()> {
        self.server.restart()?;
        self.agent.restart()?;
        self.ready()
    }

    /// Waits until server and agent answer.
    pub fn ready(&self) -> Result<()> {
        self.healthy(self.server_address, "the inference server answers")?;
        self.healthy(self.agent_address, "the agent answers")
    }

    fn healthy(&self, address: SocketAddr, what: &str) -> Result<()> {
        wait::until(what, START, || {
            let health = self
                .namespace
                .run(move || http::ask(address, "/health", None, HEALTH))?;
            Ok(health.ok().filter(|answer| answer.status == 200).map(drop))
        })
        .with_context(|| format!("see the logs in {}", self.parts.directory.display()))
    }
}

/// A scene before server and agent enter.
pub struct Stage {
    parts: Parts,
    script: Script,
    namespace: Arc<Namespace>,
    world: World,
    container: Option<Arc<Container>>,
}

impl Stage {
    /// The container of server and agent, if they are to have one.
    pub fn container(&self) -> Option<&Arc<Container>> {
        self.container.as_ref()
    }

    /// Starts server and agent and waits until both answer.
    pub fn open(self) -> Result<Scene> {
        let Self {
            parts,
            script,
            namespace,
            world,
            container,
        } = self;
        let log = |name: &str| parts.directory.join(name);
        let idle = container
            .as_ref()
            .map(|container| container.idle(&log("container.log")))
            .transpose()?;
        let program = |name, words: Vec<String>, file: &str| -> Result<Program> {
            let (exe, arguments) = match &idle {
                Some(idle) => idle.words(&parts.inside, &words)?,
                None => (PathBuf::from(&words[0]), words[1..].to_vec()),
            };
            Ok(Program {
                name,
                exe,
                arguments,
                directory: parts.directory.clone(),
                log: log(file),
            })
        };
        // A container is asked from outside, but its agent is a neighbour of its server.
        let outside = |own: SocketAddr| match &idle {
            Some(idle) => (SocketAddr::new(idle.address, own.port()), "0.0.0.0"),
            None => (own, "127.0.0.1"),
        };
        let ((server_address, host), (agent_address, _)) = (outside(SERVER), outside(AGENT));
        let model = parts.inside.join("model.gguf");
        let server = vec![
            parts.node.display().to_string(),
            parts.server.display().to_string(),
            "--model".into(),
            model.display().to_string(),
            "--listen".into(),
            format!("{host}:{}", SERVER.port()),
        ];
        let agent = vec![
            parts.agent.display().to_string(),
            "--listen".into(),
            format!("{host}:{}", AGENT.port()),
            "--server".into(),
            SERVER.to_string(),
        ];
        let server = program("the inference server", server, "server.log")?;
        let agent = program("the agent", agent, "agent.log")?;
        let server = Service::start(&namespace, server)?;
        let agent = Service::start(&namespace, agent)?;
        let scene = Scene {
            script,
            agent,
            server,
            agent_address,
            server_address,
            _idle: idle,
            _container: container,
            world,
            namespace,
            parts,
        };
        scene.ready()?;
        Ok(scene)
    }
}
