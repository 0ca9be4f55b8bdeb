//! `cargo xtask vm`: one command on a stock Debian kernel in QEMU, over this machine's own files.
//!
//! The guest sees the host's root read-only, writes to memory above it, has no network card, and
//! runs the same binaries as the host. Knows how to boot, stream and judge how a guest ended;
//! must not know what the command is for.

mod cpio;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::kernels::{self, Kernel};
use crate::{build, paths, setup, sh, ui};

/// Runs a command on a stock Debian kernel in QEMU (no KVM needed, no network card).
///
/// The guest sees this machine's files read-only under a file system in memory: what is installed
/// here is there, and what the command writes is gone afterwards, except below $SLMGUARD_VM_OUT,
/// which is target/vm/KERNEL/out. The kernel's own messages are in target/vm/KERNEL/console.log
/// and dmesg.log. The exit status is the command's; 124 if it ran out of time, 125 if the guest
/// broke down.
#[derive(Args)]
pub struct Vm {
    /// Kernel series: 6.1 or 6.12; given twice, the command runs on each.
    #[arg(long, required = true, value_name = "SERIES")]
    kernel: Vec<String>,
    /// Seconds until the guest is ended.
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    /// A variable for the command, as NAME=VALUE. Nothing else of the environment is passed.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Vm) -> Result<ExitCode> {
    let mut env = BTreeMap::new();
    for pair in &args.env {
        let (name, value) = pair
            .split_once('=')
            .with_context(|| format!("--env {pair}: expected NAME=VALUE"))?;
        env.insert(name.to_owned(), value.to_owned());
    }
    let mut status = 0;
    for series in &args.kernel {
        let job = Job {
            series: series.clone(),
            argv: args.command.clone(),
            env: env.clone(),
            timeout: Duration::from_secs(args.timeout),
            count_instructions: false,
        };
        let end = boot(&job)?;
        if end != End::Exit(0) {
            ui::note("vm", &format!("kernel {series}"), &end.describe(series));
        }
        if status == 0 {
            status = end.status();
        }
    }
    Ok(ExitCode::from(status))
}

/// One command for one guest.
pub struct Job {
    /// Kernel series.
    pub series: String,
    /// Program and arguments; run in the repository root.
    pub argv: Vec<String>,
    /// Variables for it, besides the few every guest has.
    pub env: BTreeMap<String, String>,
    /// When to give up on the guest.
    pub timeout: Duration,
    /// Let the guest's clock tick once per instruction instead of with ours: its nanoseconds are
    /// instructions then, on one processor.
    pub count_instructions: bool,
}

/// How a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The command ended with this status.
    Exit(u8),
    /// The kernel panicked or oopsed.
    Panic,
    /// The time was over.
    Timeout,
    /// QEMU ended without a word from the guest.
    Lost,
}

impl End {
    /// The exit status to pass on.
    pub fn status(self) -> u8 {
        match self {
            Self::Exit(status) => status,
            Self::Timeout => 124,
            Self::Panic | Self::Lost => 125,
        }
    }

    /// What happened, for people, and where to read on.
    pub fn describe(self, series: &str) -> String {
        let log = build::relative(&home(series).join("console.log"));
        match self {
            Self::Exit(status) => format!("the command exited with {status}"),
            Self::Panic => format!("the guest's kernel panicked: see {log}"),
            Self::Timeout => format!("the guest ran out of time: see {log}"),
            Self::Lost => format!("the guest ended without a result: see {log}"),
        }
    }
}

/// The folder on the host that holds a guest's logs, and its `out`.
fn home(series: &str) -> PathBuf {
    paths::target().join("vm").join(series)
}

/// Where files that a guest writes to $SLMGUARD_VM_OUT arrive.
pub fn out_dir(series: &str) -> PathBuf {
    home(series).join("out")
}

/// Where the guest sees that folder.
const GUEST_OUT: &str = "/run/vm/out";

