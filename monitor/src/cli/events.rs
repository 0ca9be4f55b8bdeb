//! `slmguard events`

use clap::Args;

use super::{Global, Stream, lines, out, record};
use crate::{
    api::view::Event,
    exit::{Exit, Failure},
};

/// What to show, or to record.
#[derive(Debug, Args)]
pub struct Options {
    /// Lines to show.
    #[command(flatten)]
    stream: Stream,
    /// Recording instead of showing.
    #[command(flatten)]
    record: record::Options,
}

pub(super) fn run(global: &Global, options: &Options) -> Result<Exit, Failure> {
    if let Some(file) = &options.record.record {
        return record::run(global, file, &options.record);
    }
    let stream = &options.stream;
    lines::run(global, stream, "events", out::line, |event: &Event| {
        vec![describe(event)]
    })
}

pub(super) fn describe(event: &Event) -> String {
    let who = format!("{}/{}/{}", event.workload, event.role, event.phase);
    let count = if event.count > 1 {
        format!(" ×{}", event.count)
    } else {
        String::new()
    };
    let stage = event
        .stage
        .as_ref()
        .map_or(String::new(), |stage| format!(" ({stage})"));
    format!(
        "{}  {:<11}  {:<7}  {who:<24}  {} {}  {}{count}{stage}",
        out::short_time(&event.time),
        event.verdict,
        event.kind,
        event.process.pid,
        event.process.exe,
        shown(event),
    )
    .trim_end()
    .to_owned()
}

/// The subject, with the name that its address goes by.
fn shown(event: &Event) -> String {
    match &event.name {
        Some(name) => format!("{} ({name})", event.subject),
        None => event.subject.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let event = Event {
            time: "2026-11-21T01:54:59.123456Z".into(),
            workload: "assistant".into(),
            role: "agent".into(),
            phase: "start".into(),
            kind: "connect".into(),
            subject: "10.0.0.1:80/tcp".into(),
            verdict: "blocked".into(),
            count: 3,
            stage: None,
            process: slmguard_core::alert::ProcessInfo {
                pid: 9,
                exe: "/a".into(),
                ..Default::default()
            },
            ..Event::default()
        };
        assert_eq!(
            describe(&event),
            "2026-11-21T01:54:59Z  blocked      connect  assistant/agent/start     9 /a  10.0.0.1:80/tcp ×3"
        );
    }
}
