//! The daemon: puts the parts together, keeps them running, and takes them apart in order.
//!
//! The flow itself is in [`engine`]; [`threads`] drives it. What needs a kernel is behind
//! [`guard::Guard`], so that everything else can be tested without one.

pub mod accelerate;
mod approvals;
mod approved;
mod backend;
pub mod barrier;
mod calls;
pub mod classes;
mod clock;
mod counts;
mod discovery;
pub mod engine;
mod evidence;
mod found;
pub mod guard;
mod hosts;
mod launch;
mod lineages;
mod membership;
mod models;
mod modes;
mod names;
mod notify;
mod order;
mod paths;
mod publish;
pub mod random;
mod recorder;
pub mod replay;
mod state;
mod telling;
pub mod threads;
mod traffic;
mod volumes;
mod waiting;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use monitor_common::hash::HashKey;
use slmguard_core::config::{Config, alerts_file};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    api::{self, Bound, view},
    enrich::{cgroup::Cgroups, procfs::Proc},
    exit::{Exit, Failure},
    export::{http, jsonl::JsonLines},
    kernel::{HookStatus, Kernel, KernelError, StartOptions, TierChoice, preflight},
    store::{Store, StoreError},
};
use engine::{Engine, SharedEngine};
use threads::Threads;

/// How long connections may take to end at a stop.
const FAREWELL: Duration = Duration::from_secs(3);

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Take enforcement away at a clean stop.
    pub detach_on_exit: bool,
    /// Move a state aside that is damaged or of a later version, and begin anew.
    pub reset_state: bool,
}

/// Runs until told to stop by SIGTERM or SIGINT.
pub fn run(config: Config, options: Options) -> Result<(), Failure> {
    let runtime = Runtime::new()
        .map_err(|e| Failure::new(Exit::Failure, format!("cannot start threads: {e}")))?;
    // Whoever lacks privileges hears that first; then what can fail cheaply; the kernel last.
    preflight::privileges().map_err(kernel_failure)?;
    let store = open_store(&config, options.reset_state)?;
    let socket = api::bind(&config.socket)?;
    let metrics = runtime.block_on(bind_metrics(&config))?;

    let key = random::hash_key()?;
    let found = store
        .detected()
        .map_err(|e| Failure::new(Exit::Failure, e.to_string()))?;
    let mut kernel = start_kernel(&config, key, !found.is_empty())?;
    let rings = kernel.take_rings().ok_or_else(|| {
        Failure::new(
            Exit::Failure,
            "the kernel side has no rings; this is a defect of slmguard",
        )
    })?;
    let kernel = guard::Shared::new(kernel);

    let pin_dir = config.pin_dir.clone();
    let file = JsonLines::new(alerts_file(&config), config.alerts.format);
    let cgroups = Cgroups::discover();
    let started = start_engine(config, store, &kernel, key, &metrics, &cgroups);
    let engine = started.inspect_err(|_| kernel.lock().abandon())?;
    let mut unread = kernel.lock().inherited_verdicts();
    if engine.store.is_new() && !unread.is_empty() {
        tracing::warn!(
            "{} verdicts that an earlier daemon had not read are lost with its state",
            unread.len()
        );
        unread.clear();
    }
    let retired = kernel.lock().retire_inherited();
    if retired > 0 {
        tracing::info!("removed the kernel programs of {retired} earlier instances");
    }
    // A start that took long, on a slow machine, is no pipeline that stands still.
    engine.beat();
    let threads = Threads::start(&engine, rings, unread, cgroups, file)
        .map_err(|e| Failure::new(Exit::Failure, format!("cannot start threads: {e}")))?;

    let served = runtime.block_on(serve(&engine, socket, metrics));
    notify::send("STOPPING=1");
    threads.stop(&engine);
    runtime.shutdown_timeout(Duration::from_secs(1));
    if options.detach_on_exit {
        let removed = Kernel::detach(&pin_dir).map_err(kernel_failure)?;
        tracing::info!("stopped; enforcement ended ({removed} instances removed)");
    } else {
        tracing::info!("stopped; enforcement stays in the kernel until `slmguard detach`");
    }
    served.map_err(|e| Failure::new(Exit::Failure, e.to_string()))
}

/// Brings policies, members and enrolment into the kernel, in this order: nobody is a member for a
/// moment without a policy, and no member of an earlier daemon is lost.
fn start_engine(
    config: Config,
    store: Store,
    kernel: &guard::Shared,
    key: HashKey,
    metrics: &Option<(TcpListener, SocketAddr)>,
    cgroups: &Cgroups,
) -> Result<SharedEngine, Failure> {
    let engine = Engine::new(
        config,
        store,
        Box::new(kernel.clone()),
        key,
        Proc::default(),
        Cgroups::discover(),
    )?;
    let engine: SharedEngine = Arc::new(engine);
    if let Some((_, address)) = metrics {
        let _ = engine.metrics_address.set(*address);
    }
    engine.publish_all()?;
    // Without the state that numbered the classes nobody can say what they meant: members are then
    // found as at a first start, by their programs and their parents.
    let known = !engine.store.is_new();
    if known {
        take_over_all(&engine, kernel);
    }
    engine.refresh_enrolment(cgroups)?;
    engine.adopt()?;
    if known {
        take_over_all(&engine, kernel);
    }
    Ok(engine)
}

