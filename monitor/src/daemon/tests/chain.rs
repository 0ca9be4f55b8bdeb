//! Chains and pairs of connectors: what an alert is told, what raises it, and what is kept.

use slmguard_core::{
    alert::{Alert, Severity},
    observation::Flow,
};

use super::*;

const SECOND: u64 = 1_000_000_000;
const FILES: &str = r#"
[[workload]]
name = "a"
private = ["/srv/data/**"]
untrusted = ["/srv/inbox/**"]
[[workload.process]]
role = "agent"
exe = "/bin/sh"
argv = ["no-such-agent"]
"#;

/// Puts something into the flow; the alert about it.
fn take(engine: &Engine, fact: Fact, verdict: Verdict, time: u64) -> Option<Alert> {
    let mut seen = observation(fact, verdict);
    seen.time = time;
    let alert = engine.ingest(seen, None, Instant::now())?;
    Some(Alert::from_json_line(&alert.stored.body).unwrap())
}

fn accept(port: u16) -> Fact {
    let endpoint = |port| Endpoint {
        address: [10, 0, 0, 200].into(),
        port,
        protocol: 6,
    };
    Fact::Accept {
        peer: endpoint(port),
        local: endpoint(80),
        uid: None,
    }
}

#[test]
fn an_inbox_a_private_file_and_a_new_destination_make_one_alert_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), FILES);
    let now = clock::now();
    assert_eq!(
        take(&engine, open("/srv/inbox/1.eml"), Verdict::Known, now),
        None
    );
    let later = now + 2 * SECOND;
    assert_eq!(
        take(&engine, open("/srv/data/crm"), Verdict::Known, later),
        None
    );
    let listed = take(&engine, connect(1), Verdict::Known, later + SECOND);
    assert_eq!(listed, None, "a destination in the list is no news");
    let alert = take(&engine, connect(66), Verdict::Blocked, later + SECOND).unwrap();
    assert_eq!(alert.severity, Severity::Critical);
    let steps: Vec<_> = alert
        .chain
        .iter()
        .map(|s| (s.after_ms, s.step.as_str(), s.subject.as_str()))
        .collect();
    assert_eq!(
        steps,
        [
            (0, "read", "/srv/inbox/1.eml"),
            (2000, "read", "/srv/data/crm"),
            (3000, "egress", "10.0.0.1:80/tcp"),
            (3000, "egress", "10.0.0.66:80/tcp"),
        ]
    );
    assert_eq!(alert.chain[0].class.as_deref(), Some("untrusted"));
    assert_eq!(
        (alert.chain[2].known, alert.chain[3].known),
        (Some(true), Some(false))
    );
    for (ids, id) in [
        (&alert.attack, "T1005"),
        (&alert.atlas, "AML.T0051"),
        (&alert.owasp, "LLM01:2025"),
    ] {
        assert!(ids.iter().any(|i| i == id), "{ids:?}");
        let mut once = ids.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), ids.len(), "{ids:?}");
    }
    let reasons = alert.reasons.join("\n");
    assert!(
        reasons.contains("(/srv/inbox/1.eml), something private (/srv/data/crm)"),
        "{reasons}"
    );
    assert!(
        alert.reasons.last().unwrap().starts_with("To allow it"),
        "{reasons}"
    );
    let page = slmguard_core::alert::explain(&alert).join("\n");
    assert!(
        page.contains("       2.0 s  read private /srv/data/crm\n")
            && page.contains("called 10.0.0.66:80/tcp, not in the list\n")
            && !page.contains("It read untrusted"),
        "{page}"
    );

    // Long after, in nothing that belongs to it.
    let alone = take(&engine, connect(67), Verdict::Blocked, now + 3600 * SECOND).unwrap();
    assert_eq!((alone.severity, alone.chain.len()), (Severity::High, 0));
    assert!(
        alone
            .reasons
            .iter()
            .any(|r| r.starts_with("Before this episode")),
        "{alone:?}"
    );
}

