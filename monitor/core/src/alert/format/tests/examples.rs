//! Alerts as the daemon makes them, one of each kind, and observations of each kind.

use monitor_common::{
    class::{Phase, Role},
    event::{Verdict, change::Action},
    facility::Facility,
    path::permission::{READ, WRITE},
};

use crate::{
    alert::{Alert, AlertContext, ChainStep, ProcessInfo},
    baseline::Baseline,
    decide::decide,
    observation::{
        Connector, Excess, Fact, FileAccess, Flow, Held, Lookup, ModelFile, Observation, OddCall,
        OddEpisode, Oddity, ProcessKey, Scope, Shape, UnixPeer, Volume,
    },
    request::Request,
    testing::{connect, endpoint, exec, open, scope, seen},
};

/// Where and who.
pub fn context() -> AlertContext {
    AlertContext {
        id: "0190a5b4-7c3d-7e21-9f00-5d2b8c1e4a77".into(),
        host: "edge-1".into(),
        tier: "lsm".into(),
        process: ProcessInfo {
            pid: 4711,
            start_time: 8_123_456_789_012_345,
            exe: "/usr/bin/node".into(),
            argv: vec![
                "node".into(),
                "agent.mjs".into(),
                "--say=hello world".into(),
            ],
            uid: 1000,
            cgroup: "/system.slice/agent.service".into(),
            ancestors: vec![
                "812 /usr/bin/bash".into(),
                "1 /usr/lib/systemd/systemd".into(),
            ],
            adopted: false,
        },
        policy_version: 0x0001_9a7c_42de,
    }
}

/// The alert for an observation, where two destinations and a file are known.
pub fn alert(observation: Observation) -> Alert {
    let mut baseline = Baseline::default();
    baseline.absorb(&seen(connect("10.77.0.10:8080/tcp"), Verdict::New));
    baseline.absorb(&seen(connect("10.77.0.11:8080/tcp"), Verdict::New));
    baseline.absorb(&seen(open("/srv/notes/today.txt", READ), Verdict::New));
    Alert::from_decision(&decide(observation, &baseline), context())
}

/// The one that the documentation shows.
pub fn shown() -> Alert {
    let mut alert = alert(seen(connect("203.0.113.66:443/tcp"), Verdict::Blocked));
    alert.name = Some("paste.example.net".into());
    alert.chain = chain();
    alert
}

fn chain() -> Vec<ChainStep> {
    let step = |after_ms, step: &str, subject: &str, class: Option<&str>, known| ChainStep {
        after_ms,
        step: step.into(),
        subject: subject.into(),
        class: class.map(str::to_owned),
        known,
    };
    vec![
        step(0, "inbound", "10.0.0.7", None, None),
        step(
            850,
            "read",
            "/srv/mail/inbox.md",
            Some("private and untrusted"),
            None,
        ),
        step(2140, "egress", "203.0.113.66:443/tcp", None, Some(false)),
    ]
}

