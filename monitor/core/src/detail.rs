//! Detail: what a fact says besides its subject, as JSON for those who read events.

use serde_json::{Value, json};

use crate::{
    observation::{Excess, Fact},
    text,
};

impl Fact {
    /// What there is besides the subject; `None` for kinds that have nothing more.
    pub fn detail(&self) -> Option<Value> {
        Some(match self {
            Self::Flow(flow) => json!({
                "direction": if flow.inbound { "in" } else { "out" },
                "sent": flow.sent,
                "received": flow.received,
                "duration_ms": flow.duration / 1_000_000,
                "local_port": flow.local_port,
            }),
            Self::Query(lookup) => json!({
                "type": lookup.qtype,
                "resolver": lookup.resolver.to_string(),
            }),
            Self::Answer {
                lookup,
                code,
                addresses,
                total,
            } => json!({
                "type": lookup.qtype,
                "resolver": lookup.resolver.to_string(),
                "code": code,
                "addresses": addresses.iter().map(|(a, _)| a.to_string()).collect::<Vec<_>>(),
                "ttl": addresses.iter().map(|(_, ttl)| *ttl).min(),
                "total": total,
            }),
            Self::Hello {
                name,
                encrypted,
                cut,
                ..
            } => json!({
                "server_name": name.as_deref().map(text::escape),
                "encrypted": encrypted,
                "cut": cut,
            }),
            Self::Request(request) => json!({
                "host": request.target.as_ref().map(ToString::to_string),
                "tunnel": request.tunnel,
            }),
            Self::Volume(volume) => match volume.excess {
                Excess::Burst {
                    limit,
                    largest,
                    learned,
                    extrapolated,
                    slots,
                } => json!({
                    "excess": "burst",
                    "sent": volume.sent,
                    "seconds": volume.seconds,
                    "limit": limit,
                    "largest": largest,
                    "learned": learned,
                    "extrapolated": extrapolated,
                    "slots": slots,
                }),
                Excess::Leak { expected } => json!({
                    "excess": "leak",
                    "sent": volume.sent,
                    "seconds": volume.seconds,
                    "expected": expected,
                }),
            },
            Self::Odd(call) => json!({
                "what": call.what.word(),
                "server_name": call.name,
                "host": call.host,
                "count": call.count,
                "score": call.score,
            }),
            Self::Model(model) => json!({
                "sha256": model.sha256,
                "size": model.size,
                "runs_code": model.runs_code,
                "before": model.before,
            }),
            Self::Episode(odd) => json!({
                "calls": odd.calls,
                "sent": odd.sent,
                "p": odd.p,
            }),
            Self::Lineage(shape) => json!({
                "lineage": shape.lineage,
                "differs": shape.differs,
                "news": shape.news,
            }),
            Self::Found(fact) => json!({ "found": fact.kind() }),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        observation::{Fact, Flow, Lookup},
        testing::{connect, endpoint},
    };

    #[test]
    fn flows_and_answers_say_what_they_carried() {
        let flow = Fact::Flow(Flow {
            peer: endpoint("10.0.0.1:443/tcp"),
            local_port: 5,
            inbound: false,
            sent: 7,
            received: 9,
            duration: 3_000_000,
            cookie: 1,
        });
        assert_eq!(
            flow.detail().unwrap().to_string(),
            r#"{"direction":"out","duration_ms":3,"local_port":5,"received":9,"sent":7}"#
        );
        let answer = Fact::Answer {
            lookup: Lookup {
                name: b"a.example".to_vec(),
                qtype: 1,
                resolver: endpoint("10.0.0.53:53/udp"),
                cookie: 1,
            },
            code: 0,
            addresses: vec![([10, 0, 0, 1].into(), 60), ([10, 0, 0, 2].into(), 30)],
            total: 2,
        };
        let detail = answer.detail().unwrap();
        assert_eq!(detail["addresses"][1], "10.0.0.2");
        assert_eq!((&detail["ttl"], &detail["total"]), (&30.into(), &2.into()));
        assert_eq!(connect("10.0.0.1:80/tcp").detail(), None);
    }

    #[test]
    fn a_server_name_is_escaped() {
        let hello = Fact::Hello {
            endpoint: endpoint("10.0.0.1:443/tcp"),
            name: Some(b"a\nb".to_vec()),
            encrypted: true,
            cut: false,
            cookie: 1,
        };
        assert_eq!(hello.detail().unwrap()["server_name"], "a\\u{a}b");
    }
}
