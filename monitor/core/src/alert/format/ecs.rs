//! Elastic Common Schema 9.4.0: an alert as a document. Fields that ECS does not have are under
//! `slmguard`, as its guidelines ask for. Checked in tests against the list of fields that is
//! vendored.

use super::{
    object::objects,
    own::{Own, OwnProcess},
    view::{Effect, PRODUCT, Target, VERSION, ancestor, file_name, protocol_number},
};
use crate::alert::{
    Alert,
    catalogue::{ATTACK, parent},
};

objects! {
    /// A document.
    Document {
        /// When, RFC 3339.
        #[serde(rename = "@timestamp")]
        timestamp: String,
        /// What happened, in one line.
        message: String,
        /// Version of ECS.
        ecs: Ecs,
        /// About the event.
        event: Event,
        /// Where.
        host: Host,
        /// Who reports.
        observer: Observer,
        /// Workload.
        service: Service,
        /// Who.
        process: Process,
        /// Whose process.
        user: User,
        /// Where to.
        destination: Option<Destination>,
        /// How.
        network: Option<Network>,
        /// The file.
        file: Option<File>,
        /// The name that was looked up.
        dns: Option<Dns>,
        /// What found it.
        rule: Rule,
        /// ATT&CK.
        threat: Option<Threat>,
        /// To search by.
        related: Related,
        /// What is ours alone.
        slmguard: OwnFields,
    }

    /// `ecs`
    Ecs {
        /// `9.4.0`.
        version: &'static str,
    }

    /// `event`
    Event {
        /// The alert's id.
        id: String,
        /// `alert`.
        kind: &'static str,
        /// Sorts of thing.
        category: Vec<&'static str>,
        /// What was done, and whether it was allowed.
        r#type: Vec<&'static str>,
        /// The alert's kind.
        action: String,
        /// `failure` where the operation took no effect; otherwise nobody knows.
        outcome: &'static str,
        /// `slmguard`.
        module: &'static str,
        /// `slmguard.alerts`.
        dataset: &'static str,
        /// `slmguard`.
        provider: &'static str,
        /// 1 to 100.
        severity: u32,
        /// The reasons.
        reason: String,
        /// First occurrence, RFC 3339.
        start: String,
        /// Last occurrence, RFC 3339.
        end: String,
    }

    /// `host`
    Host {
        /// Host name.
        name: String,
        /// Host name.
        hostname: String,
    }

    /// `observer`
    Observer {
        /// Vendor.
        vendor: &'static str,
        /// Product.
        product: &'static str,
        /// Version.
        version: &'static str,
    }

    /// `service`
    Service {
        /// Workload.
        name: String,
    }

    /// `process`
    Process {
        /// Process id.
        pid: u32,
        /// Process id and start, together never reused.
        entity_id: String,
        /// Path of the program.
        executable: String,
        /// Last component of it.
        name: String,
        /// Arguments.
        args: Vec<String>,
        /// How many.
        args_count: u64,
        /// Who started it.
        parent: Option<Parent>,
    }

    /// `process.parent`
    Parent {
        /// Process id.
        pid: u32,
        /// Path of the program.
        executable: String,
        /// Last component of it.
        name: String,
    }

    /// `user`
    User {
        /// Number.
        id: String,
    }

    /// `destination`
    Destination {
        /// Address, or socket.
        address: String,
        /// Address.
        ip: Option<String>,
        /// Port.
        port: Option<u32>,
        /// Name that the workload was given the address for.
        domain: Option<String>,
    }

    /// `network`
    Network {
        /// `tcp`, `udp`, `unix`, or a number.
        transport: String,
        /// IP protocol number.
        iana_number: Option<String>,
        /// `ipv4` or `ipv6`.
        r#type: Option<&'static str>,
        /// `egress` or `ingress`.
        direction: Option<&'static str>,
    }

    /// `file`
    File {
        /// Path.
        path: String,
        /// Last component.
        name: String,
    }

    /// `dns`
    Dns {
        /// The question.
        question: Question,
    }

    /// `dns.question`
    Question {
        /// The name.
        name: String,
    }

    /// `rule`
    Rule {
        /// `slmguard.connect`.
        id: String,
        /// What sort of thing and what became of it.
        name: String,
        /// Fingerprint of the policy, in hexadecimal digits.
        ruleset: String,
        /// Version of the product.
        version: &'static str,
    }

    /// `threat`
    Threat {
        /// `MITRE ATT&CK`.
        framework: &'static str,
        /// Tactics that the techniques serve.
        tactic: Names,
        /// Techniques.
        technique: Technique,
    }

    /// Ids and, in the same order, names.
    Names {
        /// Ids.
        id: Vec<String>,
        /// Names; of an id that is in no list, the id.
        name: Vec<String>,
    }

    /// `threat.technique`
    Technique {
        /// Ids.
        id: Vec<String>,
        /// Names.
        name: Vec<String>,
        /// Parts of them.
        subtechnique: Option<Names>,
    }

    /// `related`
    Related {
        /// Addresses.
        ip: Vec<String>,
        /// Host names.
        hosts: Vec<String>,
        /// Users.
        user: Vec<String>,
    }

    /// `slmguard`
    OwnFields {
        /// The word for how bad it is.
        severity: &'static str,
        /// Occurrences.
        count: u64,
        /// The rest.
        #[serde(flatten)]
        own: Own,
    }
}

