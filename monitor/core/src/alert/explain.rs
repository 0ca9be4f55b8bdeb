//! An alert as a page to read at three in the morning: what happened, what is known instead, who
//! did it, and the commands that would allow it or rule it out. Pure text; every command in it is
//! one that this version has.

use super::{Alert, ChainStep};
use crate::{baseline::order::trace::BEFORE, text::shell_word};

/// Where a line begins that belongs to a heading.
const INDENT: &str = "  ";

/// The page, line by line. All of it is harmless text, because everything in an alert is.
pub fn explain(alert: &Alert) -> Vec<String> {
    let mut page = Page::default();
    page.heading(&format!("{} — {}", headline(alert), alert.severity.word()));
    page.line(&alert.time);
    page.line(&format!("alert {} on host {}", alert.id, alert.host));

    page.heading("What happened");
    // The chain has its own place below.
    let own = |reason: &&String| alert.chain.is_empty() || !reason.starts_with(BEFORE);
    alert
        .reasons
        .iter()
        .filter(own)
        .for_each(|reason| page.line(reason));
    if alert.count > 1 {
        page.line(&format!(
            "{} times, first {}, last {}.",
            alert.count, alert.first_seen, alert.last_seen
        ));
    }
    page.line(&format!(
        "Seen by {} on the {} tier, policy {:013x}, in mode {}.",
        alert.hook, alert.tier, alert.policy_version, alert.mode
    ));

    if !alert.chain.is_empty() {
        let told = alert
            .reasons
            .iter()
            .find(|reason| reason.starts_with(BEFORE));
        let title = told.and_then(|reason| reason.split_once(':'));
        page.heading(title.map_or("What came before", |(title, _)| title));
    }
    alert.chain.iter().for_each(|step| page.step(step));

    page.heading("What is known instead");
    if alert.nearest.is_empty() {
        page.line("Nothing like it.");
    }
    alert.nearest.iter().for_each(|near| page.line(near));

    page.heading("Who did it");
    let process = &alert.process;
    page.line(&format!("{} {}", process.pid, process.exe));
    if process.argv.len() > 1 {
        page.line(&format!("called as {}", process.argv.join(" ")));
    }
    page.line(&format!("user {}, cgroup {}", process.uid, process.cgroup));
    for (depth, ancestor) in process.ancestors.iter().enumerate() {
        page.line(&format!("{}started by {ancestor}", INDENT.repeat(depth)));
    }
    if process.adopted {
        page.line("It was running before slmguard was.");
    }

    page.heading("What it may be");
    let techniques = [
        ("ATT&CK", &alert.attack),
        ("ATLAS", &alert.atlas),
        ("OWASP", &alert.owasp),
    ];
    for (list, ids) in techniques.iter().filter(|(_, ids)| !ids.is_empty()) {
        page.line(&format!("{list}: {}", ids.join(", ")));
    }

    page.heading("What to do");
    match choices(alert) {
        Some([allow, never]) => {
            page.line("If the workload needs it:");
            page.command(&allow);
            page.line("If it must never happen, whatever is learned:");
            page.command(&never);
        }
        None => page.line("It cannot be allowed by a command: see the last reason above."),
    }
    page.line("What else it did:");
    page.command(&format!(
        "slmguard events --workload {} --limit 200",
        alert.workload
    ));
    page.lines
}

/// Commands that allow what was seen, and that forbid it for good; `None` where neither is for a
/// command to decide.
pub fn choices(alert: &Alert) -> Option<[String; 2]> {
    let families: &[&str] = match (alert.kind.as_str(), alert.access.as_deref()) {
        ("connect" | "send", _) => &["destination"],
        ("open", Some("read")) => &["read"],
        ("open", Some("write")) => &["write"],
        ("open", Some("read+write")) => &["read", "write"],
        ("change", _) => &["write"],
        ("exec", _) => &["exec"],
        ("unix", _) => &["unix"],
        ("listen", _) => &["listen"],
        ("facility", _) => &["facility"],
        _ => return None,
    };
    // Out of bounds for every workload: no list can have it.
    if alert
        .reasons
        .iter()
        .any(|reason| reason.contains("out of bounds"))
    {
        return None;
    }
    let families: String = families.iter().map(|f| format!(" --family {f}")).collect();
    let place = format!(
        "{} --subject {} --role {} --phase {}{families} --reason \"…\"",
        alert.workload,
        shell_word(&alert.subject),
        alert.role,
        alert.phase
    );
    Some([
        format!("slmguard baseline approve {place}"),
        format!("slmguard baseline reject {place}"),
    ])
}

