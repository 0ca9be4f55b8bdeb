//! MCP servers: their definitions in a configuration, and which child of a server or agent is one
//! that it talks to over standard input and output.

use serde::{
    Deserialize,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};

use super::{facts::ProcessFacts, program::base_name};

/// Bytes of a configuration that are read.
pub const LARGEST_CONFIG: usize = 256 << 10;
/// Servers of one configuration that are kept.
const MOST: usize = 64;
/// Arguments and bytes of a text that are kept.
const MOST_ARGUMENTS: usize = 32;
const LONGEST: usize = 512;

/// A server as a configuration defines it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// The program that is started; absent for one that is called over the network.
    pub command: Option<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where it is called; absent for one that is started.
    pub url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Definition {
    command: Option<String>,
    args: Vec<String>,
    url: Option<String>,
}

/// Reads `{"mcpServers": {NAME: {command, args, url}}}`; `servers` is understood as well. What is
/// not understood is left out.
pub fn parse_config(bytes: &[u8]) -> Vec<Server> {
    let mut found = vec![];
    if bytes.len() <= LARGEST_CONFIG {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        // What was understood before a mistake counts.
        let _ = Top(&mut found).deserialize(&mut reader);
    }
    found
}

struct Top<'a>(&'a mut Vec<Server>);

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object with MCP servers")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "mcpServers" || key == "servers" {
                map.next_value_seed(Servers(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct Servers<'a>(&'a mut Vec<Server>);

impl<'de> DeserializeSeed<'de> for Servers<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Servers<'_> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MCP servers by name")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let definition: Definition = map.next_value()?;
            if self.0.len() < MOST {
                let args = definition.args.into_iter().take(MOST_ARGUMENTS);
                self.0.push(Server {
                    name: cut(name),
                    command: definition.command.map(cut),
                    args: args.map(cut).collect(),
                    url: definition.url.map(cut),
                });
            }
        }
        Ok(())
    }
}

fn cut(text: String) -> String {
    text.chars().take(LONGEST).collect()
}

/// How a child's standard input and output are connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stdio {
    /// Input comes from a pipe or socket.
    pub input: bool,
    /// Output goes to a pipe or socket.
    pub output: bool,
}

/// Whether a child of a server or agent is an MCP server that it talks to over standard input and
/// output: both are connected, and either it was defined as one or its command line says so.
pub fn is_stdio_server(child: &ProcessFacts, stdio: Stdio, defined: &[Server]) -> bool {
    stdio.input && stdio.output && (is_defined(child, defined) || says_mcp(&child.argv))
}

fn is_defined(child: &ProcessFacts, defined: &[Server]) -> bool {
    defined.iter().any(|server| {
        let Some(command) = &server.command else {
            return false;
        };
        let program = base_name(command);
        let named = base_name(&child.exe) == program
            || child.argv.iter().take(3).any(|a| base_name(a) == program);
        // The arguments stand at the end, also where a wrapper started the program.
        named && !server.args.is_empty() && child.argv.ends_with(&server.args)
            || named && server.args.is_empty()
    })
}

/// `mcp` as a word of its own in an argument, or a package of the protocol's own.
fn says_mcp(argv: &[String]) -> bool {
    argv.iter().take(MOST_ARGUMENTS).any(|argument| {
        let lower = argument.to_ascii_lowercase();
        lower.contains("modelcontextprotocol")
            || lower
                .split(|c: char| !c.is_ascii_alphanumeric())
                .any(|word| matches!(word, "mcp" | "fastmcp"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOTH: Stdio = Stdio {
        input: true,
        output: true,
    };

    fn child(exe: &str, argv: &[&str]) -> ProcessFacts {
        ProcessFacts {
            exe: exe.into(),
            argv: argv.iter().map(|a| (*a).to_owned()).collect(),
            ..ProcessFacts::default()
        }
    }

    #[test]
    fn definitions_are_read_and_the_rest_is_left_out() {
        let text = br#"{"x":[1,{"y":2}],"mcpServers":{
            "files":{"command":"/usr/bin/npx","args":["-y","server-files","/srv"],"env":{"K":"V"}},
            "web":{"url":"http://127.0.0.1:9/mcp"}}}"#;
        let servers = parse_config(text);
        assert_eq!(servers.len(), 2);
        assert_eq!(servers[0].args, ["-y", "server-files", "/srv"]);
        assert_eq!(servers[1].url.as_deref(), Some("http://127.0.0.1:9/mcp"));
        assert_eq!(parse_config(b"[]"), []);
        let broken = parse_config(br#"{"mcpServers":{"a":{"command":"x"},"b":7}}"#);
        assert_eq!(broken.len(), 1, "what stands before the mistake counts");
        let many: Vec<String> = (0..500).map(|i| format!("\"s{i}\":{{}}")).collect();
        let many = format!("{{\"servers\":{{{}}}}}", many.join(","));
        assert_eq!(parse_config(many.as_bytes()).len(), MOST);
    }

    #[test]
    fn a_stdio_child_is_told_by_its_definition_or_its_words() {
        let defined = [Server {
            name: "files".into(),
            command: Some("npx".into()),
            args: vec!["-y".into(), "server-files".into()],
            url: None,
        }];
        let by_definition = child(
            "/usr/bin/node",
            &["node", "/usr/bin/npx", "-y", "server-files"],
        );
        assert!(is_stdio_server(&by_definition, BOTH, &defined));
        assert!(!is_stdio_server(&by_definition, BOTH, &[]));
        for argv in [
            vec!["python3", "mcp_weather.py"],
            vec!["uvx", "mcp-server-git"],
            vec!["node", "/x/@modelcontextprotocol/server-files/index.js"],
        ] {
            let child = child("/usr/bin/x", &argv);
            assert!(is_stdio_server(&child, BOTH, &[]), "{argv:?}");
            let half = Stdio {
                input: true,
                output: false,
            };
            assert!(!is_stdio_server(&child, half, &[]), "{argv:?}");
        }
        assert!(!is_stdio_server(
            &child("/bin/sh", &["sh", "-c", "ls /tmp/mcpx"]),
            BOTH,
            &[]
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(parse_config(&bytes).len() <= MOST);
        }
        #[test]
        fn any_nesting_is_read_without_harm(depth in 0_usize..2000) {
            let text = format!("{{\"mcpServers\":{}", "[".repeat(depth));
            parse_config(text.as_bytes());
        }
    }
}
