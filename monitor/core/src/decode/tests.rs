//! Tests of decoding: events come back as they were written, and no bytes make it panic.

use std::net::IpAddr;

use monitor_common::{
    class::{Mode, Phase, Role},
    event::{accept::*, connect::ConnectEvent, exec::EXEC_FIXED, open::OPEN_FIXED, process::*},
    limits::EVENT_ARGV,
    path::permission::{EXEC, READ},
};
use proptest::prelude::*;

use super::*;
use crate::observation::Endpoint;

/// Classes 2 to 9, each with a name of its own.
struct Names;
impl ClassNames for Names {
    fn scope(&self, class: ClassId) -> Option<Scope> {
        (2..10).contains(&class).then(|| Scope {
            workload: format!("w{class}"),
            role: Role::Agent,
            phase: Phase::Serve,
        })
    }
}

const CLOCK: ClockOffset = ClockOffset {
    monotonic_to_wall_ns: 1_000,
};

fn read(bytes: &[u8]) -> Result<Observation, DecodeError> {
    decode(bytes, &Names, CLOCK)
}

fn of(kind: Kind) -> Header {
    Header {
        time: 5,
        start_time: 6,
        cgroup: 7,
        count: 8,
        tgid: 9,
        pid: 10,
        uid: 11,
        policy: 12,
        class: 3,
        kind: kind as u8,
        hook: Hook::LsmConnect as u8,
        verdict: Verdict::Blocked as u8,
        flags: flag::INVARIANT,
        mode: Mode::Enforce as u8,
        comm: *b"agent\n\0garbage!!",
        ..Header::default()
    }
}

#[test]
fn the_header_arrives_field_by_field() {
    let seen = read(&encode::exit(&ExitEvent {
        header: of(Kind::Exit),
        status: 9,
        zero: 0,
    }))
    .unwrap();
    let expected = Observation {
        time: 1_005,
        process: ProcessKey {
            pid: 9,
            start_time: 6,
        },
        thread: 10,
        uid: 11,
        cgroup: 7,
        comm: "agent\\u{a}".into(),
        scope: Names.scope(3).unwrap(),
        hook: Hook::LsmConnect,
        verdict: Verdict::Blocked,
        mode: Mode::Enforce,
        policy: 12,
        invariant: true,
        single_thread: false,
        count: 8,
        fact: Fact::Exit { status: 9 },
    };
    assert_eq!(seen, expected);
}

#[test]
fn process_events_arrive() {
    let fork = ForkEvent {
        header: of(Kind::Fork),
        child_start_time: 70,
        child: 71,
        zero: 0,
    };
    let child = ProcessKey {
        pid: 71,
        start_time: 70,
    };
    assert_eq!(
        read(&encode::fork(&fork)).unwrap().fact,
        Fact::Fork { child }
    );
    let phase = PhaseEvent {
        header: of(Kind::Phase),
        port: 8080,
        after: 4,
        zero: 0,
    };
    let after = Names.scope(4).unwrap();
    assert_eq!(
        read(&encode::phase(&phase)).unwrap().fact,
        Fact::Phase { port: 8080, after }
    );
}

#[test]
fn mapped_addresses_are_ipv4() {
    let mut event = ConnectEvent {
        header: of(Kind::Send),
        port: 53,
        protocol: 17,
        ip: 6,
        ..Default::default()
    };
    event.address[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 1]);
    let seen = read(&encode::connect(&event)).unwrap();
    assert_eq!(seen.subject(), "10.0.0.1:53/udp");
    assert_eq!(seen.fact.kind(), "send");
    event.ip = 5;
    let error = read(&encode::connect(&event)).unwrap_err();
    assert_eq!(
        error,
        DecodeError::Unknown {
            field: "ip",
            value: 5
        }
    );
}

