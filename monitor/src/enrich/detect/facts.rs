//! One process as the detectors want to see it.

use std::path::Path;

use slmguard_core::detect::ProcessFacts;

use super::{
    files::{Sniffer, Used, read_bytes, read_text},
    sockets::{Sockets, listens},
};

/// Bytes of the command line and of the environment that are read.
const LARGEST: u64 = 256 << 10;
/// Arguments and variables that are kept.
const MOST: usize = 1024;

/// What was found out about a process besides the facts.
pub(super) struct Gathered {
    pub facts: ProcessFacts,
    pub used: Used,
    pub namespace: u64,
}

/// Gathers everything.
pub(super) fn gather(proc: &Path, sniffer: &mut Sniffer, sockets: &mut Sockets) -> Gathered {
    let used = sniffer.used(proc);
    let (namespace, table) = sockets.around(proc);
    let ports = if used.sockets.is_empty() {
        vec![]
    } else {
        listens(table, &used.sockets)
    };
    let status = read_text(&proc.join("status"), LARGEST);
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|l| l.split_ascii_whitespace().next()?.parse::<u64>().ok())
    };
    let exe = std::fs::read_link(proc.join("exe")).unwrap_or_default();
    let exe = exe.to_string_lossy();
    let facts = ProcessFacts {
        exe: exe.strip_suffix(" (deleted)").unwrap_or(&exe).to_owned(),
        comm: read_text(&proc.join("comm"), 64).trim_end().to_owned(),
        argv: words(&read_bytes(&proc.join("cmdline"), LARGEST)),
        env: names(&read_bytes(&proc.join("environ"), LARGEST)),
        libraries: used.libraries.clone(),
        files: used.files.clone(),
        ports,
        devices: used.devices.clone(),
        cgroup: cgroup(&read_text(&proc.join("cgroup"), LARGEST)),
        uid: field("Uid:").and_then(|u| u.try_into().ok()).unwrap_or(0),
        heap: field("RssAnon:").unwrap_or(0) << 10,
    };
    Gathered {
        facts,
        used,
        namespace,
    }
}

fn words(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return vec![];
    }
    bytes
        .split(|b| *b == 0)
        .take(MOST)
        .map(|w| String::from_utf8_lossy(w).into_owned())
        .collect()
}

/// Names only: values are secrets.
fn names(bytes: &[u8]) -> Vec<String> {
    bytes
        .split(|b| *b == 0)
        .take(MOST)
        .filter_map(|pair| {
            let end = pair.iter().position(|b| *b == b'=')?;
            Some(String::from_utf8_lossy(&pair[..end]).into_owned())
        })
        .collect()
}

/// The path in the version 2 hierarchy; on a pure version 1 system, of the controller that
/// container runtimes always use.
fn cgroup(text: &str) -> String {
    let unified = text.lines().find_map(|l| l.strip_prefix("0::"));
    let of = |controller: &str| {
        text.lines().find_map(|l| {
            let mut parts = l.splitn(3, ':').skip(1);
            let names = parts.next()?;
            let path = parts.next()?;
            names.split(',').any(|n| n == controller).then_some(path)
        })
    };
    let other = || {
        of("name=systemd")
            .or_else(|| of("pids"))
            .or_else(|| of("memory"))
    };
    unified
        .filter(|path| *path != "/")
        .or_else(other)
        .or(unified)
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_describes_itself() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let proc = format!("/proc/{}", std::process::id());
        let gathered = gather(
            Path::new(&proc),
            &mut Sniffer::default(),
            &mut Sockets::default(),
        );
        let facts = gathered.facts;
        assert!(facts.ports.contains(&port), "{:?}", facts.ports);
        assert_eq!(facts.argv.len(), std::env::args_os().len());
        assert!(facts.exe.contains("slmguard") && facts.heap > 0);
        assert!(
            facts.env.iter().any(|n| n == "PATH") && !facts.env.iter().any(|n| n.contains('='))
        );
        assert_ne!(gathered.namespace, 0);
    }

    #[test]
    fn the_cgroup_is_the_one_that_says_something() {
        assert_eq!(
            cgroup("0::/system.slice/a.service\n"),
            "/system.slice/a.service"
        );
        let hybrid = "12:pids:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n";
        assert_eq!(cgroup(hybrid), "/docker/abc");
        assert_eq!(cgroup("4:cpu,memory:/x\n"), "/x");
        assert_eq!(cgroup("0::/\n"), "/");
        assert_eq!(cgroup(""), "");
    }

    #[test]
    fn nothing_is_gathered_from_what_is_not_there() {
        let gathered = gather(
            Path::new("/nowhere"),
            &mut Sniffer::default(),
            &mut Sockets::default(),
        );
        assert_eq!(gathered.facts, ProcessFacts::default());
    }
}
