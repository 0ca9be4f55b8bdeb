//! The command that is to be started: where it is, and which files the kernel runs for it. Exit
//! codes for what cannot be started are those of shells.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{ErrorKind, Read},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::PermissionsExt,
    },
    path::{Path, PathBuf},
};

use slmguard_core::text::escape;

use crate::exit::{Exit, Failure};

/// Interpreters that can be behind one another, as the kernel has it.
const INTERPRETERS: usize = 5;
/// Bytes of a script's first line that the kernel looks at.
const FIRST_LINE: u64 = 256;
/// Where commands are looked for when there is no PATH.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A command that can be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its name as it was given: the program's argument 0.
    pub name: OsString,
    /// Where it was found.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl Command {
    /// Finds a command as a shell does: by its path, or in the directories of `PATH`.
    ///
    /// # Errors
    /// [`Exit::NotFound`] or [`Exit::NotExecutable`].
    pub fn find(words: &[OsString], path: Option<&OsStr>) -> Result<Self, Failure> {
        let Some((name, arguments)) = words.split_first() else {
            return Err(Failure::new(
                Exit::Usage,
                "there is no command to start; write it behind `--`",
            ));
        };
        let found = |program: PathBuf| Self {
            name: name.clone(),
            program,
            arguments: arguments.to_vec(),
        };
        if name.as_bytes().contains(&b'/') {
            let command = found(name.into());
            return match usable(&command.program) {
                Ok(()) => Ok(command),
                Err(e) => Err(command.failed(&e)),
            };
        }
        let mut refused = None;
        for directory in std::env::split_paths(path.unwrap_or(OsStr::new(USUAL_PATH))) {
            let candidate = found(directory.join(name));
            match usable(&candidate.program) {
                Ok(()) => return Ok(candidate),
                Err(e) if e.kind() == ErrorKind::PermissionDenied && !name.is_empty() => {
                    refused.get_or_insert(candidate.failed(&e));
                }
                _ => {}
            }
        }
        Err(refused.unwrap_or_else(|| {
            let name = escape(name.as_bytes());
            Failure::new(
                Exit::NotFound,
                format!("{name}: command not found in PATH; is it installed?"),
            )
        }))
    }

    /// The files that the kernel runs to start it: the program, and if it is a script the
    /// interpreters, each by its own path.
    pub fn files(&self) -> Vec<Vec<u8>> {
        let mut files = vec![];
        let mut next = Some(self.program.clone());
        while let Some(path) = next.filter(|_| files.len() <= INTERPRETERS) {
            next = interpreter(&path);
            files.extend(path.canonicalize().map(|p| p.into_os_string().into_vec()));
        }
        files
    }

    /// Why it could not be started.
    pub fn failed(&self, error: &std::io::Error) -> Failure {
        let program = escape(self.program.as_os_str().as_bytes());
        match error.kind() {
            ErrorKind::NotFound => Failure::new(
                Exit::NotFound,
                format!("{program}: not found, or the interpreter that it names is not"),
            ),
            _ => Failure::new(
                Exit::NotExecutable,
                format!("{program}: cannot be executed: {error}"),
            ),
        }
    }
}

/// Whether a file can be executed, as far as its mode says.
fn usable(program: &Path) -> std::io::Result<()> {
    let meta = program.metadata()?;
    if meta.is_file() && meta.permissions().mode() & 0o111 != 0 {
        return Ok(());
    }
    Err(ErrorKind::PermissionDenied.into())
}

/// The interpreter of a script.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let mut start = vec![];
    let file = File::open(path).ok()?;
    file.take(FIRST_LINE).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?;
    let line = line.split(|b| *b == b'\n').next()?.trim_ascii();
    let name = line.split(|b| matches!(b, b' ' | b'\t')).next()?;
    (!name.is_empty()).then(|| OsStr::from_bytes(name).into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(Into::into).collect()
    }

    fn script(directory: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_command_is_found_in_the_path_and_by_its_path() {
        let found = Command::find(&words(&["sh", "-c", "x"]), Some(OsStr::new("/nope:/bin")));
        let found = found.unwrap();
        assert_eq!(found.program, Path::new("/bin/sh"));
        assert_eq!(
            (found.name, found.arguments),
            ("sh".into(), words(&["-c", "x"]))
        );
        assert!(Command::find(&words(&["/bin/sh"]), None).is_ok());
        assert!(Command::find(&words(&["sh"]), None).is_ok());
    }

    #[test]
    fn what_cannot_be_started_ends_as_in_a_shell() {
        let dir = tempfile::tempdir().unwrap();
        let text = script(dir.path(), "text", "x", 0o644);
        let path = Some(dir.path().as_os_str());
        let exit = |words: &[OsString]| Command::find(words, path).unwrap_err().exit;
        assert_eq!(exit(&words(&["no-such-command"])), Exit::NotFound);
        assert_eq!(exit(&words(&["/no/such/command"])), Exit::NotFound);
        assert_eq!(exit(&words(&[""])), Exit::NotFound);
        assert_eq!(exit(&words(&["text"])), Exit::NotExecutable);
        assert_eq!(exit(&[text.into()]), Exit::NotExecutable);
        assert_eq!(exit(&[dir.path().into()]), Exit::NotExecutable);
        assert_eq!(exit(&[]), Exit::Usage);
    }

    #[test]
    fn a_script_comes_with_its_interpreters() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let inner = script(&dir, "inner", "#! /bin/sh -e\n", 0o755);
        let outer = script(&dir, "outer", &format!("#!{}\n", inner.display()), 0o755);
        let command = Command::find(&[outer.clone().into()], None).unwrap();
        let shell = Path::new("/bin/sh").canonicalize().unwrap();
        let expected = [outer, inner, shell].map(|p| p.into_os_string().into_vec());
        assert_eq!(command.files(), expected);
    }

    #[test]
    fn a_script_that_names_itself_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("loop");
        script(
            dir.path(),
            "loop",
            &format!("#!{}\n", path.display()),
            0o755,
        );
        let command = Command::find(&[path.into()], None).unwrap();
        assert!(command.files().len() <= INTERPRETERS + 1);
    }
}