#[test]
fn a_caller_belongs_to_the_listener_s_scope() {
    let mut event = CallerEvent {
        header: Header {
            class: NONE,
            ..of(Kind::Caller)
        },
        device: 0xfd00001,
        inode: 99,
        port: 8080,
        server: 4,
        protocol: 6,
        ip: 4,
        ..Default::default()
    };
    event.address[10..].copy_from_slice(&[0xff, 0xff, 127, 0, 0, 1]);
    let seen = read(&encode::caller(&event)).unwrap();
    assert_eq!(seen.subject(), "127.0.0.1:8080/tcp");
    assert_eq!((seen.scope, seen.process.pid), (Names.scope(4).unwrap(), 9));
    let Fact::Caller { program, .. } = seen.fact else {
        panic!("{:?}", seen.fact);
    };
    assert_eq!(program, (0xfd00001, 99));
    event.server = 99;
    let error = read(&encode::caller(&event)).unwrap_err();
    let (field, class) = ("server", 99);
    assert_eq!(error, DecodeError::UnknownClass { field, class });
}

#[test]
fn an_accepted_connection_arrives_with_both_ends() {
    let mut event = AcceptEvent {
        header: of(Kind::Accept),
        peer_port: 4000,
        local_port: 8080,
        peer_uid: 1000,
        protocol: 6,
        ip: 6,
        ..Default::default()
    };
    event.peer[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 7]);
    event.local[15] = 1;
    let at = |address: &str, port| Endpoint {
        address: address.parse().unwrap(),
        port,
        protocol: 6,
    };
    let expected = Fact::Accept {
        peer: at("10.0.0.7", 4000),
        local: at("::1", 8080),
        uid: Some(1000),
    };
    assert_eq!(read(&encode::accept(&event)).unwrap().fact, expected);
    event.peer_uid = u32::MAX;
    let unknown = read(&encode::accept(&event)).unwrap().fact;
    assert!(matches!(unknown, Fact::Accept { uid: None, .. }));
}

#[test]
fn unix_sockets_are_paths_abstract_names_or_nothing() {
    let subject = |place, name: &[u8]| {
        read(&encode::unix(&of(Kind::Unix), place, name)).map(|seen| seen.subject())
    };
    assert_eq!(subject(0, b"/run/x.sock").unwrap(), "/run/x.sock");
    assert_eq!(subject(1, b"name\0\n").unwrap(), "@name\\u{0}\\u{a}");
    assert_eq!(subject(2, b"").unwrap(), "unnamed");
    let (field, value) = ("space", 3);
    assert_eq!(
        subject(3, b"").unwrap_err(),
        DecodeError::Unknown { field, value }
    );
}

#[test]
fn facilities_arrive_by_name_with_their_detail() {
    let bytes = encode::facility(&of(Kind::Facility), 1, [17, 3, 0x300]);
    let seen = read(&bytes).unwrap();
    assert_eq!(seen.subject(), "socket:packet");
    let Fact::Facility { detail, .. } = seen.fact else {
        panic!("{:?}", seen.fact);
    };
    assert_eq!(detail, [17, 3, 0x300]);
    let unknown = encode::facility(&of(Kind::Facility), 63, [0; 3]);
    let (field, value) = ("facility", 63);
    let error = read(&unknown).unwrap_err();
    assert_eq!(error, DecodeError::Unknown { field, value });
}

#[test]
fn a_file_called_star_is_not_the_star_of_another_process() {
    let mut header = of(Kind::Open);
    header.flags = flag::PROC_OTHER;
    let other = read(&encode::open(&header, (1, 2), READ, b"/proc/77/*")).unwrap();
    assert_eq!(other.subject(), "/proc/*/\\x2a");
    header.flags = 0;
    let odd = read(&encode::open(&header, (1, 2), READ, b"/tmp/*/**")).unwrap();
    assert_eq!(odd.subject(), "/tmp/\\x2a/\\x2a\\x2a");
    let own = FileAccess {
        path: b"/proc/5/maps".into(),
        name: b"/proc/self/maps".into(),
        inode: (0, 0),
        access: 1,
        cut: false,
        incomplete: false,
    };
    assert_eq!(own.subject(), "/proc/self/maps");
}

