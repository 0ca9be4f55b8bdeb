//! What a server was told it may do: read from its command line, so that what it does can be
//! compared with it.

use super::{facts::ProcessFacts, mcp, program::program};
use crate::text::escape;

/// A capability that was declared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    /// What it is, one of a closed list of words.
    pub what: &'static str,
    /// The option that says so, escaped, and shortened if need be.
    pub option: String,
    /// In a sentence.
    pub means: &'static str,
}

/// Options, the word, and what it means.
const OPTIONS: &[(&str, &str, &str)] = &[
    (
        "--tools",
        "tools",
        "the server itself runs tools that the model calls",
    ),
    (
        "--agent",
        "agent",
        "the server itself runs code that the model wrote",
    ),
    (
        "--code-interpreter",
        "agent",
        "the server itself runs code that the model wrote",
    ),
    (
        "--enable-auto-tool-choice",
        "tool-calls",
        "the model chooses tools; clients run them",
    ),
    (
        "--tool-server",
        "tool-server",
        "the server calls tool servers over the network",
    ),
    (
        "--ui-mcp-proxy",
        "mcp-proxy",
        "the server fetches any URL for its web page",
    ),
    (
        "--webui-mcp-proxy",
        "mcp-proxy",
        "the server fetches any URL for its web page",
    ),
    (
        "--mcp-config",
        "mcp",
        "the server starts or calls MCP servers",
    ),
    (
        "--mcp-servers-config",
        "mcp",
        "the server starts or calls MCP servers",
    ),
    (
        "--mcp-servers-json",
        "mcp",
        "the server starts or calls MCP servers",
    ),
    (
        "--mcp-port",
        "mcp-listener",
        "the server is an MCP server itself",
    ),
    (
        "--slot-save-path",
        "slot-files",
        "clients make the server write and read prompt caches",
    ),
    (
        "--models-dir",
        "router",
        "the server starts one server per model",
    ),
    (
        "--models-preset",
        "router",
        "the server starts one server per model",
    ),
    ("--rpc", "rpc", "the server computes on other machines"),
    (
        "--media-path",
        "media-files",
        "clients name files that the server reads",
    ),
    (
        "--allowed-local-media-path",
        "media-files",
        "clients name files that the server reads",
    ),
    ("--lora", "adapter", "an adapter changes the model"),
    ("--lora-scaled", "adapter", "an adapter changes the model"),
    ("--lora-modules", "adapter", "an adapter changes the model"),
    ("--enable-lora", "adapter", "an adapter changes the model"),
    ("-hf", "download", "the server downloads its model"),
    ("-hfr", "download", "the server downloads its model"),
    ("--hf-repo", "download", "the server downloads its model"),
    ("-dr", "download", "the server downloads its model"),
    (
        "--trust-remote-code",
        "remote-code",
        "the model's own code is run",
    ),
    (
        "--trust_remote_code",
        "remote-code",
        "the model's own code is run",
    ),
    (
        "--public-api",
        "tunnel",
        "the server is reachable from the internet",
    ),
    (
        "--share",
        "tunnel",
        "the server is reachable from the internet",
    ),
    (
        "--unsecure",
        "unconfined",
        "the server gives its own sandbox up",
    ),
    (
        "--cors-proxy",
        "proxy",
        "the server fetches any URL for its clients",
    ),
];

/// Characters of an option that are shown.
const SHOWN: usize = 120;
/// Arguments that are looked at.
const LOOKED_AT: usize = 1024;

/// What a command line declares, each thing once.
pub fn declared(facts: &ProcessFacts) -> Vec<Capability> {
    let first = program(facts).first;
    let mut found: Vec<Capability> = vec![];
    let words = facts.argv.iter().enumerate().skip(first).take(LOOKED_AT);
    for (at, word) in words {
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word.as_str(), None),
        };
        let Some((option, what, means)) = OPTIONS.iter().find(|(o, _, _)| *o == name) else {
            continue;
        };
        let value = inline.or_else(|| {
            let next = facts.argv.get(at + 1)?;
            (!next.starts_with('-')).then_some(next.as_str())
        });
        if *what == "mcp-proxy" && value.is_some_and(|v| ["0", "false", "off"].contains(&v)) {
            continue;
        }
        if !found.iter().any(|c| c.what == *what) {
            found.push(Capability {
                what,
                option: shown(option, value),
                means,
            });
        }
    }
    if let Some(listens) = everywhere(facts) {
        found.push(listens);
    }
    found.sort();
    found
}

