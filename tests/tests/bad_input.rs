//! What an operator gets to hear when the daemon cannot start: a message that names what is wrong,
//! where, and what to do, the exit code for scripts, and nothing left behind in the kernel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use scene::cgroup::Cgroup;
use scene::daemon::{self, Daemon, Options, masked};
use scene::probe::{Fate, Order};
use scene::trial::{Setup, Trial, at};
use scene::world::{ATTACKER, WEATHER};
use tempfile::TempDir;

/// The user and group that own nothing.
const NOBODY: &str = "65534";

/// A daemon that is configured and does not run, in a folder that everybody may enter.
struct Case {
    daemon: Daemon,
    directory: TempDir,
}

impl Case {
    fn new() -> Result<Self> {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Options)) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let workload = "[[workload]]\nname = \"trial\"\n[[workload.process]]\nrole = \"tool\"\n\
                        exe = \"/nonexistent/program\"\n";
        let mut options = Options::new(
            daemon::program()?,
            &directory.path().join("guard"),
            workload.into(),
        );
        change(&mut options);
        Ok(Self {
            daemon: Daemon::prepare(options)?,
            directory,
        })
    }

    /// `run` and `doctor` end with this exit code and a message that holds these words.
    #[track_caller]
    fn refused(&self, prefix: &[String], code: i32, words: &[&str]) -> Result<String> {
        let mut told = String::new();
        for command in ["doctor", "run"] {
            told = self.ends(prefix, &[command], code, words)?;
        }
        assert!(
            self.daemon.pinned().is_empty(),
            "nothing is half attached: {:?}",
            self.daemon.pinned()
        );
        Ok(told)
    }

    #[track_caller]
    fn ends(
        &self,
        prefix: &[String],
        arguments: &[&str],
        code: i32,
        words: &[&str],
    ) -> Result<String> {
        let output = self.daemon.ended(prefix, arguments)?;
        let told = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        for word in words {
            assert!(told.contains(word), "{arguments:?}: no `{word}` in {told}");
        }
        let hostile = |c: char| c != '\n' && c.is_control();
        assert!(!told.contains(hostile), "{told:?}");
        Ok(told)
    }

    fn configure(&self, text: impl AsRef<[u8]>) -> Result<()> {
        fs::write(self.daemon.config(), text).context("write the configuration")
    }

    /// `config check` and `run` refuse the configuration.
    #[track_caller]
    fn bad_config(&self, words: &[&str]) -> Result<String> {
        self.ends(&[], &["config", "check"], 78, words)?;
        self.ends(&[], &["run"], 78, words)
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

// --- privileges

#[test]
fn somebody_who_is_not_root_is_told_which_privileges_are_missing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    // Where it was built may be out of reach for others.
    let copy = directory.path().join("slmguard");
    fs::copy(daemon::program()?, &copy)?;
    let case = Case::with(|options| options.program = copy)?;
    let nobody = words(&format!(
        "setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups"
    ));
    case.refused(&nobody, 77, &["CAP_BPF", "CAP_SYS_ADMIN", "root"])?;
    // Not "nothing was pinned": it cannot even look.
    case.ends(&nobody, &["detach"], 77, &["CAP_BPF"])?;
    Ok(())
}

#[test]
fn each_capability_that_is_missing_is_named() -> Result<()> {
    let case = Case::new()?;
    let all = ["bpf", "perfmon", "net_admin", "sys_admin", "sys_ptrace"];
    for missing in all {
        let prefix = words(&format!(
            "setpriv --inh-caps=-{missing} --bounding-set=-{missing}"
        ));
        let name = format!("CAP_{}", missing.to_uppercase());
        let told = case.ends(&prefix, &["run"], 77, &[&format!("{name} missing")])?;
        for other in all.iter().filter(|other| **other != missing) {
            let other = format!("CAP_{}", other.to_uppercase());
            assert!(!told.contains(&other), "only {name} is missing: {told}");
        }
    }
    assert!(case.daemon.pinned().is_empty());
    Ok(())
}