#[test]
fn arguments_are_taken_apart() {
    let argv =
        |bytes: &[u8]| match read(&encode::exec(&of(Kind::Exec), (1, 2), 4, bytes, b"/bin/x"))
            .unwrap()
            .fact
        {
            Fact::Exec { argv, .. } => argv,
            other => panic!("{other:?}"),
        };
    assert_eq!(argv(b"sh\0-c\0\0id\0"), [&b"sh"[..], b"-c", b"", b"id"]);
    assert_eq!(argv(b"sh\0cut off"), [&b"sh"[..], b"cut off"]);
    assert_eq!(argv(b""), [[0u8; 0]; 0]);
    assert_eq!(argv(b"\0"), [&b""[..]]);
}

#[test]
fn a_program_that_enrols_its_process_belongs_to_the_class_it_gets() {
    let header = Header {
        class: NONE,
        ..of(Kind::Exec)
    };
    let seen = read(&encode::exec(&header, (1, 2), 4, b"", b"/bin/x")).unwrap();
    assert_eq!(seen.scope, Names.scope(4).unwrap());
    let error = read(&encode::exec(&header, (1, 2), NONE, b"", b"/bin/x")).unwrap_err();
    assert_eq!(
        error,
        DecodeError::UnknownClass {
            field: "class",
            class: NONE
        }
    );
}

#[test]
fn an_unknown_value_is_named_with_its_field() {
    let good = encode::open(&of(Kind::Open), (1, 2), READ, b"/etc/hosts");
    // Offsets of the header's single bytes.
    for (at, field) in [
        (54, "kind"),
        (55, "hook"),
        (56, "verdict"),
        (58, "family"),
        (59, "mode"),
    ] {
        let mut bytes = good.clone();
        bytes[at] = 99;
        assert_eq!(
            read(&bytes).unwrap_err(),
            DecodeError::Unknown { field, value: 99 }
        );
    }
    let mut bytes = good;
    bytes[52] = 200;
    let error = read(&bytes).unwrap_err();
    assert_eq!(
        error,
        DecodeError::UnknownClass {
            field: "class",
            class: 200
        }
    );
    assert_eq!(
        error.to_string(),
        "`class` names class 200, which belongs to no workload"
    );
}

#[test]
fn lengths_are_checked_against_what_arrived() {
    let good = encode::open(&of(Kind::Open), (1, 2), READ, b"/etc/hosts");
    assert_eq!(
        read(&good[..79]).unwrap_err(),
        DecodeError::Short {
            field: "comm",
            has: 79
        }
    );
    let error = read(&good[..good.len() - 1]).unwrap_err();
    assert_eq!(
        error,
        DecodeError::Length {
            declared: 122,
            actual: 121
        }
    );
    let mut longer_path = good.clone();
    longer_path[OPEN_FIXED - 2] = 11;
    let error = read(&longer_path).unwrap_err();
    assert_eq!(
        error,
        DecodeError::Overrun {
            field: "path_length",
            length: 11,
            has: 10
        }
    );
    let mut reserved = good.clone();
    reserved.extend([0xff; 40]);
    assert_eq!(read(&reserved), read(&good));
    let mut argv = encode::exec(&of(Kind::Exec), (1, 2), 4, b"x\0", b"/bin/x");
    argv[108..110].copy_from_slice(&513u16.to_le_bytes());
    let error = read(&argv).unwrap_err();
    assert_eq!(
        error,
        DecodeError::Overrun {
            field: "argv_length",
            length: 513,
            has: EVENT_ARGV
        }
    );
    assert_eq!(argv.len(), EXEC_FIXED + 6);
}

#[test]
fn reserved_fields_are_ignored() {
    let mut bytes = encode::open(&of(Kind::Open), (1, 2), READ, b"/etc/hosts");
    let seen = read(&bytes).unwrap();
    bytes[60..64].fill(0xee);
    bytes[105..110].fill(0xee);
    assert_eq!(read(&bytes).unwrap(), seen);
}

