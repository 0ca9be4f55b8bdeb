//! Self-test: a protection counts only if it was seen to work. Child processes of our own become
//! members of a reserved class and try one operation of each family, first let through (does each
//! hook fire?), then with an empty policy in force (is each operation stopped?).

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use monitor_common::{
    class::{Class, Control, Mode, PROBE, PROBE_BOUND, Phase, Role},
    hook::{HOOKS, Hook, HookCounters},
};

use super::{
    Kernel, KernelError, Tier,
    probe::{ARGUMENT, NETWORK, READY},
};

const EPERM: &str = "errno 1";
const NAMES: &str = "names";

/// Runs it and writes what was seen into the kernel's hook states.
///
/// # Errors
/// The maps cannot be used. A hook that fails the test is not an error: its state says so.
pub fn run(kernel: &mut Kernel) -> Result<(), KernelError> {
    let class = Class {
        after_exec: PROBE,
        after_bind: PROBE_BOUND,
        workload: 0,
        role: Role::Sidecar as u8,
        phase: Phase::Serve as u8,
    };
    kernel.set_class(PROBE, class)?;
    kernel.set_class(
        PROBE_BOUND,
        Class {
            after_bind: PROBE,
            ..class
        },
    )?;
    set_mode(kernel, Mode::Learn);
    let before = totals(kernel)?;
    let mut operations: Vec<&str> = NETWORK.to_vec();
    operations.extend([
        "open", "exec", "mount", "ring", NAMES, "listen", "netlink", "unix", "datagram",
    ]);
    let learned = probe(kernel, &operations);
    let after = totals(kernel)?;
    set_mode(kernel, Mode::Enforce);
    let network = probe(kernel, &NETWORK);
    let open = probe(kernel, &["open"]);
    let exec = probe(kernel, &["exec"]);
    let further = try_further(kernel);
    set_mode(kernel, Mode::Learn);
    if let Some(rings) = &mut kernel.rings {
        rings.drain(&mut |_| {});
    }
    let tier = kernel.tier;
    for status in &mut kernel.hooks {
        if !status.attached {
            continue;
        }
        let ran = after[status.id as usize].member > before[status.id as usize].member;
        let seen = match status.id {
            Hook::Connect4
            | Hook::Connect6
            | Hook::Sendmsg4
            | Hook::Sendmsg6
            | Hook::Bind4
            | Hook::Bind6
            | Hook::SockCreate => stopped_by_errno(&network, status.hook),
            Hook::LsmConnect => stopped_by_errno(&network, "connect4"),
            Hook::LsmSendmsg => stopped_by_errno(&network, "sendmsg4"),
            Hook::OpenExit | Hook::LsmFileOpen => Some(open_stopped(&open, tier)),
            Hook::LsmExec => outcome(&exec, "exec").map(|o| o == EPERM),
            Hook::ProcessExec if tier == Tier::Cgroup => {
                outcome(&exec, "exec").map(|o| o == "killed")
            }
            Hook::TcpListen | Hook::ListenRelease => outcome(&learned, "bind4").map(|_| true),
            // Nobody calls a port of the self-test's processes.
            Hook::TcpCaller | Hook::TcpAccept => None,
            Hook::LsmListen => further_stopped(&learned, &further, "listen"),
            Hook::LsmSocket | Hook::SocketExit => further_stopped(&learned, &further, "netlink"),
            Hook::LsmUnixConnect | Hook::UnixExit => further_stopped(&learned, &further, "unix"),
            Hook::LsmUnixSend => further_stopped(&learned, &further, "datagram"),
            Hook::SocketOwner | Hook::FlowState | Hook::PacketEgress | Hook::PacketIngress => {
                outcome(&learned, "flow").map(|_| true)
            }
            Hook::ProcessFork | Hook::ProcessExec | Hook::ProcessExit => Some(true),
            Hook::LsmMount => further_stopped(&learned, &further, "mount"),
            Hook::LsmRing | Hook::RingExit => further_stopped(&learned, &further, "ring"),
            Hook::LsmMkdir | Hook::NamesExit => further_stopped(&learned, &further, NAMES),
            Hook::LsmRmdir => outcome(&learned, NAMES)
                .filter(|o| *o == "ok")
                .map(|_| true),
            // Seen whenever a program starts.
            Hook::LsmMap | Hook::MapExit => Some(true),
            // What is made for it would outlive the test, or needs a second process.
            Hook::LsmUnlink
            | Hook::LsmRename
            | Hook::LsmLink
            | Hook::LsmTruncate
            | Hook::LsmSymlink
            | Hook::LsmMknod
            | Hook::LsmMoveMount
            | Hook::LsmUmount
            | Hook::LsmPivotRoot
            | Hook::LsmUserNamespace
            | Hook::MountExit
            | Hook::LsmPtrace
            | Hook::LsmTraceme
            | Hook::PtraceExit
            | Hook::RingSubmit => None,
        };
        status.fires = seen.map(|stopped| ran && stopped);
        if status.fires == Some(false) {
            status.reason = Some(if ran {
                "attached and running, but the self-test's operation was not stopped".into()
            } else {
                "attached, but did not run in the self-test".into()
            });
        }
    }
    Ok(())
}

