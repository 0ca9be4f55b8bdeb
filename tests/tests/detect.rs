//! Workloads that nobody configured: with an empty configuration the guard finds a real inference
//! server and its agent, says why, and guards them once an operator says so. That the attack works
//! without a guard is shown by `scene::the_model_is_talked_into_an_attack_by_prompt_and_by_tool_result`.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nix::libc;
use scene::daemon::{self, Daemon, Options};
use scene::probe::{Fate, Launch, Order, Probe};
use scene::scene::{Outcome, Parts, SERVER, Scene, beside, installed_modules};
use scene::script::{Attack, BENIGN};
use scene::service::{Program, Service};
use scene::trial::{Trial, at, text};
use scene::wait;
use scene::world::{ATTACKER, WEATHER};
use serde_json::Value;
use tempfile::TempDir;

/// How long the search may take; emulated machines are slow.
const FOUND: Duration = Duration::from_secs(60);

fn folder() -> Result<TempDir> {
    Ok(tempfile::Builder::new()
        .prefix("slmguard-detect-")
        .tempdir()?)
}

/// A guard that knows of nothing.
fn guard(folder: &TempDir) -> Result<Daemon> {
    let directory = folder.path().join("guard");
    let mut options = Options::new(daemon::program()?, &directory, String::new());
    options.detect = true;
    Daemon::start(options)
}

fn open(folder: &TempDir) -> Result<Scene> {
    let parts = Parts::lay_out(&folder.path().join("scene"), &installed_modules()?)?;
    Scene::prepare(parts)?.open()
}

/// The workload of a process, if it is a member of one.
fn workload_of(guard: &Daemon, pid: i32) -> Result<Option<Value>> {
    let has = |workload: &Value| {
        let processes = workload["processes"].as_array();
        processes.is_some_and(|all| all.iter().any(|p| p["pid"] == pid))
    };
    Ok(guard.json(&["workloads"])?.into_iter().find(has))
}

/// Waits until a process is a member of a workload.
fn found(guard: &Daemon, pid: i32) -> Result<Value> {
    wait::until(&format!("process {pid} is found"), FOUND, || {
        workload_of(guard, pid)
    })
}

fn name(workload: &Value) -> Result<&str> {
    workload["name"].as_str().context("a workload has a name")
}

/// The entry of a process in its workload.
fn process(workload: &Value, pid: i32) -> Result<&Value> {
    let processes = workload["processes"].as_array().context("processes")?;
    processes
        .iter()
        .find(|p| p["pid"] == pid)
        .with_context(|| format!("no process {pid} in {workload}"))
}

