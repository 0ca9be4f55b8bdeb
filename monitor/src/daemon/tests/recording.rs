//! What is recorded is decided again as it was decided.

use std::sync::atomic::Ordering;

use axum::body::Bytes;
use slmguard_core::{
    alert::Alert,
    decode::{ClockOffset, decode},
    observation::Flow,
    recording::{Ending, Reader, Record},
};
use tokio::sync::mpsc::Receiver;

use super::{
    recorder::Raw,
    replay::{Decided, Replay, Totals},
    traffic, *,
};

/// A daemon in whose rings nothing is on its way.
fn still(dir: &Path) -> SharedEngine {
    let (engine, _) = start(dir, CONFIG);
    engine.barrier.reached(u64::MAX);
    engine
}

/// Where bytes of a header stand.
const LENGTH: usize = 48;

/// An event as the kernel writes it.
fn raw(class: ClassId, kind: u8, verdict: Verdict, body: &[u8]) -> Raw {
    let mut bytes = vec![0; 80];
    bytes[0..8].copy_from_slice(&1_000_000_u64.to_le_bytes());
    bytes[8..16].copy_from_slice(&5_u64.to_le_bytes());
    bytes[24..32].copy_from_slice(&1_u64.to_le_bytes());
    bytes[32..36].copy_from_slice(&4_000_000_u32.to_le_bytes());
    bytes[44..48].copy_from_slice(&1_u32.to_le_bytes());
    bytes[52..54].copy_from_slice(&class.to_le_bytes());
    bytes[54] = kind;
    bytes[55] = Hook::Connect4 as u8;
    bytes[56] = verdict as u8;
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let length = bytes.len() as u32;
    bytes[LENGTH..LENGTH + 4].copy_from_slice(&length.to_le_bytes());
    Raw {
        bytes: bytes.into(),
        offset: 1_700_000_000_000_000_000,
    }
}

/// A connect to 10.0.0.`last`, port 80.
fn connects(class: ClassId, last: u8, verdict: Verdict) -> Raw {
    let mut body = [0; 32];
    body[10..16].copy_from_slice(&[0xff, 0xff, 10, 0, 0, last]);
    body[24..26].copy_from_slice(&80_u16.to_le_bytes());
    body[26..28].copy_from_slice(&[6, 4]);
    raw(class, 16, verdict, &body)
}

/// Through the flow, as the rings thread hands it over.
fn take(engine: &Engine, raw: &Raw) -> Option<String> {
    assert!(engine.recording.load(Ordering::Relaxed));
    let clock = ClockOffset {
        monotonic_to_wall_ns: raw.offset,
    };
    match decode(&raw.bytes, &engine.classes, clock) {
        Ok(observation) => {
            let alert = engine.ingest(observation, Some(raw), Instant::now());
            alert.map(|a| a.stored.body)
        }
        Err(_) => {
            engine.keep_unreadable(raw);
            None
        }
    }
}

fn order() -> view::RecordingOrder {
    view::RecordingOrder {
        command: "slmguard events --record x".into(),
        note: "a\ntest".into(),
    }
}

