//! Reads the configuration: `config.toml`, then `conf.d/*.toml` beside it in the order of their
//! names. Later files win; workloads of all files add up. What the values mean is checked by
//! [`slmguard_core::config`]; here are files, and messages that name file and line.
//!
//! What is in a file, and what it is called, is somebody else's: it is escaped before it is shown.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use slmguard_core::{
    config::{Config, Problem, validate},
    text::escape,
};
use toml::{Table, Value};

use crate::exit::{Exit, Failure};

/// Where the configuration is looked for unless told otherwise.
pub const DEFAULT_PATH: &str = "/etc/slmguard/config.toml";
/// A configuration file is not larger than this.
const LARGEST: u64 = 4 << 20;
/// Characters of a line that a message quotes.
const LONGEST_LINE: usize = 200;

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
    let mut mistakes: Vec<Failure> = vec![];
    // Which workloads came from which file: `workload[3]` alone helps nobody who has ten files.
    let mut origins: Vec<(usize, &Path)> = vec![];
    for file in &files {
        match read(file) {
            Ok(table) => {
                let workloads = table.get("workload").and_then(Value::as_array);
                origins.push((workloads.map_or(0, Vec::len), file));
                merge(&mut merged, table);
            }
            Err(failure) => mistakes.push(failure),
        }
    }
    if let Some(first) = mistakes.first() {
        let all: Vec<_> = mistakes.iter().map(|f| f.message.as_str()).collect();
        return Err(Failure::new(first.exit, all.join("\n")));
    }
    let config: Config = merged
        .try_into()
        .map_err(|e| bad(format!("{}: {}", list(&files), lines(&e.to_string()))))?;
    let problems = validate(&config);
    if problems.is_empty() {
        return Ok(Loaded { config, files });
    }
    let mut message = format!("the configuration in {} cannot be used:", list(&files));
    for problem in problems {
        let origin = match files.len() {
            1 => String::new(),
            _ => origin(&problem, &origins),
        };
        let _ = write!(message, "\n  {}{origin}: {}", problem.path, problem.message);
    }
    Err(bad(message))
}

/// ` (name, in file)` of the workload that a problem is about.
fn origin(problem: &Problem, origins: &[(usize, &Path)]) -> String {
    let number = problem.path.strip_prefix("workload[").and_then(|rest| {
        let (number, _) = rest.split_once(']')?;
        number.parse::<usize>().ok()
    });
    let Some(mut number) = number else {
        return String::new();
    };
    for (count, file) in origins {
        if number < *count {
            return format!(" (number {} in {})", number + 1, shown(file));
        }
        number -= count;
    }
    String::new()
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
        return Err(match e.kind() {
            ErrorKind::NotFound => bad(format!(
                "there is no configuration at {}: create it, or name another with --config FILE",
                shown(path)
            )),
            _ => unreadable(path, &e),
        });
    }
    let mut all = vec![path.to_owned()];
    let directory = path.parent().unwrap_or(Path::new(".")).join("conf.d");
    match fs::read_dir(&directory).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => {
            let paths = entries.into_iter().map(|entry| entry.path());
            let mut more: Vec<_> = paths
                .filter(|p| p.extension().is_some_and(|e| e == "toml"))
                .collect();
            more.sort();
            all.append(&mut more);
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        // Half a configuration is none.
        Err(e) => return Err(unreadable(&directory, &e)),
    }
    Ok(all)
}

/// One file as a table, already known to hold only keys that exist.
fn read(file: &Path) -> Result<Table, Failure> {
    let text = text(file)?;
    // As a whole configuration first: that is what gives unknown keys a line number.
    toml::from_str::<Config>(&text).map_err(|e| bad(located(file, &text, &e)))?;
    toml::from_str(&text).map_err(|e| bad(located(file, &text, &e)))
}

