//! `slmguard replay`

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use slmguard_core::{
    baseline::evidence::lifecycle::Step,
    recording::{Ending, LONGEST_LINE, Reader, Record},
    text::escape,
};

use super::{Format, accelerate, accelerate::step, alerts, events, out, record::time};
use crate::{
    config::shown,
    daemon::replay::{Decided, Replay},
    exit::{Exit, Failure},
};

/// Differences that are shown.
const SHOWN: usize = 5;

/// What to replay, and what to print of it.
#[derive(Debug, Args)]
pub struct Options {
    /// A recording made by `slmguard events --record`.
    recording: PathBuf,
    /// Only the alerts.
    #[arg(long)]
    alerts: bool,
    /// Compare with this file, which holds what these options would print: print nothing but the
    /// first differences, and exit with 1 if there are any.
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Instead of decisions, show when evidence would promote which family: what was learned in the
    /// recording is repeated, for so long: `14d`, each time as a life of its own, from the start to
    /// a stop in good order. Nothing new happens in a repetition, so it is how long it takes at least.
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["alerts", "expect"])]
    accelerate: Option<Duration>,
    /// Repeat it once in that time.
    #[arg(long, value_name = "TIME", requires = "accelerate", value_parser = time, default_value = "10min")]
    every: Duration,
    /// A step of the life cycle that does not apply: load, serve, refresh, rotation, renewal, reload,
    /// scale-out, stop or crash. Can be given several times.
    #[arg(long, value_name = "STEP", requires = "accelerate", value_parser = step)]
    does_not_apply: Vec<Step>,
    /// Output format.
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(options: &Options) -> Result<Exit, Failure> {
    let mut comparison = match &options.expect {
        Some(file) => Some(Comparison::with(file)?),
        None => None,
    };
    let mut replay = match options.accelerate {
        Some(_) => Replay::keeping(),
        None => Replay::default(),
    };
    let result = decide(&options.recording, &mut replay, |decided| {
        if options.accelerate.is_some() {
            return Ok(());
        }
        if options.alerts && !matches!(decided, Decided::Alert(_)) {
            return Ok(());
        }
        let lines = if options.format.json {
            vec![decided.to_json_line()?]
        } else {
            describe(&decided)
        };
        match &mut comparison {
            Some(comparison) => lines.into_iter().for_each(|line| comparison.take(line)),
            None => lines.iter().try_for_each(|line| out::line(line))?,
        }
        Ok(())
    });
    // What was decided up to a damaged place has been printed; what is said about the recording
    // does not belong to the decisions.
    if let Ok(ending) = &result {
        eprintln!("{}", summary(&replay, ending));
    }
    let ending = result?;
    if matches!(ending, Ending::NoBeginning) {
        return Ok(Exit::Failure);
    }
    if let Some(total) = options.accelerate {
        return accelerate::run(
            &mut replay,
            total,
            options.every,
            &options.does_not_apply,
            options.format.json,
        );
    }
    comparison.map_or(Ok(Exit::Ok), Comparison::verdict)
}

/// Feeds a file into a replay.
fn decide(
    file: &Path,
    replay: &mut Replay,
    mut take: impl FnMut(Decided) -> Result<(), Failure>,
) -> Result<Ending, Failure> {
    read(file, |record| {
        let decided = replay.take(record).map_err(|e| broken(file, &e))?;
        decided.into_iter().try_for_each(&mut take)
    })
}

/// A record that cannot be decided.
pub(super) fn broken(file: &Path, error: &anyhow::Error) -> Failure {
    let what = format!("cannot replay {}: {error:#}", shown(file));
    Failure::new(Exit::Failure, what)
}

/// Reads a recording, record by record.
pub(super) fn read(
    file: &Path,
    mut take: impl FnMut(Record) -> Result<(), Failure>,
) -> Result<Ending, Failure> {
    let name = shown(file);
    let failed = |what: String| Failure::new(Exit::Failure, what);
    let mut input = BufReader::new(
        File::open(file).map_err(|e| failed(format!("cannot open the recording {name}: {e}")))?,
    );
    let mut reader = Reader::default();
    let mut line = vec![];
    loop {
        line.clear();
        (&mut input)
            .take(LONGEST_LINE as u64)
            .read_until(b'\n', &mut line)
            .map_err(|e| failed(format!("cannot read {name}: {e}")))?;
        if line.is_empty() {
            return Ok(reader.finish());
        }
        let record = reader
            .line(&line)
            .map_err(|e| failed(format!("cannot replay {name}: {e}")))?;
        if let Some(record) = record {
            take(record)?;
        }
    }
}

fn describe(decided: &Decided) -> Vec<String> {
    match decided {
        Decided::Event(event) => vec![events::describe(event)],
        Decided::Alert(alert) => alerts::describe(alert),
    }
}

