//! What kind of attack an observation is the trace of: ids of ATT&CK, ATLAS and OWASP, and how bad
//! it is. For people and other systems; no decision depends on it.

use std::net::IpAddr;

use monitor_common::{
    class::{Phase, Role},
    event::change::Action,
    facility::{Facility, INVARIANT_FACILITIES},
    path::permission::WRITE,
};

use super::Severity;
use crate::{
    decide::invariants::{Guards, guarded_endpoint, guarded_file},
    observation::{Connector, Endpoint, Fact, FileAccess, Observation, Oddity, UnixPeer, Volume},
    text,
};

type Ids = &'static [&'static str];

/// Ids of the catalogues and how bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// ATT&CK techniques.
    pub attack: Ids,
    /// ATLAS techniques.
    pub atlas: Ids,
    /// OWASP: LLM applications 2025, agentic applications 2026.
    pub owasp: Ids,
    /// How bad.
    pub severity: Severity,
}

const fn row(severity: Severity, attack: Ids, atlas: Ids, owasp: Ids) -> Mapping {
    Mapping {
        attack,
        atlas,
        owasp,
        severity,
    }
}

/// Another model than the one that was there.
const OTHER_MODEL: Mapping = row(
    Severity::High,
    &["T1565.001"],
    &["AML.T0018.000", "AML.T0058"],
    &["LLM03:2025", "LLM04:2025", "ASI04:2026"],
);

/// Another program than the one that was there, or other flags.
const OTHER_SHAPE: Mapping = row(
    Severity::Medium,
    &["T1554"],
    &["AML.T0010"],
    &["LLM03:2025", "ASI04:2026"],
);

/// Nothing.
pub(super) const NOTHING: Mapping = row(Severity::Info, &[], &[], &[]);

/// Text of strangers, something private and a way out, all in one episode: indirect prompt injection,
/// collection and exfiltration. Its severity is not used: it raises that of the alert.
pub(super) const TRIFECTA: Mapping = row(
    Severity::High,
    &["T1005", "T1041"],
    &["AML.T0051", "AML.T0086"],
    &["LLM01:2025", "LLM02:2025", "ASI01:2026"],
);

/// The mapping of an observation.
pub fn mapping(observation: &Observation) -> Mapping {
    let found = match observation.fact.inner() {
        Fact::Connect(endpoint) => destination(endpoint, false),
        Fact::Send(endpoint) => destination(endpoint, true),
        Fact::Open(file) => open(file, observation.scope.role),
        Fact::Exec { program, .. } => exec(program, observation),
        Fact::Unix(peer) => unix(peer),
        Fact::Listen(_) => row(
            Severity::Medium,
            &["T1571"],
            &["AML.T0049"],
            &["LLM06:2025", "ASI05:2026"],
        ),
        Fact::Query(_) => row(
            Severity::Medium,
            &["T1071.004"],
            &["AML.T0025"],
            &["LLM02:2025"],
        ),
        Fact::Change { action, file } => change(*action, file),
        Fact::Facility { facility, .. } => by_facility(*facility),
        Fact::Volume(volume) => by_volume(volume),
        Fact::Odd(call) => by_oddity(call.what),
        Fact::Model(_) => OTHER_MODEL,
        Fact::Episode(_) => row(
            Severity::Low,
            &["T1041"],
            &["AML.T0086"],
            &["LLM02:2025", "ASI01:2026"],
        ),
        Fact::Lineage(_) => OTHER_SHAPE,
        // A number of others, each of which has ids of its own.
        Fact::Held(_) => row(Severity::Medium, &[], &[], &[]),
        Fact::Fork { .. }
        | Fact::Exit { .. }
        | Fact::Phase { .. }
        | Fact::Accept { .. }
        | Fact::Caller { .. }
        | Fact::Flow(_)
        | Fact::Answer { .. }
        | Fact::Hello { .. }
        | Fact::Request(_)
        | Fact::Map { .. }
        | Fact::Found(_) => NOTHING,
    };
    // What the operator forbade by name is never a trifle.
    let least = if observation.invariant {
        Severity::High
    } else {
        Severity::Info
    };
    Mapping {
        severity: found.severity.max(least),
        ..found
    }
}

fn destination(endpoint: &Endpoint, datagram: bool) -> Mapping {
    if guarded_endpoint(endpoint).is_some() {
        return row(
            Severity::Critical,
            &["T1552.005"],
            &["AML.T0049", "AML.T0055", "AML.T0075"],
            &["LLM06:2025", "ASI02:2026", "ASI03:2026"],
        );
    }
    if matches!(endpoint.port, 53 | 853 | 5353) {
        return row(
            Severity::High,
            &["T1071.004", "T1048.003"],
            &["AML.T0025"],
            &["LLM02:2025"],
        );
    }
    if is_inside(endpoint.address) {
        return row(
            Severity::High,
            &["T1021", "T1046"],
            &["AML.T0085", "AML.T0105"],
            &["LLM06:2025", "ASI02:2026", "ASI03:2026"],
        );
    }
    if datagram {
        return row(
            Severity::High,
            &["T1048.003"],
            &["AML.T0025", "AML.T0086"],
            &["LLM02:2025", "ASI02:2026"],
        );
    }
    row(
        Severity::High,
        &["T1071.001", "T1041"],
        &["AML.T0051", "AML.T0053", "AML.T0086"],
        &["LLM01:2025", "LLM06:2025", "ASI01:2026", "ASI02:2026"],
    )
}

