//! What is written comes back; what is not whole is said to be so.

use monitor_common::event;
use proptest::prelude::*;

use super::*;

fn header() -> Record {
    Record::Header(Header {
        version: "0.1.0".into(),
        abi: monitor_common::ABI,
        kernel: "6.1".into(),
        ..Header::default()
    })
}

fn event(bytes: &[u8]) -> Record {
    Record::Event {
        bytes: Base64(bytes.to_vec()),
        id: None,
        process: None,
    }
}

fn recording(records: &[Record]) -> String {
    let lines = records.iter().map(|r| line(r).unwrap());
    std::iter::once(first_line()).chain(lines).collect()
}

fn read(bytes: &[u8]) -> (Vec<Record>, Result<Ending, LineError>) {
    let mut reader = Reader::default();
    let mut records = vec![];
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        match reader.line(line) {
            Ok(record) => records.extend(record),
            Err(e) => return (records, Err(e)),
        }
    }
    (records, Ok(reader.finish()))
}

fn whole() -> Vec<Record> {
    let class = Member {
        class: 16,
        workload: "a".into(),
        role: "server".into(),
        phase: "start".into(),
    };
    let workload = toml::from_str("name = \"a\"\n[allow]\nread = [\"/x/**\"]").unwrap();
    vec![
        header(),
        Record::Workload(workload),
        Record::Class(class.clone()),
        Record::Mode {
            workload: "a".into(),
            mode: "learn".into(),
            basis: "none".into(),
            changed: u64::MAX,
        },
        Record::Known(crate::baseline::Row {
            workload: "a".into(),
            role: "server".into(),
            phase: "start".into(),
            family: "read".into(),
            subject: "/etc/hosts".into(),
            count: 1,
            first_seen: 2,
            last_seen: 3,
        }),
        Record::Name {
            workload: "a".into(),
            address: [10, 0, 0, 1].into(),
            name: "a.example".into(),
            ends: 4,
        },
        Record::Order(
            serde_json::from_str(
                r#"{"workload":"a","connectors":[],"roles":[["tool",{"episodes":1,"pairs":[[0,1,2]]}]]}"#,
            )
            .unwrap(),
        ),
        Record::Process {
            info: crate::alert::ProcessInfo::default(),
            member: class,
        },
        Record::Clock {
            monotonic_to_wall_ns: -5,
        },
        Record::Begin,
        event(&[0, 1, 255]),
        Record::Flow {
            member: Member {
                class: 0,
                workload: "a".into(),
                role: "server".into(),
                phase: "start".into(),
            },
            process: crate::observation::ProcessKey {
                pid: 1,
                start_time: 2,
            },
            flow: crate::observation::Flow {
                peer: crate::testing::endpoint("10.0.0.1:1/tcp"),
                local_port: 1,
                inbound: false,
                sent: 2,
                received: u64::MAX,
                duration: 3,
                cookie: 4,
            },
            count: 1,
            time: 5,
        },
        Record::Policy {
            number: 3,
            version: 1 << 52,
        },
        Record::Lost {
            by: BY_RECORDER.into(),
            events: 7,
        },
        Record::Event {
            bytes: Base64(vec![9; 100]),
            id: Some("01".into()),
            process: Some(Box::default()),
        },
        Record::End(End {
            reason: "asked to".into(),
            events: 2,
            lost: 7,
        }),
    ]
}

#[test]
fn what_is_written_comes_back() {
    let (records, ending) = read(recording(&whole()).as_bytes());
    assert_eq!(records, whole());
    assert!(matches!(ending, Ok(Ending::Whole(end)) if end.lost == 7));
}

#[test]
fn wherever_it_is_cut_everything_before_is_read_and_the_cut_is_told() {
    let text = recording(&whole());
    for cut in 0..text.len() {
        let lines = text[..cut].matches('\n').count();
        let (records, ending) = read(&text.as_bytes()[..cut]);
        assert_eq!(records, whole()[..lines.saturating_sub(1)], "at {cut}");
        let begun = records.contains(&Record::Begin);
        let left = cut - text[..cut].rfind('\n').map_or(0, |at| at + 1);
        match ending.unwrap() {
            Ending::NoBeginning => assert!(!begun, "at {cut}"),
            Ending::BrokenOff => assert!(begun && left == 0, "at {cut}"),
            Ending::Truncated(n) => assert!(begun && n == left && n > 0, "at {cut}"),
            Ending::Whole(_) => panic!("at {cut}"),
        }
    }
}

