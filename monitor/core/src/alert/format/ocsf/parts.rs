//! Objects that findings and activities have in common.

use std::net::IpAddr;

use super::{
    super::view::{
        Effect, PRODUCT, Target, VERSION as PRODUCT_VERSION, ancestor, file_name, protocol_number,
    },
    types::*,
};
use crate::{
    alert::{
        ProcessInfo,
        catalogue::{ATLAS, ATTACK, Catalogue, parent},
    },
    text::shell_word,
};

/// `action_id`, its word, `disposition_id`, its word. Denied and blocked only where the operation
/// took no effect.
pub const fn action(effect: Effect) -> (u32, &'static str, u32, &'static str) {
    match effect {
        Effect::Prevented => (2, "Denied", 2, "Blocked"),
        // The process was stopped, not the operation.
        Effect::Killed => (3, "Observed", 7, "Custom Action"),
        Effect::WouldBlock => (3, "Observed", 19, "Alert"),
        Effect::Told => (3, "Observed", 15, "Detected"),
        Effect::Known => (1, "Allowed", 1, "Allowed"),
        Effect::Learned => (3, "Observed", 17, "Logged"),
        Effect::Unclear => (0, "Unknown", 0, "Unknown"),
    }
}

pub fn product() -> Product {
    Product {
        name: PRODUCT,
        vendor_name: PRODUCT,
        version: PRODUCT_VERSION,
    }
}

pub fn device(host: &str) -> Device {
    Device {
        hostname: host.into(),
        type_id: 0,
        r#type: "Unknown",
        os: Os {
            name: "Linux",
            type_id: 200,
        },
    }
}

/// A process id and its start: what two events about one process have in common.
pub fn process_uid(process: &ProcessInfo) -> String {
    format!("{}-{}", process.pid, process.start_time)
}

pub fn process(process: &ProcessInfo) -> Process {
    let ancestry: Vec<_> = process.ancestors.iter().map(|text| entity(text)).collect();
    let exe = (!process.exe.is_empty()).then(|| process.exe.clone());
    Process {
        pid: process.pid,
        uid: process_uid(process),
        name: exe.as_deref().map(|exe| file_name(exe).into()),
        file: exe.as_deref().map(|exe| file(exe, FileType::Executable)),
        path: exe,
        cmd_line: command_line(&process.argv),
        user: Some(User {
            uid: process.uid.to_string(),
        }),
        parent_process: ancestry.first().cloned(),
        ancestry,
    }
}

/// Arguments as a shell would take them; the exact ones are in a list of their own.
pub fn command_line(argv: &[String]) -> Option<String> {
    let words: Vec<_> = argv.iter().map(|word| shell_word(word)).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// `7 /bin/sh`; what is not of that form is a path as a whole.
fn entity(text: &str) -> ProcessEntity {
    let (pid, path) = ancestor(text).map_or((None, text), |(pid, path)| (Some(pid), path));
    ProcessEntity {
        pid,
        name: (!path.is_empty()).then(|| file_name(path).into()),
        path: path.into(),
    }
}

/// `type_id` of a file.
#[derive(Clone, Copy)]
pub enum FileType {
    Unknown,
    Folder,
    Socket,
    Link,
    Executable,
}

pub fn file(path: &str, kind: FileType) -> File {
    let (type_id, word) = match kind {
        FileType::Unknown => (0, "Unknown"),
        FileType::Folder => (2, "Folder"),
        FileType::Socket => (5, "Local Socket"),
        FileType::Link => (7, "Symbolic Link"),
        FileType::Executable => (8, "Executable File"),
    };
    File {
        name: file_name(path).into(),
        path: path.into(),
        type_id,
        r#type: word,
        size: None,
    }
}

/// Whether the workload called, was called, or neither left the host.
#[derive(Clone, Copy)]
pub enum Direction {
    Inbound,
    Outbound,
    Local,
}

pub fn connection(direction: Direction, protocol: &str) -> ConnectionInfo {
    let (direction_id, direction) = match direction {
        Direction::Inbound => (1, "Inbound"),
        Direction::Outbound => (2, "Outbound"),
        Direction::Local => (4, "Local"),
    };
    ConnectionInfo {
        direction_id,
        direction,
        protocol_name: protocol.into(),
        protocol_num: protocol_number(protocol),
    }
}

/// An endpoint by address, and the name that the workload was given the address for.
pub fn address(ip: IpAddr, port: u16, hostname: Option<&str>) -> Endpoint {
    Endpoint {
        ip: Some(ip.to_string()),
        port: Some(port.into()),
        hostname: hostname.map(str::to_owned),
        name: None,
        svc_name: None,
    }
}

/// A port of the workload's own, whatever the address.
pub fn own_port(port: u16, protocol: &str) -> Endpoint {
    Endpoint {
        ip: None,
        port: Some(port.into()),
        hostname: None,
        name: None,
        svc_name: Some(format!("*:{port}/{protocol}")),
    }
}

/// A unix socket by path or `@` and abstract name.
pub fn socket(name: &str) -> Endpoint {
    Endpoint {
        ip: None,
        port: None,
        hostname: None,
        name: Some(name.into()),
        svc_name: None,
    }
}

/// Who did what.
pub fn evidence(
    who: &ProcessInfo,
    target: Target<'_>,
    name: Option<&str>,
    program: bool,
) -> Evidence {
    let mut evidence = Evidence {
        process: process(who),
        dst_endpoint: None,
        connection_info: None,
        file: None,
        query: None,
    };
    match target {
        Target::Endpoint {
            ip,
            port,
            protocol,
            local,
        } => {
            let direction = if local {
                Direction::Inbound
            } else {
                Direction::Outbound
            };
            evidence.dst_endpoint = Some(address(ip, port, name));
            evidence.connection_info = Some(connection(direction, protocol));
        }
        Target::Port { port, protocol } => {
            evidence.dst_endpoint = Some(own_port(port, protocol));
            evidence.connection_info = Some(connection(Direction::Inbound, protocol));
        }
        Target::File(path) => {
            let kind = if program {
                FileType::Executable
            } else {
                FileType::Unknown
            };
            evidence.file = Some(file(path, kind));
        }
        Target::Unix(name) => {
            evidence.dst_endpoint = Some(socket(name));
            evidence.connection_info = Some(connection(Direction::Local, "unix"));
            if name.starts_with('/') {
                evidence.file = Some(file(name, FileType::Socket));
            }
        }
        Target::Host(name) => {
            evidence.query = Some(DnsQuery {
                hostname: name.into(),
            });
        }
        Target::Other => {}
    }
    evidence
}

/// Techniques of both catalogues, each with the version of its list.
pub fn attacks(attack: &[String], atlas: &[String]) -> Vec<Attack> {
    let of = |list: Catalogue, ids: &[String]| -> Vec<Attack> {
        ids.iter().map(|id| technique(list, id)).collect()
    };
    let mut all = of(ATTACK, attack);
    all.extend(of(ATLAS, atlas));
    all
}

fn technique(list: Catalogue, id: &str) -> Attack {
    let named = |id: &str| Named {
        uid: id.into(),
        name: list.find(id).map(|entry| entry.name),
    };
    // One of several tactics would be a guess.
    let tactic = list.find(id).and_then(|entry| match entry.tactics[..] {
        [tactic] => Some(named(tactic)),
        _ => None,
    });
    let whole = parent(id);
    Attack {
        tactic,
        technique: named(whole.unwrap_or(id)),
        sub_technique: whole.map(|_| named(id)),
        version: list.version(),
    }
}
