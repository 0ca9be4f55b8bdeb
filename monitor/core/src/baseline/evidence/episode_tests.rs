//! Tests of the attribution: what belongs to which episode, and that no trick of the clock or of
//! process ids makes or loses one.

use monitor_common::{class::Phase, event::Verdict};
use proptest::prelude::*;

use super::*;
use crate::{
    observation::Flow,
    testing::{connect, endpoint, exec, seen},
};

const S: u64 = 1_000_000_000;
const START: u64 = 1_700_000_000 * S;

fn scope(role: Role) -> Scope {
    Scope {
        workload: "assistant".into(),
        role,
        phase: Phase::Serve,
    }
}

fn key(pid: u32) -> ProcessKey {
    ProcessKey {
        pid,
        start_time: u64::from(pid) * 10,
    }
}

fn act(second: u64, pid: u32, role: Role, fact: Fact) -> Observation {
    let mut observation = seen(fact, Verdict::Known);
    observation.time = START + second * S;
    observation.process = key(pid);
    observation.scope = scope(role);
    observation
}

fn peer(port: u16) -> Endpoint {
    endpoint(&format!("10.0.0.9:{port}/tcp"))
}

fn accept(second: u64, pid: u32, port: u16) -> Observation {
    let fact = Fact::Accept {
        peer: peer(port),
        local: endpoint("10.0.0.1:8080/tcp"),
        uid: None,
    };
    act(second, pid, Role::Server, fact)
}

fn hang_up(second: u64, pid: u32, port: u16, count: u64) -> Observation {
    let flow = Flow {
        peer: peer(port),
        local_port: 8080,
        inbound: true,
        sent: 1,
        received: 1,
        duration: S,
        cookie: 1,
    };
    let mut observation = act(second, pid, Role::Server, Fact::Flow(flow));
    observation.count = count;
    observation
}

fn work(second: u64, pid: u32) -> Observation {
    act(second, pid, Role::Server, connect("10.0.0.2:443/tcp"))
}

fn tool(second: u64, pid: u32) -> Observation {
    let Fact::Exec { program, argv, .. } = exec("/bin/sh") else {
        unreachable!()
    };
    let after = Some(scope(Role::Tool));
    act(
        second,
        pid,
        Role::Agent,
        Fact::Exec {
            program,
            argv,
            after,
        },
    )
}

fn closed(episodes: &mut Episodes) -> Vec<(Kind, u64)> {
    episodes
        .take_closed()
        .iter()
        .map(|c| (c.kind, c.count))
        .collect()
}

#[test]
fn what_happens_while_one_request_is_open_belongs_to_it() {
    let mut episodes = Episodes::new(1, 1);
    let request = episodes.observe(&accept(0, 7, 1000)).unwrap();
    assert_eq!(episodes.observe(&work(1, 7)), Some(request));
    assert_eq!(
        episodes.observe(&work(1, 8)),
        Some(request),
        "a worker of the same server"
    );
    assert_eq!((request.kind, request.of), (Kind::Request, 1));
    assert_eq!(episodes.observe(&hang_up(2, 7, 1000, 1)), Some(request));
    assert_eq!(closed(&mut episodes), [(Kind::Request, 1)]);
    assert_eq!(episodes.observe(&work(3, 7)).unwrap().kind, Kind::Slot);
}

#[test]
fn of_two_open_requests_it_is_said_that_it_may_be_either() {
    let mut episodes = Episodes::new(1, 1);
    let a = episodes.observe(&accept(0, 7, 1000)).unwrap();
    let b = episodes.observe(&accept(0, 7, 1001)).unwrap();
    let either = episodes.observe(&work(1, 7)).unwrap();
    assert_eq!(
        (either.episode, either.newest, either.of),
        (a.episode, b.episode, 2)
    );
    let c = episodes.observe(&accept(1, 8, 1002)).unwrap();
    assert_eq!(
        episodes.observe(&work(1, 8)),
        Some(c),
        "what it accepted itself goes first"
    );
    episodes.observe(&hang_up(2, 7, 1000, 1));
    assert_eq!(episodes.observe(&work(3, 7)), Some(b));
}

#[test]
fn requests_that_the_kernel_only_counted_are_counted_here() {
    let mut episodes = Episodes::new(1, 1);
    episodes.observe(&accept(0, 7, 1000));
    episodes.observe(&hang_up(1, 7, 1000, 1));
    assert_eq!(episodes.observe(&hang_up(4, 7, 1234, 17)), None);
    assert_eq!(
        closed(&mut episodes),
        [(Kind::Request, 1), (Kind::Request, 17)]
    );
}

