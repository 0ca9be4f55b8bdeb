//! From a process that was found to a rule by which the kernel recognises the next one like it: the
//! program, and the arguments that tell.

use monitor_common::{enrol::MAX_ARGS, limits::EVENT_ARGV};

use super::{
    facts::ProcessFacts,
    lookalikes::serves_everybody,
    program::program,
    score::model_argument,
    servers::{Detector, row},
};

/// The arguments by which a program's processes are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telling {
    /// Each has to be one of the arguments.
    pub arguments: Vec<String>,
}

/// What tells a process of this detector from others of its program. `None` where nothing does: an
/// interpreter without a script, a tool that anybody uses; a rule for those would take in
/// strangers.
pub fn telling(facts: &ProcessFacts, detector: Detector) -> Option<Telling> {
    let program = program(facts);
    let server = row(detector);
    if serves_everybody(&facts.exe) {
        return None;
    }
    let mut wanted: Vec<usize> = vec![];
    if program.interpreter {
        wanted.push(program.script?.0);
    }
    if let Some(command) = program.command(&facts.argv)
        && server.is_some_and(|s| s.commands.contains(&command))
    {
        wanted.push(program.first);
    }
    if let Some((at, _, _)) = model_argument(server, facts, &program) {
        wanted.push(at);
    }
    wanted.dedup();
    let mut arguments: Vec<String> = vec![];
    for (i, at) in wanted.into_iter().enumerate() {
        let fits = facts
            .argv
            .get(at)
            .filter(|a| is_plain(a) && reaches(&facts.argv, at));
        match fits {
            Some(argument) if !arguments.contains(argument) => arguments.push(argument.clone()),
            Some(_) => {}
            // Without its script an interpreter's rule would fit everything.
            None if i == 0 && program.interpreter => return None,
            None => {}
        }
    }
    arguments.truncate(MAX_ARGS);
    Some(Telling { arguments })
}

/// Whether an argument can be compared: it came through as text.
fn is_plain(argument: &str) -> bool {
    !argument.is_empty() && !argument.contains('\u{fffd}')
}

/// Whether the kernel reads as far as the end of this argument.
fn reaches(argv: &[String], at: usize) -> bool {
    let bytes: usize = argv.iter().take(at + 1).map(|a| a.len() + 1).sum();
    bytes < EVENT_ARGV
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(exe: &str, argv: &[&str]) -> ProcessFacts {
        ProcessFacts {
            exe: exe.into(),
            argv: argv.iter().map(|a| (*a).to_owned()).collect(),
            ..ProcessFacts::default()
        }
    }

    fn arguments(facts: &ProcessFacts, detector: Detector) -> Option<Vec<String>> {
        telling(facts, detector).map(|t| t.arguments)
    }

    #[test]
    fn script_command_and_model_tell() {
        let node = run(
            "/usr/bin/node",
            &[
                "node",
                "/srv/server.mjs",
                "--model",
                "/m/a.gguf",
                "--listen",
                "1:2",
            ],
        );
        assert_eq!(
            arguments(&node, Detector::NodeLlamaCpp).unwrap(),
            ["/srv/server.mjs", "/m/a.gguf"]
        );
        let ollama = run("/usr/bin/ollama", &["ollama", "serve"]);
        assert_eq!(arguments(&ollama, Detector::Ollama).unwrap(), ["serve"]);
        let llama = run(
            "/usr/bin/llama-server",
            &["llama-server", "-m", "/m/a.gguf"],
        );
        assert_eq!(
            arguments(&llama, Detector::LlamaCpp).unwrap(),
            ["/m/a.gguf"]
        );
        let triton = run(
            "/opt/tritonserver",
            &["tritonserver", "--model-repository=/models"],
        );
        assert_eq!(
            arguments(&triton, Detector::Triton).unwrap(),
            ["--model-repository=/models"]
        );
        let vllm = run(
            "/usr/bin/python3",
            &["python3", "/usr/bin/vllm", "serve", "org/model"],
        );
        assert_eq!(
            arguments(&vllm, Detector::Vllm).unwrap(),
            ["/usr/bin/vllm", "serve", "org/model"]
        );
    }

    #[test]
    fn no_rule_takes_in_strangers() {
        assert_eq!(
            arguments(
                &run("/usr/bin/python3", &["python3", "-c", "x"]),
                Detector::Generic
            ),
            None
        );
        assert_eq!(
            arguments(
                &run("/usr/bin/curl", &["curl", "http://x"]),
                Detector::Generic
            ),
            None
        );
        let far = "x".repeat(EVENT_ARGV);
        assert_eq!(
            arguments(&run("/usr/bin/node", &["node", &far]), Detector::Generic),
            None
        );
        let llama = run("/usr/bin/llama-server", &["llama-server", "-m", &far]);
        assert_eq!(arguments(&llama, Detector::LlamaCpp).unwrap(), [""; 0]);
    }
}
