//! Loading the object: settings frozen, maps made, tier found by trying.

use aya::{
    Btf, BtfError, Ebpf, EbpfLoader, VerifierLogLevel,
    programs::{Lsm, ProgramError},
};
use monitor_common::hash;

use super::{
    KernelError, StartOptions, Tier, TierChoice,
    attach::obstacle,
    btf::KernelOffsets,
    plain::Plain,
    preflight::Facts,
    table::{Attach, Row, TABLE},
};

/// The kernel programs, embedded at build time; empty in a build without them.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/slmguard.bpf.o"));

/// Names a file that gets the verifier's whole log when it refuses a program (for contributors).
const VERIFIER_LOG: &str = "SLMGUARD_VERIFIER_LOG";

/// What was loaded.
pub struct Loaded {
    /// The object: maps made, programs not yet attached.
    pub object: Ebpf,
    /// The tier it was loaded for.
    pub tier: Tier,
    /// Why that is not the LSM tier.
    pub no_lsm: Option<String>,
}

/// Loads the object for the best tier that the options and the kernel allow.
///
/// # Errors
/// No object in this build, or one that this kernel refuses altogether; LSM demanded where it does
/// not work.
pub fn load(
    options: &StartOptions,
    offsets: &KernelOffsets,
    facts: &Facts,
) -> Result<Loaded, KernelError> {
    if OBJECT.is_empty() {
        return Err(KernelError::NoPrograms);
    }
    let no_lsm = if options.tier == TierChoice::Cgroup {
        "kernel.tier is \"cgroup\"".to_owned()
    } else {
        match try_lsm(options, offsets, facts) {
            Ok(object) => {
                return Ok(Loaded {
                    object,
                    tier: Tier::Lsm,
                    no_lsm: None,
                });
            }
            Err(why) => why,
        }
    };
    if options.tier == TierChoice::Lsm {
        return Err(KernelError::Feature {
            what: format!("the lsm tier is demanded but does not work here: {no_lsm}"),
            advice: "boot with `bpf` in the lsm= list, or set kernel.tier = \"auto\"".into(),
        });
    }
    Ok(Loaded {
        object: object(options, offsets, Tier::Cgroup)?,
        tier: Tier::Cgroup,
        no_lsm: Some(no_lsm),
    })
}

/// Why there is no LSM tier here; `None` if the list of modules allows it.
fn lsm_obstacle(facts: &Facts) -> Option<String> {
    match &facts.lsm {
        Some(list) if !list.iter().any(|m| m == "bpf") => Some(format!(
            "`bpf` is not among the active security modules ({})",
            list.join(",")
        )),
        _ => None,
    }
}

fn try_lsm(options: &StartOptions, offsets: &KernelOffsets, facts: &Facts) -> Result<Ebpf, String> {
    if let Some(why) = lsm_obstacle(facts) {
        return Err(why);
    }
    let mut loaded = object(options, offsets, Tier::Lsm).map_err(|e| e.to_string())?;
    let btf = Btf::from_sys_fs().map_err(|e| e.to_string())?;
    for row in TABLE {
        let Attach::Lsm(hook) = row.attach else {
            continue;
        };
        let program: &mut Lsm = program(&mut loaded, row.name).map_err(|e| e.to_string())?;
        let loaded = match program.load(hook, &btf) {
            // This kernel has no such hook: the table's status says so.
            Err(ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })) => continue,
            loaded => loaded,
        };
        loaded.map_err(|e| match e {
            ProgramError::LoadError { io_error, .. }
                if io_error.raw_os_error() == Some(libc::EPERM) =>
            {
                "this kernel does not let BPF LSM programs be loaded (EPERM)".to_owned()
            }
            e => format!("{}: {}", row.name, brief(&e)),
        })?;
    }
    Ok(loaded)
}

fn object(
    options: &StartOptions,
    offsets: &KernelOffsets,
    tier: Tier,
) -> Result<Ebpf, KernelError> {
    let key = Plain(options.key);
    let values = Plain(offsets.values);
    let (proc, own) = (
        hash::component(options.key, b"proc"),
        hash::component(options.key, b"self"),
    );
    let judges = (tier == Tier::Cgroup) as u32;
    let ever = StartOptions {
        watch_files: options.watch_files || options.watch_files_later,
        ..options.clone()
    };
    let shared =
        |row: &&Row| row.attach.shared().is_some() && obstacle(row, &ever, offsets, tier).is_none();
    let hooks_on = TABLE
        .iter()
        .filter(shared)
        .fold(0, |bits, row| bits | 1u64 << row.hook as u64);
    let level = match std::env::var_os(VERIFIER_LOG) {
        Some(_) => VerifierLogLevel::STATS | VerifierLogLevel::DEBUG,
        None => VerifierLogLevel::STATS,
    };
    EbpfLoader::new()
        .verifier_log_level(level)
        .allow_unsupported_maps()
        .override_global("OFFSETS", &values, true)
        .override_global("HASH_KEY", &key, true)
        .override_global("PROC_HASH", &proc, true)
        .override_global("SELF_HASH", &own, true)
        .override_global("EXEC_JUDGES", &judges, true)
        .override_global("HOOKS_ON", &hooks_on, true)
        .load(OBJECT)
        .map_err(|e| KernelError::Load(brief(&e)))
}

/// A program of the object by name and type.
pub fn program<'a, T>(loaded: &'a mut Ebpf, name: &str) -> Result<&'a mut T, KernelError>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    loaded
        .program_mut(name)
        .ok_or_else(|| KernelError::Load(format!("the object has no program {name}")))?
        .try_into()
        .map_err(|e| KernelError::Load(format!("{name}: {e}")))
}

/// An error with its causes on one line; of a verifier's log only the end, which says why.
pub fn brief(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(c) = cause {
        let c_text = c.to_string();
        if !text.contains(&c_text) {
            text = format!("{text}: {c_text}");
        }
        cause = c.source();
    }
    if let Some(file) = std::env::var_os(VERIFIER_LOG)
        && let Err(e) = std::fs::write(&file, &text)
    {
        tracing::warn!(error = %e, "the verifier's log cannot be written");
    }
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let kept = if lines.len() > 8 {
        let mut kept = vec![lines[0], "…"];
        kept.extend(&lines[lines.len() - 6..]);
        kept
    } else {
        lines
    };
    kept.join(" | ")
}