fn headline(alert: &Alert) -> String {
    let end = match alert.verdict.as_str() {
        "blocked" => "refused",
        "killed" => "process killed",
        "would_block" => "let through; enforce would refuse it",
        _ => "let through",
    };
    format!(
        "{}: {} {}: {end}",
        alert.workload, alert.kind, alert.subject
    )
}

#[derive(Default)]
struct Page {
    lines: Vec<String>,
}

impl Page {
    fn heading(&mut self, text: &str) {
        if !self.lines.is_empty() {
            self.lines.push(String::new());
        }
        self.lines.push(text.into());
    }
    fn line(&mut self, text: &str) {
        self.lines.push(format!("{INDENT}{text}"));
    }
    fn step(&mut self, step: &ChainStep) {
        let class = step.class.as_ref().map(|class| format!("{class} "));
        let new = match step.known {
            Some(false) => ", not in the list",
            _ => "",
        };
        let did = match step.step.as_str() {
            "inbound" => "request from",
            "read" => "read",
            "exec" => "started",
            _ => "called",
        };
        self.line(&format!(
            "{:>8.1} s  {did} {}{}{new}",
            step.after_ms as f64 / 1e3,
            class.unwrap_or_default(),
            step.subject
        ));
    }
    fn command(&mut self, text: &str) {
        self.lines.push(format!("{INDENT}{INDENT}{text}"));
    }
}

#[cfg(test)]
mod tests {
    use monitor_common::{event::Verdict, path::permission::READ};

    use super::*;
    use crate::{
        alert::{AlertContext, ProcessInfo},
        baseline::Baseline,
        decide::decide,
        testing::{connect, open, seen},
    };

    fn alert(fact: crate::observation::Fact) -> Alert {
        let mut baseline = Baseline::default();
        baseline.absorb(&seen(connect("10.0.0.1:443/tcp"), Verdict::New));
        let decision = decide(seen(fact, Verdict::Blocked), &baseline);
        let process = ProcessInfo {
            pid: 4711,
            exe: "/usr/bin/agent".into(),
            argv: vec!["agent".into(), "--serve".into()],
            uid: 1000,
            cgroup: "/a.service".into(),
            ancestors: vec!["7 /bin/sh".into(), "1 /sbin/init".into()],
            ..ProcessInfo::default()
        };
        let context = AlertContext {
            id: "01A".into(),
            host: "h".into(),
            tier: "lsm".into(),
            process,
            policy_version: 0xabc,
        };
        Alert::from_decision(&decision, context)
    }

    #[test]
    fn a_page_says_what_happened_and_ends_with_what_to_do() {
        let page = explain(&alert(connect("10.0.0.2:443/tcp"))).join("\n");
        for part in [
            "assistant: connect 10.0.0.2:443/tcp: refused — ",
            "What happened\n  The agent of workload assistant",
            "What is known instead\n  10.0.0.1:443/tcp\n",
            "  4711 /usr/bin/agent\n  called as agent --serve\n",
            "  started by 7 /bin/sh\n    started by 1 /sbin/init\n",
            "    slmguard baseline approve assistant --subject 10.0.0.2:443/tcp --role agent --phase serve \
             --family destination --reason \"…\"\n",
            "    slmguard baseline reject assistant --subject 10.0.0.2:443/tcp",
        ] {
            assert!(page.contains(part), "{part}\n---\n{page}");
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_for_no_command_to_allow() {
        let mut seen = seen(open("/root/.aws/credentials", READ), Verdict::Blocked);
        seen.invariant = true;
        let mut alert = alert(connect("10.0.0.2:443/tcp"));
        alert.reasons = decide(seen, &Baseline::default()).reasons;
        assert_eq!(choices(&alert), None, "{:?}", alert.reasons);
    }

    #[test]
    fn a_hostile_name_stays_one_word() {
        let alert = alert(open("/srv/a'; rm -rf $HOME; '", READ));
        let [allow, _] = choices(&alert).unwrap();
        assert!(
            allow.contains(r"--subject '/srv/a'\''; rm -rf $HOME; '\''' --role"),
            "{allow}"
        );
    }
}
