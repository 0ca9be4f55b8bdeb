//! Recent lines in memory, and those who follow them. Bounded both ways: old lines go, and a
//! follower that is too slow loses lines and is told how many.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use tokio::sync::broadcast;

use super::{Answer, Query};

/// One line of JSON and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Workload.
    pub workload: std::sync::Arc<str>,
    /// The line, without its end.
    pub text: std::sync::Arc<str>,
}

/// Recent lines.
#[derive(Debug)]
pub struct Feed {
    recent: Mutex<VecDeque<Line>>,
    kept: usize,
    sender: broadcast::Sender<Line>,
}

impl Feed {
    /// A feed that keeps so many lines, and lets a follower fall behind by as many.
    pub fn new(kept: usize) -> Self {
        let (sender, _) = broadcast::channel(kept.max(1));
        Self {
            recent: Mutex::new(VecDeque::with_capacity(kept)),
            kept,
            sender,
        }
    }

    /// Adds a line.
    pub fn push(&self, line: Line) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        while recent.len() >= self.kept.max(1) {
            recent.pop_front();
        }
        recent.push_back(line.clone());
        // An error only says that nobody follows.
        let _ = self.sender.send(line);
    }

    /// Lines to come.
    pub fn follow(&self) -> broadcast::Receiver<Line> {
        self.sender.subscribe()
    }

    /// Recent lines, and those to come without a gap.
    pub fn answer(&self, query: &Query) -> Answer {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |line: &&Line| {
            query
                .workload
                .as_deref()
                .is_none_or(|w| w == &*line.workload)
        };
        let mut lines: Vec<String> = recent
            .iter()
            .rev()
            .filter(wanted)
            .take(query.limit)
            .map(|line| line.text.to_string())
            .collect();
        lines.reverse();
        Answer {
            lines,
            follow: query.follow.then(|| self.sender.subscribe()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(workload: &str, text: &str) -> Line {
        Line {
            workload: workload.into(),
            text: text.into(),
        }
    }

    #[test]
    fn the_latest_are_kept_and_filtered() {
        let feed = Feed::new(3);
        for n in 0..5 {
            feed.push(line(
                if n % 2 == 0 { "even" } else { "odd" },
                &n.to_string(),
            ));
        }
        let ask = |limit, workload: Option<&str>| {
            let query = Query {
                limit,
                workload: workload.map(str::to_owned),
                follow: false,
            };
            feed.answer(&query).lines
        };
        assert_eq!(ask(10, None), ["2", "3", "4"]);
        assert_eq!(ask(2, None), ["3", "4"]);
        assert_eq!(ask(10, Some("even")), ["2", "4"]);
        assert!(ask(10, Some("none")).is_empty());
    }

    #[test]
    fn a_follower_that_is_too_slow_is_told() {
        let feed = Feed::new(2);
        let mut follower = feed.follow();
        for n in 0..5 {
            feed.push(line("w", &n.to_string()));
        }
        assert!(matches!(
            follower.try_recv(),
            Err(broadcast::error::TryRecvError::Lagged(lost)) if lost == 3
        ));
        assert_eq!(&*follower.try_recv().unwrap().text, "3");
    }
}
