//! What the kernel reported, whether anybody is alerted or not: Network Activity (4001), File System
//! Activity (1001) and Process Activity (1007).

use monitor_common::event::change::Action;
use serde::Serialize;

use super::{
    super::{
        object::{Absent, objects},
        own::{Detail, Own, OwnProcess},
        view::{Effect, PRODUCT, file_name},
    },
    VERSION,
    parts::{self, Direction, FileType},
    types::*,
};
use crate::{
    alert::{AlertContext, access, json::one_line, prevented},
    observation::{Endpoint as Place, Fact, Observation, UnixPeer},
    text::escape,
    time::rfc3339,
    workload::{hook_name, mode_name, phase_name, role_name, verdict_name},
};

objects! {
    /// An event of one of the three classes.
    Activity {
        /// What was done, by the class's numbers.
        activity_id: u32,
        /// The word for it.
        activity_name: &'static str,
        /// 4 network, 1 system.
        category_uid: u32,
        /// The word for it.
        category_name: &'static str,
        /// 4001, 1001 or 1007.
        class_uid: u32,
        /// The word for it.
        class_name: &'static str,
        /// Class and activity in one number.
        type_uid: u32,
        /// The same in words.
        type_name: String,
        /// When, milliseconds since the epoch.
        time: i64,
        /// Occurrences.
        count: u64,
        /// 1: an observation, not a finding.
        severity_id: u32,
        /// The word for it.
        severity: &'static str,
        /// What the guard did.
        action_id: u32,
        /// The word for it.
        action: &'static str,
        /// What came of it.
        disposition_id: u32,
        /// The word for it.
        disposition: &'static str,
        /// Who.
        actor: Actor,
        /// What the class is about.
        #[serde(flatten)]
        content: Content,
        /// Where.
        device: Device,
        /// About the event itself.
        metadata: Metadata,
        /// What has no place in the schema.
        unmapped: Unmapped,
    }

    /// Of class 4001.
    Network {
        /// Who was called.
        dst_endpoint: Option<Endpoint>,
        /// Who called.
        src_endpoint: Option<Endpoint>,
        /// How.
        connection_info: ConnectionInfo,
        /// Bytes.
        traffic: Option<Traffic>,
        /// Milliseconds.
        duration: Option<u64>,
    }

    /// Of class 1001.
    FileChange {
        /// The file.
        file: File,
    }

    /// Of class 1007.
    Launch {
        /// The process that was started, or that ended.
        process: Process,
        /// 2 fork, 3 exec.
        launch_type_id: Option<u32>,
        /// Wait status.
        exit_code: Option<u32>,
    }
}

/// What the class is about.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Content {
    /// Network Activity.
    Network(Box<Network>),
    /// File System Activity.
    File(Box<FileChange>),
    /// Process Activity.
    Process(Box<Launch>),
}
impl Absent for Content {}

impl Content {
    const fn class(&self) -> (u32, &'static str) {
        match self {
            Self::Network(_) => (4001, "Network Activity"),
            Self::File(_) => (1001, "File System Activity"),
            Self::Process(_) => (1007, "Process Activity"),
        }
    }
}

impl Activity {
    /// One line of JSON, without the line's end.
    pub fn to_json_line(&self) -> String {
        one_line(self)
    }
}

