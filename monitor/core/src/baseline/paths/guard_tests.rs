//! Tests of the guard, among them that it holds every invariant about files.

use proptest::prelude::*;

use super::*;
use crate::text::components;

fn guards(access: Access, path: &str) -> bool {
    guarded(access, &components(path.as_bytes()).collect::<Vec<_>>()).is_some()
}

#[test]
fn sensitive_places_are_guarded_in_every_way() {
    for path in [
        "/etc/shadow",
        "/etc/anything",
        "/root/.ssh/id_rsa",
        "/srv/x/.SSH/key-12345",
        "/home/app/.cache/huggingface/token",
        "/home/app/.config/gcloud/x.db",
        "/var/lib/agent/.config/gh/hosts.yml",
        "/srv/app/.git/objects/0a/24a41fed5b724685c806fe8e2de26283956e3e6d",
        "/srv/app/.env",
        "/srv/app/prod.env",
        "/srv/app/data/secrets.sqlite",
        "/srv/app/tls/server.pem",
        "/run/secrets/db",
        "/proc/4242/environ",
        "/proc/4242/maps",
        "/proc/4242/task/4243/mem",
        "/proc/1/root/srv/x.md",
        "/proc/self/root/etc/shadow",
        "/dev/mem",
        "/usr/bin/nc",
        "/opt/venv/bin/python",
        "/opt/venv/lib/python3.11/site-packages/a/b.py",
        "/opt/x/evil.pth",
        "/var/spool/cron/crontabs/root",
        "/home/app/.config/systemd/user/x.service",
        "/home/app/.bashrc",
    ] {
        assert!(guards(Access::Read, path), "{path}");
        assert!(guards(Access::Create, path), "{path}");
    }
}

#[test]
fn a_workload_s_own_data_is_not() {
    for path in [
        "/srv/data/tenant-001/doc-98702.md",
        "/home/app/.cache/huggingface/hub/models--org--m/snapshots/x/tokenizer.json",
        "/home/app/.cache/huggingface/hub/models--org--m/snapshots/x/special_tokens_map.json",
        "/tmp/req-1.json",
        "/dev/shm/sem.Ab3dE9",
        "/var/log/slm/server.log",
        "/proc/self/task/77/comm",
    ] {
        assert!(
            !guards(Access::Create, path) && !guards(Access::Read, path),
            "{path}"
        );
    }
    assert!(!guards(Access::Read, "/proc/4242/stat"));
    assert!(guards(Access::Write, "/proc/4242/stat"));
}

#[test]
fn programs_are_guarded_where_they_are_written_started_or_reached() {
    assert!(guards(Access::Create, "/srv/cache/aa/evil.so"));
    assert!(!guards(Access::Read, "/srv/cache/aa/kernel.so"));
    assert!(guards(Access::Execute, "/srv/x"));
    assert!(guards(Access::Connect, "/srv/x.sock"));
    assert!(is_code(b".PY") && !is_code(b".md") && !is_code(b""));
}

#[test]
fn every_invariant_about_files_is_under_the_guard() {
    for pattern in invariant_paths() {
        let path: Vec<&[u8]> = pattern
            .components
            .iter()
            .flat_map(|component| match component {
                Component::Literal(name) => vec![name.as_slice()],
                // Of the numbers of processes.
                Component::Star | Component::Class(_) => vec![b"12345".as_slice()],
                Component::Rest => vec![b"x".as_slice(), b"12345"],
            })
            .collect();
        for access in Access::ALL {
            assert!(guarded(access, &path).is_some(), "{access:?} {pattern}");
        }
    }
}

proptest! {
    #[test]
    fn what_an_invariant_denies_nothing_general_is_learned_about(
        parts in proptest::collection::vec(
            "(\\.ssh|\\.aws|credentials|kubernetes\\.io|serviceaccount|home|root|\\.npmrc|etc|kubernetes|pki|proc|12345|mem|task|self|run|libvirt|x)",
            1..6,
        ),
    ) {
        let path: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        let own = path.starts_with(&[b"proc", b"self"]);
        if !own && invariant_paths().iter().any(|pattern| pattern.matches(&path, true)) {
            prop_assert!(guarded(Access::Read, &path).is_some());
        }
    }

    #[test]
    fn the_guard_takes_any_bytes(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..8), 0..5)) {
        let path: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        for access in Access::ALL {
            let _ = guarded(access, &path);
        }
    }
}
