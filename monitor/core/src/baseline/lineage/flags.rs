//! A command line without what differs from start to start: numbers of five digits and more (ports
//! that the kernel chose, process ids), identifiers, dates and digests become their class, as in
//! names of files ([`crate::baseline::paths::token`]). What is left is what somebody chose.

use crate::{baseline::paths::token::NamePattern, text};

/// Bytes of a command line that are compared.
const LONGEST: usize = 4096;

/// The command line of a program in the form in which two starts of it are the same. `arguments` are
/// all of them, with the program's name, as [`crate::alert::ProcessInfo`] has them: escaped.
pub fn flags(arguments: &[String]) -> String {
    let mut line = String::new();
    for (i, argument) in arguments.iter().enumerate() {
        // By what name it was called does not matter, nor from where.
        let argument = if i == 0 {
            argument.rsplit('/').next().unwrap_or(argument)
        } else {
            argument
        };
        if i > 0 {
            line.push(' ');
        }
        let raw = text::unescape(argument);
        let parts = raw.split_inclusive(|b| matches!(b, b'/' | b'=' | b','));
        for part in parts {
            let (name, end) = match part.split_last() {
                Some((end @ (b'/' | b'=' | b','), name)) => (name, text::escape(&[*end])),
                _ => (part, String::new()),
            };
            line.push_str(&NamePattern::of(name).to_string());
            line.push_str(&end);
        }
        if line.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|at| line.is_char_boundary(*at));
            line.truncate(end.unwrap_or(0));
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        flags(&words)
    }

    #[test]
    fn what_the_system_chose_is_no_difference() {
        let runner = |port, blob: &str| {
            of(&format!(
                "/usr/bin/ollama runner --model /var/lib/ollama/blobs/sha256-{blob} --port {port}"
            ))
        };
        let (a, b) = ("9c".repeat(32), "1f".repeat(32));
        assert_eq!(runner(43_127, &a), runner(50_001, &b));
        assert!(runner(43_127, &a).starts_with("ollama runner --model /var/lib/ollama/blobs/"));
    }

    #[test]
    fn what_somebody_chose_is() {
        let line = "llama-server -m /srv/a.gguf --port 8080 --ctx-size 4096";
        assert_eq!(of(line), line);
        assert_ne!(of(line), of(&format!("{line} --tools all")));
        assert_ne!(of(line), of(&line.replace("8080", "8081")));
        assert_eq!(of("/opt/x/llama-server -v"), of("llama-server -v"));
    }

    proptest! {
        #[test]
        fn any_arguments_give_a_line_of_harmless_text(
            arguments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..40),
        ) {
            let arguments: Vec<String> = arguments.iter().map(|a| text::escape(a)).collect();
            let line = flags(&arguments);
            prop_assert!(line.len() <= LONGEST && !line.chars().any(text::is_hostile), "{line:?}");
            prop_assert_eq!(&line, &flags(&arguments));
        }
    }
}