/// Where a recording comes from, and what is missing in it.
pub(super) fn summary(replay: &Replay, ending: &Ending) -> String {
    let (header, totals) = (replay.header(), replay.totals());
    let mut text = format!(
        "{}, {}; recorded on {} at {} by slmguard {} (tier {}, kernel {}, {})",
        out::count(totals.events, "event", "events"),
        out::count(totals.alerts, "alert", "alerts"),
        escape(header.host.as_bytes()),
        escape(header.started.as_bytes()),
        escape(header.version.as_bytes()),
        escape(header.tier.as_bytes()),
        escape(header.kernel.as_bytes()),
        escape(header.arch.as_bytes()),
    );
    if totals.lost > 0 {
        text.push_str(&format!(
            "\n{} missing in it: decisions behind the gap can differ from the daemon's",
            out::count(totals.lost, "event is", "events are")
        ));
    }
    if totals.unreadable > 0 {
        text.push_str(&format!(
            "\n{} could not be decoded, as for the daemon",
            out::count(totals.unreadable, "event", "events")
        ));
    }
    match ending {
        Ending::Whole(_) => {}
        Ending::BrokenOff => text
            .push_str("\nit was broken off: it has no end, and what happened last may be missing"),
        Ending::Truncated(bytes) => text.push_str(&format!(
            "\nit is cut off in the middle of a record: the last {} of the file were left out, and \
             everything before was replayed",
            out::count(*bytes as u64, "byte", "bytes")
        )),
        Ending::NoBeginning => text.push_str(
            "\nit ends before its first event: the state in which it starts is not whole, so that \
             there is nothing to decide",
        ),
    }
    text
}

/// Decisions against those that were expected.
struct Comparison {
    name: String,
    expected: Vec<String>,
    taken: usize,
    differences: Vec<String>,
    count: usize,
}

impl Comparison {
    fn with(file: &Path) -> Result<Self, Failure> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|e| {
            Failure::new(
                Exit::Failure,
                format!("cannot read the expected decisions {name}: {e}"),
            )
        })?;
        Ok(Self {
            name,
            expected: text.lines().map(str::to_owned).collect(),
            taken: 0,
            differences: vec![],
            count: 0,
        })
    }

    fn take(&mut self, line: String) {
        let expected = self.expected.get(self.taken);
        self.taken += 1;
        if expected != Some(&line) {
            let expected = expected.map_or("nothing more", String::as_str).to_owned();
            self.differ(&expected, &line);
        }
    }

    fn differ(&mut self, expected: &str, decided: &str) {
        self.count += 1;
        if self.differences.len() < SHOWN {
            self.differences.push(format!(
                "{}:{}: expected {}\n    decided {}",
                self.name,
                self.taken,
                escape(expected.as_bytes()),
                decided
            ));
        }
    }

    fn verdict(mut self) -> Result<Exit, Failure> {
        while let Some(expected) = self.expected.get(self.taken).cloned() {
            self.taken += 1;
            self.differ(&expected, "nothing more");
        }
        if self.count == 0 {
            let lines = out::count(self.taken as u64, "line", "lines");
            out::line(&format!("{lines} as expected"))?;
            return Ok(Exit::Ok);
        }
        for difference in &self.differences {
            out::line(difference)?;
        }
        out::line(&format!(
            "{} to {}",
            out::count(self.count as u64, "difference", "differences"),
            self.name
        ))?;
        Ok(Exit::Failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn recordings() -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/recordings");
        let entries = std::fs::read_dir(folder).unwrap().flatten();
        let mut files: Vec<_> = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "recording"))
            .collect();
        files.sort();
        files
    }

    /// What is decided, as people and as scripts read it.
    fn decisions(file: &Path) -> (Vec<String>, Vec<String>) {
        let (mut people, mut alerts) = (vec![], vec![]);
        let mut replay = Replay::default();
        let ending = decide(file, &mut replay, |decided| {
            people.extend(describe(&decided));
            if matches!(decided, Decided::Alert(_)) {
                alerts.push(decided.to_json_line()?);
            }
            Ok(())
        });
        assert!(matches!(ending, Ok(Ending::Whole(_))), "{}", file.display());
        assert_eq!((replay.totals().lost, replay.totals().unreadable), (0, 0));
        (people, alerts)
    }

    fn lines(file: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_the_daemon_recorded_is_decided_as_it_was() {
        let mut tiers = BTreeSet::new();
        for file in recordings() {
            let name = file.display();
            let (people, alerts) = decisions(&file);
            let expected = lines(&file.with_extension("decisions.txt"));
            for (n, (decided, expected)) in people.iter().zip(&expected).enumerate() {
                assert_eq!(decided, expected, "{name}: line {}", n + 1);
            }
            assert_eq!(people.len(), expected.len(), "{name}");
            assert_eq!(
                alerts,
                lines(&file.with_extension("alerts.jsonl")),
                "{name}"
            );
            assert_eq!(decisions(&file), (people, alerts), "{name}: and again");
            let text = std::fs::read_to_string(&file).unwrap();
            tiers.extend(
                ["lsm", "cgroup"]
                    .into_iter()
                    .filter(|tier| text.contains(&format!("\"tier\":\"{tier}\""))),
            );
        }
        assert_eq!(tiers.len(), 2, "a recording of each tier");
    }

    #[test]
    fn a_changed_expectation_is_told_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let expected = dir.path().join("expected");
        std::fs::write(&expected, "a\nb\nc\n").unwrap();
        let compare = |lines: &[&str]| {
            let mut comparison = Comparison::with(&expected).unwrap();
            lines
                .iter()
                .for_each(|line| comparison.take((*line).into()));
            let (count, first) = (comparison.count, comparison.differences.first().cloned());
            (count, first, comparison.verdict().unwrap())
        };
        assert_eq!(compare(&["a", "b", "c"]), (0, None, Exit::Ok));
        let (count, first, exit) = compare(&["a", "x", "c"]);
        assert_eq!((count, exit), (1, Exit::Failure));
        assert!(first.unwrap().contains("expected:2: expected b"));
        assert_eq!(compare(&["a", "b"]).2, Exit::Failure);
        assert_eq!(compare(&["a", "b", "c", "d"]).2, Exit::Failure);
        let missing = Comparison::with(&dir.path().join("none")).err().unwrap();
        assert!(missing.to_string().contains("expected decisions"));
    }
}
