//! Tests of decoding what is told about sockets: flows, questions, answers, hellos, requests.

use monitor_common::{
    class::{Phase, Role},
    event::{
        flow::{FlowEvent, direction},
        name::{hello, request},
    },
    limits::EVENT_NAME,
};
use proptest::prelude::*;

use super::*;
use crate::observation::{Endpoint, Flow, Lookup, Request};

struct Names;
impl ClassNames for Names {
    fn scope(&self, class: ClassId) -> Option<Scope> {
        (class == 3).then(|| Scope {
            workload: "w".into(),
            role: Role::Agent,
            phase: Phase::Serve,
        })
    }
}

fn fact(bytes: &[u8]) -> Result<Fact, DecodeError> {
    decode(bytes, &Names, ClockOffset::default()).map(|seen| seen.fact)
}

fn of(kind: Kind) -> Header {
    Header {
        time: 900,
        class: 3,
        kind: kind as u8,
        family: Family::Name as u8,
        ..Header::default()
    }
}

const PEER: ([u8; 16], u16) = (
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 77, 0, 53],
    53,
);

fn peer(protocol: u8) -> Endpoint {
    Endpoint {
        address: [10, 77, 0, 53].into(),
        port: 53,
        protocol,
    }
}

fn lookup(name: &[u8], qtype: u16) -> Lookup {
    Lookup {
        name: name.to_vec(),
        qtype,
        resolver: peer(17),
        cookie: 77,
    }
}

#[test]
fn flows_arrive_with_their_length_in_time() {
    let event = FlowEvent {
        header: of(Kind::Flow),
        address: PEER.0,
        cookie: 5,
        sent: 6,
        received: 7,
        start: 300,
        port: 53,
        local_port: 4000,
        protocol: 6,
        ip: 4,
        direction: direction::IN,
        zero: 0,
    };
    let flow = Flow {
        peer: peer(6),
        local_port: 4000,
        inbound: true,
        sent: 6,
        received: 7,
        duration: 600,
        cookie: 5,
    };
    assert_eq!(fact(&encode::flow(&event)), Ok(Fact::Flow(flow)));
    let neither = FlowEvent {
        direction: 2,
        ..event
    };
    assert!(matches!(
        fact(&encode::flow(&neither)),
        Err(DecodeError::Unknown {
            field: "direction",
            value: 2
        })
    ));
}

#[test]
fn questions_and_answers_arrive() {
    let name = b"weather.demo";
    let text = (name.len() as u16, &name[..]);
    let question = encode::query(&of(Kind::Query), PEER, 28, text);
    assert_eq!(fact(&question), Ok(Fact::Query(lookup(name, 28))));

    let mut six = [0; 16];
    six[15] = 1;
    let question = encode::query(&of(Kind::Answer), PEER, 1, text);
    let answer = encode::answer(question, (0, 2, 20), &[(PEER.0, 30), (six, 60)]);
    let expected = Fact::Answer {
        lookup: lookup(name, 1),
        code: 0,
        addresses: vec![
            ([10, 77, 0, 53].into(), 30),
            (std::net::Ipv6Addr::LOCALHOST.into(), 60),
        ],
        total: 20,
    };
    assert_eq!(fact(&answer), Ok(expected));
}

#[test]
fn lengths_that_point_behind_the_end_are_refused() {
    let long = (EVENT_NAME as u16 + 1, &b"x"[..]);
    let question = encode::query(&of(Kind::Query), PEER, 1, long);
    assert!(matches!(
        fact(&question),
        Err(DecodeError::Overrun {
            field: "name_length",
            ..
        })
    ));
    let question = encode::query(&of(Kind::Answer), PEER, 1, (1, b"x"));
    let answer = encode::answer(question, (0, 17, 17), &[]);
    assert!(matches!(
        fact(&answer),
        Err(DecodeError::Overrun { field: "count", .. })
    ));
}

#[test]
fn hellos_arrive_with_and_without_a_name() {
    let told = |flags, name: &[u8]| fact(&encode::hello(&of(Kind::Hello), PEER, flags, name));
    let expected = |name: Option<&[u8]>, encrypted, cut| Fact::Hello {
        endpoint: peer(6),
        name: name.map(<[u8]>::to_vec),
        encrypted,
        cut,
        cookie: 77,
    };
    assert_eq!(
        told(0, b"a.example"),
        Ok(expected(Some(b"a.example"), false, false))
    );
    assert_eq!(
        told(hello::ENCRYPTED | hello::CUT, b""),
        Ok(expected(None, true, true))
    );
}

#[test]
fn requests_arrive_with_the_host_and_a_host_that_is_none_could_not_be_seen() {
    let told = |flags, name: &[u8]| fact(&encode::hello(&of(Kind::Request), PEER, flags, name));
    for (flags, name, host) in [
        (
            request::TUNNEL,
            &b"Api.example.:443"[..],
            Some("api.example:443"),
        ),
        (
            request::TUNNEL,
            b"[2001:db8::1]:22",
            Some("[2001:db8::1]:22"),
        ),
        (request::TUNNEL, b"api.example", None),
        (0, b"api.example", Some("api.example:80")),
        (request::HTTPS, b"10.0.0.1", Some("10.0.0.1:443")),
        (request::HTTPS, b"10.0.0.1:8443", Some("10.0.0.1:8443")),
        (0, b"", None),
        (0, b"a\xff\n:80", None),
    ] {
        let Ok(Fact::Request(Request {
            proxy,
            target,
            tunnel,
            cookie,
        })) = told(flags, name)
        else {
            panic!("{name:?}");
        };
        assert_eq!((proxy, cookie), (peer(6), 77));
        assert_eq!(tunnel, flags & request::TUNNEL != 0);
        assert_eq!(target.map(|t| t.to_string()).as_deref(), host, "{name:?}");
    }
}

proptest! {
    #[test]
    fn damaged_events_never_panic(at in 0usize..800, bits in 1u8.., cut in 0usize..800) {
        let question = encode::query(&of(Kind::Answer), PEER, 1, (3, b"a.b"));
        let mut bytes = encode::answer(question, (0, 1, 1), &[(PEER.0, 1)]);
        let length = bytes.len();
        bytes[at % length] ^= bits;
        bytes.truncate(length - cut % length);
        let _ = fact(&bytes);
    }
}
