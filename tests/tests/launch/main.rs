//! `slmguard exec`: a program that is started inside the guard. What its policy
//! does not name is refused while the program lives on, also on the tier that
//! could only kill it, and also when neither daemon nor kernel programs are
//! left. The proof is what the program got, and what arrived at the victims.

mod written;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use scene::cgroup::Cgroup;
use scene::command;
use scene::probe::{FIRST, Fate, Launch, Order, Probe};
use scene::trial::{Setup, Trial, WORKLOAD, at, text};
use scene::world::{ATTACKER, WEATHER};
use serde_json::Value;

const EACCES: Fate = Fate::Refused(Errno::EACCES as i32);
const PATIENCE: Duration = Duration::from_secs(60);

/// A server on the tier that cannot deny by itself, with what it may write.
fn setup() -> Setup {
    Setup::role("server").tier("cgroup")
}

/// What stands in front of a command to start it in the guard.
fn arguments(trial: &Trial, options: &[&str], words: &[&str]) -> Result<Vec<String>> {
    let config = text(&trial.daemon()?.config());
    let guard = ["exec", "--config", &config, "--workload", WORKLOAD];
    let all = [&guard, options, &["--"], words].concat();
    Ok(all.into_iter().map(str::to_owned).collect())
}

/// Starts a probe for which no enrolment rule exists.
fn start(trial: &Trial, options: &[&str], more: &[&str]) -> Result<Probe> {
    let program = text(&trial.path("outsider"));
    let words = [&[program.as_str()], more].concat();
    let launch = Launch {
        arguments: arguments(trial, options, &words)?,
        ..Launch::default()
    };
    Probe::start(&trial.namespace, trial.daemon()?.program(), launch)
}

/// Runs a command in the guard to its end.
fn run(trial: &Trial, options: &[&str], words: &[&str]) -> Result<Output> {
    let mut command = Command::new(trial.daemon()?.program());
    command.args(arguments(trial, options, words)?);
    command::output(command, PATIENCE)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Has a started probe do what is normal, and holds the workload to it.
fn learn_and_enforce(trial: &Trial, orders: &[Order]) -> Result<()> {
    let mut probe = start(trial, &[], &[])?;
    for order in orders {
        let fate = probe.ask(order)?;
        ensure!(
            fate.worked(),
            "normal behaviour failed: {order:?}: {fate:?}"
        );
    }
    drop(probe);
    trial.enforce()
}

fn plan(trial: &Trial, options: &[&str]) -> Result<Value> {
    let options = [options, &["--print-plan", "--json"]].concat();
    let output = run(trial, &options, &["/bin/true"])?;
    ensure!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).context("the plan")
}

/// Version of Landlock on this kernel.
fn landlock(trial: &Trial) -> Result<u64> {
    Ok(plan(trial, &["--sandbox", "always"])?["landlock"]["abi"]
        .as_u64()
        .unwrap_or(0))
}

/// Acts on files and programs outside of the policy.
fn intrusions(trial: &Trial) -> Result<Vec<(&'static str, Order)>> {
    let file = trial.file("secret", "content")?;
    let credentials = trial.file("home/.aws/credentials", "secret")?;
    let link = trial.path("link");
    if !link.exists() {
        symlink(&credentials, &link).context("link to the credentials")?;
    }
    let (_, shell) = trial.shell_mark();
    Ok(vec![
        ("read a file", Order::Read(file.clone())),
        ("write a file", Order::Append(file.clone())),
        ("read by a child", Order::Read(file.clone()).forked()),
        ("read by a thread", Order::Read(file).in_thread()),
        ("read credentials", Order::Read(credentials)),
        ("read credentials through a link", Order::Read(link)),
        ("start a shell", shell),
        ("start a program", Order::exec("/bin/echo", &[])),
        ("become a program", Order::Become("/bin/echo".into())),
    ])
}