/// Boots a guest, streams its command's stdout and stderr to ours, and says how it ended.
pub fn boot(job: &Job) -> Result<End> {
    setup::vm_tools()?;
    let kernel = kernels::ensure(&job.series, false)?;
    let home = home(&job.series);
    let parent = home.parent().context("a guest's folder has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    let lock_path = parent.join(format!("{}.lock", job.series));
    let lock =
        File::create(&lock_path).with_context(|| format!("creating {}", lock_path.display()))?;
    if lock.try_lock().is_err() {
        ui::note(
            "vm",
            &format!("kernel {}", job.series),
            "waiting for another guest to end",
        );
        lock.lock()
            .with_context(|| format!("locking {}", lock_path.display()))?;
    }
    prepare(&home, &kernel, job)?;
    let mut qemu = start(&home, &kernel, job)?;
    let deadline = Instant::now() + job.timeout;
    let mut stdout = Tail::new(home.join("stdout"));
    let mut stderr = Tail::new(home.join("stderr"));
    let mut timed_out = false;
    let ended = loop {
        let ended = qemu.try_wait().context("waiting for qemu")?;
        stdout.copy_to(&mut std::io::stdout());
        stderr.copy_to(&mut std::io::stderr());
        if let Some(status) = ended {
            break status;
        }
        if Instant::now() > deadline && !timed_out {
            timed_out = true;
            qemu.kill().context("ending qemu")?;
        }
        thread::sleep(Duration::from_millis(30));
    };
    if let Some(status) = fs::read_to_string(home.join("status"))
        .ok()
        .and_then(|text| text.trim().parse().ok())
    {
        return Ok(End::Exit(status));
    }
    if timed_out {
        return Ok(End::Timeout);
    }
    let console = fs::read(home.join("console.log")).unwrap_or_default();
    let console = String::from_utf8_lossy(&console);
    if console.contains("Kernel panic") || console.contains("Oops:") {
        return Ok(End::Panic);
    }
    let said = fs::read_to_string(home.join("qemu.log")).unwrap_or_default();
    if !ended.success() || !said.trim().is_empty() {
        bail!("qemu failed ({ended}): {}", said.trim());
    }
    Ok(End::Lost)
}

/// Lays out the folder that the guest shares.
fn prepare(home: &Path, kernel: &Kernel, job: &Job) -> Result<()> {
    if home.exists() {
        fs::remove_dir_all(home).with_context(|| format!("clearing {}", home.display()))?;
    }
    let out = home.join("out");
    fs::create_dir_all(&out).with_context(|| format!("creating {}", out.display()))?;
    let write = |name: &str, contents: &[u8]| {
        let file = home.join(name);
        fs::write(&file, contents).with_context(|| format!("writing {}", file.display()))
    };
    write("initramfs", &initial_files(kernel)?)?;
    write("guest.sh", include_bytes!("guest.sh"))?;
    let modules = kernel.modules.to_string_lossy();
    write(
        "facts.sh",
        format!("modules={}\n", sh::quote(&modules)).as_bytes(),
    )?;
    write("command.sh", command_script(job).as_bytes())?;
    write("stdout", b"")?;
    write("stderr", b"")
}

/// The script that gives the command its environment, and only that.
fn command_script(job: &Job) -> String {
    let fixed = [
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("HOME", "/root"),
        ("USER", "root"),
        ("TERM", "dumb"),
        ("LANG", "C.UTF-8"),
        ("TMPDIR", "/tmp"),
        ("SLMGUARD_VM_OUT", GUEST_OUT),
        ("SLMGUARD_KERNEL", &job.series),
    ];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut script = String::from("exec /usr/bin/env -i");
    for (name, value) in fixed.iter().map(|(n, v)| (n, v)).chain(&job.env) {
        script.push(' ');
        script.push_str(&sh::quote(&format!("{name}={value}")));
    }
    for word in &job.argv {
        script.push(' ');
        script.push_str(&sh::quote(word));
    }
    script.push('\n');
    format!(
        "cd {} || exit 1\n{script}",
        sh::quote(&paths::root().to_string_lossy())
    )
}

fn initial_files(kernel: &Kernel) -> Result<Vec<u8>> {
    let busybox = paths::find_program("busybox").context("busybox is not in PATH")?;
    let bytes = fs::read(&busybox).with_context(|| format!("reading {}", busybox.display()))?;
    if needs_loader(&bytes) {
        bail!(
            "{} needs shared libraries and cannot start a guest: \
             install the package busybox-static instead",
            busybox.display()
        );
    }
    let mut archive = cpio::Archive::default();
    for folder in ["bin", "dev", "proc", "modules", "lower", "rw", "root"] {
        archive.folder(folder);
    }
    archive.device("dev/console", 5, 1);
    archive.file("bin/busybox", &bytes);
    archive.file("init", include_bytes!("boot.sh"));
    for module in &kernel.boot_modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        let bytes = fs::read(module).with_context(|| format!("reading {}", module.display()))?;
        archive.file(&format!("modules/{name}"), &bytes);
    }
    Ok(archive.finish())
}

