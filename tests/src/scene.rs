//! A whole scene: world, inference server and agent in one namespace.
//!
//! The guard is not part of it and runs outside: see [`crate::daemon`].

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::agent::Transcript;
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

/// What a scene is made from, and where it may write.
#[derive(Debug, Clone)]
pub struct Parts {
    /// A folder of the scene's own.
    pub directory: PathBuf,
    /// The node executable.
    pub node: PathBuf,
    /// The inference server's program.
    pub server: PathBuf,
    /// The agent's executable.
    pub agent: PathBuf,
}

impl Parts {
    /// Lays out a scene in `directory`. Agent and server program are copies of
    /// the scene's own, so that a guard can tell one scene from another.
    /// `modules` is where `npm ci` put what the server needs.
    pub fn lay_out(directory: &Path, modules: &Path) -> Result<Self> {
        if !modules.join("@node-llama-cpp/linux-x64").is_dir() {
            bail!(
                "there is no @node-llama-cpp/linux-x64 in {}; `cargo xtask setup` installs it",
                modules.display()
            );
        }
        let modules = modules
            .canonicalize()
            .with_context(|| format!("find {}", modules.display()))?;
        let node = node()?;

        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let (server, agent) = (directory.join("server.mjs"), directory.join("scene-agent"));
        fs::write(&server, SERVER_PROGRAM)
            .with_context(|| format!("write {}", server.display()))?;
        symlink(&modules, directory.join("node_modules")).context("link the server's modules")?;
        fs::copy(beside("scene-agent")?, &agent)
            .with_context(|| format!("copy the agent to {}", agent.display()))?;
        Ok(Self {
            directory: directory.to_owned(),
            node,
            server,
            agent,
        })
    }
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
        let script = Script::plant(&directory.join("home/slm"))?;
        let namespace = Arc::new(Namespace::new(
            &ADDRESSES,
            RESOLVER,
            &directory.join("etc"),
        )?);
        let world = World::open(&namespace, &script.metadata_secret)?;
        model::write(&directory.join("model.gguf"), &script.chains())?;
        Ok(Stage {
            parts,
            script,
            namespace,
            world,
        })
    }

    /// Gives the agent a task and says what became of it.
    pub fn ask(&self, prompt: &str) -> Result<Outcome> {
        self.healthy(AGENT, "the agent answers")?;
        let ends = self.agent.ends();
        let task = json!({"prompt": prompt}).to_string();
        match self
            .namespace
            .run(move || http::ask(AGENT, "/ask", Some(&task), TASK))?
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
        let answer = self
            .namespace
            .run(|| http::ask(SERVER, "/seen", None, HEALTH))?
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
        self.healthy(SERVER, "the inference server answers")?;
        self.healthy(AGENT, "the agent answers")
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
}

impl Stage {
    /// Starts server and agent and waits until both answer.
    pub fn open(self) -> Result<Scene> {
        let Self {
            parts,
            script,
            namespace,
            world,
        } = self;
        let model = parts.directory.join("model.gguf");
        let server = Program {
            name: "the inference server",
            exe: parts.node.clone(),
            arguments: vec![
                parts.server.display().to_string(),
                "--model".into(),
                model.display().to_string(),
                "--listen".into(),
                SERVER.to_string(),
            ],
            directory: parts.directory.clone(),
            log: parts.directory.join("server.log"),
        };
        let agent = Program {
            name: "the agent",
            exe: parts.agent.clone(),
            arguments: [
                "--listen",
                &AGENT.to_string(),
                "--server",
                &SERVER.to_string(),
            ]
            .map(str::to_owned)
            .to_vec(),
            directory: parts.directory.clone(),
            log: parts.directory.join("agent.log"),
        };
        let server = Service::start(&namespace, server)?;
        let agent = Service::start(&namespace, agent)?;
        let scene = Scene {
            script,
            agent,
            server,
            world,
            namespace,
            parts,
        };
        scene.ready()?;
        Ok(scene)
    }
}
