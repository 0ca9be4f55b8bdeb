//! `slmguard doctor`: what this kernel can do, hook by hook, and what is in use.

use std::path::Path;

use super::{Format, Global, out, table::Table};
use slmguard_core::{config::Config, decide::enforceable::gaps};

use crate::{
    api::view::{Hook, Status},
    daemon::{hook_view, kernel_failure, random},
    enrich::cgroup::Cgroups,
    exit::{Exit, Failure},
    kernel::{Kernel, StartOptions, preflight},
};

/// What was found.
struct Findings {
    tier: String,
    daemon: String,
    hooks: Vec<Hook>,
    degraded: Vec<String>,
    unenforced: Vec<String>,
}

pub(super) fn run(global: &Global, format: Format) -> Result<Exit, Failure> {
    let findings = match ask_daemon(global) {
        Err(failure) if failure.exit == Exit::NotRunning => try_ourselves(global)?,
        result => result?,
    };
    if format.json {
        for hook in &findings.hooks {
            out::json(hook)?;
        }
    } else {
        for line in host().into_iter().chain(lines(&findings)) {
            out::line(&line)?;
        }
    }
    Ok(if findings.degraded.is_empty() {
        Exit::Ok
    } else {
        Exit::Failure
    })
}

fn ask_daemon(global: &Global) -> Result<Findings, Failure> {
    let client = global.client()?;
    let status: Status = client.get("/v1/status")?;
    Ok(Findings {
        daemon: format!("running, pid {}", status.pid),
        tier: status.tier,
        hooks: client.get("/v1/hooks")?,
        degraded: status.degraded,
        unenforced: status.unenforced,
    })
}

fn try_ourselves(global: &Global) -> Result<Findings, Failure> {
    let config = if global.has_config() {
        global.load()?.config
    } else {
        Config::default()
    };
    let (kernel, workloads) = (config.kernel, config.workloads);
    let options = StartOptions {
        tier: crate::daemon::tier_choice(&kernel.tier),
        disable: kernel.disable_hooks,
        pin_dir: None,
        watch_files: true,
        watch_files_later: false,
        key: random::hash_key()?,
    };
    let kernel = Kernel::start(&options).map_err(kernel_failure)?;
    let hooks: Vec<Hook> = kernel.hooks().iter().map(hook_view).collect();
    let gaps = gaps(&workloads, kernel.tier());
    let broken = gaps.iter().filter(|gap| gap.breaks_a_rule);
    let degraded = hooks
        .iter()
        .filter(|h| h.is_degraded())
        .map(state)
        .chain(broken.map(|gap| gap.text.clone()))
        .collect();
    Ok(Findings {
        unenforced: gaps.into_iter().map(|gap| gap.text).collect(),
        daemon: "not running; the programs were loaded for this check only".into(),
        tier: kernel.tier().into(),
        hooks,
        degraded,
    })
}

/// The machine, in lines.
fn host() -> Vec<String> {
    let btf = if Path::new(preflight::BTF_FILE).exists() {
        "present"
    } else {
        "missing"
    };
    let lsm = match preflight::active_lsms() {
        Some(active) if active.iter().any(|m| m == "bpf") => "active".into(),
        Some(active) => format!("not among the active modules ({})", active.join(", ")),
        None => "unknown: securityfs is not mounted".into(),
    };
    let cgroups = Cgroups::discover();
    let cgroup = match cgroups.mount() {
        Some(mount) => mount.display().to_string(),
        None => "not mounted".into(),
    };
    vec![
        format!("kernel   {}", preflight::release()),
        format!("BTF      {btf}"),
        format!("BPF LSM  {lsm}"),
        format!("cgroup2  {cgroup}"),
    ]
}

fn lines(findings: &Findings) -> Vec<String> {
    let mut lines = vec![
        format!("daemon   {}", findings.daemon),
        format!("tier     {}", findings.tier),
        String::new(),
    ];
    let mut table = Table::new(&["HOOK", "FAMILY", "TIER", "EFFECT", "STATE", "GUARDS"]);
    for hook in &findings.hooks {
        table.row([
            hook.hook.clone(),
            hook.family.clone(),
            hook.tier.clone(),
            hook.effect.clone(),
            short_state(hook).into(),
            hook.guards.clone(),
        ]);
    }
    lines.extend(table.lines());
    let reasons = findings
        .hooks
        .iter()
        .filter_map(|h| Some(format!("{}: {}", h.hook, h.reason.as_deref()?)));
    let reasons: Vec<_> = reasons.collect();
    if !reasons.is_empty() {
        lines.push(String::new());
        lines.extend(reasons);
    }
    if !findings.unenforced.is_empty() {
        lines.push(String::new());
        let told = findings.unenforced.iter();
        lines.extend(told.map(|what| format!("reported only: {what}")));
    }
    lines.push(String::new());
    let attached = findings.hooks.iter().filter(|h| h.attached).count();
    let hooks = out::count(attached as u64, "hook", "hooks");
    match findings.degraded.as_slice() {
        [] => lines.push(format!(
            "healthy: {hooks} attached, nothing that this tier offers is missing"
        )),
        some => {
            lines.push(format!("degraded: {hooks} attached, but"));
            lines.extend(some.iter().map(|d| format!("  - {d}")));
        }
    }
    lines
}

fn short_state(hook: &Hook) -> &'static str {
    match (hook.attached, hook.fires, hook.expected) {
        (true, Some(true), _) => "attached, fires",
        (true, Some(false), _) => "attached, DOES NOT FIRE",
        (true, None, _) => "attached",
        (false, _, true) => "NOT ATTACHED",
        (false, _, false) => "not used",
    }
}

fn state(hook: &Hook) -> String {
    let what = if hook.attached {
        "does not fire"
    } else {
        "is not attached"
    };
    match &hook.reason {
        Some(reason) => format!("hook {} {what}: {reason}", hook.hook),
        None => format!("hook {} {what}", hook.hook),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(name: &str, attached: bool, fires: Option<bool>, expected: bool) -> Hook {
        Hook {
            hook: name.into(),
            family: "connect".into(),
            tier: "both".into(),
            attached,
            fires,
            effect: "prevents".into(),
            guards: "destinations".into(),
            reason: (!attached).then(|| "disabled in the configuration".into()),
            expected,
            ..Hook::default()
        }
    }

    #[test]
    fn every_state_has_words() {
        let hooks = vec![
            hook("connect4", true, Some(true), true),
            hook("connect6", true, Some(false), true),
            hook("bind4", false, None, true),
            hook("lsm_exec", false, None, false),
        ];
        let degraded = hooks
            .iter()
            .filter(|h| h.is_degraded())
            .map(state)
            .collect();
        let findings = Findings {
            tier: "cgroup".into(),
            daemon: "running".into(),
            hooks,
            degraded,
            unenforced: vec!["a gap".into()],
        };
        let text = lines(&findings).join("\n");
        for part in [
            "attached, fires",
            "attached, DOES NOT FIRE",
            "NOT ATTACHED",
            "not used",
            "bind4: disabled in the configuration",
            "reported only: a gap",
            "degraded: 2 hooks attached, but\n  - hook connect6 does not fire\n  - hook bind4 is not attached: disabled",
        ] {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
    }

    #[test]
    fn the_machine_is_described_in_any_case() {
        assert_eq!(host().len(), 4);
    }
}
