//! Real inference servers of different make, run in a world and guarded by
//! configuration: what each is started with, and what it normally serves.
//!
//! Where the servers are is told by `cargo xtask servers` in variables; what
//! can be done to each is the tests' matter.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::daemon::{self, Daemon, quote};
use crate::http::{self, Response};
use crate::looks;
use crate::model;
use crate::namespace::Namespace;
use crate::scene::Parts;
use crate::script::Script;
use crate::service::{Program, Service};
use crate::wait;
use crate::world::{ADDRESSES, RESOLVER, World};

/// The name of the workload of every such server.
pub const WORKLOAD: &str = "inference";
/// How long a server may take to load its model; emulated machines are slow.
const START: Duration = Duration::from_secs(180);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// Debian's interpreter, which runs the tools of [`Kind::Llama`].
const PYTHON: &str = "/usr/bin/python3";

/// The servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// llama.cpp as a library in Node.js, as the demo uses it.
    Node,
    /// llama.cpp's own server, with tools, an MCP server and slots.
    Llama,
    /// Pure Rust: candle and rustls, nothing mapped.
    Candle,
    /// A Python service over ONNX Runtime.
    Onnx,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Node, Self::Llama, Self::Candle, Self::Onnx];

    /// A short name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Llama => "llama-server",
            Self::Candle => "candle",
            Self::Onnx => "onnx",
        }
    }

    /// Where it listens inside its world.
    pub fn address(self) -> SocketAddr {
        let port = match self {
            Self::Node => 8080,
            Self::Llama => 8081,
            Self::Candle => 8082,
            Self::Onnx => 8083,
        };
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// Lays out the server's files in `folder`: what to start, and how a
    /// configuration recognises it.
    fn lay_out(self, folder: &Path, script: &Script) -> Result<(Program, String)> {
        let words = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>();
        let path = |name: &str| folder.join(name).display().to_string();
        let write = |name: &str, content: &str| {
            fs::write(folder.join(name), content).with_context(|| format!("write {}", path(name)))
        };
        let (listen, model) = (self.address().to_string(), path("model.gguf"));
        if self != Self::Onnx {
            model::write(&folder.join("model.gguf"), &script.chains())?;
        }
        let (exe, arguments, argv) = match self {
            Self::Node => {
                let parts = Parts::lay_out(folder, &crate::scene::installed_modules()?)?;
                let server = parts.server.display().to_string();
                let arguments = words(&[&server, "--model", &model, "--listen", &listen]);
                (parts.node, arguments, Some(server))
            }
            Self::Llama => {
                write("mcp.py", MCP)?;
                fs::create_dir_all(folder.join("slots")).context("create the slots' folder")?;
                let mcp =
                    json!({"mcpServers": {"scene": {"command": PYTHON, "args": [path("mcp.py")]}}});
                let port = self.address().port().to_string();
                let mut arguments = words(&["-m", &model, "--host", "127.0.0.1", "--port", &port]);
                arguments.extend(words(&["-c", "4096", "-t", "1", "-np", "1", "--jinja"]));
                arguments.extend(words(&["--tools", "all", "--ui-mcp-proxy"]));
                arguments.extend(words(&["--slot-save-path", &path("slots")]));
                arguments.extend(words(&["--mcp-servers-json", &mcp.to_string()]));
                let exe = copy("SLMGUARD_LLAMA_SERVER", folder, "llama-server")?;
                (exe, arguments, None)
            }
            Self::Candle => {
                let mut arguments = words(&["--model", &model, "--listen", &listen]);
                arguments.extend(words(&["--listen-tls", &CANDLE_TLS.to_string()]));
                let exe = copy("SLMGUARD_CANDLE_SERVER", folder, "candle-server")?;
                (exe, arguments, None)
            }
            Self::Onnx => {
                write("service.py", SERVICE)?;
                write("model.py", ONNX_MODEL)?;
                fs::create_dir_all(folder.join("labels")).context("create the labels' folder")?;
                write("labels/0", "cat")?;
                let mut make = std::process::Command::new(PYTHON);
                make.args([path("model.py"), path("model.onnx")]);
                let made = crate::command::output(make, START)?;
                ensure!(made.status.success(), "model.py: {made:?}");
                let service = path("service.py");
                let arguments = words(&[
                    &service,
                    "--model",
                    &path("model.onnx"),
                    "--labels",
                    &path("labels"),
                    "--listen",
                    &listen,
                ]);
                (installed("SLMGUARD_ONNX_PYTHON")?, arguments, Some(service))
            }
        };
        // A link, as in a Python environment, is not what runs.
        let runs = exe
            .canonicalize()
            .with_context(|| format!("find {}", exe.display()))?;
        let mut rule = format!("exe = {}", quote(&runs.display().to_string()));
        if let Some(argument) = argv {
            rule.push_str(&format!("\nargv = [{}]", quote(&argument)));
        }
        let program = Program {
            name: self.name(),
            exe,
            arguments,
            directory: folder.to_owned(),
            log: folder.join("server.log"),
        };
        Ok((program, rule))
    }
}