/// Whether a 64-bit program names an interpreter (PT_INTERP), as all but static ones do.
fn needs_loader(elf: &[u8]) -> bool {
    const INTERPRETER: u64 = 3;
    let number = |at: usize, size: usize| -> Option<u64> {
        let bytes = elf.get(at..at.checked_add(size)?)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
        )
    };
    let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2))
    else {
        return false;
    };
    (0..count).any(|index| {
        let at = usize::try_from(table + index * size).unwrap_or(usize::MAX);
        number(at, 4) == Some(INTERPRETER)
    })
}

fn start(home: &Path, kernel: &Kernel, job: &Job) -> Result<std::process::Child> {
    // In QEMU's option syntax a comma in a value is doubled.
    let path = |path: &Path| path.to_string_lossy().replace(',', ",,");
    let share = |tag: &str, dir: &Path, more: &str| {
        format!(
            "local,path={},mount_tag={tag},security_model=passthrough{more}",
            path(dir)
        )
    };
    let log = File::create(home.join("qemu.log")).context("creating qemu.log")?;
    // `timeout` ends the guest even if this process is killed.
    Command::new("timeout")
        .args([
            "--foreground",
            "--kill-after=5",
            &(job.timeout.as_secs() + 30).to_string(),
        ])
        .arg("qemu-system-x86_64")
        .args(["-cpu", "max", "-m", "3072"])
        .args(if job.count_instructions {
            // One nanosecond of the guest's time per instruction; waiting takes no time of ours.
            [
                "-accel",
                "tcg,thread=single",
                "-smp",
                "1",
                "-icount",
                "shift=0,sleep=off",
            ]
            .as_slice()
        } else {
            ["-accel", "tcg,thread=multi", "-smp", "2"].as_slice()
        })
        .args([
            "-nic",
            "none",
            "-display",
            "none",
            "-monitor",
            "none",
            "-no-reboot",
        ])
        .arg("-serial")
        .arg(format!("file:{}", home.join("console.log").display()))
        .arg("-virtfs")
        .arg(share(
            "root",
            Path::new("/"),
            ",readonly=on,multidevs=remap",
        ))
        .arg("-virtfs")
        .arg(share("share", home, ""))
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(home.join("initramfs"))
        .arg("-append")
        // Where the emulator has to wait for a processor, the kernel's check that its timer ticks
        // fails, and the kernel panics.
        .arg("console=ttyS0 loglevel=5 panic=-1 oops=panic mitigations=off nokaslr no_timer_check rdinit=/init")
        .env_remove("LD_LIBRARY_PATH")
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("sharing qemu.log")?)
        .stderr(log)
        .spawn()
        .context("cannot start qemu-system-x86_64 (by way of `timeout`)")
}

/// Copies what is appended to a file.
struct Tail {
    path: PathBuf,
    at: u64,
}

impl Tail {
    fn new(path: PathBuf) -> Self {
        Self { path, at: 0 }
    }

    /// A reader that went away must not stop the guest: errors end the copying only.
    fn copy_to(&mut self, to: &mut impl Write) {
        let Ok(mut file) = File::open(&self.path) else {
            return;
        };
        let mut new = Vec::new();
        if file.seek(SeekFrom::Start(self.at)).is_ok() && file.read_to_end(&mut new).is_ok() {
            self.at += new.len() as u64;
            if !new.is_empty() {
                let _ = to.write_all(&new).and_then(|()| to.flush());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_loader_is_recognised() {
        let this_test = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(
            needs_loader(&this_test),
            "test programs are linked dynamically"
        );
        assert!(!needs_loader(b"#!/bin/sh\n"));
    }

    #[test]
    fn the_command_gets_its_own_environment_and_arguments_unharmed() {
        let job = Job {
            series: "6.1".into(),
            argv: vec!["printf".into(), "%s".into(), "it's".into()],
            env: BTreeMap::from([("A".to_owned(), "two words".to_owned())]),
            timeout: Duration::from_secs(1),
            count_instructions: false,
        };
        let script = command_script(&job);
        assert!(script.contains("env -i "), "{script}");
        assert!(script.contains("'A=two words'"), "{script}");
        assert!(script.ends_with("printf %s 'it'\\''s'\n"), "{script}");
    }
}
