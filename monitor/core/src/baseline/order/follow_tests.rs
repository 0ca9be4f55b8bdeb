//! Tests of following: what an episode has, what it inherits, and that memory is bounded.

use monitor_common::{class::Role, path::permission::WRITE};
use proptest::prelude::*;

use super::{
    super::{
        declared::Declared,
        followed::{LEAST, MAX_CONNECTORS},
    },
    *,
};
use crate::{
    observation::{FileAccess, Flow},
    testing::{connect, endpoint, exec, open, scope, seen},
};

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_700_000_000 * SECOND;

fn chains() -> Chains {
    let mut chains = Chains::default();
    let list = |text: &str| vec![text.to_owned()];
    let declared = Declared::new(&list("/srv/data/**"), &list("/srv/inbox/**")).unwrap();
    chains.declare("assistant", declared);
    chains
}

fn at(fact: Fact, verdict: Verdict, time: u64, process: u32) -> Observation {
    let mut seen = seen(fact, verdict);
    seen.time = NOW + time;
    seen.process = key(process);
    seen
}

fn key(pid: u32) -> ProcessKey {
    ProcessKey { pid, start_time: 1 }
}

fn accept(port: u16) -> Fact {
    let mut peer = endpoint("10.0.0.9:1/tcp");
    peer.port = port;
    Fact::Accept {
        peer,
        local: endpoint("10.0.0.1:80/tcp"),
        uid: None,
    }
}

fn answer(text: &str, received: u64) -> Fact {
    Fact::Flow(Flow {
        peer: endpoint(text),
        local_port: 4000,
        inbound: false,
        sent: 10,
        received,
        duration: 1,
        cookie: 1,
    })
}

/// Takes observations in; the trace of the last one.
fn trace(chains: &mut Chains, all: &[Observation]) -> Option<Trace> {
    let mut last = None;
    for seen in all {
        let place = chains.observe(seen, seen.verdict == Verdict::New);
        last = chains.trace(seen, &place);
    }
    last
}

fn theft(process: u32) -> Vec<Observation> {
    vec![
        at(open("/srv/inbox/1\n.eml", READ), Verdict::Known, 0, process),
        at(
            open("/srv/data/a", READ),
            Verdict::Known,
            2 * SECOND,
            process,
        ),
        at(
            connect("10.0.0.66:80/tcp"),
            Verdict::Blocked,
            3 * SECOND,
            process,
        ),
    ]
}

#[test]
fn untrusted_and_private_and_a_way_out_make_one_chain() {
    let mut chains = chains();
    let told = trace(&mut chains, &theft(7)).unwrap();
    assert!(told.trifecta);
    assert_eq!(told.steps.len(), 3);
    assert_eq!(
        told.sentences[0],
        "What came before in this background work (what belongs together is not known here): It read \
         untrusted /srv/inbox/1\\u{a}.eml (+0.0 s), then it read private /srv/data/a (+2.0 s), then it \
         called 10.0.0.66:80/tcp, which is not in the baseline (+3.0 s)."
    );
    assert!(
        told.sentences[1].contains("(/srv/inbox/1\\u{a}.eml), something private (/srv/data/a)"),
        "{told:?}"
    );
    assert_eq!(told.sentences.len(), 2);
}

#[test]
fn what_is_in_the_list_completes_nothing_and_neither_does_what_was_not_read() {
    let mut known = theft(7);
    known[2].verdict = Verdict::Known;
    assert!(!trace(&mut chains(), &known).unwrap().trifecta);
    let mut refused = theft(7);
    refused[1].verdict = Verdict::Blocked;
    let told = trace(&mut chains(), &refused).unwrap();
    assert!(!told.trifecta && told.steps.len() == 2, "{told:?}");
    let mut written = theft(7);
    written[0].fact = open("/srv/inbox/1", WRITE);
    assert!(!trace(&mut chains(), &written).unwrap().trifecta);
    assert_eq!(trace(&mut chains(), &theft(7)[2..]), None, "alone");
    assert!(!trace(&mut Chains::default(), &theft(7)).is_some_and(|t| t.trifecta));
}

#[test]
fn a_chain_reaches_over_the_end_of_one_minute_and_not_over_two() {
    let later = |by: u64| {
        let mut all = theft(7);
        all[2].time += by * SECOND;
        // Something has to happen for time to go by.
        all.insert(2, at(exec("/bin/date"), Verdict::Known, by * SECOND / 2, 9));
        trace(&mut chains(), &all).unwrap()
    };
    assert!(later(80).trifecta);
    assert!(!later(300).trifecta);
}

