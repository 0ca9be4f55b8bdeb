//! `slmguard baseline export | import | diff`: profiles as files.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::Args;
use ed25519_dalek::{
    SigningKey, VerifyingKey,
    pkcs8::{DecodePrivateKey, DecodePublicKey},
};
use slmguard_core::profile::{Profile, diff as differences};

use super::decide;
use crate::{
    api::view::{self, BaselineOrder},
    cli::{Format, Global, in_url, out},
    exit::{Exit, Failure},
};

/// What to print.
#[derive(Debug, Args)]
pub struct Export {
    /// Name of the workload.
    workload: String,
    /// The approved list instead of what was learned.
    #[arg(long)]
    approved: bool,
    /// Write to this file, which must not exist yet, instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Sign it with this Ed25519 key (PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` makes).
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    /// A note to the reader: version of the server, what was exercised, who looked.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// What to apply.
#[derive(Debug, Args)]
pub struct Import {
    /// Name of the workload that is held to it.
    workload: String,
    /// The profile.
    profile: PathBuf,
    /// Refuse the profile unless it is signed by the holder of this public key (PEM, as `openssl
    /// pkey -pubout` makes).
    #[arg(long, value_name = "KEY")]
    trust: Option<PathBuf>,
    /// Why; kept in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Output format.
    #[command(flatten)]
    format: Format,
}

/// What to compare.
#[derive(Debug, Args)]
pub struct Diff {
    /// Name of the workload.
    workload: String,
    /// Compare with this profile instead of the approved list.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Output format.
    #[command(flatten)]
    format: Format,
}

pub(super) fn export(global: &Global, options: &Export) -> Result<Exit, Failure> {
    let which = if options.approved {
        "approved"
    } else {
        "learned"
    };
    let mut profile = ask(global, &options.workload, which)?;
    if let Some(note) = &options.note {
        profile.note.clone_from(note);
        profile.signature = None;
    }
    if let Some(path) = &options.sign {
        let key = SigningKey::from_pkcs8_pem(&read(path)?).map_err(|e| {
            usage(
                path,
                format!("is no Ed25519 private key in PKCS#8 PEM ({e})"),
            )
        })?;
        profile = profile.signed(&key);
    }
    let text = profile.to_toml();
    match &options.output {
        None => out::line(text.trim_end())?,
        Some(path) => {
            let written = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o644)
                .open(path)
                .and_then(|mut file| {
                    file.write_all(text.as_bytes())
                        .and_then(|()| file.sync_all())
                });
            written.map_err(|e| usage(path, format!("cannot be written: {e}")))?;
            let sum: usize = profile.sizes().values().sum();
            let print = profile.fingerprint();
            out::line(&format!(
                "{}: {sum} subjects, fingerprint {}",
                path.display(),
                &print[..16]
            ))?;
        }
    }
    Ok(Exit::Ok)
}

pub(super) fn import(global: &Global, options: &Import) -> Result<Exit, Failure> {
    let text = read(&options.profile)?;
    let profile = parse(&options.profile, &text)?;
    if let Some(path) = &options.trust {
        let key = VerifyingKey::from_public_key_pem(&read(path)?)
            .map_err(|e| usage(path, format!("is no Ed25519 public key in PEM ({e})")))?;
        profile.verify(&key).map_err(|e| {
            Failure::new(
                Exit::Denied,
                format!("{}: {e}; nothing was changed", options.profile.display()),
            )
        })?;
    }
    let order = BaselineOrder {
        reason: options.reason.clone(),
        profile: Some(text),
        ..BaselineOrder::default()
    };
    decide::send(global, &options.workload, "import", &order, options.format)
}

pub(super) fn diff(global: &Global, options: &Diff) -> Result<Exit, Failure> {
    let before = match &options.profile {
        Some(path) => profile_at(path)?,
        None => ask(global, &options.workload, "approved")?,
    };
    let learned = ask(global, &options.workload, "learned")?;
    let changes = differences(&before, &learned);
    for change in &changes {
        if options.format.json {
            out::json(change)?;
        } else {
            let sign = if change.added { '+' } else { '-' };
            out::line(&format!(
                "{sign} {:<7} {:<6} {:<11} {}",
                change.role, change.phase, change.family, change.subject
            ))?;
        }
    }
    if changes.is_empty() && !options.format.json {
        out::line("What was learned is what is approved.")?;
    }
    Ok(Exit::Ok)
}

/// The list that the daemon has: `learned` or `approved`.
pub(in crate::cli) fn ask(
    global: &Global,
    workload: &str,
    which: &str,
) -> Result<Profile, Failure> {
    let answer: view::Profile = global
        .client()?
        .get(&format!("/v1/profile/{}/{which}", in_url(workload)?))?;
    Profile::from_toml(&answer.text).map_err(|e| {
        Failure::new(
            Exit::Failure,
            format!("the daemon's answer: {e}; is it of another version?"),
        )
    })
}

/// The profile in a file.
pub(in crate::cli) fn profile_at(path: &Path) -> Result<Profile, Failure> {
    parse(path, &read(path)?)
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|e| usage(path, format!("cannot be read: {e}")))
}

fn parse(path: &Path, text: &str) -> Result<Profile, Failure> {
    Profile::from_toml(text).map_err(|e| usage(path, e.to_string()))
}

fn usage(path: &Path, problem: String) -> Failure {
    Failure::new(Exit::Failure, format!("{}: {problem}", path.display()))
}
