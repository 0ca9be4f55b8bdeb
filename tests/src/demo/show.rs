//! What the audience sees: lines as things happen, a table at the end, or one
//! JSON object per act.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

use super::act::{Course, Verdict};
use super::alert::Alert;
use super::approval::Forecast;

/// The outcome of an act.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Its number.
    pub act: u8,
    /// Its title.
    pub name: String,
    /// What should happen.
    pub expected: Verdict,
    /// What happened.
    pub observed: Verdict,
    /// Whether an attack had no effect.
    pub prevented: bool,
    /// The tier at which the guard works, `none` without it.
    pub tier: String,
    /// The victims' evidence.
    pub proof: Value,
    /// The evidence in a few words.
    #[serde(skip)]
    pub summary: String,
}

impl Report {
    /// Whether it went as it should.
    pub fn passed(&self) -> bool {
        self.expected == self.observed
    }
}

/// Colours of the terminal.
#[derive(Clone, Copy)]
enum Ink {
    Bold,
    Dim,
    Green,
    Red,
}

/// The stage as the audience sees it. In JSON mode standard output carries the
/// reports alone, and progress goes to standard error.
pub struct Show {
    json: bool,
    colour: bool,
    live: bool,
    start: Instant,
}

impl Show {
    /// Raises the curtain.
    pub fn new(json: bool) -> Self {
        let terminal = if json {
            io::stderr().is_terminal()
        } else {
            io::stdout().is_terminal()
        };
        let colour = terminal && std::env::var_os("NO_COLOR").is_none();
        Self {
            json,
            colour,
            live: terminal,
            start: Instant::now(),
        }
    }

    fn print(&self, text: &str) {
        // An audience that has left the room does not stop the play.
        let _ = if self.json {
            let mut out = io::stderr().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        } else {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
    }

    fn ink(&self, ink: Ink, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Bold => 1,
            Ink::Dim => 2,
            Ink::Green => 32,
            Ink::Red => 31,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// The title of the play.
    pub fn title(&self, text: &str) {
        self.print(&format!("\n{}\n\n", self.ink(Ink::Bold, text)));
    }

    /// Something has been set up.
    pub fn ready(&self, what: &str, detail: &str) {
        let elapsed = format!("{:5.1} s", self.start.elapsed().as_secs_f32());
        self.print(&format!(
            "  {}  {what:<10} {detail}\n",
            self.ink(Ink::Dim, &elapsed)
        ));
    }

    /// An act begins.
    pub fn act(&self, number: u8, name: &str) {
        self.print(&format!(
            "\n{}\n",
            self.ink(Ink::Bold, &format!("  Act {number}  {name}"))
        ));
    }

    /// A step within a longer act; each one overwrites the one before.
    pub fn progress(&self, done: usize, of: usize, what: &str) {
        if self.live {
            let bar: String = (0..of).map(|i| if i < done { '█' } else { '░' }).collect();
            self.print(&format!("\r         {bar} {done}/{of} {what:<24}"));
            if done == of {
                self.print(&format!("\r{:78}\r", ""));
            }
        }
    }

    /// A detail of an act.
    pub fn line(&self, label: &str, text: &str) {
        self.print(&format!(
            "         {} {text}\n",
            self.ink(Ink::Dim, &format!("{label:<9}"))
        ));
    }

    /// A command of the guard's, and what it answered.
    pub fn asked(&self, command: &str, answer: &[String]) {
        self.print(&format!("         $ {}\n", self.ink(Ink::Bold, command)));
        self.answer(answer);
    }

    fn answer(&self, lines: &[String]) {
        for line in lines {
            self.print(&format!("           {line}\n"));
        }
    }

    /// How complete the guard takes for what it learned.
    pub fn forecast(&self, forecast: &Forecast) {
        self.asked(&forecast.command, &forecast.told);
        if forecast.more > 0 {
            let rest = format!("… as much about {} more families …", forecast.more);
            self.answer(&[self.ink(Ink::Dim, &rest)]);
        }
        self.answer(&forecast.life);
    }

    /// How an attack went.
    pub fn course(&self, course: &Course) {
        self.line("prompt", &course.words);
        self.line(
            "tool call",
            course
                .call
                .as_deref()
                .unwrap_or("none: the model was not talked into it"),
        );
        self.line("outcome", &course.fate);
    }

    /// What the guard told about it.
    pub fn alert(&self, alert: &Alert) {
        self.line("alert", &alert.words());
    }

    /// An act is over.
    pub fn report(&self, report: &Report) {
        let verdict = format!("{}: {}", report.observed.words(), report.summary);
        let (mark, ink) = if report.passed() {
            ("✔", Ink::Green)
        } else {
            ("✘", Ink::Red)
        };
        self.print(&format!(
            "         {}\n",
            self.ink(ink, &format!("{mark} {verdict}"))
        ));
        if self.json {
            let line = serde_json::to_string(report).unwrap_or_default();
            // As above: the exit status still tells.
            let _ = writeln!(io::stdout().lock(), "{line}");
        }
    }

    /// Something went wrong that is not an act's outcome.
    pub fn problem(&self, text: &str) {
        self.print(&format!(
            "         {}\n",
            self.ink(Ink::Red, &format!("✘ {text}"))
        ));
    }

    /// The whole play in one table.
    pub fn table(&self, reports: &[Report], problems: usize) {
        let name = reports.iter().map(|r| r.name.len()).max().unwrap_or(0);
        let head = format!(
            "  act  {:<name$}  {:<9}  {:<9}  evidence",
            "what was tried", "expected", "observed"
        );
        self.print(&format!("\n{}\n", self.ink(Ink::Bold, &head)));
        for report in reports {
            let (mark, ink) = if report.passed() {
                ("✔", Ink::Green)
            } else {
                ("✘", Ink::Red)
            };
            let observed = self.ink(ink, &format!("{:<9}", report.observed.words()));
            let (act, title, expected) = (report.act, &report.name, report.expected.words());
            let mark = self.ink(ink, mark);
            self.print(&format!(
                "  {mark} {act:<2} {title:<name$}  {expected:<9}  {observed}  {}\n",
                report.summary
            ));
        }
        let passed = reports.iter().filter(|r| r.passed()).count();
        let all = passed == reports.len() && problems == 0;
        let also = if problems == 0 {
            String::new()
        } else {
            format!(", {problems} problems")
        };
        let seconds = self.start.elapsed().as_secs_f32();
        let sum = format!(
            "  {passed} of {} acts as expected{also}, {seconds:.0} s",
            reports.len()
        );
        self.print(&format!(
            "\n{}\n\n",
            self.ink(if all { Ink::Green } else { Ink::Red }, &sum)
        ));
    }

    /// Plain text between acts.
    pub fn say(&self, text: &str) {
        self.print(&format!("{text}\n"));
    }
}