#[test]
fn a_request_is_a_chain_of_its_own_and_open_ones_are_taken_for_one() {
    let mut chains = chains();
    let first = [at(accept(1), Verdict::Known, 0, 7)];
    let told = trace(&mut chains, &[&first[..], &theft(7)].concat()).unwrap();
    assert!(told.sentences[0].starts_with("What came before in this request: A request came in"));
    assert_eq!(told.steps[0].1, Step::Inbound("10.0.0.9".into()));

    // Another one is open: who does what for which cannot be told.
    let mut all = vec![at(accept(2), Verdict::Known, 4 * SECOND, 7)];
    all.push(at(
        connect("10.0.0.67:80/tcp"),
        Verdict::Blocked,
        5 * SECOND,
        7,
    ));
    let told = trace(&mut chains, &all).unwrap();
    assert!(told.trifecta);
    let text = told.sentences.join(" ");
    assert!(
        text.contains("at least 2 were") && text.contains("taken for one here"),
        "{text}"
    );
}

#[test]
fn a_tool_inherits_and_what_it_does_is_a_step_of_its_starter() {
    let mut chains = chains();
    let tool = |fact: Fact, time: u64| {
        let mut seen = at(fact, Verdict::Known, time, 8);
        seen.scope.role = Role::Tool;
        seen
    };
    let run = Fact::Exec {
        program: open("/usr/bin/curl", 4).file().cloned().unwrap(),
        argv: vec![],
        after: Some(Scope {
            role: Role::Tool,
            ..scope()
        }),
    };
    let mut out = tool(connect("10.0.0.66:80/tcp"), 5 * SECOND);
    out.verdict = Verdict::Blocked;
    let all = [
        at(accept(1), Verdict::Known, 0, 7),
        at(open("/srv/inbox/1", READ), Verdict::Known, SECOND, 7),
        at(Fact::Fork { child: key(8) }, Verdict::Known, 2 * SECOND, 7),
        at(run, Verdict::Known, 3 * SECOND, 8),
        tool(open("/srv/data/a", READ), 4 * SECOND),
        out,
    ];
    let told = trace(&mut chains, &all).unwrap();
    assert!(told.trifecta);
    assert!(told.sentences[0].starts_with("What came before in the life of this tool"));
    assert_eq!(told.steps.len(), 5, "{told:?}");
    // What the tool read may be in what it gave back.
    let told = trace(
        &mut chains,
        &[at(
            connect("10.0.0.68:80/tcp"),
            Verdict::Blocked,
            6 * SECOND,
            7,
        )],
    );
    let told = told.unwrap();
    assert!(
        told.trifecta && told.sentences[0].contains("/srv/data/a"),
        "{told:?}"
    );
}

#[test]
fn what_a_stranger_answers_is_untrusted() {
    let all = [
        at(connect("10.0.0.66:80/tcp"), Verdict::WouldBlock, 0, 7),
        at(answer("10.0.0.66:80/tcp", 100), Verdict::Known, SECOND, 7),
        at(open("/srv/data/a", READ), Verdict::Known, 2 * SECOND, 7),
        at(
            connect("10.0.0.67:80/tcp"),
            Verdict::WouldBlock,
            3 * SECOND,
            7,
        ),
    ];
    let told = trace(&mut chains(), &all).unwrap();
    assert!(told.trifecta, "{told:?}");
    assert!(told.sentences[1].contains("(what 10.0.0.66:80/tcp answered)"));
    let mut silent = all.to_vec();
    silent[1].fact = answer("10.0.0.66:80/tcp", 0);
    assert!(!trace(&mut chains(), &silent).unwrap().trifecta);
    let mut listed = all.to_vec();
    listed[0].verdict = Verdict::Known;
    assert!(!trace(&mut chains(), &listed).unwrap().trifecta);
}