fn text(mut receiver: Receiver<Bytes>) -> String {
    let mut text = String::new();
    while let Ok(bytes) = receiver.try_recv() {
        text.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    text
}

fn replayed(text: &str) -> (Vec<Decided>, Totals, Ending) {
    let (mut reader, mut replay, mut decided) = (Reader::default(), Replay::default(), vec![]);
    for line in text.split_inclusive('\n') {
        if let Some(record) = reader.line(line.as_bytes()).unwrap() {
            decided.extend(replay.take(record).unwrap());
        }
    }
    (decided, replay.totals(), reader.finish())
}

fn events(engine: &Engine) -> Vec<String> {
    let query = Query {
        limit: 1000,
        ..Query::default()
    };
    engine.events.answer(&query).lines
}

#[test]
fn a_replay_says_what_the_daemon_said_byte_by_byte() {
    let dir = tempfile::tempdir().unwrap();
    let engine = still(dir.path());
    let agent = class(&engine, Role::Agent, Phase::Start);
    let receiver = engine.start_recording(&order(), ROOT).unwrap();
    let mut alerts = vec![];
    for last in [1, 2, 1] {
        alerts.extend(take(&engine, &connects(agent, last, Verdict::New)));
    }
    engine
        .change_mode("a", &change("enforce", true), ROOT)
        .unwrap();
    alerts.extend(take(&engine, &connects(agent, 66, Verdict::Blocked)));
    // A straggler: the mode decides that it is not learned.
    alerts.extend(take(&engine, &connects(agent, 67, Verdict::New)));
    // A child, its death, and a process that nothing was said about.
    let mut fork = [0; 16];
    fork[0..8].copy_from_slice(&6_u64.to_le_bytes());
    fork[8..12].copy_from_slice(&4_000_001_u32.to_le_bytes());
    take(&engine, &raw(agent, 1, Verdict::Known, &fork));
    let mut child = connects(agent, 68, Verdict::Blocked);
    child.bytes[8] = 6;
    child.bytes[32..36].copy_from_slice(&4_000_001_u32.to_le_bytes());
    child.offset += 7;
    alerts.extend(take(&engine, &child));
    assert_eq!(take(&engine, &raw(agent, 99, Verdict::Known, &[])), None);
    engine.end_recording("the test is over");

    let (decided, totals, ending) = replayed(&text(receiver));
    let lines = |alert: bool| -> Vec<String> {
        decided
            .iter()
            .filter(|d| matches!(d, Decided::Alert(_)) == alert)
            .map(|d| d.to_json_line().unwrap())
            .collect()
    };
    assert_eq!(alerts.len(), 2);
    assert_eq!(lines(true), alerts);
    assert_eq!(lines(false), events(&engine));
    assert_eq!((totals.events, totals.alerts), (7, 2));
    assert_eq!((totals.unreadable, totals.lost), (1, 0));
    assert!(
        matches!(&ending, Ending::Whole(end) if end.events == 8 && end.reason == "the test is over"),
        "{ending:?}"
    );
}

#[test]
fn hooks_that_are_numbered_differently_keep_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let engine = still(dir.path());
    let agent = class(&engine, Role::Agent, Phase::Start);
    let receiver = engine.start_recording(&order(), ROOT).unwrap();
    let alert = take(&engine, &connects(agent, 66, Verdict::Blocked)).unwrap();
    engine.end_recording("");
    let (mut reader, mut replay) = (Reader::default(), Replay::default());
    let mut decided = vec![];
    for line in text(receiver).split_inclusive('\n') {
        match reader.line(line.as_bytes()).unwrap() {
            Some(Record::Header(mut header)) => {
                header.hooks.insert(0, "a_hook_of_old".into());
                replay.take(Record::Header(header)).unwrap();
            }
            Some(Record::Event {
                mut bytes,
                id,
                process,
            }) => {
                bytes.0[55] += 1;
                let of_old =
                    Record::event(&[&bytes.0[..55], &[0], &bytes.0[56..]].concat(), None, None);
                assert_eq!(replay.take(of_old).unwrap(), []);
                decided = replay.take(Record::Event { bytes, id, process }).unwrap();
            }
            Some(record) => assert_eq!(replay.take(record).unwrap(), []),
            None => {}
        }
    }
    assert_eq!(decided[1].to_json_line().unwrap(), alert);
    assert_eq!(replay.totals().unreadable, 1);
}

#[test]
fn what_was_known_before_the_recording_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = still(dir.path());
    engine.ingest(observation(connect(1), Verdict::New), None, Instant::now());
    let agent = class(&engine, Role::Agent, Phase::Start);
    let receiver = engine.start_recording(&order(), ROOT).unwrap();
    let alert = take(&engine, &connects(agent, 66, Verdict::Blocked)).unwrap();
    assert!(
        alert.contains("\"nearest\":[\"10.0.0.1:80/tcp\"]"),
        "{alert}"
    );
    engine.end_recording("");
    let text = text(receiver);
    assert!(text.contains("a\\\\u{a}test"), "the note, escaped");
    let (decided, ..) = replayed(&text);
    assert_eq!(decided[1].to_json_line().unwrap(), alert);
    assert_eq!(decided[0].to_json_line().unwrap(), events(&engine)[1]);
}