/// Runs a command that has to succeed, and returns what it printed.
fn run(guard: &Daemon, arguments: &[&str]) -> Result<String> {
    let output = guard.cli(arguments)?;
    ensure!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Has the agent work until it was seen calling the server, and returns what is said of it.
fn agent_offered(guard: &Daemon, scene: &Scene, workload: &str) -> Result<Value> {
    let pid = scene.agent.pid()?;
    let seen = AtomicBool::new(false);
    thread::scope(|scope| {
        let busy = scope.spawn(|| -> Result<()> {
            while !seen.load(Ordering::Relaxed) {
                let answered = matches!(scene.ask(BENIGN[0].1)?, Outcome::Answered(_));
                ensure!(answered, "the agent died");
            }
            Ok(())
        });
        let offered = wait::until("the agent is offered", FOUND, || {
            let of = |w: &Value| w["name"] == workload;
            let listed = guard.json(&["workloads"])?.into_iter().find(of);
            let agents = listed.map(|w| w["agents"].clone()).unwrap_or_default();
            let is_it = |agent: &&Value| {
                let pids = agent["pids"].as_array();
                pids.is_some_and(|pids| pids.iter().any(|p| *p == pid))
            };
            Ok(agents
                .as_array()
                .and_then(|all| all.iter().find(is_it).cloned()))
        });
        seen.store(true, Ordering::Relaxed);
        let busy = busy.join().map_err(|_| anyhow!("the agent's user died"))?;
        let offered = offered?;
        busy.map(|()| offered)
    })
}

fn sha256(path: &Path) -> Result<String> {
    let output = Command::new("sha256sum")
        .arg(path)
        .output()
        .context("run sha256sum")?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}

#[test]
fn a_server_and_its_agent_that_run_already_are_found_explained_and_guarded() -> Result<()> {
    let folder = folder()?;
    let scene = open(&folder)?;
    let guard = guard(&folder)?;
    let server = scene.server.pid()?;
    let workload = found(&guard, server)?;
    let name = name(&workload)?.to_owned();
    assert_eq!(
        (&workload["mode"], &workload["origin"]),
        (&"learn".into(), &"detected".into())
    );
    assert_eq!(workload["confirmed"], false);
    assert_eq!(process(&workload, server)?["role"], "server");
    assert_eq!(process(&workload, server)?["adopted"], true);

    // The evidence, and the model by its digest.
    let model = scene.parts.directory.join("model.gguf");
    let digest = sha256(&model)?;
    let seen = wait::until("the model's digest is known", FOUND, || {
        let seen = workload_of(&guard, server)?.map(|w| w["detection"].clone());
        Ok(seen.filter(|seen| seen["models"][0]["sha256"] == digest))
    })?;
    assert_eq!(seen["detector"], "node-llama-cpp");
    assert!(seen["score"].as_f64() >= Some(1.0), "{seen}");
    let signs: Vec<_> = seen["evidence"].as_array().into_iter().flatten().collect();
    for source in ["library", "model", "listener"] {
        assert!(
            signs.iter().any(|s| s["source"] == source),
            "{source}: {seen}"
        );
    }
    assert_eq!(seen["models"][0]["format"], "GGUF");
    assert_eq!(seen["models"][0]["architecture"], "llama");
    assert_eq!(seen["ports"], serde_json::json!([SERVER.port()]));

    // The agent, which is nothing before somebody says so.
    let agent = agent_offered(&guard, &scene, &name)?;
    assert_eq!(
        (&agent["state"], &agent["id"]),
        (&"offered".into(), &"scene-agent".into())
    );
    let explained = run(&guard, &["workloads", &name, "--explain"])?;
    for part in [
        "not confirmed",
        "node-llama-cpp",
        &digest,
        "scene-agent: offered",
        "enrol-agent",
    ] {
        assert!(explained.contains(part), "no {part} in\n{explained}");
    }
    assert_eq!(workload_of(&guard, scene.agent.pid()?)?, None);
    run(&guard, &["workloads", "enrol-agent", &name, "scene-agent"])?;
    let pid = scene.agent.pid()?;
    let member = found(&guard, pid)?;
    assert_eq!(
        (&member["name"], &process(&member, pid)?["role"]),
        (&name.as_str().into(), &"agent".into())
    );

    // Nobody enforces what nobody confirmed.
    let refused = guard.cli(&["mode", &name, "enforce", "--declare", "--reason", "x"])?;
    assert_eq!(refused.status.code(), Some(4));
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("workloads confirm"), "{words}");
    run(
        &guard,
        &["workloads", "confirm", &name, "--reason", "it is ours"],
    )?;

    // Both start anew, as members from their first instruction, and are taught.
    scene.restart()?;
    let restarted = scene.agent.pid()?;
    assert_eq!(
        process(&found(&guard, restarted)?, restarted)?["adopted"],
        false
    );
    for (_, prompt) in BENIGN {
        ensure!(
            matches!(scene.ask(prompt)?, Outcome::Answered(_)),
            "{prompt}"
        );
    }
    guard.mode(&name, "enforce")?;
    let before = scene.world.attacker.evidence()?;
    let Outcome::Answered(transcript) = scene.ask(&Attack::Url.prompt())? else {
        panic!("the agent died")
    };
    let failed = transcript
        .calls
        .iter()
        .find_map(|c| c.outcome.as_ref().err());
    assert_eq!(failed.and_then(|f| f.errno), Some(1), "{transcript:?}");
    assert_eq!(
        scene.world.attacker.evidence()?.since(&before).connections,
        0
    );
    let Outcome::Answered(_) = scene.ask(BENIGN[0].1)? else {
        panic!("what is known goes on working")
    };

    // Other weights under the same name: the path is known, and so is what was there before.
    let next = model.with_extension("next");
    let mut weights = fs::read(&model)?;
    weights.push(0);
    fs::write(&next, weights)?;
    fs::rename(&next, &model)?;
    let replaced = sha256(&model)?;
    scene.restart()?;
    let alert = guard.alert("the model that was replaced", |alert| {
        alert["kind"] == "model"
    })?;
    assert_eq!(alert["subject"], model.to_string_lossy().as_ref());
    assert_eq!(alert["verdict"], "audited");
    let reasons = alert["reasons"].to_string();
    for part in [&digest, &replaced] {
        assert!(reasons.contains(part), "no {part} in {reasons}");
    }

    // The hooks for files came with the first workload, and were seen to work.
    let files: Vec<Value> = guard
        .doctor()?
        .into_iter()
        .filter(|h| h["hook"] == "open_exit" || h["hook"] == "lsm_file_open")
        .filter(|h| h["expected"] == true)
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(
        (&files[0]["attached"], &files[0]["fires"]),
        (&true.into(), &true.into())
    );
    Ok(())
}