/// Facts of every kind.
pub fn facts() -> Vec<Fact> {
    let file = |path: &str| match open(path, READ) {
        Fact::Open(file) => file,
        _ => unreachable!("an open is about a file"),
    };
    let lookup = Lookup {
        name: b"x9f.paste.example.net".to_vec(),
        qtype: 1,
        resolver: endpoint("10.0.0.53:53/udp"),
        cookie: 7,
    };
    let other = Scope {
        phase: Phase::Serve,
        role: Role::Server,
        ..scope()
    };
    let flow = |inbound| {
        Fact::Flow(Flow {
            peer: endpoint("203.0.113.66:443/tcp"),
            local_port: 40404,
            inbound,
            sent: 7000,
            received: 900,
            duration: 3_000_000,
            cookie: 1,
        })
    };
    let mut facts = vec![
        connect("203.0.113.66:443/tcp"),
        connect("[2001:db8::66]:443/tcp"),
        Fact::Send(endpoint("198.51.100.9:53/udp")),
        Fact::Listen(endpoint("0.0.0.0:8080/tcp")),
        Fact::Listen(endpoint("[::]:8080/tcp")),
        Fact::Accept {
            peer: endpoint("10.0.0.7:50123/tcp"),
            local: endpoint("10.0.0.1:8080/tcp"),
            uid: Some(1000),
        },
        Fact::Caller {
            endpoint: endpoint("127.0.0.1:8080/tcp"),
            program: (1, 2),
        },
        Fact::Unix(UnixPeer::Path(file("/run/docker.sock"))),
        Fact::Unix(UnixPeer::Abstract(b"/tmp/.X11\xff".to_vec())),
        Fact::Unix(UnixPeer::Unnamed),
        flow(true),
        flow(false),
        Fact::Query(lookup.clone()),
        Fact::Answer {
            lookup,
            code: 0,
            addresses: vec![([203, 0, 113, 66].into(), 60)],
            total: 1,
        },
        Fact::Hello {
            endpoint: endpoint("203.0.113.66:443/tcp"),
            name: Some(b"paste.example.net\n".to_vec()),
            encrypted: false,
            cut: false,
            cookie: 1,
        },
        open("/srv/notes/secret\u{202e}.txt", READ | WRITE),
        open("/root/.ssh/id_ed25519", READ),
        open("/", READ),
        Fact::Map {
            file: file("/srv/models/m.gguf"),
            size: 4_000_000_000,
            protection: 1,
            shared: false,
        },
        exec("/bin/sh"),
        Fact::Exec {
            program: file("/usr/bin/curl"),
            argv: vec![b"curl".to_vec(), b"\xff\n|act=allowed".to_vec()],
            after: None,
        },
        Fact::Fork {
            child: ProcessKey {
                pid: 4712,
                start_time: 100,
            },
        },
        Fact::Exit { status: 9 },
        Fact::Phase {
            port: 8080,
            after: other,
        },
        Fact::Found(Box::new(connect("203.0.113.66:443/tcp"))),
        Fact::Found(Box::new(open("/srv/x", READ))),
        Fact::Volume(Volume {
            connector: Connector::Out(endpoint("203.0.113.66:443/tcp")),
            sent: 5_000_000,
            seconds: 60,
            excess: Excess::Leak { expected: 1000 },
        }),
        Fact::Volume(Volume {
            connector: Connector::In(8080, 6),
            sent: 5_000_000,
            seconds: 60,
            excess: Excess::Leak { expected: 1000 },
        }),
        Fact::Odd(OddCall {
            endpoint: endpoint("203.0.113.66:443/tcp"),
            what: Oddity::ServerNameDiffers,
            name: Some("a.example".into()),
            host: None,
            nearest: vec![],
            count: 1,
            score: None,
        }),
        Fact::Request(Request {
            proxy: endpoint("10.0.0.5:3128/tcp"),
            target: None,
            tunnel: true,
            cookie: 1,
        }),
        Fact::Episode(Box::new(OddEpisode {
            calls: 3,
            sent: 9_000_000,
            p: 1e-4,
        })),
        Fact::Lineage(Box::new(Shape {
            lineage: 2,
            differs: vec!["other flags"],
            news: vec!["llama-server --tools all".into()],
        })),
        Fact::Model(Box::new(ModelFile {
            path: "/srv/models/m.gguf".into(),
            sha256: "00".repeat(32),
            size: 5,
            runs_code: false,
            before: None,
            known: 1,
        })),
        Fact::Held(Box::new(Held {
            alerts: 12,
            first: 1_700_000_000_000_000_000,
            last: 1_700_000_003_000_000_000,
            kinds: [("odd", 12)].into(),
            examples: vec!["203.0.113.66:443/tcp".into()],
        })),
    ];
    facts.extend(Action::ALL.map(|action| Fact::Change {
        action,
        file: FileAccess {
            access: WRITE,
            ..file("/srv/notes/today.txt")
        },
    }));
    facts.extend(
        [Facility::Mount, Facility::Ptrace, Facility::IoUring].map(|facility| Fact::Facility {
            facility,
            detail: [0; 3],
        }),
    );
    facts
}

/// Alerts of every kind and verdict.
pub fn alerts() -> Vec<Alert> {
    let mut alerts = vec![shown()];
    for fact in facts() {
        for verdict in [
            Verdict::Blocked,
            Verdict::Killed,
            Verdict::WouldBlock,
            Verdict::Audited,
        ] {
            alerts.push(alert(seen(fact.clone(), verdict)));
        }
    }
    let mut again = shown();
    again.first_seen = "2023-11-14T21:13:20.000001Z".into();
    again.count = 40;
    alerts.push(again);
    alerts
}