/// The event that an observation is; `None` where no class fits: phases, look-ups, facilities, and
/// what was worked out rather than seen (those become alerts).
pub fn activity(seen: &Observation, context: &AlertContext) -> Option<Activity> {
    let (activity_id, activity_name, content) = content(seen.fact.inner(), context)?;
    let (class_uid, class_name) = content.class();
    let network = class_uid == 4001;
    let held_off = prevented(seen);
    let (action_id, action, disposition_id, disposition) =
        parts::action(Effect::of(Some(seen.verdict), held_off));
    let time = rfc3339(seen.time);
    Some(Activity {
        activity_id,
        activity_name,
        category_uid: if network { 4 } else { 1 },
        category_name: if network {
            "Network Activity"
        } else {
            "System Activity"
        },
        class_uid,
        class_name,
        type_uid: class_uid * 100 + activity_id,
        type_name: format!(
            "{class_name}: {}",
            if activity_id == 99 {
                "Other"
            } else {
                activity_name
            }
        ),
        time: i64::try_from(seen.time / 1_000_000).unwrap_or(i64::MAX),
        count: seen.count,
        severity_id: 1,
        severity: "Informational",
        action_id,
        action,
        disposition_id,
        disposition,
        actor: Actor {
            process: parts::process(&context.process),
        },
        content,
        device: parts::device(&context.host),
        metadata: Metadata {
            version: VERSION,
            product: parts::product(),
            profiles: vec!["host", "security_control"],
            uid: context.id.clone(),
            event_code: seen.fact.kind().into(),
            correlation_uid: parts::process_uid(&context.process),
            log_name: "events",
            log_provider: PRODUCT,
            original_time: time,
        },
        unmapped: Unmapped {
            slmguard: own(seen, context, held_off),
        },
    })
}

/// Number and name of the activity, and what it is about.
fn content(fact: &Fact, context: &AlertContext) -> Option<(u32, &'static str, Content)> {
    let outbound = |place: &Place| network(Some(endpoint(place)), None, Direction::Outbound, place);
    Some(match fact {
        Fact::Connect(place) => (1, "Open", outbound(place)),
        Fact::Send(place) => (6, "Traffic", outbound(place)),
        Fact::Request(request) => (6, "Traffic", outbound(&request.proxy)),
        Fact::Hello { endpoint, .. } => (6, "Traffic", outbound(endpoint)),
        Fact::Listen(place) => {
            let content = network(Some(endpoint(place)), None, Direction::Inbound, place);
            (7, "Listen", content)
        }
        Fact::Accept { peer, local, .. } => {
            let (to, from) = (Some(endpoint(local)), Some(endpoint(peer)));
            (1, "Open", network(to, from, Direction::Inbound, local))
        }
        Fact::Caller {
            endpoint: place, ..
        } => {
            let content = network(Some(endpoint(place)), None, Direction::Inbound, place);
            (1, "Open", content)
        }
        Fact::Flow(flow) => {
            let peer = Some(endpoint(&flow.peer));
            let own = Place {
                port: flow.local_port,
                ..flow.peer
            };
            let (to, from, direction) = if flow.inbound {
                (Some(port(&own)), peer, Direction::Inbound)
            } else {
                (peer, Some(port(&own)), Direction::Outbound)
            };
            (
                6,
                "Traffic",
                Content::Network(Box::new(Network {
                    dst_endpoint: to,
                    src_endpoint: from,
                    connection_info: parts::connection(direction, &own.protocol_name()),
                    traffic: Some(Traffic {
                        bytes_in: flow.received,
                        bytes_out: flow.sent,
                        bytes: flow.received.saturating_add(flow.sent),
                    }),
                    duration: Some(flow.duration / 1_000_000),
                })),
            )
        }
        Fact::Unix(peer) => (1, "Open", unix(peer)),
        Fact::Open(opened) => (14, "Open", file(&opened.subject(), FileType::Unknown, None)),
        Fact::Map {
            file: mapped, size, ..
        } => {
            let content = file(&mapped.subject(), FileType::Unknown, Some(*size));
            (99, "Map", content)
        }
        Fact::Change {
            action,
            file: named,
        } => {
            let (id, word, kind) = change(*action);
            (id, word, file(&named.subject(), kind, None))
        }
        Fact::Exec { program, argv, .. } => {
            let path = program.subject();
            let argv: Vec<String> = argv.iter().map(|word| escape(word)).collect();
            // The process goes on as another program; who asked for it is the actor.
            let process = Process {
                name: Some(file_name(&path).into()),
                file: Some(parts::file(&path, FileType::Executable)),
                cmd_line: parts::command_line(&argv),
                path: Some(path),
                ..parts::process(&context.process)
            };
            (1, "Launch", launch(process, Some(3), None))
        }
        Fact::Fork { child } => {
            let mut process = parts::process(&context.process);
            process.pid = child.pid;
            process.uid = format!("{}-{}", child.pid, child.start_time);
            // Whose parent is the actor, not the actor's.
            process.parent_process = None;
            process.ancestry = vec![];
            (1, "Launch", launch(process, Some(2), None))
        }
        Fact::Exit { status } => {
            let process = parts::process(&context.process);
            (2, "Terminate", launch(process, None, Some(*status)))
        }
        // What was found is looked through before.
        Fact::Found(_)
        | Fact::Phase { .. }
        | Fact::Query(_)
        | Fact::Answer { .. }
        | Fact::Facility { .. }
        | Fact::Volume(_)
        | Fact::Odd(_)
        | Fact::Model(_)
        | Fact::Episode(_)
        | Fact::Lineage(_)
        | Fact::Held(_) => return None,
    })
}