impl Document {
    /// Of an alert.
    pub fn of(alert: &Alert) -> Self {
        let target = alert.target();
        let place = destination(target, alert.name.as_deref());
        let (destination, network) = place.map_or((None, None), |(a, b)| (Some(a), Some(b)));
        let known = destination.as_ref().and_then(|place| place.domain.clone());
        let looked_up = match target {
            Target::Host(name) => Some(name.to_owned()),
            _ => None,
        };
        Self {
            timestamp: alert.time.clone(),
            message: alert.summary(),
            ecs: Ecs { version: "9.4.0" },
            event: event(alert),
            host: Host {
                name: alert.host.clone(),
                hostname: alert.host.clone(),
            },
            observer: Observer {
                vendor: PRODUCT,
                product: PRODUCT,
                version: VERSION,
            },
            service: Service {
                name: alert.workload.clone(),
            },
            process: process(alert),
            user: User {
                id: alert.process.uid.to_string(),
            },
            related: Related {
                ip: destination.iter().filter_map(|to| to.ip.clone()).collect(),
                hosts: [Some(alert.host.clone()), known, looked_up.clone()]
                    .into_iter()
                    .flatten()
                    .collect(),
                user: vec![alert.process.uid.to_string()],
            },
            destination,
            network,
            file: file(target),
            dns: looked_up.map(|name| Dns {
                question: Question { name },
            }),
            rule: Rule {
                id: format!("{PRODUCT}.{}", alert.fixed_kind()),
                name: alert.title(),
                ruleset: format!("{:013x}", alert.policy_version),
                version: VERSION,
            },
            threat: threat(&alert.attack),
            slmguard: OwnFields {
                severity: alert.severity.word(),
                count: alert.count,
                own: Own {
                    atlas: alert.atlas.clone(),
                    nearest: alert.nearest.clone(),
                    first_seen: None,
                    last_seen: None,
                    process: OwnProcess {
                        ancestors: alert.process.ancestors.clone(),
                        argv: vec![],
                        ..OwnProcess::of(&alert.process)
                    },
                    ..Own::of(alert)
                },
            },
        }
    }
}