#[test]
fn a_connection_kept_open_is_one_request_and_then_background() {
    let mut episodes = Episodes::new(1, 1);
    episodes.observe(&accept(0, 7, 1000));
    assert_eq!(episodes.observe(&work(901, 7)).unwrap().kind, Kind::Slot);
    assert_eq!(closed(&mut episodes), [(Kind::Request, 1)]);
    assert_eq!(episodes.observe(&hang_up(5000, 7, 1000, 1)), None);
    assert_eq!(
        closed(&mut episodes),
        [(Kind::Slot, 1)],
        "its end counts no second time"
    );
}

#[test]
fn requests_on_one_connection_follow_each_other_where_they_are_visible() {
    let mut episodes = Episodes::new(1, 1);
    let a = episodes.observe(&accept(0, 7, 1000)).unwrap();
    let server = scope(Role::Server);
    let b = episodes.request(&server, key(7), peer(1000), 8080, START + S);
    assert!(b.episode > a.episode);
    assert_eq!(closed(&mut episodes), [(Kind::Request, 1)]);
    assert_eq!(episodes.observe(&work(2, 7)), Some(b));
}

#[test]
fn a_tool_and_its_descendants_are_one_life() {
    let mut episodes = Episodes::new(1, 1);
    let life = episodes.observe(&tool(0, 20)).unwrap();
    episodes.observe(&act(1, 20, Role::Tool, Fact::Fork { child: key(21) }));
    assert_eq!(
        episodes.observe(&tool(1, 21)).map(|a| a.episode),
        Some(life.episode)
    );
    let does = |second, pid| act(second, pid, Role::Tool, connect("10.0.0.2:443/tcp"));
    assert_eq!(episodes.observe(&does(2, 21)), Some(life));
    episodes.observe(&act(3, 20, Role::Tool, Fact::Exit { status: 0 }));
    assert_eq!(closed(&mut episodes), [], "a child goes on");
    episodes.observe(&act(4, 21, Role::Tool, Fact::Exit { status: 0 }));
    let ended = episodes.take_closed();
    assert_eq!((ended[0].kind, ended[0].count), (Kind::ToolLife, 1));
    assert_eq!(ended[0].scopes, [scope(Role::Agent), scope(Role::Tool)]);
    assert_eq!(episodes.observe(&does(5, 21)).unwrap().kind, Kind::Slot);
}

#[test]
fn a_process_id_that_comes_round_again_is_another_process() {
    let mut episodes = Episodes::new(1, 1);
    let first = episodes.observe(&tool(0, 20)).unwrap();
    let mut again = tool(1, 20);
    again.process.start_time += 1;
    let second = episodes.observe(&again).unwrap();
    assert_ne!(first.episode, second.episode);
    // The end of 20 was lost, and a child of a known tool gets its id and start time 0.
    let unknown = ProcessKey {
        pid: 30,
        start_time: 0,
    };
    for parent in [20, 20] {
        episodes.observe(&act(2, parent, Role::Tool, Fact::Fork { child: unknown }));
    }
    let mut end = act(3, 30, Role::Tool, Fact::Exit { status: 0 });
    end.process = unknown;
    episodes.observe(&end);
    episodes.observe(&act(4, 20, Role::Tool, Fact::Exit { status: 0 }));
    assert_eq!(
        closed(&mut episodes),
        [(Kind::ToolLife, 1)],
        "nobody is counted twice"
    );
}

#[test]
fn a_server_that_dies_ends_its_requests() {
    let mut episodes = Episodes::new(1, 1);
    episodes.observe(&accept(0, 7, 1000));
    episodes.observe(&accept(0, 8, 1001));
    episodes.observe(&act(1, 7, Role::Server, Fact::Exit { status: 11 }));
    assert_eq!(closed(&mut episodes), [(Kind::Request, 1)]);
    assert_eq!(episodes.observe(&hang_up(2, 7, 1000, 1)), None);
    assert_eq!(closed(&mut episodes), []);
}

#[test]
fn background_work_falls_into_minutes_in_which_something_happens() {
    let mut episodes = Episodes::new(1, 1);
    let a = episodes.observe(&work(0, 7)).unwrap();
    assert_eq!((a.kind, a.of), (Kind::Slot, 1));
    assert_eq!(episodes.observe(&work(59, 7)), Some(a));
    let b = episodes.observe(&work(61, 7)).unwrap();
    assert_eq!(
        (b.episode, b.of),
        (a.episode, 2),
        "a request may reach from one into the next"
    );
    let c = episodes.observe(&work(600, 7)).unwrap();
    assert_eq!((c.episode, c.of), (c.newest, 1));
    assert_eq!(
        closed(&mut episodes).len(),
        2,
        "empty minutes are no episodes"
    );
}

