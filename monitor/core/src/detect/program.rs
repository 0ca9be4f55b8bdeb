//! What a process runs: the program, or what an interpreter was told to run.

use super::{facts::ProcessFacts, lookalikes::is_interpreter};

/// What a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program<'a> {
    /// File name of the executable.
    pub name: &'a str,
    /// The executable is an interpreter.
    pub interpreter: bool,
    /// The module or script, and which argument names it, where an interpreter runs one.
    pub script: Option<(usize, &'a str)>,
    /// Where the arguments of the program itself begin.
    pub first: usize,
}

impl<'a> Program<'a> {
    /// The first word on the command line, if it is none of the options.
    pub fn command(&self, argv: &'a [String]) -> Option<&'a str> {
        let word = argv.get(self.first)?;
        (!word.starts_with('-')).then_some(word.as_str())
    }
}

/// The last component of a path.
pub fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Takes a command line apart.
pub fn program(facts: &ProcessFacts) -> Program<'_> {
    let name = base_name(&facts.exe);
    if !is_interpreter(name) {
        return Program {
            name,
            first: 1,
            ..Program::default()
        };
    }
    let script = script(&facts.argv);
    Program {
        name,
        interpreter: true,
        script,
        first: script.map_or(facts.argv.len(), |(at, _)| at + 1),
    }
}

/// Options of interpreters that take the next argument along.
const WITH_VALUE: &[&str] = &[
    "-W",
    "-X",
    "-r",
    "--require",
    "--import",
    "--loader",
    "-I",
    "-L",
    "-cp",
    "-classpath",
    "--env-file",
    "--conditions",
    "-C",
];

/// The module or script that an interpreter was told to run; code on the command line is neither.
fn script(argv: &[String]) -> Option<(usize, &str)> {
    let mut at = 1;
    while let Some(word) = argv.get(at) {
        match word.as_str() {
            "-m" | "-jar" => return Some((at + 1, argv.get(at + 1)?)),
            "-c" | "-e" | "--eval" | "-p" | "--print" => return None,
            option if WITH_VALUE.contains(&option) => at += 2,
            option if option.starts_with('-') => at += 1,
            script => return Some((at, script)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(exe: &str, line: &str) -> ProcessFacts {
        ProcessFacts {
            exe: exe.into(),
            argv: line.split(' ').map(str::to_owned).collect(),
            ..ProcessFacts::default()
        }
    }

    #[test]
    fn what_an_interpreter_runs_is_found_behind_its_options() {
        for (exe, line, script, command) in [
            (
                "/usr/bin/python3.11",
                "python3 -m vllm.entrypoints.openai.api_server --model x",
                Some("vllm.entrypoints.openai.api_server"),
                None,
            ),
            (
                "/usr/bin/python3.11",
                "python3 -u -X dev /opt/venv/bin/vllm serve x",
                Some("/opt/venv/bin/vllm"),
                Some("serve"),
            ),
            (
                "/usr/bin/node",
                "node --require ./a.js server.mjs --listen 1",
                Some("server.mjs"),
                None,
            ),
            ("/usr/bin/python3", "python3 -c import_llama", None, None),
            ("/usr/bin/python3", "python3", None, None),
            ("/usr/local/bin/ollama", "ollama serve", None, Some("serve")),
            ("/usr/bin/llama-server", "llama-server -m x", None, None),
        ] {
            let facts = run(exe, line);
            let program = program(&facts);
            assert_eq!(program.script.map(|(_, s)| s), script, "{line}");
            assert_eq!(program.command(&facts.argv), command, "{line}");
        }
    }
}