#[test]
fn root_of_a_user_namespace_is_told_that_it_is_not_root() -> Result<()> {
    let case = Case::new()?;
    case.refused(
        &words("unshare --user --map-root-user"),
        77,
        &["user namespace"],
    )?;
    Ok(())
}

#[test]
fn a_pid_namespace_of_its_own_is_refused() -> Result<()> {
    let case = Case::new()?;
    case.refused(
        &words("unshare --pid --fork --mount-proc"),
        69,
        &["pid namespace", "hostPID"],
    )?;
    Ok(())
}

// --- kernel

#[test]
fn a_kernel_without_type_information_is_told_with_what_to_do() -> Result<()> {
    let case = Case::new()?;
    let prefix = masked("mount -t tmpfs none /sys/kernel/btf");
    let words = ["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"];
    case.refused(&prefix, 69, &words)?;
    Ok(())
}

#[test]
fn a_kernel_that_is_too_old_is_told_by_the_feature_it_lacks() -> Result<()> {
    const LOOP: &[u8] = b"BPF_FUNC_loop\0";
    let case = Case::new()?;
    // Type information as an older kernel has it: without the name of what came later.
    let mut btf = fs::read("/sys/kernel/btf/vmlinux")?;
    let at = btf.windows(LOOP.len()).position(|name| name == LOOP);
    let at = at.context("this kernel's type information names bpf_loop")?;
    btf[at..at + 4].copy_from_slice(b"none");
    let old = case.directory.path().join("btf");
    fs::write(&old, btf)?;
    let prefix = masked(&format!(
        "mount --bind {} /sys/kernel/btf/vmlinux",
        old.display()
    ));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let words = ["bpf_loop", "Linux 5.17", release.trim(), "boot"];
    case.refused(&prefix, 69, &words)?;
    Ok(())
}

#[test]
fn lsm_demanded_where_there_is_none_is_refused() -> Result<()> {
    let case = Case::with(|options| options.tier = "lsm".into())?;
    let active = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let prefix = match active.contains("bpf") {
        false => Vec::new(),
        true => {
            let list = case.directory.path().join("lsm");
            fs::write(&list, "lockdown,capability,apparmor")?;
            masked(&format!(
                "mount --bind {} /sys/kernel/security/lsm",
                list.display()
            ))
        }
    };
    case.refused(&prefix, 69, &["lsm tier is demanded", "lsm= list"])?;
    Ok(())
}

#[test]
fn no_cgroup_v2_is_told_with_how_to_mount_it() -> Result<()> {
    let case = Case::new()?;
    let prefix = masked("umount --lazy --all --types cgroup2");
    let words = ["no cgroup v2", "mount -t cgroup2"];
    case.refused(&prefix, 69, &words)?;
    Ok(())
}

#[test]
fn a_part_of_cgroup_v2_is_told_from_the_whole() -> Result<()> {
    let case = Case::new()?;
    let cgroup = Cgroup::create("")?;
    // As in a container: the cgroup of its own looks like the root, and is none.
    let inner = "umount --lazy --all --types cgroup2; mount -t cgroup2 none /mnt; exec \"$@\"";
    let outer = format!(
        "echo $$ > $(findmnt --noheadings --types cgroup2 --output TARGET | head -1){}/cgroup.procs
         exec unshare --cgroup --mount --propagation private sh -ec '{inner}' sh \"$@\"",
        cgroup.path()
    );
    let prefix = ["sh", "-ec", &outer, "sh"].map(str::to_owned);
    case.refused(&prefix, 69, &["only in part", "--cgroupns=host"])?;
    Ok(())
}