#[test]
fn a_flipped_bit_is_found() {
    let text = recording(&whole());
    let start = first_line().len();
    for at in (start..text.len()).step_by(7) {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let (records, ending) = read(&bytes);
        let whole_before = text[..at].matches('\n').count() - 1;
        // The last line's end may be what was flipped; then it looks cut off.
        let last = text.len() - 1;
        assert!(ending.is_err() || at == last, "at {at}: {ending:?}");
        assert_eq!(records, whole()[..whole_before], "at {at}");
    }
}

#[test]
fn what_this_version_cannot_read_is_refused_in_words() {
    let (_, ending) = read(b"slmguard-recording 2\n");
    let message = ending.unwrap_err().to_string();
    assert!(message.contains("format 2"), "{message}");
    for other in ["hello\n", "hello", "slmguard-recordinG", "", "\n"] {
        let (_, ending) = read(other.as_bytes());
        match other {
            "" => assert_eq!(ending, Ok(Ending::NoBeginning)),
            _ => assert_eq!(ending, Err(LineError::NotARecording), "{other:?}"),
        }
    }
    for abi in [event::SINCE_ABI - 1, monitor_common::ABI + 1] {
        let newer = Record::Header(Header {
            version: "9.9".into(),
            abi,
            ..Header::default()
        });
        let (_, ending) = read(recording(&[newer]).as_bytes());
        let message = ending.unwrap_err().to_string();
        assert!(
            message.contains(&format!("ABI {abi}")) && message.contains("9.9"),
            "{message}"
        );
    }
}

#[test]
fn a_record_that_is_not_known_is_an_error_not_a_guess() {
    for json in [
        r#"{"record":"weather","rain":true}"#,
        r#"{"record":"policy","number":1,"version":2,"more":3}"#,
        r#"{"record":"event","bytes":"A"}"#,
        r#"{"record":"header"}"#,
        "{",
    ] {
        let mut text = recording(&[header()]);
        text.push_str(&format!(
            "{:08x} {json}\n",
            crc32fast::hash(json.as_bytes())
        ));
        let (records, ending) = read(text.as_bytes());
        assert_eq!(records.len(), 1);
        let message = ending.unwrap_err().to_string();
        assert!(message.contains("line 3 is damaged"), "{message}");
    }
}

#[test]
fn records_stand_in_their_order() {
    let end = || Record::End(End::default());
    for records in [
        vec![Record::Begin],
        vec![header(), header()],
        vec![header(), event(&[])],
        vec![header(), end()],
        vec![header(), Record::Begin, Record::Begin],
        vec![header(), Record::Begin, end(), event(&[])],
    ] {
        let (_, ending) = read(recording(&records).as_bytes());
        assert!(
            matches!(ending, Err(LineError::Misplaced { .. })),
            "{records:?}: {ending:?}"
        );
    }
}

#[test]
fn an_event_is_kept_to_the_length_that_it_says() {
    let mut bytes = vec![0; 120];
    bytes[48..52].copy_from_slice(&100_u32.to_le_bytes());
    let length = |record: Record| match record {
        Record::Event { bytes, .. } => bytes.0.len(),
        _ => 0,
    };
    assert_eq!(length(Record::event(&bytes, None, None)), 100);
    bytes[48..52].copy_from_slice(&121_u32.to_le_bytes());
    assert_eq!(length(Record::event(&bytes, None, None)), 120, "no event");
    assert_eq!(
        length(Record::event(&bytes[..7], None, None)),
        7,
        "no event"
    );
}

proptest! {
    #[test]
    fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
        let mut text = first_line().into_bytes();
        text.extend(&bytes);
        let _ = read(&text);
    }
}

#[test]
fn the_checksum_is_the_one_everybody_else_computes() {
    assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
    assert_eq!(crc32fast::hash(b""), 0);
}