/// System calls that lead around the other guards.
fn detours(outsider: &Probe) -> Vec<(&'static str, Order)> {
    let call = |number, arguments| Order::Call(number, arguments);
    let pid = u64::from(outsider.pid().unsigned_abs());
    let socket = |domain, kind, protocol| call(libc::SYS_socket, [domain, kind, protocol]);
    vec![
        ("a packet socket", socket(17, 3, 0)),
        ("a raw socket", socket(2, 3, 6)),
        ("a raw IPv6 socket", socket(10, 3, 58)),
        ("a vsock socket", socket(40, 1, 0)),
        ("a socket of the kernel's cryptography", socket(38, 5, 0)),
        ("a ping socket", socket(2, 2, 1)),
        ("an SCTP socket", socket(2, 1, 132)),
        ("a netlink socket for events", socket(16, 3, 15)),
        ("an io_uring", call(libc::SYS_io_uring_setup, [1, 0, 0])),
        ("trace a process", call(libc::SYS_ptrace, [16, pid, 0])),
        (
            "read a process",
            call(libc::SYS_process_vm_readv, [pid, 0, 0]),
        ),
        ("mount", call(libc::SYS_mount, [0, 0, 0])),
        (
            "make a user namespace",
            call(libc::SYS_unshare, [0x1000_0000, 0, 0]),
        ),
        ("enter a namespace", call(libc::SYS_setns, [u64::MAX, 0, 0])),
        (
            "open without a path",
            call(libc::SYS_open_by_handle_at, [u64::MAX, 0, 0]),
        ),
        (
            "a program in memory",
            call(libc::SYS_memfd_create, [0, 0, 0]),
        ),
        ("keys of others", call(libc::SYS_add_key, [0, 0, 0])),
    ]
}

#[test]
fn unguarded_every_act_works_or_fails_for_another_reason() -> Result<()> {
    let trial = Trial::unguarded()?;
    let outsider = trial.outsider()?;
    for (what, order) in intrusions(&trial)? {
        let fate = trial.member()?.ask(&order);
        // Having become another program, the probe does not answer.
        let became = matches!(order, Order::Become(_)) && fate.is_err();
        assert!(became || fate?.worked(), "{what}");
    }
    for (what, order) in detours(&outsider) {
        let fate = trial.member()?.ask(&order)?;
        assert!(fate != Fate::EPERM, "{what}");
    }
    Ok(())
}

#[test]
fn what_the_policy_does_not_name_is_refused_and_the_program_lives_on() -> Result<()> {
    let trial = Trial::guarded(setup())?;
    let known = [
        Order::Read("/etc/hostname".into()),
        Order::exec("/bin/true", &[]),
        Order::Connect(at(WEATHER, 80)),
    ];
    learn_and_enforce(&trial, &known)?;
    let outsider = trial.outsider()?;
    let mut probe = start(&trial, &[], &[])?;
    for (what, order) in intrusions(&trial)? {
        assert_eq!(probe.ask(&order)?, EACCES, "{what}");
    }
    for (what, order) in detours(&outsider) {
        assert_eq!(probe.ask(&order)?, Fate::EPERM, "{what}");
    }
    // What is normal still is, and destinations are still the kernel hooks'.
    for order in &known {
        assert!(probe.ask(order)?.worked(), "{order:?}");
    }
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, Fate::EPERM);
    assert_eq!(trial.world.attacker.evidence()?.connections, 0);
    assert!(!trial.path("mark-1").exists());
    Ok(())
}

#[test]
fn it_holds_when_daemon_and_kernel_programs_are_gone() -> Result<()> {
    let trial = Trial::guarded(setup().pinned())?;
    let known = Order::Read("/etc/hostname".into());
    learn_and_enforce(&trial, std::slice::from_ref(&known))?;
    let knows_ports = landlock(&trial)? >= 4;
    let outsider = trial.outsider()?;
    let mut probe = start(&trial, &[], &[])?;
    trial.daemon()?.kill()?;
    assert!(trial.daemon()?.cli(&["detach"])?.status.success());
    assert!(!trial.daemon()?.pins().exists());
    for (what, order) in intrusions(&trial)? {
        assert_eq!(probe.ask(&order)?, EACCES, "{what}");
    }
    for (what, order) in detours(&outsider) {
        assert_eq!(probe.ask(&order)?, Fate::EPERM, "{what}");
    }
    assert!(probe.ask(&known)?.worked());
    if knows_ports {
        assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, EACCES);
        assert_eq!(trial.world.attacker.evidence()?.connections, 0);
    }
    Ok(())
}

