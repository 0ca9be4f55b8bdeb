//! The committed data, read.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use serde::Deserialize;

/// One opened file of the path traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Day, from 0.
    pub day: u32,
    /// `read`, `write`, `create` or `unlink`.
    pub mode: String,
    /// The path.
    pub path: String,
}

/// One run of an agent.
#[derive(Clone, Debug, Deserialize)]
pub struct Run {
    /// Suite.
    #[serde(rename = "s")]
    pub suite: String,
    /// Model.
    #[serde(rename = "m")]
    pub model: String,
    /// Task of the user.
    #[serde(rename = "u")]
    pub user_task: String,
    /// Task of the attacker.
    #[serde(rename = "i")]
    pub injection: Option<String>,
    /// Kind of attack.
    #[serde(rename = "k")]
    pub attack: Option<String>,
    /// Whether the attacker's task was done.
    #[serde(rename = "sec", default)]
    pub achieved: Option<bool>,
    /// Calls in order.
    #[serde(rename = "c")]
    pub calls: Vec<Call>,
}

/// One call of a tool.
#[derive(Clone, Debug, Deserialize)]
pub struct Call {
    /// Function.
    #[serde(rename = "f")]
    pub function: String,
    /// Arguments: name, and values.
    #[serde(rename = "a", default)]
    pub arguments: std::collections::BTreeMap<String, Vec<Value>>,
    /// Bytes of the output.
    #[serde(rename = "ob", default)]
    pub output_bytes: u64,
}

/// Text, its full length, whether it is in the prompt, whether in an earlier output.
#[derive(Clone, Debug, Deserialize)]
pub struct Value(pub String, pub u64, pub u8, pub u8);

/// Kinds of attack that only want an agent to stop working.
const DENIAL: [&str; 5] = [
    "captcha_dos",
    "dos",
    "felony_dos",
    "offensive_email_dos",
    "swearwords_dos",
];

impl Run {
    /// Nobody attacked.
    pub fn is_benign(&self) -> bool {
        self.injection.is_none() && self.user_task.starts_with("user")
    }

    /// The attacker had his way.
    pub fn is_hijacked(&self) -> bool {
        self.injection.is_some()
            && self.achieved == Some(true)
            && !self
                .attack
                .as_deref()
                .is_some_and(|kind| DENIAL.contains(&kind))
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("eval")
}

fn lines(file: &str) -> Result<impl Iterator<Item = Result<String>>> {
    let path = folder().join(file);
    let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
    let reader = BufReader::new(GzDecoder::new(file));
    Ok(reader.lines().map(|line| line.context("read a line")))
}

/// Every run of an agent, in the order of the file.
pub fn agentdojo() -> Result<Vec<Run>> {
    lines("agentdojo/calls.jsonl.gz")?
        .map(|line| serde_json::from_str(&line?).context("read a run"))
        .collect()
}

/// Every opened file of ten days, in order.
pub fn opens() -> Result<Vec<Open>> {
    lines("paths/opens_10days.tsv.gz")?
        .filter(|line| !line.as_ref().is_ok_and(|l| l.starts_with("day\t")))
        .map(|line| {
            let line = line?;
            let mut fields = line.splitn(3, '\t');
            let (Some(day), Some(mode), Some(path)) = (fields.next(), fields.next(), fields.next())
            else {
                bail!("a line of three fields is wanted: {line}");
            };
            Ok(Open {
                day: day.parse().with_context(|| format!("a day: {line}"))?,
                mode: mode.into(),
                path: path.into(),
            })
        })
        .collect()
}

/// Mode and path of everything that must never be allowed.
pub fn decoys() -> Result<Vec<(String, String)>> {
    let path = folder().join("paths/decoys.tsv");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let pair = |line: &str| {
        let (mode, path) = line.split_once('\t')?;
        Some((mode.to_owned(), path.to_owned()))
    };
    Ok(text.lines().skip(1).filter_map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_data_is_what_its_readme_says() -> Result<()> {
        let runs = agentdojo()?;
        let benign = runs.iter().filter(|run| run.is_benign()).count();
        let hijacked: Vec<_> = runs.iter().filter(|run| run.is_hijacked()).collect();
        assert!(benign > 1000 && hijacked.len() > 1000);
        assert!(hijacked.iter().any(|run| run.calls.is_empty()));
        let opens = opens()?;
        assert_eq!(opens.iter().map(|open| open.day).max(), Some(9));
        assert_eq!(decoys()?.len(), 36);
        Ok(())
    }
}
