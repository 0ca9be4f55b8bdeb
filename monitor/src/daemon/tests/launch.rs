//! Who gets a ticket, and what a launcher is told.

use monitor_common::class::{LAUNCHER, TICKET};

use super::*;

fn me() -> Peer {
    Peer {
        uid: 0,
        pid: std::process::id(),
    }
}

#[test]
fn a_process_that_is_nobody_s_gets_a_ticket_and_is_no_member_yet() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    let agent = class(&engine, Role::Agent, Phase::Start);
    let launched = engine.launch("a", "agent", me()).unwrap();
    assert!(!launched.member);
    assert_eq!(fake.member(me().pid), agent | TICKET);
    // Asking twice is no mistake.
    engine.launch("a", "agent", me()).unwrap();
    engine.tidy_processes();
    assert_eq!(engine.workloads().unwrap()[0].processes, []);
}

#[test]
fn a_member_does_not_become_anything_else() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    let tool = class(&engine, Role::Tool, Phase::Start);
    fake.set_member(me().pid, tool);
    let refused = engine.launch("a", "agent", me()).unwrap_err();
    assert!(matches!(refused, Refusal::Forbidden(_)), "{refused}");
    assert_eq!(fake.member(me().pid), tool);
    assert!(engine.launch("a", "tool", me()).unwrap().member);
    // Nor does one whose class nobody knows, such as the daemon's own probes.
    fake.set_member(me().pid, 1);
    assert!(engine.launch("a", "agent", me()).is_err());
    assert_eq!(fake.member(me().pid), 1);
}

#[test]
fn a_process_that_is_gone_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    let gone = Peer {
        uid: 0,
        pid: u32::MAX,
    };
    assert!(engine.launch("a", "agent", gone).is_err());
    assert_eq!(fake.member(u32::MAX), NONE);
}

#[test]
fn what_is_not_configured_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    for (workload, role, word) in [
        ("zz", "agent", "slmguard workloads"),
        ("a", "boss", "use server"),
        ("a", "loader", "--role"),
    ] {
        for refusal in [
            engine.launch(workload, role, me()).unwrap_err(),
            engine.launch_plan(workload, role).unwrap_err(),
        ] {
            assert!(refusal.to_string().contains(word), "{refusal}");
        }
    }
}

#[test]
fn a_launcher_is_told_what_its_children_may_do_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    let plan = engine.launch_plan("a", "agent").unwrap();
    assert_eq!(
        (plan.mode.as_str(), plan.tier.as_str()),
        ("learn", "cgroup")
    );
    assert_eq!(plan.allow, engine.config.workloads[0].allow);
}

#[test]
fn the_launcher_itself_is_never_enrolled() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    engine.refresh_enrolment(&Cgroups::at(dir.path())).unwrap();
    let rules = fake.told().rules.clone();
    let own = rules.iter().find(|rule| rule.class == LAUNCHER).unwrap();
    assert_eq!(own.executable, engine.launcher);
    assert!(own.executable.is_some());
}

#[test]
fn a_ticket_outlives_a_restart_of_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    let ticket = class(&engine, Role::Agent, Phase::Start) | TICKET;
    engine.take_over(&[(me().pid, ticket)]);
    assert_eq!(fake.member(me().pid), ticket);
}

#[test]
fn a_sandbox_is_made_of_the_list_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    let saw = |fact| {
        engine.ingest(observation(fact, Verdict::New), None, Instant::now());
    };
    saw(open("/srv/approved"));
    let order = |subject: Option<&str>| view::BaselineOrder {
        reason: "a test".into(),
        subject: subject.map(str::to_owned),
        ..view::BaselineOrder::default()
    };
    Backend::order_baseline(&*engine, "a", "approve", &order(None), ROOT).unwrap();
    saw(open("/srv/later"));
    saw(open("/srv/never"));
    Backend::order_baseline(&*engine, "a", "reject", &order(Some("/srv/never")), ROOT).unwrap();
    engine
        .set_mode("a", &change("enforce", false), ROOT)
        .unwrap();
    let plan = engine.launch_plan("a", "agent").unwrap();
    assert_eq!(plan.learned, [("read".into(), "/srv/approved".into())]);
    assert_eq!(plan.deny.read, ["/srv/never"]);
}