#[test]
fn it_takes_the_role_of_the_workload_whatever_its_executable() -> Result<()> {
    let trial = Trial::guarded(setup())?;
    let mut probe = start(&trial, &[], &[])?;
    let process = trial.enrolled(probe.pid())?;
    assert_eq!(
        (process["role"].as_str(), process["phase"].as_str()),
        (Some("server"), Some("start")),
        "{process}"
    );
    assert!(
        process["exe"]
            .as_str()
            .is_some_and(|exe| exe.ends_with("outsider")),
        "{process}"
    );
    // What it starts is a tool, as with any server.
    assert!(probe.ask(&Order::exec("/bin/true", &[]))?.worked());
    trial
        .daemon()?
        .learned(WORKLOAD, "exec", "/usr/bin/true", |s| s.ends_with("/true"))?;
    let events = trial.daemon()?.json(&["events", "--workload", WORKLOAD])?;
    assert!(events.iter().any(|e| e["role"] == "tool"), "{events:?}");
    Ok(())
}

#[test]
fn its_first_act_is_judged() -> Result<()> {
    let attack = serde_json::to_string(&Order::Connect(at(ATTACKER, 80)))?;
    let first = format!("{FIRST}{attack}");
    let twin = Trial::unguarded()?;
    twin.member_with(Launch {
        arguments: vec![first.clone()],
        ..Launch::default()
    })?;
    assert_eq!(twin.world.attacker.evidence()?.connections, 1);

    let trial = Trial::guarded(setup())?;
    learn_and_enforce(&trial, &[])?;
    for sandbox in ["auto", "never"] {
        start(&trial, &["--sandbox", sandbox], &[&first])?;
    }
    assert_eq!(trial.world.attacker.evidence()?.connections, 0);
    let alert = trial.alert("connect", "10.77.0.66:80/tcp")?;
    assert_eq!(
        (alert["role"].as_str(), alert["phase"].as_str()),
        (Some("server"), Some("start"))
    );
    Ok(())
}

#[test]
fn even_what_its_loader_opens_is_judged() -> Result<()> {
    // A tool may be killed for an unknown file; nothing at all is known of it.
    let trial = Trial::guarded(Setup::tool())?;
    let tool = ["--role", "tool", "--sandbox", "never"];
    assert!(
        run(&trial, &tool, &["/bin/true"])?.status.success(),
        "while it learns"
    );
    let nothing = Trial::guarded(Setup::tool())?;
    nothing.enforce()?;
    let output = run(&nothing, &tool, &["/bin/true"])?;
    assert!(!output.status.success(), "{output:?}");
    assert!(!said(&output).contains("cannot be executed"), "{output:?}");
    Ok(())
}

#[test]
fn a_workload_that_learns_is_enrolled_and_not_confined() -> Result<()> {
    let trial = Trial::guarded(setup())?;
    let output = run(
        &trial,
        &["--sandbox", "always"],
        &["/bin/cat", "/proc/self/status"],
    )?;
    assert!(said(&output).contains("enrolled, not confined, because it learns"));
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        status.contains("Seccomp:\t0") && status.contains("NoNewPrivs:\t0"),
        "{status}"
    );
    trial
        .daemon()?
        .learned(WORKLOAD, "read", "its status", |s| s == "/proc/self/status")?;
    trial.enforce()?;
    let output = run(&trial, &[], &["/bin/cat", "/proc/self/status"])?;
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"),
        "{status}"
    );
    assert!(
        said(&output).contains("enrolled, confined"),
        "{}",
        said(&output)
    );
    let quiet = run(&trial, &["--quiet"], &["/bin/cat", "/proc/self/status"])?;
    assert_eq!(said(&quiet), "");
    Ok(())
}