fn set_mode(kernel: &Kernel, mode: Mode) {
    let flags = Control::KILL_DEVIATION | Control::KILL_EXEC | Control::KILL_INVARIANT;
    for class in [PROBE, PROBE_BOUND] {
        kernel.set_control(class, Control::new(0, mode, flags).0);
    }
}

fn totals(kernel: &Kernel) -> Result<[HookCounters; HOOKS], KernelError> {
    let mut all = [HookCounters::default(); HOOKS];
    for (hook, counters) in kernel.counters()? {
        all[hook as usize] = counters;
    }
    Ok(all)
}

/// What a probe reported, and whether it was killed.
#[derive(Default)]
struct Report {
    lines: String,
    killed: bool,
}

/// `None`: the probe did not come to this operation, or the machine cannot do it.
fn outcome<'a>(report: &'a Report, name: &str) -> Option<&'a str> {
    let line = report
        .lines
        .lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(' '))?;
    (line != "unavailable").then_some(line)
}

fn stopped_by_errno(report: &Report, name: &str) -> Option<bool> {
    outcome(report, name).map(|o| o == EPERM)
}

/// Operations that are tried besides, each under an empty policy.
const FURTHER: [&str; 7] = [
    "mount", "ring", NAMES, "listen", "netlink", "unix", "datagram",
];

/// Where one operation kills, the next needs a process of its own.
fn try_further(kernel: &Kernel) -> Vec<Report> {
    match kernel.tier {
        Tier::Lsm => vec![probe(kernel, &FURTHER)],
        Tier::Cgroup => FURTHER.iter().map(|name| probe(kernel, &[name])).collect(),
    }
}

/// Whether such an operation was stopped; `None` where the machine does not do it for anybody. A
/// mount is of a file system that does not exist.
fn further_stopped(learned: &Report, further: &[Report], name: &str) -> Option<bool> {
    outcome(learned, name).filter(|o| *o == "ok" || name == "mount")?;
    Some(match further {
        [all] => stopped_by_errno(all, name) == Some(true),
        each => FURTHER
            .iter()
            .zip(each)
            .any(|(tried, report)| *tried == name && report.killed),
    })
}

fn open_stopped(report: &Report, tier: Tier) -> bool {
    match tier {
        Tier::Lsm => stopped_by_errno(report, "open") == Some(true),
        // The process was killed before it could report.
        Tier::Cgroup => report.killed && outcome(report, "open").is_none(),
    }
}

/// Each process has a working directory of its own, so that what it leaves is removed, and nobody
/// else's is in its way. Without one, it does not change names.
fn probe(kernel: &Kernel, operations: &[&str]) -> Report {
    let own = tempfile::Builder::new().prefix("slmguard-probe-").tempdir();
    let child = match &own {
        Ok(own) => start(operations, own.path()),
        Err(e) => {
            tracing::warn!(error = %e, "no temporary directory: the self-test leaves out names");
            let operations: Vec<&str> =
                operations.iter().copied().filter(|o| *o != NAMES).collect();
            start(&operations, Path::new("/"))
        }
    };
    child
        .and_then(|child| conduct(kernel, child))
        .unwrap_or_else(|e| {
            tracing::warn!(error = %e, "the self-test's process cannot be run");
            Report::default()
        })
}

fn start(operations: &[&str], directory: &Path) -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg(ARGUMENT)
        .args(operations)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

/// Makes the process a member when its exec is over, lets it go, and collects what it reports.
fn conduct(kernel: &Kernel, mut child: Child) -> io::Result<Report> {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("no pipes"));
    };
    let mut stdout = BufReader::new(stdout);
    let mut lines = String::new();
    stdout.read_line(&mut lines)?;
    if lines.trim() == READY {
        kernel.set_member(child.id(), PROBE);
        stdin.write_all(b"g")?;
    }
    drop(stdin);
    stdout.read_to_string(&mut lines)?;
    let status = child.wait()?;
    Ok(Report {
        lines,
        killed: status.signal() == Some(libc::SIGKILL),
    })
}
