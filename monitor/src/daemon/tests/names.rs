//! Names that are looked up: learned by form, told where they are new, and open sets of them.

use slmguard_core::observation::Lookup;

use super::*;

const DAY: u64 = 86_400_000_000_000;

fn ask(engine: &Engine, name: &str, verdict: Verdict, time: u64) -> Option<serde_json::Value> {
    let fact = Fact::Query(Lookup {
        name: name.into(),
        qtype: 1,
        resolver: odd::to(53, 53),
        cookie: 1,
    });
    let mut observation = observation(fact, verdict);
    observation.time = time;
    let alert = engine.ingest(observation, None, Instant::now())?;
    serde_json::from_str(&alert.stored.body).ok()
}

fn names(engine: &Engine) -> Vec<String> {
    let state = engine.state();
    let rows = state.baseline.rows();
    let names = rows.filter(|row| row.family == "name");
    names.map(|row| row.subject).collect()
}

fn hold(engine: &Engine) {
    engine
        .set_mode("a", &change("monitor", false), ROOT)
        .unwrap();
}

#[test]
fn a_name_that_was_not_learned_is_told_and_one_of_a_learned_form_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    let now = clock::now();
    assert_eq!(ask(&engine, "cdn-17.example.com", Verdict::New, now), None);
    assert_eq!(ask(&engine, "a.github.io", Verdict::New, now), None);
    assert_eq!(names(&engine), ["a.github.io", "cdn-{n}.example.com"]);
    hold(&engine);
    assert_eq!(
        ask(&engine, "cdn-18.example.com", Verdict::Known, now),
        None
    );
    assert_eq!(ask(&engine, "a.github.io", Verdict::Known, now), None);
    let alert = ask(&engine, "b.github.io", Verdict::Known, now).unwrap();
    for (key, value) in [
        ("kind", "query"),
        ("subject", "b.github.io"),
        ("verdict", "audited"),
        ("mode", "monitor"),
    ] {
        assert_eq!(alert[key], value, "{alert}");
    }
    let reasons = alert["reasons"].to_string();
    for text in [
        "looked up",
        "not among the 2 known names",
        "baseline approve a --subject b.github.io",
    ] {
        assert!(reasons.contains(text), "{text}: {reasons}");
    }
    assert_eq!(alert["nearest"][0], "a.github.io", "{alert}");
    assert_eq!(names(&engine).len(), 2, "nothing is learned by being told");
}

#[test]
fn who_never_learned_is_not_judged_and_who_learned_no_name_is() {
    let dir = tempfile::tempdir().unwrap();
    let config = CONFIG.replace("name = \"a\"", "name = \"a\"\nmode = \"enforce\"");
    let (engine, _) = start(dir.path(), &config);
    assert_eq!(
        ask(&engine, "x.example.com", Verdict::Known, clock::now()),
        None
    );

    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    hold(&engine);
    let alert = ask(&engine, "x.example.com", Verdict::Known, clock::now()).unwrap();
    assert!(
        alert["reasons"]
            .to_string()
            .contains("No name that it looks up is known")
    );
}

#[test]
fn names_that_keep_coming_become_an_open_set_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    let now = clock::now();
    for (days, label) in [(3, "red"), (2, "green"), (1, "blue")] {
        let name = format!("{label}.example.com");
        ask(&engine, &name, Verdict::New, now - days * DAY);
    }
    ask(&engine, "a.github.io", Verdict::New, now);
    engine.save_baseline().unwrap();
    engine.weigh_paths();
    let expected = ["a.github.io", "{any}.example.com"];
    assert_eq!(names(&engine), expected);
    hold(&engine);
    assert_eq!(ask(&engine, "white.example.com", Verdict::Known, now), None);
    assert!(ask(&engine, "x.white.example.com", Verdict::Known, now).is_some());
    drop(engine);
    let (engine, _) = start(dir.path(), CONFIG);
    assert_eq!(names(&engine), expected, "as it was stored");
}

/// Numbers of any length in the labels of one owner are one form: data that is carried out in
/// letters is told name by name, up to the budget.
#[test]
fn a_tunnel_is_told_and_then_summed_up() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    hold(&engine);
    let now = clock::now() - 3 * 3_600_000_000_000;
    let told = (0..200u32).filter_map(|n| {
        let label: String = format!("{n:03}")
            .bytes()
            .map(|b| char::from(b + 49))
            .collect();
        ask(
            &engine,
            &format!("{label}.evil.example.com"),
            Verdict::Known,
            now,
        )
    });
    assert_eq!(told.count(), 50);
    let alerts = engine.tell();
    assert_eq!(alerts.len(), 1);
    let summary: serde_json::Value = serde_json::from_str(&alerts[0].stored.body).unwrap();
    assert_eq!(
        (&summary["kind"], &summary["count"]),
        (&"held".into(), &150.into())
    );
}
