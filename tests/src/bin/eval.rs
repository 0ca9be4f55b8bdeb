//! `scene-eval`: what the baselines are worth. `cargo xtask eval` starts it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs, io};

use anyhow::{Context, Result, bail};
use scene::eval::{Goal, QUESTIONS, Target, page};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Options: `--json`; `--page FILE` writes the page, `--check FILE` compares it; other words are
/// names of questions.
fn run() -> Result<()> {
    let (mut json, mut write, mut check, mut wanted) = (false, None, None, vec![]);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut file = || {
            arguments
                .next()
                .map(PathBuf::from)
                .context("a file is missing")
        };
        match argument.as_str() {
            "--json" => json = true,
            "--page" => write = Some(file()?),
            "--check" => check = Some(file()?),
            name if QUESTIONS.iter().any(|question| question.name == name) => {
                wanted.push(argument);
            }
            other => bail!(
                "no question `{other}`; there are {}",
                QUESTIONS
                    .iter()
                    .map(|q| q.name)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        }
    }
    let mut targets = vec![];
    for question in QUESTIONS {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == question.name) {
            continue;
        }
        eprintln!("eval: {}", question.name);
        let answers =
            (question.ask)(&mut |progress| eprintln!("eval: {}: {progress}", question.name));
        targets.extend(answers.with_context(|| format!("the question {}", question.name))?);
    }
    for target in &targets {
        if json {
            serde_json::to_writer(io::stdout(), target).context("print")?;
            println!();
        } else {
            println!("{}", line(target));
        }
    }
    let text = page(&targets);
    if let Some(file) = write {
        fs::write(&file, &text).with_context(|| format!("write {}", file.display()))?;
    }
    if let Some(file) = check {
        let committed =
            fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        if committed != text {
            bail!(
                "{} is not what the evaluation gives now: run `cargo xtask eval` and read the difference",
                file.display()
            );
        }
    }
    Ok(())
}

fn line(target: &Target) -> String {
    let verdict = match (target.target, target.met) {
        (Goal::Told, _) => "    ",
        (_, true) => "met ",
        (_, false) => "MISS",
    };
    let interval = target
        .interval
        .map(|(low, high)| format!(" [{low:.4}, {high:.4}]"))
        .unwrap_or_default();
    format!(
        "{verdict} {:<44} {:>12.5}{interval}  {}",
        target.name, target.value, target.what
    )
}