/// A process that comes near a model without computing with it.
struct LookAlike(Child);

impl LookAlike {
    fn start(program: &str, arguments: &[&str]) -> Result<Self> {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {program}"))?;
        Ok(Self(child))
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for LookAlike {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn servers_that_start_later_and_their_replicas_are_one_workload_and_look_alikes_are_none()
-> Result<()> {
    let folder = folder()?;
    let guard = guard(&folder)?;
    let model = folder.path().join("other.gguf");
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.resize(2 << 20, 0);
    fs::write(&model, bytes)?;
    // One follows a model file, one only has a server's name.
    let follower = LookAlike::start("tail", &["-f", &model.display().to_string()])?;
    let named = folder.path().join("llama-server");
    fs::copy("/bin/sleep", &named)?;
    let sleeper = LookAlike::start(&named.display().to_string(), &["600"])?;

    let scene = open(&folder)?;
    let bystander = folder.path().join("bystander");
    fs::copy(beside("scene-probe")?, &bystander)?;
    let mut listener = Probe::start(&scene.namespace, &bystander, Launch::default())?;
    assert!(
        listener
            .ask(&Order::Listen("127.0.0.1:8000".parse()?))?
            .worked()
    );

    let server = scene.server.pid()?;
    let workload = found(&guard, server)?;
    let name = name(&workload)?.to_owned();

    // A second one with the same model, on another port.
    let replica = Service::start(
        &scene.namespace,
        Program {
            name: "a replica",
            exe: scene.parts.node.clone(),
            arguments: vec![
                scene.parts.server.display().to_string(),
                "--model".into(),
                scene
                    .parts
                    .directory
                    .join("model.gguf")
                    .display()
                    .to_string(),
                "--listen".into(),
                "127.0.0.1:8081".into(),
            ],
            directory: scene.parts.directory.clone(),
            log: scene.parts.directory.join("replica.log"),
        },
    )?;
    let second = replica.pid()?;
    let joined = found(&guard, second)?;
    assert_eq!(joined["name"], name.as_str());
    let entry = process(&joined, second)?;
    assert_eq!(
        (&entry["role"], &entry["adopted"]),
        (&"server".into(), &false.into())
    );

    for bystander in [
        follower.pid(),
        sleeper.pid(),
        listener.pid(),
        scene.agent.pid()?,
    ] {
        assert_eq!(workload_of(&guard, bystander)?, None, "{bystander} is none");
    }

    // It is there again after a restart of the daemon, at once and under the same name.
    guard.end()?;
    guard.launch()?;
    let again = workload_of(&guard, second)?.context("it is a member at once")?;
    assert_eq!(
        (&again["name"], &again["origin"]),
        (&name.as_str().into(), &"detected".into())
    );
    let baseline = guard.json(&["baseline", "show", &name])?;
    assert!(!baseline.is_empty(), "what was learned is still known");

    // Dismissed, it is left alone.
    run(&guard, &["workloads", "dismiss", &name])?;
    assert_eq!(workload_of(&guard, second)?, None);
    let listed = guard.json(&["workloads", "candidates"])?;
    assert_eq!(listed[0]["dismissed"], serde_json::json!([name]));
    Ok(())
}

/// What stands before a command that is started as a server of a workload.
fn launcher(guard: &Daemon, name: &str) -> Vec<String> {
    let config = text(&guard.config());
    ["exec", "--config", &config, "--workload", name, "--"]
        .map(str::to_owned)
        .to_vec()
}

#[test]
fn what_was_found_and_confirmed_starts_inside_the_guard() -> Result<()> {
    let folder = folder()?;
    let guard = guard(&folder)?;
    let trial = Trial::unguarded()?;
    // A server by its name and the model that it holds open.
    let (model, server) = (trial.path("tiny.gguf"), trial.path("llama-server"));
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.resize(2 << 20, 0);
    fs::write(&model, bytes)?;
    fs::copy("/bin/sleep", &server)?;
    let script = format!("exec 7<{}; exec {} 600", text(&model), text(&server));
    let server = LookAlike::start("/bin/sh", &["-c", &script])?;
    let workload = found(&guard, server.pid())?;
    let name = name(&workload)?.to_owned();

    // Before an operator said so, nothing is started, and it is said who has to say so.
    let (mark, unknown) = (trial.path("mark"), trial.file("unknown", "secret")?);
    let mut early = Command::new(guard.program());
    early
        .args(launcher(&guard, &name))
        .arg("touch")
        .arg(&mark)
        .stdin(Stdio::null());
    let refused = early.output().context("run slmguard exec")?;
    assert_eq!(refused.status.code(), Some(4));
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        words.contains(&format!("slmguard workloads confirm {name}")),
        "{words}"
    );
    assert!(!mark.exists(), "it was not started");
    run(&guard, &["workloads", "confirm", &name, "--reason", "ours"])?;

    // A program that no rule knows is a member before its first instruction.
    let start = || {
        let mut arguments = launcher(&guard, &name);
        arguments.push(text(trial.tool_program()));
        let launch = Launch {
            arguments,
            ..Launch::default()
        };
        Probe::start(&trial.namespace, guard.program(), launch)
    };
    let known = trial.file("known", "known")?;
    let normal = [Order::Connect(at(WEATHER, 80)), Order::Read(known)];
    let mut probe = start()?;
    let member = found(&guard, probe.pid())?;
    assert_eq!(member["name"], name.as_str());
    let entry = process(&member, probe.pid())?;
    assert_eq!(
        (&entry["role"], &entry["adopted"]),
        (&"server".into(), &false.into())
    );
    for order in &normal {
        assert!(probe.ask(order)?.worked(), "{order:?}");
    }
    drop(probe);
    guard.mode(&name, "enforce")?;

    // Files are refused on every tier: by the kernel hooks, or by the sandbox.
    let mut probe = start()?;
    for order in &normal {
        assert!(probe.ask(order)?.worked(), "{order:?} was learned");
    }
    let refused = match guard.tier()?.as_str() {
        "lsm" => libc::EPERM,
        _ => libc::EACCES,
    };
    assert_eq!(probe.ask(&Order::Read(unknown))?, Fate::Refused(refused));
    assert_eq!(
        probe.ask(&Order::Connect(at(ATTACKER, 80)))?,
        Fate::EPERM,
        "and it lives on"
    );
    assert_eq!(trial.world.attacker.evidence()?.connections, 0);
    Ok(())
}