#[test]
fn what_was_read_in_an_earlier_episode_is_said_and_raises_nothing() {
    let mut chains = chains();
    trace(&mut chains, &theft(7)[..2]);
    let later = 600 * SECOND;
    let out = at(connect("10.0.0.66:80/tcp"), Verdict::Blocked, later, 7);
    let told = trace(&mut chains, &[out]).unwrap();
    assert!(!told.trifecta && told.steps.is_empty());
    assert_eq!(
        told.sentences[0],
        "Before this episode the role agent read untrusted /srv/inbox/1\\u{a}.eml (600 s before) and \
         private /srv/data/a (598 s before). A file that is known is reported once and counted from then \
         on, so that it may have been read again here."
    );
}

/// An episode that calls these.
fn calls(chains: &mut Chains, number: u64, verdict: Verdict, last: &[u8]) -> Option<Trace> {
    let start = number * 1000 * SECOND;
    let port = u16::try_from(number % 60_000).unwrap();
    let mut all = vec![at(accept(port), verdict, start, 7)];
    for (i, one) in (1..).zip(last) {
        let to = format!("10.0.0.{one}:80/tcp");
        let verdict = if verdict == Verdict::New {
            verdict
        } else {
            Verdict::Known
        };
        all.push(at(connect(&to), verdict, start + i * SECOND, 7));
    }
    trace(chains, &all)
}

#[test]
fn a_pair_that_no_learned_episode_had_is_said_and_outlives_the_store() {
    let mut first = chains();
    for number in 0..=LEAST {
        calls(&mut first, number, Verdict::New, &[1, 2, 3]);
    }
    let mut chains = chains();
    assert_eq!(chains.restore(first.rows()), [""; 0]);
    assert_eq!(chains.rows(), first.rows());
    let pairs = |told: Option<Trace>| {
        let told = told.into_iter().flat_map(|told| told.sentences);
        told.filter(|s| s.contains("learned episodes"))
            .collect::<Vec<_>>()
    };
    let next = 100;
    assert_eq!(
        pairs(calls(&mut chains, next, Verdict::Known, &[1, 2, 3])),
        [""; 0]
    );
    assert_eq!(
        pairs(calls(&mut chains, next + 1, Verdict::Known, &[1, 3])),
        [
            "In this episode 10.0.0.3:80/tcp was called right after 10.0.0.1:80/tcp; that order was not \
             seen in 30 learned episodes. By itself that is no sign of an attack."
        ]
    );
    let began = pairs(calls(&mut chains, next + 2, Verdict::Known, &[2]));
    assert!(
        began[0].starts_with("This episode began with a call of 10.0.0.2:80/tcp"),
        "{began:?}"
    );
    let stranger = pairs(calls(&mut chains, next + 3, Verdict::Known, &[1, 9]));
    assert_eq!(
        stranger, [""; 0],
        "what was never learned is no matter of order"
    );
    chains.forget("assistant");
    assert_eq!(chains.rows(), []);
}

#[test]
fn what_was_refused_while_learning_is_not_learned() {
    let mut chains = chains();
    let refused = at(connect("10.0.0.1:80/tcp"), Verdict::Blocked, 0, 7);
    chains.observe(&refused, true);
    chains.observe(&at(exec("/x"), Verdict::Known, 900 * SECOND, 7), true);
    assert_eq!(chains.rows(), []);
}

#[test]
fn a_row_that_says_nonsense_is_taken_as_far_as_it_makes_sense() {
    let row = r#"{"workload":"a","connectors":[],"roles":[["wizard",{"episodes":1,"pairs":[[255,255,1]]}],["tool",{"episodes":1,"pairs":[[255,255,1]]}]]}"#;
    let mut chains = Chains::default();
    assert_eq!(
        chains.restore(vec![serde_json::from_str(row).unwrap()]),
        ["a"]
    );
    assert_eq!(chains.rows().len(), 1);
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let path = prop_oneof![
        Just(b"/srv/inbox/x".to_vec()),
        Just(b"/srv/data/x".to_vec()),
        prop::collection::vec(any::<u8>(), 0..400),
    ];
    let to = |n: u8| Endpoint {
        address: [10, 0, 0, n].into(),
        port: 80,
        protocol: 6,
    };
    let file = |path: Vec<u8>, access| FileAccess {
        name: path.clone(),
        path,
        inode: (0, 0),
        access,
        cut: false,
        incomplete: false,
    };
    prop_oneof![
        (path.clone(), any::<u8>()).prop_map(move |(path, access)| Fact::Open(file(path, access))),
        (path, any::<bool>()).prop_map(move |(path, tool)| Fact::Exec {
            program: file(path, 4),
            argv: vec![],
            after: tool.then(|| Scope {
                role: Role::Tool,
                ..scope()
            }),
        }),
        any::<u8>().prop_map(move |n| Fact::Connect(to(n))),
        any::<u8>().prop_map(move |n| Fact::Send(to(n))),
        any::<u16>().prop_map(accept),
        (0..40u32).prop_map(|n| Fact::Fork { child: key(n) }),
        Just(Fact::Exit { status: 0 }),
        (any::<u8>(), any::<u64>(), any::<bool>()).prop_map(move |(n, received, inbound)| {
            Fact::Flow(Flow {
                peer: to(n),
                local_port: 80,
                inbound,
                sent: 0,
                received,
                duration: 0,
                cookie: 0,
            })
        }),
    ]
}