#[test]
fn a_hybrid_hierarchy_is_found_and_guarded() -> Result<()> {
    let prefix = masked(
        "umount --lazy --all --types cgroup2; mount -t tmpfs none /sys/fs/cgroup; mkdir \
         /sys/fs/cgroup/unified /sys/fs/cgroup/cpu; mount -t cgroup2 none /sys/fs/cgroup/unified",
    );
    let trial = Trial::guarded(Setup::tool().inside(prefix))?;
    trial.learn_and_enforce(&[Order::Connect(at(WEATHER, 80))])?;
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, Fate::EPERM);
    assert!(probe.ask(&Order::Connect(at(WEATHER, 80)))?.worked());
    assert_eq!(trial.world.attacker.evidence()?.connections, 0);
    assert_eq!(trial.daemon()?.cli(&["doctor"])?.status.code(), Some(0));
    Ok(())
}

// --- configuration

#[test]
fn an_unknown_key_is_named_with_its_line() -> Result<()> {
    let case = Case::new()?;
    case.configure("# mine\n[log]\nlevle = \"info\"\n")?;
    case.bad_config(&["config.toml:3:", "levle", "level"])?;
    Ok(())
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_its_line() -> Result<()> {
    let case = Case::new()?;
    case.configure("state_dir = 7\n")?;
    case.bad_config(&["config.toml:1:", "integer"])?;
    Ok(())
}

#[test]
fn two_workloads_of_one_name_are_named_with_their_files() -> Result<()> {
    let case = Case::new()?;
    let text = fs::read_to_string(case.daemon.config())?;
    let workload = &text[text.find("[[workload]]").context("a workload")?..];
    let more = case.daemon.config().with_file_name("conf.d");
    fs::create_dir(&more)?;
    fs::write(
        more.join("second.toml"),
        workload.replace("nonexistent", "elsewhere"),
    )?;
    case.bad_config(&["\"trial\" is the name of workload[0]", "second.toml"])?;
    Ok(())
}

#[test]
fn a_file_that_may_not_be_read_is_a_matter_of_privilege() -> Result<()> {
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    let copy = directory.path().join("slmguard");
    fs::copy(daemon::program()?, &copy)?;
    let case = Case::with(|options| options.program = copy)?;
    fs::set_permissions(case.daemon.config(), fs::Permissions::from_mode(0o600))?;
    let nobody = words(&format!(
        "setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups"
    ));
    let words = ["config.toml", "Permission denied", "root"];
    case.ends(&nobody, &["config", "check"], 77, &words)?;
    Ok(())
}

#[test]
fn what_is_no_text_file_is_refused_at_once() -> Result<()> {
    let case = Case::new()?;
    let config = case.daemon.config();
    fs::remove_file(&config)?;
    fs::create_dir(&config)?;
    case.bad_config(&["config.toml", "not a plain file"])?;
    fs::remove_dir(&config)?;
    nix::unistd::mkfifo(&config, nix::sys::stat::Mode::S_IRWXU)?;
    case.bad_config(&["config.toml", "not a plain file"])?;
    fs::remove_file(&config)?;
    fs::File::create(&config)?.set_len(1 << 40)?;
    case.bad_config(&["config.toml", "larger than"])?;
    case.configure(b"[log]\nlevel = \"\xff\"\n")?;
    case.bad_config(&["config.toml:2:", "UTF-8"])?;
    case.configure("[log]\nlevel = \"in\0fo\"\n")?;
    case.bad_config(&["config.toml:2:"])?;
    Ok(())
}

#[test]
fn hostile_names_in_the_configuration_are_shown_escaped() -> Result<()> {
    let case = Case::new()?;
    for section in [
        "name = \"a\\u001b[31m\\n\\u202e\"\n[[workload.process]]\nrole = \"tool\"\nexe = \"/x\"",
        "name = \"a\"\n[[workload.process]]\nrole = \"tool\"\nunit = \"\\u001b[2J/x\"",
        "name = \"a\"\n[[workload.process]]\nrole = \"tool\"\nexe = \"/x\"\nuser = \"a\\nb:\\u001b\"",
        "name = \"a\"\n[[workload.process]]\nrole = \"\\u001b[2J\"\nexe = \"/x\"",
        "name = \"a\"\n\"\\u001b[2J\" = 1",
    ] {
        case.configure(format!("[[workload]]\n{section}\n"))?;
        let told = case.bad_config(&["u{1b}"])?;
        assert!(!told.contains('\u{202e}'), "{told:?}");
    }
    Ok(())
}

#[test]
fn more_rules_than_the_kernel_holds_are_refused_with_the_first_that_does_not_fit() -> Result<()> {
    let case = Case::new()?;
    let rules: Vec<String> = (0..17_000)
        .map(|n| format!("\"10.1.{}.{}:443/tcp\"", n / 256, n % 256))
        .collect();
    let text = fs::read_to_string(case.daemon.config())?;
    let rules = format!("[workload.deny]\nconnect = [{}]\n", rules.join(", "));
    case.configure(format!("{text}\n{rules}"))?;
    case.bad_config(&["workload[0]", "16384", "10.1.64.0:443/tcp"])?;
    Ok(())
}

#[test]
fn a_rule_that_this_tier_can_only_report_is_no_healthy_state() -> Result<()> {
    let setup = Setup::tool().tier("cgroup").with(
        "[workload.deny]\nread = [\"/srv/private/**\"]\n[workload.undeniable]\ntool = \"alert\"",
    );
    let trial = Trial::prepared(setup)?;
    let daemon = trial.daemon()?;
    let told = |arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let output = daemon.cli(arguments)?;
        Ok((output.status.code(), String::from_utf8(output.stdout)?))
    };
    let (code, check) = told(&["config", "check"])?;
    assert_eq!(code, Some(0), "it is what the operator wrote: {check}");
    assert!(
        check.contains("warning") && check.contains("deny.read"),
        "{check}"
    );
    daemon.launch()?;
    let (code, doctor) = told(&["doctor"])?;
    assert_eq!(code, Some(1), "{doctor}");
    assert!(doctor.contains("deny.read") && doctor.contains("undeniable.tool = \"kill\""));
    let (_, status) = told(&["status"])?;
    assert!(
        status.contains("degraded") && status.contains("deny.read"),
        "{status}"
    );
    Ok(())
}