const fn change(action: Action) -> (u32, &'static str, FileType) {
    match action {
        Action::Unlink => (4, "Delete", FileType::Unknown),
        Action::Rmdir => (4, "Delete", FileType::Folder),
        Action::RenameFrom | Action::RenameTo => (5, "Rename", FileType::Unknown),
        Action::LinkFrom => (99, "Link", FileType::Unknown),
        Action::LinkTo | Action::Mknod => (1, "Create", FileType::Unknown),
        Action::Mkdir => (1, "Create", FileType::Folder),
        Action::Symlink => (1, "Create", FileType::Link),
        Action::Truncate => (3, "Update", FileType::Unknown),
    }
}

fn endpoint(place: &Place) -> Endpoint {
    parts::address(place.address, place.port, None)
}

/// An end of which only the port is known.
fn port(place: &Place) -> Endpoint {
    parts::own_port(place.port, &place.protocol_name())
}

fn network(
    to: Option<Endpoint>,
    from: Option<Endpoint>,
    direction: Direction,
    place: &Place,
) -> Content {
    Content::Network(Box::new(Network {
        dst_endpoint: to,
        src_endpoint: from,
        connection_info: parts::connection(direction, &place.protocol_name()),
        traffic: None,
        duration: None,
    }))
}

fn unix(peer: &UnixPeer) -> Content {
    Content::Network(Box::new(Network {
        dst_endpoint: Some(parts::socket(&peer.subject())),
        src_endpoint: None,
        connection_info: parts::connection(Direction::Local, "unix"),
        traffic: None,
        duration: None,
    }))
}

fn file(path: &str, kind: FileType, size: Option<u64>) -> Content {
    let file = File {
        size,
        ..parts::file(path, kind)
    };
    Content::File(Box::new(FileChange { file }))
}

fn launch(process: Process, launch_type_id: Option<u32>, exit_code: Option<u32>) -> Content {
    Content::Process(Box::new(Launch {
        process,
        launch_type_id,
        exit_code,
    }))
}

fn own(seen: &Observation, context: &AlertContext, held_off: bool) -> Own {
    Own {
        workload: seen.scope.workload.clone(),
        role: role_name(seen.scope.role).into(),
        phase: phase_name(seen.scope.phase).into(),
        mode: mode_name(seen.mode).into(),
        kind: seen.fact.kind().into(),
        subject: seen.subject(),
        name: None,
        access: access(&seen.fact).map(str::to_owned),
        verdict: verdict_name(seen.verdict).into(),
        prevented: held_off,
        tier: context.tier.clone(),
        hook: hook_name(seen.hook).into(),
        reasons: vec![],
        atlas: vec![],
        owasp: vec![],
        nearest: vec![],
        chain: vec![],
        process: OwnProcess::of(&context.process),
        first_seen: None,
        last_seen: None,
        detail: seen.fact.detail().map(Detail),
    }
}