/// Takes members over until none is left: one that forked between the reading and the taking is
/// found in the next round, and what it forks after that is a member by itself.
fn take_over_all(engine: &SharedEngine, kernel: &guard::Shared) {
    const ROUNDS: usize = 1000;
    for _ in 0..ROUNDS {
        let members = kernel.lock().inherited_members();
        if engine.take_over(&members) == 0 {
            return;
        }
    }
    tracing::warn!("members of an earlier daemon fork faster than they can be taken over");
}

fn start_kernel(config: &Config, key: HashKey, found: bool) -> Result<Kernel, Failure> {
    let options = StartOptions {
        tier: tier_choice(&config.kernel.tier),
        disable: config.kernel.disable_hooks.clone(),
        pin_dir: Some(config.pin_dir.clone()),
        watch_files: !config.workloads.is_empty() || found,
        watch_files_later: config.detect.enabled,
        key,
    };
    Kernel::start(&options).map_err(kernel_failure)
}

/// An error of the kernel side with its exit code.
pub fn kernel_failure(error: KernelError) -> Failure {
    Failure::new(
        Exit::from_number(error.exit_code().into()),
        error.to_string(),
    )
}

fn open_store(config: &Config, reset: bool) -> Result<Store, Failure> {
    let failed = |e: StoreError| Failure::new(Exit::Failure, e.to_string());
    if !reset {
        return Store::open(&config.state_dir).map_err(failed);
    }
    let (store, aside) = Store::open_or_reset(&config.state_dir).map_err(failed)?;
    match aside {
        Some(path) => tracing::warn!(
            "moved the state that could not be used to {}; learning begins anew",
            path.display()
        ),
        None => tracing::warn!("the state can be used: --reset-state had nothing to do"),
    }
    Ok(store)
}

async fn bind_metrics(config: &Config) -> Result<Option<(TcpListener, SocketAddr)>, Failure> {
    let listen = config.metrics.listen.as_str();
    if listen == "off" {
        return Ok(None);
    }
    http::bind(listen).await.map(Some).map_err(|e| {
        Failure::new(
            Exit::Failure,
            format!(
                "cannot listen on {listen} for metrics: {e}; set listen in [metrics] to another \
                 address, or to \"off\""
            ),
        )
    })
}

/// Serves API and metrics until a signal comes.
async fn serve(
    engine: &SharedEngine,
    socket: Bound,
    metrics: Option<(TcpListener, SocketAddr)>,
) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let (stop, stopped) = watch::channel(false);
    let until = |mut stopped: watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which is a stop as well.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let router = api::router(Arc::clone(engine) as _, stopped.clone());
    let path = engine.config.socket.display().to_string();
    let mut servers = tokio::task::JoinSet::new();
    servers.spawn(api::serve(socket, router, until(stopped.clone())));
    let address = match metrics {
        Some((listener, address)) => {
            servers.spawn(http::serve(
                listener,
                Arc::clone(engine) as _,
                until(stopped),
            ));
            address.to_string()
        }
        None => "off".into(),
    };
    tracing::info!(
        "slmguard ready tier={} workloads={} api={path} metrics={address}",
        engine.tier(),
        engine.workload_count(),
    );
    notify::send("READY=1");
    let failed = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            _ = hang_up.recv() => tracing::warn!(
                "the configuration is read at the start only: restart slmguard to apply changes; \
                 enforcement goes on meanwhile"
            ),
            Some(result) = servers.join_next() => break result.unwrap_or_else(|e| Err(e.into())),
        }
    };
    tracing::info!("stopping");
    let _ = stop.send(true);
    let _ = tokio::time::timeout(FAREWELL, async {
        while servers.join_next().await.is_some() {}
    })
    .await;
    failed
}

/// The tier that a checked configuration asks for.
pub fn tier_choice(word: &str) -> TierChoice {
    match word {
        "lsm" => TierChoice::Lsm,
        "cgroup" => TierChoice::Cgroup,
        _ => TierChoice::Auto,
    }
}

/// A hook as the API shows it.
pub fn hook_view(status: &HookStatus) -> view::Hook {
    view::Hook {
        hook: status.hook.into(),
        family: status.family.into(),
        tier: status.tier.into(),
        attached: status.attached,
        fires: status.fires,
        effect: status.effect.into(),
        guards: status.guards.into(),
        reason: status
            .reason
            .as_ref()
            .map(|r| slmguard_core::text::escape(r.as_bytes())),
        expected: status.expected,
        runs: None,
        run_ns: None,
    }
}

#[cfg(test)]
mod tests;