// --- places in use, and what a crash leaves

fn file_name(path: PathBuf) -> String {
    path.display().to_string()
}

#[test]
fn a_socket_in_use_is_refused_and_a_dead_one_replaced() -> Result<()> {
    let first = Case::new()?;
    first.daemon.launch()?;
    let socket = file_name(first.daemon.socket());
    let second = Case::new()?;
    let text = fs::read_to_string(second.daemon.config())?;
    let own = file_name(second.daemon.socket());
    second.configure(text.replace(&own, &socket))?;
    second.ends(&[], &["run"], 1, &[&socket, "another daemon answers there"])?;
    first.daemon.status().context("the first one lives on")?;
    first.daemon.kill()?;
    assert!(first.daemon.socket().exists(), "a killed daemon leaves it");
    assert_eq!(
        first.daemon.cli(&["status"])?.status.code(),
        Some(3),
        "nobody answers at a dead socket"
    );
    first.daemon.launch()?;
    first.daemon.end()?;
    // What is not a socket is somebody's.
    fs::write(first.daemon.socket(), "precious")?;
    first.ends(&[], &["run"], 1, &[&socket, "not a socket", "move it away"])?;
    assert_eq!(fs::read_to_string(first.daemon.socket())?, "precious");
    Ok(())
}

#[test]
fn a_state_directory_in_use_is_refused_and_a_dead_lock_is_none() -> Result<()> {
    let first = Case::new()?;
    first.daemon.launch()?;
    let pid = first.daemon.pid().context("it runs")?.to_string();
    let second = Case::new()?;
    let text = fs::read_to_string(second.daemon.config())?;
    let state = |case: &Case| file_name(case.directory.path().join("guard/state"));
    second.configure(text.replace(&state(&second), &state(&first)))?;
    let words = [&state(&first)[..], &pid, "state_dir"];
    second.ends(&[], &["run"], 1, &words)?;
    first.daemon.kill()?;
    first.daemon.launch()?;
    Ok(())
}