/// Where the definitions of MCP servers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum McpSource {
    /// On the command line itself.
    Inline(Vec<mcp::Server>),
    /// In this file, as the process names it.
    File(String),
}

/// The MCP servers that a command line names.
pub fn mcp_sources(facts: &ProcessFacts) -> Vec<McpSource> {
    let mut sources = vec![];
    for (at, word) in facts.argv.iter().enumerate().take(LOOKED_AT) {
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word.as_str(), None),
        };
        if !name.starts_with("--") || !name.contains("mcp") || name.contains("proxy") {
            continue;
        }
        let Some(value) = inline.or_else(|| facts.argv.get(at + 1).map(String::as_str)) else {
            continue;
        };
        if value.trim_start().starts_with('{') {
            sources.push(McpSource::Inline(mcp::parse_config(value.as_bytes())));
        } else if value.contains('/') || value.ends_with(".json") {
            sources.push(McpSource::File(value.to_owned()));
        }
    }
    sources
}

/// A listener that is not on loopback only.
fn everywhere(facts: &ProcessFacts) -> Option<Capability> {
    let at = facts
        .argv
        .iter()
        .position(|w| ["--host", "--hostname", "--serve-ip"].contains(&w.as_str()))?;
    let host = facts.argv.get(at + 1)?;
    ["0.0.0.0", "::", "[::]", "*"]
        .contains(&host.as_str())
        .then(|| Capability {
            what: "exposed",
            option: shown(&facts.argv[at], Some(host)),
            means: "everybody on the network reaches the server",
        })
}

fn shown(option: &str, value: Option<&str>) -> String {
    let mut text = option.to_owned();
    if let Some(value) = value {
        text.push(' ');
        text.extend(value.chars().take(SHOWN));
        if value.chars().count() > SHOWN {
            text.push('…');
        }
    }
    escape(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &[&str]) -> ProcessFacts {
        ProcessFacts {
            exe: "/usr/bin/llama-server".into(),
            argv: line.iter().map(|a| (*a).to_owned()).collect(),
            ..ProcessFacts::default()
        }
    }

    #[test]
    fn options_declare_capabilities_once() {
        let facts = run(&[
            "llama-server",
            "-m",
            "x.gguf",
            "--tools",
            "all",
            "--ui-mcp-proxy",
            "--slot-save-path=/s",
            "--host",
            "0.0.0.0",
            "--lora",
            "a.gguf",
            "--lora",
            "b.gguf",
        ]);
        let found = declared(&facts);
        let words: Vec<_> = found.iter().map(|c| (c.what, c.option.as_str())).collect();
        assert_eq!(
            words,
            [
                ("adapter", "--lora a.gguf"),
                ("exposed", "--host 0.0.0.0"),
                ("mcp-proxy", "--ui-mcp-proxy"),
                ("slot-files", "--slot-save-path /s"),
                ("tools", "--tools all"),
            ]
        );
        assert!(declared(&run(&["llama-server", "-m", "--tools.gguf"])).is_empty());
        assert!(declared(&run(&["llama-server", "--host", "127.0.0.1"])).is_empty());
    }

    #[test]
    fn what_an_option_says_is_escaped_and_short() {
        let long = format!("a\n{}", "b".repeat(1000));
        let found = declared(&run(&["llama-server", "--tools", &long]));
        assert!(!found[0].option.contains('\n') && found[0].option.len() < 200);
    }

    #[test]
    fn mcp_servers_are_found_inline_and_by_file() {
        let json = r#"{"mcpServers":{"files":{"command":"npx","args":["-y","x"]}}}"#;
        let facts = run(&[
            "llama-server",
            "--mcp-servers-json",
            json,
            "--mcp-config=/etc/mcp.json",
            "--ui-mcp-proxy",
        ]);
        let sources = mcp_sources(&facts);
        assert_eq!(sources.len(), 2, "{sources:?}");
        assert!(
            matches!(&sources[0], McpSource::Inline(s) if s[0].name == "files" && s[0].command.as_deref() == Some("npx"))
        );
        assert_eq!(sources[1], McpSource::File("/etc/mcp.json".into()));
    }
}