/// Addresses that do not lead out to the internet.
fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => {
            let [first, second, ..] = a.octets();
            let carrier = first == 100 && second & 0xc0 == 64;
            a.is_private() || a.is_loopback() || a.is_link_local() || carrier
        }
        IpAddr::V6(a) => a.is_loopback() || a.is_unique_local() || a.is_unicast_link_local(),
    }
}

fn guarded(file: &FileAccess) -> Option<Mapping> {
    let (guards, _) = guarded_file(file)?;
    Some(match guards {
        Guards::OtherProcess if file.access & WRITE != 0 => row(
            Severity::Critical,
            &["T1055.009", "T1003.007"],
            &["AML.T0090", "AML.T0098"],
            &["LLM02:2025", "ASI03:2026"],
        ),
        Guards::OtherProcess => row(
            Severity::Critical,
            &["T1003.007"],
            &["AML.T0090", "AML.T0098"],
            &["LLM02:2025", "ASI03:2026"],
        ),
        Guards::Runtime => row(
            Severity::Critical,
            &["T1611", "T1559"],
            &["AML.T0105"],
            &["LLM06:2025", "ASI03:2026"],
        ),
        Guards::Credentials | Guards::CloudMetadata => {
            let attack: Ids = if has_component(file, &["shadow", "shadow-", "gshadow", "gshadow-"])
            {
                &["T1003.008"]
            } else if has_component(file, &[".ssh", ".gnupg", "ssh", "pki"]) {
                &["T1552.004"]
            } else {
                &["T1552.001"]
            };
            row(
                Severity::Critical,
                attack,
                &["AML.T0037", "AML.T0055", "AML.T0083"],
                &["LLM02:2025", "ASI03:2026"],
            )
        }
    })
}

/// Places from which something is started again later, and the technique of each.
const PERSISTENCE: &[(&str, Ids)] = &[
    ("/etc/cron", &["T1053.003"]),
    ("/var/spool/cron/", &["T1053.003"]),
    ("/etc/systemd/", &["T1543.002"]),
    ("/usr/lib/systemd/", &["T1543.002"]),
    ("/etc/ld.so.preload", &["T1574.006"]),
    ("/etc/profile", &["T1546.004"]),
];

/// Names of files with the same purpose, wherever they are.
const PERSISTENT_NAMES: &[(&str, Ids)] = &[
    (".bashrc", &["T1546.004"]),
    (".profile", &["T1546.004"]),
    (".bash_profile", &["T1546.004"]),
    (".zshrc", &["T1546.004"]),
    ("sitecustomize.py", &["T1546.018"]),
    ("usercustomize.py", &["T1546.018"]),
];

fn open(file: &FileAccess, role: Role) -> Mapping {
    if let Some(found) = guarded(file) {
        return found;
    }
    if file.access & WRITE == 0 {
        // A server opens many files; what acts for a model opens what it was told to.
        let severity = match role {
            Role::Agent | Role::Tool | Role::Shell => Severity::Medium,
            Role::Server | Role::Loader | Role::Sidecar => Severity::Low,
        };
        return row(
            severity,
            &["T1005"],
            &["AML.T0037"],
            &["LLM02:2025", "ASI02:2026"],
        );
    }
    let name = last(file);
    let by_place = PERSISTENCE
        .iter()
        .find(|(place, _)| file.name.starts_with(place.as_bytes()));
    let by_name = PERSISTENT_NAMES
        .iter()
        .find(|(wanted, _)| name == wanted.as_bytes());
    if let Some((_, attack)) = by_place.or(by_name) {
        return row(
            Severity::High,
            attack,
            &["AML.T0081"],
            &["LLM06:2025", "ASI10:2026"],
        );
    }
    let is_model = [".gguf", ".safetensors", ".bin", ".pt", ".onnx", ".pth"];
    if is_model
        .iter()
        .any(|ending| name.ends_with(ending.as_bytes()))
    {
        return OTHER_MODEL;
    }
    row(
        Severity::Medium,
        &["T1565.001"],
        &["AML.T0053"],
        &["LLM06:2025", "ASI02:2026"],
    )
}

const SHELLS: &[&str] = &[
    "sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "busybox", "tcsh", "csh", "pwsh",
];