/// The text of a file: never waits for one that is no plain file, never reads one without an end.
fn text(file: &Path) -> Result<String, Failure> {
    let name = shown(file);
    let mut opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(file)
        .map_err(|e| unreadable(file, &e))?;
    let meta = opened.metadata().map_err(|e| unreadable(file, &e))?;
    if !meta.is_file() {
        return Err(bad(format!(
            "{name} is not a plain file; a configuration must be one"
        )));
    }
    let mut bytes = vec![];
    opened
        .by_ref()
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| unreadable(file, &e))?;
    if bytes.len() as u64 > LARGEST {
        return Err(bad(format!(
            "{name} is larger than {} MiB; is it a configuration?",
            LARGEST >> 20
        )));
    }
    String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        let bytes = e.as_bytes();
        let line = bytes[..valid].iter().filter(|b| **b == b'\n').count() + 1;
        bad(format!(
            "{name}:{line}: is not UTF-8 text (byte 0x{:02x}); save the file as UTF-8",
            bytes[valid]
        ))
    })
}

/// A file that cannot be read: for lack of a privilege, or because of the file.
fn unreadable(file: &Path, error: &io::Error) -> Failure {
    let name = shown(file);
    match error.kind() {
        ErrorKind::PermissionDenied => Failure::new(
            Exit::Privilege,
            format!("cannot read the configuration {name}: {error}; run this as root"),
        ),
        _ => bad(format!("cannot read the configuration {name}: {error}")),
    }
}

/// A path as it can be shown.
pub fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}

/// A message of the parser as it can be shown: it may quote the file.
fn lines(message: &str) -> String {
    let lines: Vec<_> = message.lines().map(|l| escape(l.as_bytes())).collect();
    lines.join("\n    ")
}

/// `file:line: message`, followed by the line itself.
fn located(file: &Path, text: &str, error: &toml::de::Error) -> String {
    let (name, message) = (shown(file), lines(error.message()));
    let Some(span) = error.span() else {
        return format!("{name}: {message}");
    };
    let start = span.start.min(text.len());
    let number = text.as_bytes()[..start]
        .iter()
        .filter(|b| **b == b'\n')
        .count();
    let line = text.lines().nth(number).unwrap_or_default().trim();
    let cut: String = line.chars().take(LONGEST_LINE).collect();
    format!(
        "{name}:{}: {message}\n    {}",
        number + 1,
        escape(cut.as_bytes())
    )
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
        .map(|f| shown(f))
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
    fn what_is_no_text_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let refused = |what: &str| {
            let failure = load(&path).unwrap_err();
            assert_eq!(failure.exit, Exit::Config);
            assert!(failure.message.contains(what), "{what}: {failure}");
        };
        fs::create_dir(&path).unwrap();
        refused("not a plain file");
        fs::remove_dir(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        refused("not a plain file");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        refused("not a plain file");
        fs::remove_file(&path).unwrap();
        let huge = fs::File::create(&path).unwrap();
        huge.set_len(LARGEST + 1).unwrap();
        refused("larger than 4 MiB");
        fs::write(&path, b"# fine\nstate_dir = \"/\xff\"\n").unwrap();
        refused("config.toml:2: is not UTF-8");
        fs::write(&path, "[log]\nlevel = \"a\0b\"\n").unwrap();
        refused("config.toml:2");
    }

    #[test]
    fn hostile_text_is_shown_escaped() {
        let dir = tempfile::tempdir().unwrap();
        let main = write(dir.path(), "config.toml", "\"\\u001b[31m\u{202e}\" = 1\n");
        write(dir.path(), "conf.d/\u{1b}[2J\n.toml", "x = 1\n");
        let message = load(&main).unwrap_err().message;
        assert!(message.contains("u{1b}[2J"), "{message}");
        let hostile = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!message.contains(hostile), "{message:?}");
    }

    #[test]
    fn a_problem_of_a_workload_names_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let main = write(dir.path(), "config.toml", ASSISTANT);
        write(dir.path(), "conf.d/20.toml", ASSISTANT);
        let message = load(&main).unwrap_err().message;
        assert!(message.contains("number 1 in"), "{message}");
        assert!(
            message.contains("20.toml): \"assistant\" is the name"),
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