#[test]
fn two_of_three_raise_nothing_and_rows_from_before_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), FILES);
    let now = clock::now();
    take(&engine, open("/srv/data/crm"), Verdict::Known, now);
    let alert = take(&engine, connect(66), Verdict::Blocked, now + SECOND).unwrap();
    assert_eq!((alert.severity, alert.chain.len()), (Severity::High, 2));
    let mut row: serde_json::Value = serde_json::from_str(&alert.to_json_line()).unwrap();
    row.as_object_mut().unwrap().remove("chain");
    let of_old = Alert::from_json_line(&row.to_string()).unwrap();
    assert_eq!(
        of_old,
        Alert {
            chain: vec![],
            ..alert
        }
    );
}

#[test]
fn what_is_found_out_about_a_call_is_told_with_what_came_before() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), FILES);
    let now = clock::now();
    let flow = |last: u8| {
        Fact::Flow(Flow {
            peer: Endpoint {
                address: [10, 0, 0, last].into(),
                port: 443,
                protocol: 6,
            },
            local_port: 40_000,
            inbound: false,
            sent: 512,
            received: 0,
            duration: 0,
            cookie: 1,
        })
    };
    take(&engine, flow(1), Verdict::Known, now);
    engine
        .set_mode("a", &change("monitor", false), ROOT)
        .unwrap();
    let later = now + 7200 * SECOND;
    take(&engine, open("/srv/inbox/1.eml"), Verdict::Known, later);
    take(&engine, flow(9), Verdict::Known, later + SECOND);
    let alerts = engine.tell();
    let alert = Alert::from_json_line(&alerts[0].stored.body).unwrap();
    assert_eq!(
        (alert.kind.as_str(), alert.chain.len()),
        ("odd", 1),
        "{alert:?}"
    );
    assert_eq!(alert.chain[0].subject, "/srv/inbox/1.eml");
}

/// One request in which these are called.
fn request(engine: &Engine, number: u16, verdict: Verdict, to: &[u8], start: u64) {
    let time = start + u64::from(number) * 1000 * SECOND;
    take(engine, accept(number), Verdict::Known, time);
    for one in to {
        assert_eq!(
            take(engine, connect(*one), verdict, time + u64::from(*one)),
            None
        );
    }
}

#[test]
fn the_order_of_connectors_outlives_a_restart_and_a_reset_forgets_it() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), FILES);
    let now = clock::now();
    for number in 0..=30 {
        request(&engine, number, Verdict::New, &[1, 2, 3], now);
    }
    engine
        .set_mode("a", &change("monitor", false), ROOT)
        .unwrap();
    engine.save_evidence();
    engine.save_order();
    drop(engine);

    let (engine, _) = start(dir.path(), FILES);
    let shell = |number: u16| {
        let time = now + u64::from(number) * 1000 * SECOND + 500;
        let alert = take(&engine, open("/srv/x"), Verdict::WouldBlock, time).unwrap();
        let reasons = alert.reasons.into_iter();
        reasons
            .filter(|r| r.contains("learned episodes"))
            .collect::<Vec<_>>()
    };
    request(&engine, 40, Verdict::Known, &[1, 2, 3], now);
    assert_eq!(shell(40), [""; 0], "as always");
    request(&engine, 41, Verdict::Known, &[1, 3], now);
    let told = shell(41);
    assert!(
        told[0].contains("10.0.0.3:80/tcp was called right after 10.0.0.1:80/tcp"),
        "{told:?}"
    );
    engine.weigh_paths();

    engine.set_mode("a", &change("learn", false), ROOT).unwrap();
    let order = view::BaselineOrder {
        reason: "a test".into(),
        ..view::BaselineOrder::default()
    };
    Backend::order_baseline(&*engine, "a", "reset", &order, ROOT).unwrap();
    engine.save_order();
    assert_eq!(
        engine.store.ledger(crate::store::Ledger::Order).unwrap(),
        []
    );
}