fn exec(program: &FileAccess, observation: &Observation) -> Mapping {
    if let Some(found) = guarded(program) {
        return found;
    }
    let dropped: [&[u8]; 5] = [b"/tmp/", b"/var/tmp/", b"/dev/shm/", b"/memfd:", b"memfd:"];
    if dropped.iter().any(|place| program.name.starts_with(place)) {
        return row(
            Severity::Critical,
            &["T1105", "T1620"],
            &["AML.T0112"],
            &["LLM05:2025", "ASI05:2026"],
        );
    }
    let name = last(program);
    let shell = SHELLS.iter().any(|shell| name == shell.as_bytes());
    let python = name.starts_with(b"python") || name.starts_with(b"pypy");
    let scope = &observation.scope;
    if matches!(scope.role, Role::Server | Role::Loader) && scope.phase != Phase::Serve {
        // A model that runs code while it is loaded.
        return row(
            Severity::High,
            if shell {
                &["T1059.004", "T1204.002"]
            } else {
                &["T1059", "T1204.002"]
            },
            &["AML.T0011.000", "AML.T0018.002"],
            &["LLM03:2025", "LLM04:2025", "ASI04:2026", "ASI05:2026"],
        );
    }
    row(
        Severity::High,
        match (shell, python) {
            (true, _) => &["T1059.004"],
            (_, true) => &["T1059.006"],
            _ => &["T1059"],
        },
        &["AML.T0050", "AML.T0053"],
        &["LLM05:2025", "LLM06:2025", "ASI02:2026", "ASI05:2026"],
    )
}

/// Sockets behind which somebody obeys: container runtimes, and the service manager's bus.
const MASTERS: &[&[u8]] = &[
    b"docker.sock",
    b"containerd.sock",
    b"crio.sock",
    b"podman.sock",
    b"system_bus_socket",
];

fn unix(peer: &UnixPeer) -> Mapping {
    if let UnixPeer::Path(file) = peer
        && MASTERS.contains(&last(file))
    {
        return row(
            Severity::Critical,
            &["T1611", "T1559"],
            &["AML.T0105"],
            &["LLM06:2025", "ASI03:2026"],
        );
    }
    row(
        Severity::Medium,
        &["T1559"],
        &["AML.T0053"],
        &["LLM06:2025", "ASI02:2026"],
    )
}

fn change(action: Action, file: &FileAccess) -> Mapping {
    if matches!(action, Action::Unlink | Action::Rmdir | Action::Truncate) {
        return row(
            Severity::High,
            &["T1485"],
            &["AML.T0101"],
            &["LLM06:2025", "ASI02:2026"],
        );
    }
    open(file, Role::Tool)
}

fn by_facility(facility: Facility) -> Mapping {
    let attack: Ids = match facility {
        Facility::Raw | Facility::Packet | Facility::Ping | Facility::Transport => &["T1095"],
        Facility::Vsock | Facility::Netlink | Facility::NetlinkRoute | Facility::OtherSocket => {
            &["T1095"]
        }
        Facility::SourceRoute => &["T1090"],
        Facility::Ptrace => &["T1055.008"],
        Facility::ProcessMemory => &["T1003.007"],
        Facility::Alg | Facility::Bpf => &["T1068"],
        Facility::IoUring | Facility::IoUringFiles => &["T1562"],
        Facility::NamesAdd | Facility::NamesMove => &["T1565.001"],
        Facility::NamesRemove => &["T1485"],
        Facility::Mount | Facility::UserNamespace => &["T1611"],
    };
    let severity = if INVARIANT_FACILITIES & facility.bit() != 0 {
        Severity::Critical
    } else {
        Severity::High
    };
    row(
        severity,
        attack,
        &["AML.T0112"],
        &["LLM06:2025", "ASI05:2026"],
    )
}

fn by_volume(volume: &Volume) -> Mapping {
    match volume.connector {
        // Through an answer of the model.
        Connector::In(..) => row(
            Severity::Medium,
            &["T1030"],
            &["AML.T0024", "AML.T0025"],
            &["LLM02:2025"],
        ),
        Connector::Out(_) => row(
            Severity::High,
            &["T1567", "T1030", "T1041"],
            &["AML.T0086", "AML.T0025"],
            &["LLM02:2025", "LLM06:2025", "ASI02:2026"],
        ),
    }
}

fn by_oddity(what: Oddity) -> Mapping {
    let (severity, attack): (Severity, Ids) = match what {
        // Weak by itself: programs that keep addresses do it too.
        Oddity::DirectAddress => (Severity::Medium, &["T1071", "T1571"]),
        // Domain fronting.
        Oddity::ServerNameDiffers => (Severity::Medium, &["T1071.001", "T1090.004"]),
        Oddity::ServerNameHidden => (Severity::Medium, &["T1071.001", "T1573"]),
        Oddity::UnlearnedResolver => (Severity::High, &["T1071.004", "T1048.003"]),
        Oddity::EncryptedResolver => (Severity::High, &["T1071.004", "T1568"]),
        Oddity::Beacon => (Severity::High, &["T1071", "T1568"]),
        Oddity::UnlearnedHost => (Severity::High, &["T1071.001", "T1090"]),
        Oddity::Blind => (Severity::Medium, &["T1090", "T1572"]),
    };
    row(
        severity,
        attack,
        &["AML.T0086", "AML.T0025"],
        &["LLM02:2025", "LLM06:2025", "ASI02:2026"],
    )
}

fn last(file: &FileAccess) -> &[u8] {
    text::components(&file.name).last().unwrap_or_default()
}

fn has_component(file: &FileAccess, names: &[&str]) -> bool {
    text::components(&file.name).any(|part| names.iter().any(|name| part == name.as_bytes()))
}
