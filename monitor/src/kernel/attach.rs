//! Attaching: every hook of the table that belongs to the tier, each with its reason where it
//! cannot be.

use std::{collections::BTreeMap, fs::File, path::Path};

use aya::{
    Ebpf,
    programs::{
        CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSock, CgroupSockAddr, Lsm,
        RawTracePoint, SockOps, links::FdLink,
    },
};

use super::{
    HookStatus, KernelError, StartOptions, Tier,
    btf::KernelOffsets,
    load::{Loaded, brief, program},
    pins::Instance,
    preflight::Facts,
    table::{Attach, Row, SOCK_OPS, SYS_EXIT, TABLE},
};

/// What came of it.
pub struct Attached {
    /// One per row of the table.
    pub status: Vec<HookStatus>,
    /// Links that are not pinned.
    pub links: Vec<FdLink>,
}

/// Attaches what belongs to the tier and pins the links.
///
/// # Errors
/// An essential hook cannot be attached, or a link cannot be pinned.
pub fn attach(
    loaded: &mut Loaded,
    options: &StartOptions,
    facts: &Facts,
    offsets: &KernelOffsets,
    pins: Option<&Instance>,
) -> Result<Attached, KernelError> {
    let tier = loaded.tier;
    let cgroup = File::open(&facts.cgroup2).map_err(|e| KernelError::Feature {
        what: format!("{} cannot be opened: {e}", facts.cgroup2.display()),
        advice: "check the cgroup v2 mount".into(),
    })?;
    let mut all = Attached {
        status: vec![],
        links: vec![],
    };
    let mut shared: BTreeMap<&str, Result<(), String>> = BTreeMap::new();
    for row in &TABLE {
        let mut status = HookStatus {
            id: row.hook,
            hook: row.name,
            family: row.family,
            tier: row.only.map_or("both", Tier::name),
            attached: false,
            expected: row.only.is_none_or(|t| t == tier) && (!row.files || options.watch_files),
            fires: None,
            effect: row.effect_on(tier).name(),
            guards: row.guards,
            reason: None,
        };
        status.reason = obstacle(row, options, offsets, loaded.tier).map(|why| {
            let elsewhere = loaded.tier == Tier::Cgroup && row.only == Some(Tier::Lsm);
            let no_lsm = loaded.no_lsm.clone().filter(|_| elsewhere);
            no_lsm.unwrap_or(why)
        });
        if status.reason.is_none() {
            let done = match shared.get(program_name(row)) {
                Some(done) => done.clone(),
                None => match attach_one(&mut loaded.object, row, &cgroup) {
                    Ok(link) => {
                        keep(program_name(row), link, pins, &mut all.links)?;
                        Ok(())
                    }
                    Err(why) => Err(why),
                },
            };
            if let Some(program) = row.attach.shared() {
                shared.insert(program, done.clone());
            }
            status.attached = done.is_ok();
            status.reason = done.err();
        }
        if row.essential
            && !status.attached
            && let Some(why) = &status.reason
            && !options.disable.iter().any(|d| d == row.name)
        {
            return Err(KernelError::Feature {
                what: format!(
                    "hook {}, without which nothing can be guarded, cannot be attached: {why}",
                    row.name
                ),
                advice: "run `slmguard doctor` and compare with docs/operators.md".into(),
            });
        }
        all.status.push(status);
    }
    Ok(all)
}

/// Name of the program that a hook is, or is a part of.
pub fn program_name(row: &Row) -> &'static str {
    row.attach.shared().unwrap_or(row.name)
}

/// Why a hook is not even tried.
pub fn obstacle(
    row: &Row,
    options: &StartOptions,
    offsets: &KernelOffsets,
    tier: Tier,
) -> Option<String> {
    if row.only.is_some_and(|t| t != tier) {
        return Some(match tier {
            Tier::Lsm => "the lsm tier does this better".into(),
            Tier::Cgroup => "belongs to the lsm tier".into(),
        });
    }
    if options.disable.iter().any(|d| d == row.name) {
        return Some("left out by kernel.disable_hooks".into());
    }
    if row.files && !options.watch_files {
        return Some("no workload is configured".into());
    }
    offsets.lacks(&row.needs.concat()).map(str::to_owned)
}