/// Where the candle server speaks TLS.
pub const CANDLE_TLS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);

const MCP: &str = include_str!("../servers/llama/mcp.py");
const SERVICE: &str = include_str!("../servers/onnx/service.py");
const ONNX_MODEL: &str = include_str!("../servers/onnx/model.py");

fn installed(variable: &str) -> Result<PathBuf> {
    let place = env::var_os(variable)
        .with_context(|| format!("{variable} is not set; `cargo xtask test --servers` sets it"))?;
    Ok(place.into())
}

/// A copy of a server's program, so that a guard can tell one trial from another.
fn copy(variable: &str, folder: &Path, name: &str) -> Result<PathBuf> {
    let (from, to) = (installed(variable)?, folder.join(name));
    fs::copy(&from, &to).with_context(|| format!("copy {}", from.display()))?;
    Ok(to)
}

/// A world with one server and no guard, or one that knows the server.
pub struct Bench {
    /// Who can be attacked.
    pub world: World,
    /// What is secret, and where.
    pub script: Script,
    /// The server.
    pub server: Service,
    kind: Kind,
    daemon: Option<Daemon>,
    namespace: Arc<Namespace>,
    program: Program,
    directory: TempDir,
}

impl Bench {
    /// The server without a guard.
    pub fn unguarded(kind: Kind) -> Result<Self> {
        Self::open(kind, |_| Ok(None))
    }

    /// The server, started under a guard that learns it. `sections` is more of
    /// the workload's configuration.
    pub fn guarded(kind: Kind, sections: &str) -> Result<Self> {
        Self::open(kind, |rule| {
            Ok(Some(format!(
                "[[workload]]\nname = {}\nmode = \"learn\"\n{sections}\n\
                 [[workload.process]]\nrole = \"server\"\n{rule}\n",
                quote(WORKLOAD)
            )))
        })
    }

