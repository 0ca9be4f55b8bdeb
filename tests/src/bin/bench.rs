//! `scene-bench`: measures what the guard costs. `cargo xtask bench` starts it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, io};

use anyhow::{Context, Result, bail};
use scene::bench::{self, Line, Plan, worker};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((first, rest)) if first == "worker" => serve(rest),
        _ => measure(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &[String]) -> Result<()> {
    let [folder, tcp, udp, clock] = arguments else {
        bail!("a worker needs a folder, two ports and a clock");
    };
    let objects = worker::Objects {
        folder: folder.into(),
        tcp: tcp.parse().context("TCP port")?,
        udp: udp.parse().context("UDP port")?,
    };
    worker::serve(&objects, clock.parse()?).context("serve")
}

fn measure(arguments: &[String]) -> Result<()> {
    let mut plan = Plan {
        slmguard: PathBuf::new(),
        rounds: 10,
        slices: 3,
        clock: worker::Clock::Wall,
        divide: 1,
    };
    let mut json = false;
    let mut unit = "ns";
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{name} needs a value"));
        match name.as_str() {
            "--slmguard" => plan.slmguard = value()?.into(),
            "--rounds" => plan.rounds = value()?.parse().context("--rounds")?,
            "--slices" => plan.slices = value()?.parse().context("--slices")?,
            "--divide" => plan.divide = value()?.parse().context("--divide")?,
            "--json" => json = true,
            "--instructions" => {
                unit = "instructions";
                plan.clock = worker::Clock::Processor;
            }
            other => bail!("no option {other}"),
        }
    }
    let lines = bench::run(&plan, &mut |what| eprintln!("bench: {what}"))?;
    if json {
        for line in &lines {
            serde_json::to_writer(io::stdout(), line).context("print")?;
            println!();
        }
    } else {
        print(&lines, unit);
    }
    Ok(())
}

fn print(lines: &[Line], unit: &str) {
    println!(
        "{:<28} {:<17} {:>12} {:>8} {:>8}",
        "operation", "situation", unit, "ratio", "spread"
    );
    for line in lines {
        let ratio = line.ratio.map_or("".into(), |r| format!("{r:.3}"));
        println!(
            "{:<28} {:<17} {:>12.0} {ratio:>8} {:>7.1}%",
            line.op,
            line.situation,
            line.ns,
            100.0 * line.spread
        );
    }
}
