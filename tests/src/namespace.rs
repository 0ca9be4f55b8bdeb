//! A network and mount namespace of its own, for one scene.
//!
//! A thread moves into new namespaces and stays there; [`Namespace::run`] has
//! it do things, and whatever it starts — threads, processes — lives in there
//! too. All addresses of a scene are on the loopback interface of that
//! namespace, and there is no other interface and no route: nothing can leave.
//! When the thread and its descendants are gone, the kernel removes everything.
//!
//! The mount namespace carries the scene's own name-service files, so that
//! programs resolve names as they always do.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::netlink::Netlink;
use crate::wait;

/// How long a new address may take to work.
const USABLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// The namespaces, as long as this value and what it started live.
pub struct Namespace {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    /// Makes the namespaces. `addresses` exist in there besides the usual
    /// loopback ones; `resolver` is asked for names; files are written to `etc`.
    pub fn new(addresses: &[IpAddr], resolver: IpAddr, etc: &Path) -> Result<Self> {
        let files = write_name_service(resolver, etc)?;
        let addresses = addresses.to_vec();
        let (jobs, inbox) = channel::<Job>();
        let (ready, is_ready) = channel();
        let thread = thread::Builder::new()
            .name("scene-namespace".into())
            .spawn(move || {
                let entered = enter(&addresses, &files);
                let usable = entered.is_ok();
                if ready.send(entered).is_ok() && usable {
                    inbox.into_iter().for_each(|job| job());
                }
            })
            .context("start the namespace thread")?;
        is_ready
            .recv()
            .map_err(|_| anyhow!("the namespace thread died"))??;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Does `work` in the namespaces and returns what it returned.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (done, is_done) = channel();
        let job: Job = Box::new(move || {
            // Nobody waits for the result any more: nothing to do about it.
            let _ = done.send(work());
        });
        let gone = || anyhow!("the namespace thread is gone");
        self.jobs
            .as_ref()
            .ok_or_else(gone)?
            .send(job)
            .map_err(|_| gone())?;
        is_done.recv().map_err(|_| gone())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            // A panic in there has already been printed.
            let _ = thread.join();
        }
    }
}

fn enter(addresses: &[IpAddr], files: &[(PathBuf, PathBuf)]) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .context("make a network and mount namespace (this needs root)")?;
    // What is mounted in here stays in here; what the host mounts still shows.
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_SLAVE,
        None::<&str>,
    )
    .context("detach the mounts from the host's")?;
    for (source, target) in files {
        mount(
            Some(source),
            target,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .with_context(|| format!("lay {} over {}", source.display(), target.display()))?;
    }
    let netlink = Netlink::open()?;
    netlink.loopback_up()?;
    for &address in addresses {
        netlink.add_to_loopback(address)?;
        usable(address)?;
    }
    Ok(())
}

/// Waits until a datagram to a new address arrives. The kernel completes IPv6
/// addresses in the background, and until then loses what is sent to them.
fn usable(address: IpAddr) -> Result<()> {
    let socket = UdpSocket::bind((address, 0)).with_context(|| format!("use {address}"))?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    let own = socket.local_addr()?;
    wait::until(&format!("{address} can be used"), USABLE, || {
        let sent = socket.send_to(b"?", own);
        Ok(sent.and_then(|_| socket.recv(&mut [0])).ok())
    })
    .map(drop)
}

/// Writes the scene's versions of the files that say how names are resolved,
/// and returns what to lay over what. Where the host has no such file, the C
/// library's defaults (a resolver on 127.0.0.1, files before DNS) do.
fn write_name_service(resolver: IpAddr, etc: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    fs::create_dir_all(etc).with_context(|| format!("create {}", etc.display()))?;
    let mut files = Vec::new();
    for (name, content) in [
        (
            "resolv.conf",
            format!("nameserver {resolver}\noptions timeout:2 attempts:1\n"),
        ),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\n".to_owned(),
        ),
        ("hosts", "127.0.0.1 localhost\n::1 localhost\n".to_owned()),
    ] {
        let target = Path::new("/etc").join(name);
        if target.exists() {
            let source = etc.join(name);
            fs::write(&source, content).with_context(|| format!("write {}", source.display()))?;
            files.push((source, target));
        }
    }
    Ok(files)
}
