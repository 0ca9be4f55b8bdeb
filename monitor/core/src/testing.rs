//! Observations for tests, made the short way.

use monitor_common::{
    class::{Mode, Phase, Role},
    event::{Verdict, flag},
    hook::Hook,
    path::permission::EXEC,
};

use crate::{
    decode::name_of,
    observation::{Endpoint, Fact, FileAccess, Observation, ProcessKey, Scope},
};

/// The agent of workload `assistant` while it serves.
pub fn scope() -> Scope {
    Scope {
        workload: "assistant".into(),
        role: Role::Agent,
        phase: Phase::Serve,
    }
}

/// Something that the agent did in enforce mode at 2023-11-14T22:13:20Z.
pub fn seen(fact: Fact, verdict: Verdict) -> Observation {
    let mode = match verdict {
        Verdict::New => Mode::Learn,
        Verdict::WouldBlock => Mode::Monitor,
        _ => Mode::Enforce,
    };
    Observation {
        time: 1_700_000_000_000_000_000,
        process: ProcessKey {
            pid: 4711,
            start_time: 99,
        },
        thread: 4711,
        uid: 1000,
        cgroup: 5,
        comm: "agent".into(),
        scope: scope(),
        hook: match &fact {
            Fact::Connect(_) => Hook::Connect4,
            Fact::Send(_) => Hook::Sendmsg4,
            Fact::Open(_) => Hook::LsmFileOpen,
            Fact::Exec { .. } => Hook::LsmExec,
            _ => Hook::ProcessExit,
        },
        verdict,
        mode,
        policy: 3,
        invariant: false,
        single_thread: false,
        count: 1,
        fact,
    }
}

/// A connect over TCP, or whatever the text says: `10.0.0.1:443/tcp`.
pub fn connect(text: &str) -> Fact {
    Fact::Connect(endpoint(text))
}

/// An endpoint in the form that it prints.
pub fn endpoint(text: &str) -> Endpoint {
    let (host, service) = text.rsplit_once(':').unwrap();
    let (port, protocol) = service.split_once('/').unwrap();
    Endpoint {
        address: host.trim_matches(['[', ']']).parse().unwrap(),
        port: port.parse().unwrap(),
        protocol: match protocol {
            "tcp" => 6,
            "udp" => 17,
            other => other.parse().unwrap(),
        },
    }
}

/// An open of a path that is not in the process's own `/proc` directory.
pub fn open(path: &str, access: u8) -> Fact {
    Fact::Open(file(path, access))
}

/// A start of a program.
pub fn exec(path: &str) -> Fact {
    Fact::Exec {
        program: file(path, EXEC),
        argv: vec![],
        after: None,
    }
}

fn file(path: &str, access: u8) -> FileAccess {
    FileAccess {
        path: path.into(),
        name: name_of(path.as_bytes(), flag::PROC_OTHER),
        inode: (1, 2),
        access,
        cut: false,
        incomplete: false,
    }
}