#[test]
fn a_pin_directory_in_use_is_refused_even_with_a_state_of_its_own() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[])?;
    let first = trial.daemon()?;
    let pid = first.pid().context("it runs")?.to_string();
    let second = Case::new()?;
    let text = fs::read_to_string(second.daemon.config())?;
    let (own, theirs) = (
        file_name(second.daemon.pins().into()),
        file_name(first.pins().into()),
    );
    second.configure(text.replace(&own, &theirs))?;
    second.ends(&[], &["run"], 1, &[&theirs, &pid, "pin_dir"])?;
    assert_eq!(
        trial.member()?.ask(&Order::Connect(at(ATTACKER, 80)))?,
        Fate::EPERM,
        "the first one's enforcement is untouched"
    );
    assert_eq!(first.cli(&["doctor"])?.status.code(), Some(0));
    first.kill()?;
    first.launch()?;
    Ok(())
}

#[test]
fn a_pin_directory_elsewhere_is_a_mistake_of_the_configuration() -> Result<()> {
    let case = Case::new()?;
    let text = fs::read_to_string(case.daemon.config())?;
    let own = file_name(case.daemon.pins().into());
    case.configure(text.replace(&own, "/var/lib/slmguard-pins"))?;
    let words = ["/var/lib/slmguard-pins", "bpf file system", "/sys/fs/bpf"];
    case.ends(&[], &["run"], 78, &words)?;
    Ok(())
}

#[test]
fn pins_of_another_version_and_half_made_ones_are_replaced() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[Order::Connect(at(WEATHER, 80))])?;
    let daemon = trial.daemon()?;
    daemon.kill()?;
    let abi = fs::read_dir(daemon.pins())?
        .next()
        .context("a folder of instances")??
        .path();
    fs::rename(&abi, daemon.pins().join("v9999"))?;
    fs::create_dir_all(abi.join("7/links"))?;
    fs::create_dir_all(abi.join("8"))?;
    assert_eq!(
        trial.member()?.ask(&Order::Connect(at(ATTACKER, 80)))?,
        Fate::EPERM,
        "what an unknown version pinned is at work"
    );
    daemon.launch()?;
    assert!(!daemon.pins().join("v9999").exists(), "and is gone now");
    assert!(!abi.join("7").exists() && !abi.join("8").exists());
    assert_eq!(daemon.cli(&["doctor"])?.status.code(), Some(0));
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, Fate::EPERM);
    assert!(probe.ask(&Order::Connect(at(WEATHER, 80)))?.worked());
    Ok(())
}

#[test]
fn what_is_not_ours_among_the_pins_is_left_and_named() -> Result<()> {
    let case = Case::new()?;
    case.daemon.launch()?;
    let stranger = case.daemon.pins().join("stranger");
    fs::create_dir(&stranger)?;
    case.daemon.kill()?;
    let words = ["stranger", "not slmguard's", "enforcement ended"];
    case.ends(&[], &["detach"], 1, &words)?;
    assert!(case.daemon.pinned().is_empty(), "all of ours went");
    fs::remove_dir(&stranger)?;
    Ok(())
}

#[test]
fn a_daemon_whose_pins_were_removed_does_not_call_itself_healthy() -> Result<()> {
    let case = Case::new()?;
    case.daemon.launch()?;
    assert_eq!(case.daemon.cli(&["doctor"])?.status.code(), Some(0));
    let detach = case.daemon.cli(&["detach"])?;
    assert!(detach.status.success());
    let told = String::from_utf8(detach.stderr)?;
    assert!(told.contains("still running"), "{told}");
    let doctor = case.daemon.cli(&["doctor"])?;
    assert_eq!(doctor.status.code(), Some(1));
    let status = case.daemon.status()?;
    let degraded = status["degraded"].to_string();
    assert!(
        degraded.contains("connect4") && degraded.contains("restart slmguard"),
        "{status}"
    );
    case.daemon.end()?;
    case.daemon.launch()?;
    assert_eq!(case.daemon.cli(&["doctor"])?.status.code(), Some(0));
    Ok(())
}
