//! `slmguard explain`

use clap::Args;
use slmguard_core::alert::{Alert, explain};

use super::{Format, Global, out};
use crate::exit::{Exit, Failure};

/// Which alert.
#[derive(Debug, Args)]
pub struct Options {
    /// Its id, as `slmguard alerts` and every sink show it; the first letters are enough where they
    /// are those of one alert only.
    alert: String,
    /// Output format.
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(global: &Global, options: &Options) -> Result<Exit, Failure> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if options.alert.is_empty() || !options.alert.bytes().all(fits) {
        let id = slmguard_core::text::escape(options.alert.as_bytes());
        return Err(Failure::new(
            Exit::Failure,
            format!("`{id}` is not the id of an alert; `slmguard alerts` shows them"),
        ));
    }
    let alert: Alert = global
        .client()?
        .get(&format!("/v1/alerts/{}", options.alert))?;
    if options.format.json {
        out::json(&alert)?;
        return Ok(Exit::Ok);
    }
    for line in explain(&alert) {
        out::line(&line)?;
    }
    Ok(Exit::Ok)
}
