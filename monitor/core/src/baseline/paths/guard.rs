//! The guard: places about which nothing general is ever learned.
//!
//! Under the guard a path is known if exactly it was seen, and in no other way. It holds everything
//! that the invariants hold ([`crate::decide::invariants`], asked and not repeated) and more: an
//! invariant must be right about every workload, the guard may be too careful, because all it costs
//! is that a path is told to a person.
//!
//! What it cannot know: which of a workload's own folders belong to different customers. A new
//! customer with a name is news. Customers that are *called* by a class (a uuid, a number of five
//! digits) are one form from the first one on, and those with smaller numbers become one when there
//! are eight and new ones keep coming: a workload that serves them all has to read them all, and a
//! path does not say on whose behalf.

use std::{collections::BTreeMap, sync::LazyLock};

use super::access::Access;
use crate::decide::{
    invariants::invariant_paths,
    pattern::{Component, PathPattern},
};

/// Trees that belong to the system or to its programs. Their files change with an update, which is
/// worth knowing, and not while a service runs.
const SYSTEM: &[(&[&str], &str)] = &[
    (&["etc"], "system configuration"),
    (&["boot"], "the kernel's files"),
    (&["sys"], "the kernel's settings"),
    (&["usr"], "system programs and libraries"),
    (&["bin"], "system programs"),
    (&["sbin"], "system programs"),
    (&["lib"], "system libraries"),
    (&["lib32"], "system libraries"),
    (&["lib64"], "system libraries"),
    (&["run", "systemd"], "the service manager"),
    (&["run", "containerd"], "the container runtime"),
    (&["run", "docker"], "the container runtime"),
    (&["var", "spool", "cron"], "timed jobs"),
    (&["var", "spool", "at"], "timed jobs"),
    (&["var", "lib", "kubelet"], "the node's agent"),
    (&["var", "lib", "docker"], "the container runtime"),
    (&["var", "lib", "containerd"], "the container runtime"),
    (&["var", "lib", "containers"], "the container runtime"),
    (&["var", "lib", "slmguard"], "slmguard's own files"),
];

/// Folders that are guarded with everything below them, wherever they are.
const FOLDERS: &[(&str, &str)] = &[
    (".ssh", "SSH keys"),
    (".gnupg", "GnuPG keys"),
    (".pki", "keys"),
    ("pki", "keys"),
    ("keyrings", "keys"),
    (".password-store", "passwords"),
    (".aws", "cloud credentials"),
    (".azure", "cloud credentials"),
    (".oci", "cloud credentials"),
    ("gcloud", "cloud credentials"),
    (".kube", "cluster credentials"),
    (".docker", "registry credentials"),
    (".git", "a repository's inside"),
    (".hg", "a repository's inside"),
    (".svn", "a repository's inside"),
    (".mozilla", "a browser's profile"),
    ("serviceaccount", "a service account"),
    ("secrets", "secrets"),
    (".secrets", "secrets"),
    ("private", "private files"),
    ("bin", "a search path of programs"),
    ("sbin", "a search path of programs"),
    ("site-packages", "Python's search path"),
    ("dist-packages", "Python's search path"),
    ("lib-dynload", "Python's search path"),
    ("node_modules", "Node's search path"),
    ("autostart", "programs that are started at login"),
    ("systemd", "the service manager"),
    ("cron.d", "timed jobs"),
    ("crontabs", "timed jobs"),
];

/// What [`FOLDERS`] say of places that hold secrets, and not programs or settings.
const SECRET: &[&str] = &[
    "SSH keys",
    "GnuPG keys",
    "keys",
    "passwords",
    "cloud credentials",
    "cluster credentials",
    "registry credentials",
    "a browser's profile",
    "a service account",
    "secrets",
    "private files",
];

/// Names of what starts by itself, wherever it is, in small letters.
const STARTING_NAMES: &[&str] = &[
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".xprofile",
    ".xinitrc",
    "ld.so.preload",
    "sitecustomize.py",
    "usercustomize.py",
];

/// Other names that are guarded, wherever they are, in small letters.
const NAMES: &[&str] = &[
    ".env",
    ".netrc",
    "_netrc",
    ".npmrc",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".git-credentials",
    ".gitconfig",
    ".vault-token",
    ".bash_history",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "authorized_keys",
    "known_hosts",
    "shadow",
    "htpasswd",
    "kubeconfig",
    "application_default_credentials.json",
    "auth.log",
];

/// Words in a name that say what is in it. `tokens` is not among them: tokenizers have files that
/// are called so.
const WORDS: &[&str] = &[
    "token",
    "secret",
    "secrets",
    "credential",
    "credentials",
    "password",
    "passwords",
    "passwd",
    "apikey",
    "apikeys",
    "keytab",
    "env",
];

/// Extensions of keys.
const KEYS: &[&str] = &[
    "pem", "key", "p12", "pfx", "jks", "keystore", "kdbx", "gpg", "asc", "ppk", "keytab", "ovpn",
];

/// Extensions of what starts by itself.
const STARTING: &[&str] = &["pth", "service", "timer", "socket", "desktop", "rules"];

/// Extensions of what is executed once it is there.
const CODE: &[&str] = &[
    "so", "py", "pyc", "pyo", "pyd", "sh", "bash", "zsh", "pl", "rb", "lua", "js", "mjs", "cjs",
    "jar", "class", "ko", "php", "exe", "elf", "dll", "whl", "egg",
];

/// Files in the `/proc` folder of another process that say nothing that its owner would mind.
const HARMLESS: &[&str] = &[
    "stat",
    "statm",
    "status",
    "cgroup",
    "comm",
    "limits",
    "schedstat",
    "oom_score",
];

