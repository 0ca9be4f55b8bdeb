//! Reads the configuration: `config.toml`, then `conf.d/*.toml` beside it in the order of their
//! names. Later files win; workloads of all files add up. What the values mean is checked by
//! [`slmguard_core::config`]; here are files, and messages that name file and line.

use std::{
    fmt::Write as _,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use slmguard_core::config::{Config, validate};
use toml::{Table, Value};

use crate::exit::{Exit, Failure};

/// Where the configuration is looked for unless told otherwise.
pub const DEFAULT_PATH: &str = "/etc/slmguard/config.toml";

/// A checked configuration and the files it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Files, in the order in which they were read.
    pub files: Vec<PathBuf>,
}

/// Reads, merges and checks. Every mistake is reported at once where that is possible.
pub fn load(path: &Path) -> Result<Loaded, Failure> {
    let files = files(path)?;
    let mut merged = Table::new();
    let mut mistakes = String::new();
    for file in &files {
        match read(file) {
            Ok(table) => merge(&mut merged, table),
            Err(message) => {
                let _ = writeln!(mistakes, "{message}");
            }
        }
    }
    if !mistakes.is_empty() {
        return Err(bad(mistakes.trim_end().to_owned()));
    }
    let config: Config = merged
        .try_into()
        .map_err(|e| bad(format!("{}: {e}", list(&files))))?;
    let problems = validate(&config);
    if problems.is_empty() {
        return Ok(Loaded { config, files });
    }
    let mut message = format!("the configuration in {} cannot be used:", list(&files));
    for problem in problems {
        let _ = write!(message, "\n  {}: {}", problem.path, problem.message);
    }
    Err(bad(message))
}

/// The socket that commands talk to: from the command line, else from the configuration, else the
/// default where no configuration can be read at all.
pub fn socket(option: Option<&Path>, config: &Path) -> Result<PathBuf, Failure> {
    if let Some(socket) = option {
        return Ok(socket.to_owned());
    }
    match fs::metadata(config) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            Ok(Config::default().socket)
        }
        _ => Ok(load(config)?.config.socket),
    }
}

/// The main file, which has to exist, and what lies in `conf.d`.
fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if let Err(e) = fs::metadata(path) {
        let what = match e.kind() {
            ErrorKind::NotFound => format!(
                "there is no configuration at {}: create it, or name another with --config FILE",
                path.display()
            ),
            _ => format!("cannot read the configuration {}: {e}", path.display()),
        };
        return Err(bad(what));
    }
    let mut all = vec![path.to_owned()];
    let directory = path.parent().unwrap_or(Path::new(".")).join("conf.d");
    if let Ok(entries) = fs::read_dir(&directory) {
        let mut more: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|p| p.extension().is_some_and(|e| e == "toml"))
            .collect();
        more.sort();
        all.append(&mut more);
    }
    Ok(all)
}

/// One file as a table, already known to hold only keys that exist.
fn read(file: &Path) -> Result<Table, String> {
    let name = file.display();
    let text = fs::read_to_string(file).map_err(|e| format!("cannot read {name}: {e}"))?;
    // As a whole configuration first: that is what gives unknown keys a line number.
    toml::from_str::<Config>(&text).map_err(|e| located(file, &text, &e))?;
    toml::from_str(&text).map_err(|e| located(file, &text, &e))
}

/// `file:line: message`, followed by the line itself.
fn located(file: &Path, text: &str, error: &toml::de::Error) -> String {
    let message = error.message();
    let Some(span) = error.span() else {
        return format!("{}: {message}", file.display());
    };
    let start = span.start.min(text.len());
    let number = text.as_bytes()[..start]
        .iter()
        .filter(|b| **b == b'\n')
        .count();
    let line = text.lines().nth(number).unwrap_or_default();
    let line = slmguard_core::text::escape(line.trim().as_bytes());
    format!("{}:{}: {message}\n    {line}", file.display(), number + 1)
}

/// Lays `over` on `base`: tables merge, workloads add up, everything else is replaced.
fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (Some(Value::Array(old)), Value::Array(new)) if key == "workload" => old.extend(new),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn list(files: &[PathBuf]) -> String {
    files
        .iter()
        .map(|f| f.display().to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

fn bad(message: String) -> Failure {
    Failure::new(Exit::Config, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    const ASSISTANT: &str = "[[workload]]\nname = \"assistant\"\n[[workload.process]]\n\
                             role = \"server\"\nexe = \"/bin/sh\"\n";

    #[test]
    fn later_files_win_and_workloads_add_up() {
        let dir = tempfile::tempdir().unwrap();
        let main = write(
            dir.path(),
            "config.toml",
            &format!("[log]\nlevel = \"info\"\nformat = \"json\"\n{ASSISTANT}"),
        );
        write(dir.path(), "conf.d/20.toml", "[log]\nlevel = \"warn\"\n");
        let second = ASSISTANT
            .replace("assistant", "second")
            .replace("/bin/sh", "/bin/ls");
        write(dir.path(), "conf.d/10.toml", &second);
        write(dir.path(), "conf.d/notes.txt", "not = toml = at all");
        let loaded = load(&main).unwrap();
        assert_eq!(loaded.config.log.level, "warn");
        assert_eq!(loaded.config.log.format, "json");
        let names: Vec<_> = loaded
            .config
            .workloads
            .iter()
            .map(|w| w.name.as_str())
            .collect();
        assert_eq!(names, ["assistant", "second"]);
        assert_eq!(loaded.files.len(), 3);
    }

    #[test]
    fn an_unknown_key_is_an_error_with_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let main = write(
            dir.path(),
            "config.toml",
            "[log]\nlevel = \"info\"\n\nlevle = \"warn\"\n",
        );
        let failure = load(&main).unwrap_err();
        assert_eq!(failure.exit, Exit::Config);
        assert!(failure.message.contains("config.toml:4: "), "{failure}");
        assert!(failure.message.contains("levle"), "{failure}");
    }

    #[test]
    fn every_broken_file_is_named_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let main = write(dir.path(), "config.toml", "stat_dir = \"/x\"\n");
        write(dir.path(), "conf.d/a.toml", "[log\n");
        let message = load(&main).unwrap_err().message;
        assert!(
            message.contains("config.toml:1") && message.contains("a.toml:1"),
            "{message}"
        );
    }

    #[test]
    fn values_that_make_no_sense_are_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let main = write(dir.path(), "config.toml", "[log]\nlevel = \"loud\"\n");
        let failure = load(&main).unwrap_err();
        assert_eq!(failure.exit, Exit::Config);
        assert!(failure.message.contains("log.level"), "{failure}");
    }

    #[test]
    fn a_missing_file_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let failure = load(&dir.path().join("none.toml")).unwrap_err();
        assert_eq!(failure.exit, Exit::Config);
        assert!(failure.message.contains("--config"), "{failure}");
    }

    #[test]
    fn commands_find_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let none = dir.path().join("none.toml");
        assert_eq!(
            socket(Some(Path::new("/s")), &none).unwrap(),
            Path::new("/s")
        );
        assert_eq!(socket(None, &none).unwrap(), Config::default().socket);
        let main = write(dir.path(), "config.toml", "socket = \"/elsewhere.sock\"\n");
        assert_eq!(socket(None, &main).unwrap(), Path::new("/elsewhere.sock"));
    }
}