#[test]
fn known_behaviour_is_of_any_episode_since_counters_were_last_read() {
    let mut episodes = Episodes::new(1, 1);
    let server = scope(Role::Server);
    let first = episodes.polled(&server, START);
    let a = episodes.observe(&accept(1, 7, 1000)).unwrap();
    episodes.observe(&hang_up(2, 7, 1000, 1));
    let b = episodes.observe(&accept(3, 7, 1001)).unwrap();
    let polled = episodes.polled(&server, START + 10 * S);
    assert!(polled.episode <= first.newest && polled.newest >= b.episode);
    assert!(polled.episode < a.episode);
    let later = episodes.polled(&server, START + 200 * S);
    assert!(later.episode <= b.episode, "b was open at the last reading");
    episodes.observe(&hang_up(201, 7, 1001, 1));
    episodes.polled(&server, START + 210 * S);
    let last = episodes.polled(&server, START + 400 * S);
    assert!(last.episode > b.episode);
}

#[test]
fn a_workload_that_is_gone_leaves_nothing() {
    let mut episodes = Episodes::new(1, 1);
    episodes.observe(&accept(0, 7, 1000));
    episodes.observe(&tool(0, 20));
    episodes.observe(&work(0, 9));
    episodes.forget("assistant");
    episodes.advance(START + 10_000 * S);
    assert_eq!(closed(&mut episodes), []);
}

#[test]
fn a_flood_of_connections_and_processes_is_bounded() {
    let mut episodes = Episodes::new(1, 1);
    for port in 0..MAX_OPEN as u16 + 10 {
        episodes.observe(&accept(0, 7, port));
    }
    assert_eq!(closed(&mut episodes).len(), 10);
    for pid in 0..MAX_PROCESSES as u32 + 10 {
        episodes.observe(&tool(0, 100 + pid));
    }
    assert!(episodes.processes.len() <= MAX_PROCESSES);
}

#[test]
fn numbers_go_on_where_they_stopped() {
    let mut episodes = Episodes::new(1, 1);
    let a = episodes.observe(&accept(0, 7, 1000)).unwrap();
    let mut later = Episodes::new(1, episodes.next());
    assert!(later.observe(&accept(0, 7, 1000)).unwrap().episode > a.episode);
}

#[derive(Clone, Debug)]
enum Step {
    Accept(u16),
    HangUp(u16, u64),
    Work(u32),
    Tool(u32),
    Exit(u32),
    Back(u64),
    Forward(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0u16..6).prop_map(Step::Accept),
        ((0u16..6), (1u64..4)).prop_map(|(port, n)| Step::HangUp(port, n)),
        (0u32..6).prop_map(Step::Work),
        (20u32..26).prop_map(Step::Tool),
        (20u32..26).prop_map(Step::Exit),
        (10u64..100_000).prop_map(Step::Back),
        (0u64..100).prop_map(Step::Forward),
    ];
    proptest::collection::vec(step, 0..80)
}

/// Runs steps; clock changes backwards are left out where `set` is false. Returns what ended.
fn run(steps: &[Step], set: bool) -> (Vec<(Kind, u64)>, usize, u64) {
    let mut episodes = Episodes::new(1, 1);
    let mut second = 10_000_000;
    for step in steps {
        let seen = match *step {
            Step::Accept(port) => accept(0, 7, port),
            Step::HangUp(port, n) => hang_up(0, 7, port, n),
            Step::Work(pid) => work(0, pid),
            Step::Tool(pid) => tool(0, pid),
            Step::Exit(pid) => act(0, pid, Role::Tool, Fact::Exit { status: 0 }),
            Step::Back(by) => {
                episodes.advance(second * S);
                if set {
                    second -= by;
                    episodes.advance(second * S);
                }
                continue;
            }
            Step::Forward(by) => {
                second += by;
                continue;
            }
        };
        episodes.observe(&Observation {
            time: second * S,
            ..seen
        });
    }
    let open = episodes.open.len();
    (closed(&mut episodes), open, episodes.next())
}

proptest! {
    #[test]
    fn a_clock_set_back_neither_makes_nor_loses_an_episode(steps in steps()) {
        prop_assert_eq!(run(&steps, true), run(&steps, false));
    }

    #[test]
    fn what_began_has_ended_or_is_open(steps in steps()) {
        let (ended, open, next) = run(&steps, false);
        prop_assert_eq!(ended.len() + open, next as usize - 1);
    }
}