proptest! {
    #[test]
    fn memory_is_bounded_nothing_panics_and_the_same_gives_the_same(
        all in prop::collection::vec((any_fact(), 0..6u8, any::<u32>(), 0..40u32, any::<bool>()), 0..300),
    ) {
        let (mut one, mut other) = (chains(), chains());
        for (fact, verdict, time, process, learning) in all {
            let verdict = Verdict::from_u8(verdict).unwrap_or(Verdict::Known);
            let seen = at(fact, verdict, u64::from(time) * 1_000_000, process);
            let place = one.observe(&seen, learning);
            prop_assert_eq!(&place, &other.observe(&seen, learning));
            let told = one.trace(&seen, &place);
            prop_assert_eq!(&told, &other.trace(&seen, &place));
            for sentence in told.iter().flat_map(|told| &told.sentences) {
                prop_assert!(!sentence.chars().any(crate::text::is_hostile), "{:?}", sentence);
                prop_assert!(sentence.len() < 16 * 1024);
            }
            let of = &one.workloads["assistant"];
            prop_assert!(of.chains.len() <= MAX_CHAINS && of.connectors.len() <= MAX_CONNECTORS);
            prop_assert!(one.bytes("assistant") < 512 * 1024);
            one.find(&seen.scope, seen.process);
        }
        prop_assert!(one.born.len() <= MAX_BORN);
        let mut again = chains();
        prop_assert_eq!(again.restore(one.rows()), Vec::<String>::new());
        prop_assert_eq!(again.rows(), one.rows());
    }
}

/// Calls in one minute that end after each other, each with what was sent.
fn minute(chains: &mut Chains, n: u64, calls: &[(&str, u64)], learning: bool) {
    for (i, (whom, sent)) in calls.iter().enumerate() {
        let Fact::Flow(flow) = answer(whom, 10) else {
            unreachable!("an answer is a flow")
        };
        let fact = Fact::Flow(Flow {
            sent: *sent,
            ..flow
        });
        let time = n * 60 * SECOND + i as u64 * SECOND;
        let verdict = if learning {
            Verdict::New
        } else {
            Verdict::Known
        };
        chains.observe(&at(fact, verdict, time, 7), learning);
    }
}

#[test]
fn an_episode_whose_calls_are_all_known_is_told_when_it_is_odd_as_a_whole() {
    let mut chains = chains();
    chains.spend(1.0);
    let (a, b) = ("10.0.0.1:80/tcp", "10.0.0.2:443/tcp");
    let usual = |n: u64| [(a, 400 + n * 37 % 90), (b, 3_000 + n * 53 % 800)];
    for n in 0..4_000 {
        minute(&mut chains, n, &usual(n), true);
    }
    assert!(
        chains.lines("assistant")[0].contains("judged as a whole against 3"),
        "{:?}",
        chains.lines("assistant")
    );
    // What was learned outlasts a restart.
    let rows = serde_json::to_string(&chains.rows()).unwrap();
    let mut chains = Chains::default();
    chains.spend(1.0);
    chains.restore(serde_json::from_str(&rows).unwrap());
    minute(&mut chains, 5_000, &[(a, 410), (b, 7_000_000)], false);
    for n in 5_001..5_200 {
        minute(&mut chains, n, &usual(n), false);
    }
    let findings = chains.take_findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    let finding = &findings[0];
    assert_eq!(finding.scope, scope());
    assert_eq!((finding.odd.calls, finding.odd.sent), (2, 7_000_410));
    assert!(
        finding.odd.sentence.contains("7.0 MB to 10.0.0.2:443/tcp"),
        "{finding:?}"
    );
}