pub(super) fn attach_one(loaded: &mut Ebpf, row: &Row, cgroup: &File) -> Result<FdLink, String> {
    let text = |e: KernelError| e.to_string();
    macro_rules! go {
        ($p:ident, $id:expr) => {{
            let id = $id.map_err(|e| brief(&e))?;
            let link = $p.take_link(id).map_err(|e| brief(&e))?;
            FdLink::try_from(link).map_err(|e| brief(&e))
        }};
    }
    match row.attach {
        Attach::RawTracepoint(at) => {
            let p: &mut RawTracePoint = program(loaded, row.name).map_err(text)?;
            p.load().map_err(|e| brief(&e))?;
            let id = p.attach(at).map_err(|e| brief(&e))?;
            let link = p.take_link(id).map_err(|e| brief(&e))?;
            Ok(FdLink::from(link))
        }
        Attach::RawTracepointOf(names) => {
            let p: &mut RawTracePoint = program(loaded, row.name).map_err(text)?;
            p.load().map_err(|e| brief(&e))?;
            let mut last = "no name is given".to_owned();
            for name in names {
                match p.attach(name) {
                    Ok(id) => {
                        let link = p.take_link(id).map_err(|e| brief(&e))?;
                        return Ok(FdLink::from(link));
                    }
                    Err(e) => last = brief(&e),
                }
            }
            Err(last)
        }
        Attach::SysExit => {
            let p: &mut RawTracePoint = program(loaded, SYS_EXIT).map_err(text)?;
            p.load().map_err(|e| brief(&e))?;
            let id = p.attach(SYS_EXIT).map_err(|e| brief(&e))?;
            let link = p.take_link(id).map_err(|e| brief(&e))?;
            Ok(FdLink::from(link))
        }
        Attach::SockOps => {
            let p: &mut SockOps = program(loaded, SOCK_OPS).map_err(text)?;
            p.load().map_err(|e| brief(&e))?;
            go!(p, p.attach(cgroup, CgroupAttachMode::Single))
        }
        Attach::CgroupSockAddr => {
            let p: &mut CgroupSockAddr = program(loaded, row.name).map_err(text)?;
            p.load().map_err(|e| brief(&e))?;
            go!(p, p.attach(cgroup, CgroupAttachMode::Single))
        }
        Attach::CgroupSock => {
            let p: &mut CgroupSock = program(loaded, row.name).map_err(text)?;
            p.load().map_err(|e| brief(&e))?;
            go!(p, p.attach(cgroup, CgroupAttachMode::Single))
        }
        Attach::CgroupSkb => {
            let p: &mut CgroupSkb = program(loaded, row.name).map_err(text)?;
            p.load().map_err(|e| brief(&e))?;
            let way = p
                .expected_attach_type()
                .unwrap_or(CgroupSkbAttachType::Egress);
            go!(p, p.attach(cgroup, way, CgroupAttachMode::Single))
        }
        Attach::CgroupSockOps => {
            let p: &mut SockOps = program(loaded, row.name).map_err(text)?;
            p.load().map_err(|e| brief(&e))?;
            go!(p, p.attach(cgroup, CgroupAttachMode::Single))
        }
        Attach::Lsm(_) => {
            // Loaded when the tier was found.
            let p: &mut Lsm = program(loaded, row.name).map_err(text)?;
            let id = p.attach().map_err(|e| brief(&e))?;
            let link = p.take_link(id).map_err(|e| brief(&e))?;
            Ok(FdLink::from(link))
        }
    }
}

pub(super) fn keep(
    name: &str,
    link: FdLink,
    pins: Option<&Instance>,
    links: &mut Vec<FdLink>,
) -> Result<(), KernelError> {
    let Some(pins) = pins else {
        links.push(link);
        return Ok(());
    };
    let path = pins.link_path(name);
    link.pin(&path).map(drop).map_err(|e| pin_error(&path, &e))
}

fn pin_error(path: &Path, e: &(dyn std::error::Error + 'static)) -> KernelError {
    KernelError::Pins {
        path: path.into(),
        what: brief(e),
    }
}
