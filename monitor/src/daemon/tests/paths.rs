//! Files by form: what the kernel's wider pattern lets through is told, and folders in which names
//! keep coming become sets.

use super::*;

const LEARNED: &str = "/srv/q/req-0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0.json";
const LIKE_IT: &str = "/srv/q/req-11111111-2222-3333-4444-555555555555.json";
const FORM: &str = "/srv/q/req-{uuid}.json";

fn told(engine: &Engine, fact: Fact, verdict: Verdict) -> Option<serde_json::Value> {
    let alert = engine.ingest(observation(fact, verdict), None, Instant::now())?;
    Some(serde_json::from_str(&alert.stored.body).unwrap())
}

fn reads(engine: &Engine) -> Vec<String> {
    let (state, scope) = (engine.state(), scope(Role::Agent));
    let entries = state.baseline.entries(&scope);
    let reads = entries.filter(|(family, ..)| *family == Family::Read);
    reads.map(|(_, subject, _)| subject.to_owned()).collect()
}

#[test]
fn a_name_that_only_the_kernel_s_wider_pattern_allows_is_learned_or_told() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    assert!(told(&engine, open(LEARNED), Verdict::New).is_none());
    assert_eq!(reads(&engine), [FORM]);
    // The kernel says "known", because it was given `/srv/q/*`.
    assert!(told(&engine, open("/srv/q/index.db"), Verdict::Known).is_none());
    assert_eq!(reads(&engine), ["/srv/q/index.db", FORM]);

    engine
        .change_mode("a", &change("enforce", true), ROOT)
        .unwrap();
    assert!(told(&engine, open(LIKE_IT), Verdict::Known).is_none());
    let alert = told(&engine, open("/srv/q/other.db"), Verdict::Known).unwrap();
    assert_eq!(alert["subject"], "/srv/q/other.db");
    assert_eq!(alert["verdict"], "audited");
    let text = alert.to_string();
    assert!(text.contains("compares whole names only"), "{text}");
    assert!(told(&engine, open("/srv/p/other.db"), Verdict::Known).is_none());
}

#[test]
fn what_an_operator_s_rule_allows_is_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let rule = format!("{CONFIG}[workload.allow]\nread = [\"/srv/q/other.db\"]\n");
    let (engine, _) = start(dir.path(), &rule);
    told(&engine, open(LEARNED), Verdict::New);
    engine
        .change_mode("a", &change("enforce", true), ROOT)
        .unwrap();
    assert!(told(&engine, open("/srv/q/other.db"), Verdict::Known).is_none());
    assert!(told(&engine, open("/srv/q/third.db"), Verdict::Known).is_some());
}

#[test]
fn a_form_that_is_rejected_is_not_learned_again_and_is_no_deny_rule() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    told(&engine, open(LEARNED), Verdict::New);
    let place = (scope(Role::Agent), Family::Read, FORM.to_owned());
    {
        let mut state = engine.state();
        state.baseline.remove(&place.0, place.1, FORM);
        state.rejected.insert(place);
    }
    told(&engine, open(LIKE_IT), Verdict::New);
    assert!(reads(&engine).is_empty());
    engine.publish_all().unwrap();
}

#[test]
fn names_that_keep_coming_become_a_set_that_survives_a_restart() {
    const DAY: u64 = 86_400_000_000_000;
    let dir = tempfile::tempdir().unwrap();
    let set = ["/srv/in/{any}.md".to_owned()];
    {
        let (engine, _) = start(dir.path(), CONFIG);
        for day in 0..4 {
            for name in ["alpha", "beta", "gamma"] {
                let path = format!("/srv/in/{name}-{}.md", ["w", "x", "y", "z"][day]);
                let mut seen = observation(open(&path), Verdict::New);
                seen.time += day as u64 * DAY;
                engine.ingest(seen, None, Instant::now());
            }
        }
        assert_eq!(reads(&engine).len(), 12);
        engine.save_baseline().unwrap();
        engine.weigh_paths();
        assert_eq!(reads(&engine), set);
        engine.save_paths();
    }
    let (engine, fake) = start(dir.path(), CONFIG);
    assert_eq!(
        reads(&engine),
        set,
        "the names are gone from the store as well"
    );
    let agent = class(&engine, Role::Agent, Phase::Start);
    assert!(fake.told().policies.contains_key(&agent));
    assert!(told(&engine, open("/srv/in/omega.md"), Verdict::Known).is_none());
    assert_eq!(reads(&engine), set);
}