    fn open(kind: Kind, workloads: impl Fn(&str) -> Result<Option<String>>) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("slmguard-server-")
            .tempdir()
            .context("create a folder")?;
        let folder = directory.path();
        let script = Script::plant(&folder.join("home/slm"))?;
        let (program, rule) = kind.lay_out(folder, &script)?;
        let namespace = Arc::new(Namespace::new(&ADDRESSES, RESOLVER, &folder.join("etc"))?);
        let world = World::open(&namespace, &script.metadata_secret)?;
        let daemon = workloads(&rule)?
            .map(|workloads| {
                let guard = folder.join("guard");
                Daemon::start(daemon::Options::new(daemon::program()?, &guard, workloads))
            })
            .transpose()?;
        let server = Service::start(&namespace, program.clone())?;
        let bench = Self {
            world,
            script,
            server,
            kind,
            daemon,
            namespace,
            program,
            directory,
        };
        bench.ready()?;
        Ok(bench)
    }

    /// What the running server looks like from outside.
    pub fn looks(&self) -> Result<String> {
        let (says, detector) = match self.kind {
            Kind::Node => ("llama.cpp as a library in Node.js", "node-llama-cpp"),
            Kind::Llama => (
                "llama-server with tools, an MCP server, a proxy and slots, linked statically",
                "llama.cpp",
            ),
            Kind::Candle => (
                "a server over candle and rustls: its model was read and closed again",
                "generic",
            ),
            Kind::Onnx => ("a Python service over ONNX Runtime", "onnxruntime"),
        };
        let install = match self.kind {
            Kind::Node => crate::scene::installed_modules()?.canonicalize()?,
            Kind::Onnx => {
                let python = installed("SLMGUARD_ONNX_PYTHON")?;
                let home = python.parent().and_then(Path::parent);
                home.context("an environment has a folder")?.to_owned()
            }
            Kind::Llama | Kind::Candle => self.directory.path().to_owned(),
        };
        let places = [
            (install.as_path(), "/opt/server"),
            (self.directory.path(), "/srv/inference"),
        ];
        let places = match self.kind {
            Kind::Llama | Kind::Candle => &places[1..],
            Kind::Node | Kind::Onnx => &places[..],
        };
        looks::describe(self.server.pid()?, says, detector, places)
    }

    /// How much was learned, by role, phase and family.
    pub fn learned(&self) -> Result<BTreeMap<String, usize>> {
        let mut counts = BTreeMap::new();
        for entry in self.daemon()?.json(&["baseline", "show", WORKLOAD])? {
            let word = |name: &str| entry[name].as_str().unwrap_or("?").to_owned();
            let key = [word("role"), word("phase"), word("family")].join(" ");
            *counts.entry(key).or_default() += 1;
        }
        Ok(counts)
    }

    /// The guard.
    pub fn daemon(&self) -> Result<&Daemon> {
        self.daemon.as_ref().context("this server has no guard")
    }

    /// A path in the server's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Waits until the server answers.
    pub fn ready(&self) -> Result<()> {
        let (address, ends) = (self.kind.address(), self.server.ends());
        wait::until(&format!("{} answers", self.kind.name()), START, || {
            // An attack may end it once; one that ends again and again cannot start.
            let ends = self.server.ends() - ends;
            ensure!(ends < 5, "{} ended {ends} times", self.kind.name());
            let health = self
                .namespace
                .run(move || http::ask(address, "/health", None, ANSWER))?;
            Ok(health.ok().filter(|answer| answer.status == 200).map(drop))
        })
        .with_context(|| {
            let log = fs::read_to_string(&self.program.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(15)..].join("\n")
        })
    }

    /// What the server answers; an error if it ends without one.
    pub fn ask(&self, path: &str, body: Option<&Value>) -> Result<Response> {
        let (address, path) = (self.kind.address(), path.to_owned());
        let body = body.map(Value::to_string);
        let answer = self
            .namespace
            .run(move || http::ask(address, &path, body.as_deref(), ANSWER))?;
        answer.context("the server did not answer")
    }

    /// What the server says, whatever becomes of it: an attack may end it.
    pub fn attack(&self, path: &str, body: Option<&Value>) -> Result<String> {
        let said = self.ask(path, body);
        self.ready()?;
        Ok(said.map(|answer| answer.body).unwrap_or_default())
    }

    /// Runs `work` where the server lives.
    pub fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        self.namespace.run(work)
    }

    /// What the server is for.
    pub fn serve(&self) -> Result<()> {
        let prompt = "What is the weather like? what is the weather";
        let requests: Vec<(&str, Option<Value>, &str)> = match self.kind {
            Kind::Node | Kind::Llama => {
                let tool = json!({"type": "function", "function": {
                    "name": "http_get", "description": "Fetches a page.",
                    "parameters": {"type": "object", "properties": {"url": {"type": "string"}}},
                }});
                let mut requests = vec![(
                    "/v1/chat/completions",
                    Some(json!({
                        "messages": [{"role": "user", "content": prompt}],
                        "tools": [tool], "max_tokens": 64, "temperature": 0,
                    })),
                    "weather.demo",
                )];
                if self.kind == Kind::Llama {
                    let notes = json!({"tool": "read_file", "params": {"path": self.script.notes}});
                    let add = json!({"tool": "scene_add", "params": {"a": 2, "b": 40}});
                    requests.push(("/tools", Some(notes), "tomatoes"));
                    requests.push(("/tools", Some(add), "42"));
                }
                requests
            }
            Kind::Candle => vec![(
                "/v1/completions",
                Some(json!({"prompt": format!("{prompt}\n")})),
                "weather.demo",
            )],
            Kind::Onnx => vec![
                (
                    "/classify",
                    Some(json!({"values": [0, 0, 5, 0]})),
                    "\"class\": 2",
                ),
                ("/labels/0", None, "cat"),
            ],
        };
        for (path, body, expected) in requests {
            let answer = self.ask(path, body.as_ref())?;
            if answer.status != 200 || !answer.body.contains(expected) {
                bail!("{path} answered {}: {}", answer.status, answer.body);
            }
        }
        Ok(())
    }

    /// Lives two lives of the server in which it does what it is for, and then
    /// holds it to that.
    pub fn learn_and_enforce(&self) -> Result<()> {
        for _ in 0..2 {
            self.serve()?;
            self.server.restart()?;
            self.ready()?;
        }
        self.serve()?;
        self.daemon()?.mode(WORKLOAD, "enforce")
    }

    /// That enforcement does not break the server: not while it runs, and not
    /// when it starts again.
    pub fn goes_on(&self) -> Result<()> {
        self.serve().context("under enforcement")?;
        self.server.restart()?;
        self.ready()?;
        self.serve().context("started again under enforcement")
    }
}
