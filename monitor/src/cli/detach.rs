//! `slmguard detach`

use super::{Format, Global, out};
use crate::{
    daemon::kernel_failure,
    exit::{Exit, Failure},
    kernel::Kernel,
};

pub(super) fn run(global: &Global, format: Format) -> Result<Exit, Failure> {
    let pin_dir = if global.has_config() {
        global.load()?.config.pin_dir
    } else {
        slmguard_core::config::Config::default().pin_dir
    };
    let running = Kernel::daemon_at(&pin_dir);
    let removed = Kernel::detach(&pin_dir).map_err(kernel_failure)?;
    if let Some(holder) = &running {
        eprintln!(
            "slmguard: the daemon{holder} is still running and guards nothing now; restart or stop it"
        );
    }
    if format.json {
        out::json(&serde_json::json!({ "removed": removed, "pin_dir": pin_dir }))?;
        return Ok(Exit::Ok);
    }
    let text = match removed {
        0 => format!("nothing was pinned under {}", pin_dir.display()),
        _ => "detached: nothing that was pinned is enforced any more".into(),
    };
    out::line(&text)?;
    Ok(Exit::Ok)
}