#[test]
fn a_replay_tells_the_same_chain_and_the_sums_that_it_needs_are_in_the_recording() {
    let dir = tempfile::tempdir().unwrap();
    let engine = still(dir.path());
    let agent = class(&engine, Role::Agent, Phase::Start);
    engine.ingest(
        observation(connect(65), Verdict::Blocked),
        None,
        Instant::now(),
    );
    let receiver = engine.start_recording(&order(), ROOT).unwrap();
    take(&engine, &connects(agent, 66, Verdict::WouldBlock)).unwrap();
    let scope = scope(Role::Agent);
    let seen = observation(connect(66), Verdict::Known);
    let Fact::Connect(peer) = seen.fact else {
        panic!("it is one");
    };
    let flow = Flow {
        peer,
        local_port: 4000,
        inbound: false,
        sent: 1,
        received: 100,
        duration: 5,
        cookie: 0,
    };
    let sum = traffic::told(&scope, seen.process, flow, 2, seen.time + 2_000_000_000);
    engine.ingest(sum, None, Instant::now());
    let alert = take(&engine, &connects(agent, 67, Verdict::Blocked)).unwrap();
    engine.end_recording("");
    let chain = Alert::from_json_line(&alert).unwrap().chain;
    let subjects: Vec<_> = chain.iter().map(|step| step.subject.as_str()).collect();
    assert_eq!(
        subjects,
        [
            "10.0.0.66:80/tcp",
            "what 10.0.0.66:80/tcp answered",
            "10.0.0.67:80/tcp"
        ],
        "what was before the recording is not known to a replay"
    );
    let text = text(receiver);
    let (decided, ..) = replayed(&text);
    assert_eq!(decided.last().unwrap().to_json_line().unwrap(), alert);
    assert_eq!(decided, replayed(&text).0);
}

#[test]
fn a_reader_that_is_too_slow_loses_events_and_is_told_where() {
    let dir = tempfile::tempdir().unwrap();
    let engine = still(dir.path());
    let agent = class(&engine, Role::Agent, Phase::Start);
    let mut receiver = engine.start_recording(&order(), ROOT).unwrap();
    let since = Instant::now();
    // More than there is room for; nobody reads, and nobody waits.
    for n in 0..10_000_u32 {
        take(&engine, &connects(agent, n as u8, Verdict::Known));
    }
    assert!(since.elapsed() < Duration::from_secs(60));
    engine
        .change_mode("a", &change("monitor", false), ROOT)
        .unwrap();
    let mut kept = String::new();
    while let Ok(bytes) = receiver.try_recv() {
        kept.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    take(&engine, &connects(agent, 1, Verdict::Known));
    engine.end_recording("");
    kept.push_str(&text(receiver));
    let (_, totals, ending) = replayed(&kept);
    assert_eq!(totals.events + totals.lost, 10_001);
    assert!(totals.lost > 1000, "{totals:?}");
    assert!(matches!(ending, Ending::Whole(end) if end.lost == totals.lost));
    let (gap, mode) = (
        kept.find("\"lost\",").unwrap(),
        kept.rfind("\"monitor\"").unwrap(),
    );
    assert!(gap < mode, "the change of mode came after the gap");
}

#[test]
fn what_the_kernel_lost_is_in_the_recording() {
    let dir = tempfile::tempdir().unwrap();
    let engine = still(dir.path());
    let receiver = engine.start_recording(&order(), ROOT).unwrap();
    engine.record_lost(3);
    engine.end_recording("");
    let text = text(receiver);
    assert!(text.contains(r#"{"record":"lost","by":"kernel","events":3}"#));
    assert_eq!(replayed(&text).1.lost, 3);
}

#[test]
fn one_recording_at_a_time_and_only_for_root() {
    let dir = tempfile::tempdir().unwrap();
    let engine = still(dir.path());
    let nobody = Peer {
        uid: 65_534,
        pid: 1,
    };
    if nix::unistd::geteuid().as_raw() != nobody.uid {
        assert!(matches!(
            engine.start_recording(&order(), nobody),
            Err(Refusal::Forbidden(_))
        ));
    }
    let first = engine.start_recording(&order(), ROOT).unwrap();
    assert!(matches!(
        engine.start_recording(&order(), ROOT),
        Err(Refusal::Conflict(_))
    ));
    // Whoever goes away ends it.
    drop(first);
    let second = engine.start_recording(&order(), ROOT).unwrap();
    engine.end_recording("");
    assert!(!engine.recording.load(Ordering::Relaxed));
    assert!(matches!(replayed(&text(second)).2, Ending::Whole(_)));
    let third = engine.start_recording(&order(), ROOT).unwrap();
    drop(third);
    let agent = class(&engine, Role::Agent, Phase::Start);
    take(&engine, &connects(agent, 1, Verdict::New));
    take_off(&engine);
}

/// The event after the reader went away is the last one that is kept on its way.
fn take_off(engine: &Engine) {
    assert!(engine.state().recorder.is_none());
    assert!(!engine.recording.load(Ordering::Relaxed));
}

#[test]
fn a_record_that_makes_no_sense_is_an_error_with_its_word() {
    let mut replay = Replay::default();
    let record = Record::Mode {
        workload: "a".into(),
        mode: "paranoid".into(),
        basis: "none".into(),
        changed: 0,
    };
    let error = replay.take(record).unwrap_err().to_string();
    assert!(error.contains("paranoid"), "{error}");
}