/// Why nothing general may be learned about a path, if so: what is there, in words. The path is
/// given as its components, as they are.
pub fn guarded(access: Access, path: &[&[u8]]) -> Option<&'static str> {
    if matches!(access, Access::Execute | Access::Connect) {
        return Some("programs and sockets are known one by one");
    }
    let (name, folders) = path.split_last()?;
    place(access, path)
        .or_else(|| folders.iter().find_map(|folder| in_folder(folder)))
        .or_else(|| in_folder(name))
        .or_else(|| called(access, name))
        .or_else(|| invariant(path).then_some("what no workload may touch"))
}

/// Whether a path is called like something that holds keys, passwords or tokens. Less careful than
/// [`guarded`]: the system's own files, programs and what starts by itself are no secrets, nor are the
/// public certificates among them.
pub fn is_secret(path: &[&[u8]]) -> bool {
    let Some((name, folders)) = path.split_last() else {
        return false;
    };
    let known: Vec<&str> = folders.iter().filter_map(|f| in_folder(f)).collect();
    if known.iter().any(|what| SECRET.contains(what)) || invariant(path) {
        return true;
    }
    if !known.is_empty() || place(Access::Read, path).is_some() {
        return false;
    }
    let words = || name.split(|b| !b.is_ascii_alphanumeric());
    is_one_of(extension(name), KEYS)
        || is_one_of(name, NAMES)
        || words().any(|word| is_one_of(word, WORDS))
}

/// Whether files with an extension (with its dot) are executed once they are there: those are known
/// one by one, also where they are only read.
pub fn is_code(extension: &[u8]) -> bool {
    is_one_of(extension.strip_prefix(b".").unwrap_or_default(), CODE)
}

/// Names that are guarded wherever they are: of folders, or of files.
pub(super) fn names(of_files: bool) -> impl Iterator<Item = &'static str> {
    let folders = FOLDERS.iter().map(|(name, _)| *name);
    let files = NAMES.iter().chain(STARTING_NAMES).copied();
    let files = files.filter(move |_| of_files);
    folders.filter(move |_| !of_files).chain(files)
}

/// What the beginning of the path says.
fn place(access: Access, path: &[&[u8]]) -> Option<&'static str> {
    match path {
        [b"proc", rest @ ..] => proc(access, rest),
        [b"dev", b"shm", ..] => None,
        [b"dev", ..] => Some("devices"),
        _ => {
            let starts = |tree: &[&str]| {
                tree.len() <= path.len() && tree.iter().zip(path).all(|(a, b)| a.as_bytes() == *b)
            };
            let (_, what) = SYSTEM.iter().find(|(tree, _)| starts(tree))?;
            Some(*what)
        }
    }
}

fn proc(access: Access, path: &[&[u8]]) -> Option<&'static str> {
    let harmless = |name: &[u8]| access == Access::Read && is_one_of(name, HARMLESS);
    match path {
        // Of its own only the numbers of its threads are general.
        [b"self", b"task", thread, _] if is_number(thread) => None,
        [process, name] if is_number(process) && harmless(name) => None,
        [process, b"task", thread, name]
            if is_number(process) && is_number(thread) && harmless(name) =>
        {
            None
        }
        [process, ..] if is_number(process) => Some("the inside of another process"),
        _ => Some("the kernel's files"),
    }
}

fn in_folder(folder: &[u8]) -> Option<&'static str> {
    let (_, what) = FOLDERS
        .iter()
        .find(|(name, _)| folder.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(*what)
}

fn called(access: Access, name: &[u8]) -> Option<&'static str> {
    let extension = extension(name);
    if is_one_of(extension, KEYS) || is_one_of(extension, STARTING) {
        return Some("a key, or something that starts by itself");
    }
    if access != Access::Read && is_one_of(extension, CODE) {
        return Some("a program that is written");
    }
    let words = || name.split(|b| !b.is_ascii_alphanumeric());
    let named = is_one_of(name, NAMES) || is_one_of(name, STARTING_NAMES);
    (named || words().any(|word| is_one_of(word, WORDS)))
        .then_some("credentials, or what starts by itself")
}

fn extension(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|b| *b == b'.') {
        Some(at) => &name[at + 1..],
        None => b"",
    }
}

fn is_one_of(name: &[u8], list: &[&str]) -> bool {
    !name.is_empty() && list.iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()))
}

fn is_number(name: &[u8]) -> bool {
    super::lexer::is_number(name)
}

/// The invariants about paths, by the longest name that a path must have to meet them.
static INVARIANTS: LazyLock<BTreeMap<Vec<u8>, Vec<PathPattern>>> = LazyLock::new(|| {
    let mut index: BTreeMap<Vec<u8>, Vec<PathPattern>> = BTreeMap::new();
    for pattern in invariant_paths() {
        let names = pattern.components.iter().filter_map(|c| match c {
            Component::Literal(name) => Some(name),
            Component::Star | Component::Class(_) | Component::Rest => None,
        });
        // An invariant without any name would be about everything.
        let longest = names.max_by_key(|name| name.len());
        let key = longest.cloned().unwrap_or_default();
        index.entry(key).or_default().push(pattern);
    }
    index
});

fn invariant(path: &[&[u8]]) -> bool {
    // `/proc` was judged by its own rule, which is stricter.
    if path.first() == Some(&b"proc".as_slice()) {
        return false;
    }
    path.iter()
        .filter_map(|name| INVARIANTS.get(*name))
        .flatten()
        .any(|pattern| pattern.matches(path, true))
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