prop_compose! {
    fn any_header(kind: Kind)(times in any::<[u64; 4]>(), ids in any::<[u32; 4]>(), class in 2u16..10, hook in 0u8..14, verdict in 0u8..6, invariant in any::<bool>(), family in 0u8..4, mode in 0u8..3, comm in any::<[u8; 16]>()) -> Header {
        let [time, start_time, cgroup, count] = times;
        let [tgid, pid, uid, policy] = ids;
        Header { time, start_time, cgroup, count, tgid, pid, uid, policy, length: 0, class, kind: kind as u8, hook, verdict, flags: u8::from(invariant), family, mode, zero: 0, comm }
    }
}

fn any_event() -> impl Strategy<Value = Vec<u8>> {
    let path = || proptest::collection::vec(any::<u8>(), 0..80);
    prop_oneof![
        any_header(Kind::Fork).prop_map(|header| encode::fork(&ForkEvent {
            header,
            child_start_time: 1,
            child: 2,
            zero: 0
        })),
        any_header(Kind::Exit).prop_map(|header| encode::exit(&ExitEvent {
            header,
            status: 1,
            zero: 0
        })),
        any_header(Kind::Phase).prop_map(|header| encode::phase(&PhaseEvent {
            header,
            port: 1,
            after: 2,
            zero: 0
        })),
        (any_header(Kind::Connect), any::<[u8; 16]>()).prop_map(|(header, address)| {
            encode::connect(&ConnectEvent {
                header,
                address,
                cookie: 0,
                port: 1,
                protocol: 6,
                ip: 4,
                zero: 0,
            })
        }),
        (any_header(Kind::Open), path()).prop_map(|(header, path)| encode::open(
            &header,
            (1, 2),
            3,
            &path
        )),
        (any_header(Kind::Exec), path(), path()).prop_map(|(header, path, argv)| encode::exec(
            &header,
            (1, 2),
            2,
            &argv,
            &path
        )),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1400)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_damage_to_an_event_makes_it_panic(mut event in any_event(), damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6), cut in any::<usize>()) {
        prop_assert!(read(&event).is_ok());
        for (at, byte) in damage {
            let at = at % event.len();
            event[at] = byte;
        }
        let _ = read(&event).map(|seen| seen.subject());
        event.truncate(cut % (event.len() + 1));
        let _ = read(&event);
    }

    #[test]
    fn a_connect_comes_back(header in any_header(Kind::Connect), address in any::<u128>(), port in any::<u16>(), protocol in any::<u8>()) {
        let event = ConnectEvent { header, address: address.to_be_bytes(), cookie: 1, port, protocol, ip: 6, zero: 0 };
        let seen = read(&encode::connect(&event)).unwrap();
        let address = IpAddr::from(address.to_be_bytes()).to_canonical();
        prop_assert_eq!(&seen.fact, &Fact::Connect(Endpoint { address, port, protocol }));
        prop_assert_eq!(seen.time, header.time.saturating_add(1_000));
        prop_assert_eq!((seen.process.pid, seen.thread, seen.uid, seen.policy), (header.tgid, header.pid, header.uid, header.policy));
        prop_assert_eq!((seen.verdict as u8, seen.mode as u8, seen.hook as u8), (header.verdict, header.mode, header.hook));
    }

    #[test]
    fn a_path_comes_back(header in any_header(Kind::Open), path in proptest::collection::vec(any::<u8>(), 0..1024), access in any::<u8>(), inode in any::<(u64, u64)>(), cut in any::<bool>()) {
        let flags = if cut { flag::PATH_CUT } else { flag::PATH_INCOMPLETE };
        let header = Header { flags, ..header };
        let seen = read(&encode::open(&header, inode, access, &path)).unwrap();
        let expected = FileAccess { name: path.clone(), path: path.clone(), inode, access, cut, incomplete: !cut };
        prop_assert_eq!(seen.fact, Fact::Open(expected));
        let header = Header { kind: Kind::Exec as u8, ..header };
        let seen = read(&encode::exec(&header, inode, 4, b"a\0", &path)).unwrap();
        prop_assert_eq!(seen.fact.file().map(|f| (&f.path, f.access)), Some((&path, EXEC)));
    }
}