fn event(alert: &Alert) -> Event {
    let effect = alert.effect();
    let (category, done) = match (alert.kind.as_str(), alert.target()) {
        (_, Target::Endpoint { .. } | Target::Port { .. } | Target::Unix(_)) => {
            ("network", "connection")
        }
        ("exec", _) => ("process", "start"),
        ("change", _) => ("file", "change"),
        (_, Target::File(_)) if alert.access.as_deref().unwrap_or("read") != "read" => {
            ("file", "change")
        }
        (_, Target::File(_)) => ("file", "access"),
        (_, Target::Host(_)) => ("network", "protocol"),
        _ => ("process", "info"),
    };
    let allowed = match effect {
        Effect::Prevented => Some("denied"),
        // Let through is what became of it; that a killed process got what it wanted is not known.
        Effect::WouldBlock | Effect::Told | Effect::Known | Effect::Learned => Some("allowed"),
        Effect::Killed | Effect::Unclear => None,
    };
    Event {
        id: alert.id.clone(),
        kind: "alert",
        category: vec!["intrusion_detection", category],
        r#type: [Some(done), allowed].into_iter().flatten().collect(),
        action: alert.kind.clone(),
        outcome: if effect == Effect::Prevented {
            "failure"
        } else {
            "unknown"
        },
        module: PRODUCT,
        dataset: "slmguard.alerts",
        provider: PRODUCT,
        severity: alert.severity.degrees().hundred,
        reason: alert.reasons.join(" "),
        start: alert.first_seen.clone(),
        end: alert.last_seen.clone(),
    }
}

fn process(alert: &Alert) -> Process {
    let process = &alert.process;
    let parent = process.ancestors.first().and_then(|text| ancestor(text));
    Process {
        pid: process.pid,
        entity_id: format!("{}-{}", process.pid, process.start_time),
        executable: process.exe.clone(),
        name: file_name(&process.exe).into(),
        args: process.argv.clone(),
        args_count: process.argv.len() as u64,
        parent: parent.map(|(pid, exe)| Parent {
            pid,
            executable: exe.into(),
            name: file_name(exe).into(),
        }),
    }
}

fn destination(target: Target<'_>, name: Option<&str>) -> Option<(Destination, Network)> {
    let network = |protocol: &str, r#type, direction| Network {
        transport: protocol.into(),
        iana_number: protocol_number(protocol).map(|number| number.to_string()),
        r#type,
        direction,
    };
    let side = |local| Some(if local { "ingress" } else { "egress" });
    match target {
        Target::Endpoint {
            ip,
            port,
            protocol,
            local,
        } => Some((
            Destination {
                address: ip.to_string(),
                ip: Some(ip.to_string()),
                port: Some(port.into()),
                domain: name.map(str::to_owned),
            },
            network(
                protocol,
                Some(if ip.is_ipv4() { "ipv4" } else { "ipv6" }),
                side(local),
            ),
        )),
        Target::Port { port, protocol } => Some((
            Destination {
                address: "*".into(),
                ip: None,
                port: Some(port.into()),
                domain: None,
            },
            network(protocol, None, side(true)),
        )),
        Target::Unix(name) => Some((
            Destination {
                address: name.into(),
                ip: None,
                port: None,
                domain: None,
            },
            network("unix", None, None),
        )),
        Target::File(_) | Target::Host(_) | Target::Other => None,
    }
}

fn file(target: Target<'_>) -> Option<File> {
    let path = match target {
        Target::File(path) => path,
        Target::Unix(path) if path.starts_with('/') => path,
        _ => return None,
    };
    Some(File {
        path: path.into(),
        name: file_name(path).into(),
    })
}

fn threat(ids: &[String]) -> Option<Threat> {
    let name = |id: &str| {
        ATTACK
            .find(id)
            .map_or_else(|| id.to_owned(), |entry| entry.name.into())
    };
    let names = |id: Vec<String>| Names {
        name: id.iter().map(|id| name(id)).collect(),
        id,
    };
    let (mut tactics, mut whole, mut parts): (Vec<String>, Vec<String>, Vec<String>) =
        (vec![], vec![], vec![]);
    let add = |list: &mut Vec<String>, id: &str| {
        if !list.iter().any(|known| known == id) {
            list.push(id.into());
        }
    };
    for id in ids {
        for tactic in ATTACK.find(id).map_or(vec![], |entry| entry.tactics) {
            add(&mut tactics, tactic);
        }
        add(&mut whole, parent(id).unwrap_or(id));
        if parent(id).is_some() {
            add(&mut parts, id);
        }
    }
    let technique = names(whole);
    (!ids.is_empty()).then(|| Threat {
        framework: ATTACK.name,
        tactic: names(tactics),
        technique: Technique {
            id: technique.id,
            name: technique.name,
            subtechnique: (!parts.is_empty()).then(|| names(parts)),
        },
    })
}
