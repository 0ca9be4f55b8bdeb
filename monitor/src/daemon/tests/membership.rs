//! Who becomes a member without having been started in front of the daemon.

use super::*;

#[test]
fn running_processes_are_adopted_with_their_children() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new("/bin/sh")
        .args(["-c", "cat; true", "found-by-this-word"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let config = CONFIG.replace("no-such-agent", "found-by-this-word");
    let (engine, fake) = start(dir.path(), &config);
    let cgroups = Cgroups::at(dir.path());
    let agent = class(&engine, Role::Agent, Phase::Start);
    let tool = class(&engine, Role::Tool, Phase::Start);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        engine.refresh_enrolment(&cgroups).unwrap();
        engine.adopt().unwrap();
        if fake.told().members.values().any(|class| *class == tool) {
            break;
        }
        assert!(Instant::now() < deadline, "{:?}", fake.told().members);
    }
    assert_eq!(fake.member(child.id()), agent);
    assert_eq!(fake.told().rules[0].class, agent);
    let workload = engine.workloads().unwrap().remove(0);
    let shell = workload
        .processes
        .iter()
        .find(|p| p.pid == child.id())
        .unwrap();
    assert!(shell.adopted && shell.role == "agent", "{shell:?}");
    assert!(
        workload.processes.iter().any(|p| p.role == "tool"),
        "{workload:?}"
    );
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn members_of_an_earlier_daemon_are_taken_over_unless_their_class_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    let agent = class(&engine, Role::Agent, Phase::Serve);
    let me = std::process::id();
    engine.take_over(&[(me, agent), (me, 900), (u32::MAX, agent)]);
    assert_eq!(fake.member(me), agent);
    assert_eq!(fake.told().members.len(), 1);
}