#[test]
fn it_ends_as_its_command_does() -> Result<()> {
    let trial = Trial::guarded(setup())?;
    let code = |words: &[&str]| Ok::<_, anyhow::Error>(run(&trial, &[], words)?.status);
    assert_eq!(code(&["/bin/sh", "-c", "exit 7"])?.code(), Some(7));
    let killed = code(&["/bin/sh", "-c", "kill -TERM $$"])?;
    assert_eq!(killed.code(), None, "a signal is its own");
    let plain = text(&trial.file("plain", "text")?);
    // By name, and with its arguments.
    let output = run(&trial, &[], &["echo", "--json", "a b"])?;
    assert_eq!(output.stdout, b"--json a b\n");
    for (words, code, word) in [
        (&["no-such-command"][..], 127, "not found"),
        (&["/no/such/command"], 127, "not found"),
        (&[&plain], 126, "cannot be executed"),
        (&["/etc"], 126, "cannot be executed"),
    ] {
        let output = run(&trial, &[], words)?;
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        assert!(said(&output).contains(word), "{}", said(&output));
    }
    Ok(())
}

#[test]
fn what_cannot_be_guarded_is_not_started() -> Result<()> {
    let trial = Trial::prepared(setup())?;
    let mark = text(&trial.path("mark"));
    let touch = ["/bin/sh", "-c", &format!("echo ran > {mark}")];
    let refused = |options: &[&str], code: i32, word: &str| -> Result<()> {
        let output = run(&trial, options, &touch)?;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{options:?}: {}",
            said(&output)
        );
        assert!(
            said(&output).contains(word),
            "{options:?}: {}",
            said(&output)
        );
        assert!(!trial.path("mark").exists(), "{options:?}");
        Ok(())
    };
    refused(&[], 3, "--without-daemon starts it all the same")?;
    refused(&["--role", "boss"], 2, "use server")?;
    refused(
        &["--without-daemon", "--policy", "/no/such"],
        78,
        "/no/such",
    )?;
    let policy = trial.file("policy", "no json\n")?;
    refused(
        &["--without-daemon", "--policy", &text(&policy)],
        78,
        "line 1",
    )?;
    fs::write(&policy, "")?;
    refused(
        &["--without-daemon", "--policy", &text(&policy)],
        78,
        "says nothing",
    )?;

    trial.daemon()?.launch()?;
    refused(&["--role", "loader"], 1, "--role")?;
    let mut elsewhere = Command::new(trial.daemon()?.program());
    let words = arguments(&trial, &[], &touch)?;
    elsewhere.args(
        words
            .iter()
            .map(|w| if w == WORKLOAD { "other" } else { w }),
    );
    let output = command::output(elsewhere, PATIENCE)?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("slmguard workloads"),
        "{}",
        said(&output)
    );
    assert!(!trial.path("mark").exists());
    // The twin: with a daemon and a right role it runs.
    assert!(run(&trial, &[], &touch)?.status.success());
    assert!(trial.path("mark").exists());
    Ok(())
}

#[test]
fn a_sandbox_that_cannot_be_had_keeps_the_command_from_starting() -> Result<()> {
    let trial = Trial::prepared(setup().mode("monitor"))?;
    let mark = text(&trial.path("mark"));
    let touch = ["/bin/sh", "-c", &format!("echo ran > {mark}")];
    let options = ["--without-daemon", "--quiet"];
    let program = text(trial.daemon()?.program());
    // Each layer is one more; the kernel takes a limited number of them.
    let mut words: Vec<String> = touch.iter().map(|&w| w.to_owned()).collect();
    for _ in 0..20 {
        let inner: Vec<&str> = words.iter().map(String::as_str).collect();
        words = arguments(&trial, &options, &inner)?;
        words.insert(0, program.clone());
    }
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    let output = command::output(command, PATIENCE)?;
    assert_eq!(output.status.code(), Some(69), "{}", said(&output));
    assert!(
        said(&output).contains("so it is not started"),
        "{}",
        said(&output)
    );
    assert!(!trial.path("mark").exists());
    assert!(run(&trial, &options, &touch)?.status.success());
    assert!(trial.path("mark").exists());
    Ok(())
}

