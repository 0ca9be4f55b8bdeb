//! Finds the guard's alert about an act, and compares it with the evidence.

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::Value;

use crate::daemon::Daemon;
use crate::scene::Scene;
use crate::script::Attack;
use crate::world::{ATTACKER, ATTACKER_UDP_PORT, METADATA, MIRROR};

/// The part of an alert that the play shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// What kind of operation.
    pub kind: String,
    /// Its object.
    pub subject: String,
    /// What was done about it.
    pub verdict: String,
    /// By which means.
    pub tier: String,
    /// Whether the guard says that it took no effect.
    pub prevented: bool,
}

impl Alert {
    fn read(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Self {
            kind: text("kind"),
            subject: text("subject"),
            verdict: text("verdict"),
            tier: text("tier"),
            prevented: value["prevented"] == true,
        }
    }

    /// On one line.
    pub fn words(&self) -> String {
        let Self {
            kind,
            subject,
            verdict,
            tier,
            ..
        } = self;
        format!("{kind} {subject} {verdict}, tier {tier}")
    }
}

/// Waits for the alert about `attack`: a new one after the first `known`, or a
/// count more on an old one. Fails if the guard claims to have prevented what the
/// victim felt. (The other way round is modesty: a process that was killed for
/// opening a file had it open for a moment.)
pub fn find(
    daemon: &Daemon,
    scene: &Scene,
    attack: Attack,
    rings_allowed: bool,
    known: &[Value],
    prevented: bool,
) -> Result<Alert> {
    let rings = match (rings_allowed, daemon.tier()?.as_str()) {
        (false, _) => Rings::Refused,
        (true, "lsm") => Rings::Judged,
        (true, _) => Rings::Watched,
    };
    let (kind, about) = about(scene, attack, rings);
    let found = daemon.alert(&format!("{kind} {about}"), |alert| {
        let matches = alert["kind"] == kind
            && alert["subject"]
                .as_str()
                .is_some_and(|subject| match attack {
                    // Whatever the link /bin/sh leads to: dash, bash, busybox.
                    Attack::Shell => subject.ends_with("sh") || subject.ends_with("busybox"),
                    _ => subject == about,
                });
        matches && !known.contains(alert)
    })?;
    let alert = Alert::read(&found);
    if alert.prevented && !prevented {
        bail!("the alert says that it was prevented, the victim says that it was not: {found}");
    }
    Ok(alert)
}

/// What the guard makes of io_uring.
enum Rings {
    /// None may be set up.
    Refused,
    /// What is done through them is judged as what it is.
    Judged,
    /// The same for the network; files are only seen to be opened.
    Watched,
}

fn about(scene: &Scene, attack: Attack, rings: Rings) -> (&'static str, String) {
    let credentials = || ("open", scene.script.credentials.display().to_string());
    match (attack, rings) {
        (Attack::RingUrl | Attack::RingCredentials, Rings::Refused) => {
            return ("facility", "io_uring".into());
        }
        (Attack::RingCredentials, Rings::Watched) => {
            return ("facility", "io_uring:files".into());
        }
        _ => {}
    }
    match attack {
        Attack::Url | Attack::RingUrl => ("connect", format!("{ATTACKER}:80/tcp")),
        Attack::Mirror => ("connect", format!("{MIRROR}:80/tcp")),
        Attack::Metadata => ("connect", format!("{METADATA}:80/tcp")),
        Attack::Datagram => ("send", format!("{ATTACKER}:{ATTACKER_UDP_PORT}/udp")),
        Attack::Credentials | Attack::RingCredentials => credentials(),
        Attack::Shell => ("exec", "sh".to_owned()),
    }
}
