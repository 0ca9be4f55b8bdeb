//! A systemd drop-in that has a service start its command through `slmguard exec`. Pure: text in,
//! text out.

use std::fmt::Write as _;

use slmguard_core::text::escape;

/// What the drop-in is about.
#[derive(Clone, Copy, Debug)]
pub struct Wrap<'a> {
    /// The slmguard program.
    pub slmguard: &'a str,
    /// Configuration file, where it is not the usual one.
    pub config: Option<&'a str>,
    /// Workload.
    pub workload: &'a str,
    /// Role.
    pub role: &'a str,
}

/// Characters in front of a command that systemd understands and that stay in front.
const PREFIXES: [char; 4] = ['-', ':', '+', '!'];

/// The commands of a unit file's `ExecStart=`, as they are written there.
///
/// # Errors
/// It names argument 0 by itself (`@`), which cannot be passed on, or has none.
pub fn commands(unit: &str) -> Result<Vec<String>, String> {
    let mut commands = vec![];
    let mut section = String::new();
    for line in logical_lines(unit) {
        let line = line.trim();
        if line.starts_with('[') {
            section = line.to_owned();
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        if section != "[Service]" || key.trim() != "ExecStart" {
            continue;
        }
        match value.trim() {
            "" => commands.clear(),
            command => commands.push(command.to_owned()),
        }
    }
    if commands.is_empty() {
        return Err("it has no ExecStart= in [Service]".into());
    }
    match commands.iter().find(|c| split_prefix(c).0.contains('@')) {
        Some(command) => Err(format!(
            "`{}` gives argument 0 by itself (`@`), which slmguard cannot pass on",
            escape(command.as_bytes())
        )),
        None => Ok(commands),
    }
}

/// Lines, with those that end in a backslash joined, and comments left out.
fn logical_lines(unit: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    let mut open = false;
    for line in unit.lines() {
        let start = line.trim_start();
        if start.starts_with('#') || start.starts_with(';') {
            continue;
        }
        let (text, continues) = match line.strip_suffix('\\') {
            Some(text) => (text, true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| open) {
            Some(last) => {
                last.push(' ');
                last.push_str(text.trim());
            }
            None => lines.push(text.to_owned()),
        }
        open = continues;
    }
    lines
}

fn split_prefix(command: &str) -> (&str, &str) {
    let is_prefix = |c: char| PREFIXES.contains(&c) || c == '@';
    let end = command.find(|c| !is_prefix(c)).unwrap_or(command.len());
    command.split_at(end)
}

/// A command as systemd reads it: each argument quoted where it has to be.
pub fn quoted(words: &[&str]) -> String {
    words.iter().map(|w| quote(w)).collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            '%' => quoted.push_str("%%"),
            '$' => quoted.push_str("$$"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The drop-in. `commands` are in systemd's own syntax.
pub fn drop_in(wrap: &Wrap, commands: &[String]) -> String {
    let mut text = String::from(
        "[Unit]\nWants=slmguard.service\nAfter=slmguard.service\n\n[Service]\nExecStart=\n",
    );
    let mut guard = vec![wrap.slmguard];
    if let Some(config) = wrap.config {
        guard.extend(["--config", config]);
    }
    guard.extend([
        "exec",
        "--workload",
        wrap.workload,
        "--role",
        wrap.role,
        "--",
    ]);
    let guard = quoted(&guard);
    for command in commands {
        let (prefix, command) = split_prefix(command);
        let _ = writeln!(text, "ExecStart={prefix}{guard} {command}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRAP: Wrap = Wrap {
        slmguard: "/usr/bin/slmguard",
        config: None,
        workload: "assistant",
        role: "server",
    };

    #[test]
    fn the_last_list_of_commands_counts() {
        let unit = "[Unit]\nExecStart=/no\n[Service]\n# ExecStart=/no\nExecStart=/old\n\
                    ExecStart=\nExecStart = -/usr/bin/a \\\n  --port 80\\\n\n[Install]\nExecStart=/no\n";
        assert_eq!(commands(unit).unwrap(), ["-/usr/bin/a  --port 80"]);
        assert!(
            commands("[Service]\nType=simple\n")
                .unwrap_err()
                .contains("ExecStart")
        );
        assert!(
            commands("[Service]\nExecStart=@/bin/a a\n")
                .unwrap_err()
                .contains('@')
        );
    }

    #[test]
    fn a_drop_in_takes_the_command_s_place() {
        let text = drop_in(&WRAP, &["-/usr/bin/a --port $PORT".into()]);
        assert!(text.contains("Wants=slmguard.service\nAfter=slmguard.service\n"));
        assert!(text.ends_with(
            "ExecStart=\nExecStart=-/usr/bin/slmguard exec --workload assistant --role server -- \
             /usr/bin/a --port $PORT\n"
        ));
        let config = Wrap {
            config: Some("/etc/other.toml"),
            ..WRAP
        };
        assert!(
            drop_in(&config, &["/a".into()]).contains("slmguard --config /etc/other.toml exec")
        );
    }

    #[test]
    fn arguments_survive_systemd() {
        assert_eq!(
            quoted(&["/a", "b c", "", "x\"y\\"]),
            r#"/a "b c" "" "x\"y\\""#
        );
        assert_eq!(
            quoted(&["100%", "$HOME", "a\nb", "\u{1}"]),
            r#""100%%" "$$HOME" "a\nb" "\u0001""#
        );
    }
}