#[test]
fn without_a_daemon_a_saved_policy_holds() -> Result<()> {
    let learned = Trial::guarded(setup())?;
    let mut probe = start(&learned, &[], &[])?;
    assert!(probe.ask(&Order::Read("/etc/hostname".into()))?.worked());
    learned
        .daemon()?
        .learned(WORKLOAD, "read", "/etc/hostname", |s| s == "/etc/hostname")?;
    drop(probe);
    let baseline = learned
        .daemon()?
        .cli(&["baseline", "show", WORKLOAD, "--json"])?;
    learned.daemon()?.stop()?;
    let policy = learned.path("policy.jsonl");
    fs::write(&policy, &baseline.stdout)?;

    let options = ["--without-daemon", "--policy", &text(&policy)];
    let mut probe = start(&learned, &options, &[])?;
    assert!(probe.ask(&Order::Read("/etc/hostname".into()))?.worked());
    for (what, order) in intrusions(&learned)? {
        assert_eq!(probe.ask(&order)?, EACCES, "{what}");
    }
    let output = run(&learned, &options, &["/bin/true"])?;
    assert!(said(&output).contains("not enrolled (no daemon was asked), confined"));
    Ok(())
}

#[test]
fn a_member_cannot_start_itself_into_another_role() -> Result<()> {
    let other = "[[workload.process]]\nrole = \"server\"\nexe = \"/no/such\"";
    let trial = Trial::guarded(Setup::tool().with(other))?;
    let mut probe = trial.member()?;
    let program = text(trial.daemon()?.program());
    let mut ask = |role: &str| {
        let words = arguments(&trial, &["--role", role], &["/bin/true"])?;
        probe.ask(&Order::Exec((&program).into(), words))
    };
    match ask("server")? {
        Fate::ChildFailed(said) => {
            assert!(said.contains("tool of workload trial already"), "{said}")
        }
        fate => panic!("{fate:?}"),
    }
    // What it is already, it may start.
    assert!(ask("tool")?.worked());
    Ok(())
}

#[test]
fn who_may_not_talk_to_the_daemon_starts_nothing() -> Result<()> {
    let trial = Trial::guarded(setup())?;
    let config = trial.daemon()?.config();
    let folder = config.parent().context("a folder")?;
    for path in [folder, &config] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(trial.daemon()?.program());
    command
        .args(arguments(&trial, &[], &["/bin/true"])?)
        .uid(65534)
        .gid(65534);
    let output = command::output(command, PATIENCE)?;
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(
        said(&output).contains("socket's group"),
        "{}",
        said(&output)
    );
    Ok(())
}

#[test]
fn the_launcher_is_not_taken_for_the_workload_by_its_cgroup() -> Result<()> {
    let cgroup = Cgroup::create("")?;
    let recognised = format!("cgroup = \"{}\"", cgroup.path());
    let trial = Trial::guarded(Setup::tool().recognised(recognised))?;
    let tool = ["--role", "tool", "--sandbox", "never"];
    // A shell moves into the cgroup, as systemd would put a service there, and
    // becomes the launcher.
    let launcher = |words: &[&str]| -> Result<Output> {
        let mut outer = Command::new("/bin/sh");
        outer
            .args(["-c", "echo $$ > \"$CGROUP\"; exec \"$0\" \"$@\""])
            .arg(trial.daemon()?.program())
            .args(arguments(&trial, &tool, words)?)
            .env("CGROUP", cgroup.procs());
        command::output(outer, PATIENCE)
    };
    assert!(launcher(&["/bin/true"])?.status.success());
    let events = trial
        .daemon()?
        .json(&["events", "--limit", "1000", "--workload", WORKLOAD])?;
    let own = trial
        .daemon()?
        .program()
        .file_name()
        .unwrap_or_default()
        .to_owned();
    let of_launcher = events.iter().filter(|e| {
        e["process"]["exe"]
            .as_str()
            .is_some_and(|exe| exe.ends_with(&*own.to_string_lossy()))
    });
    assert_eq!(of_launcher.count(), 0, "{events:?}");
    assert!(
        events.iter().any(|e| e["kind"] == "exec"),
        "the command is a member"
    );
    Ok(())
}
