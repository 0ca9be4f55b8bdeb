//! Tests of profiles: text, check, difference, signature.

use ed25519_dalek::SigningKey;
use monitor_common::{event::Verdict, path::permission::READ};
use proptest::prelude::*;

use super::*;
use crate::testing::{connect, exec, open, seen};

fn learned() -> Baseline {
    let mut baseline = Baseline::default();
    for fact in [
        open("/srv/b", READ),
        open("/srv/a*", READ),
        connect("10.0.0.1:443/tcp"),
        exec("/bin/date"),
    ] {
        baseline.absorb(&seen(fact, Verdict::New));
    }
    baseline
}

fn text() -> String {
    Profile::of("assistant", &learned()).to_toml()
}

#[test]
fn a_profile_reads_like_a_list_of_what_is_allowed() {
    assert_eq!(
        text(),
        r#"format = 1
workload = "assistant"
provenance = "recorded"
families = [
    "destination",
    "exec",
    "facility",
    "listen",
    "name",
    "read",
    "unix",
    "write",
]

[[scope]]
role = "agent"
phase = "serve"
connect = ["10.0.0.1:443/tcp"]
read = [
    '/srv/a\x2a',
    "/srv/b",
]
exec = ["/bin/date"]
"#
    );
}

#[test]
fn a_profile_comes_back_from_its_text_and_makes_the_same_baseline() {
    let profile = Profile::from_toml(&text()).unwrap();
    assert_eq!(profile.to_toml(), text());
    let rows = |baseline: Baseline| -> Vec<_> {
        baseline
            .rows()
            .map(|r| (r.role, r.family, r.subject))
            .collect()
    };
    assert_eq!(rows(profile.to_baseline("assistant")), rows(learned()));
    let elsewhere = profile.to_baseline("other");
    assert_eq!(elsewhere.scopes().next().unwrap().workload, "other");
}

#[test]
fn what_cannot_be_enforced_is_refused_with_its_place() {
    let refused = |from: &str, to: &str| {
        let changed = text().replace(from, to);
        assert_ne!(changed, text(), "{from}");
        Profile::from_toml(&changed).unwrap_err().to_string()
    };
    assert_eq!(
        refused("format = 1", "format = 2"),
        "the profile has format 2; this version of slmguard reads format 1"
    );
    assert_eq!(
        refused("\"agent\"", "\"boss\""),
        "scope 1: `boss` is not a role"
    );
    assert!(
        refused("\"/srv/b\"", "\"srv/b\"").starts_with("scope 1 (agent, serve), read, entry 2: ")
    );
    assert!(refused("exec =", "exce =").starts_with("not a profile: "));
    let twice = format!(
        "{0}\n[[scope]]\nrole = \"agent\"\nphase = \"serve\"\n",
        text()
    );
    assert_eq!(
        Profile::from_toml(&twice).unwrap_err().to_string(),
        "scope 2: agent, serve stands in the profile twice"
    );
}

#[test]
fn lists_change_by_family_and_by_subject() {
    let mut profile = Profile {
        families: vec![],
        parts: vec![],
        ..Profile::of("assistant", &learned())
    };
    assert!(!profile.covers(Family::Read));
    profile.take_family(Family::Read, &Profile::of("assistant", &learned()));
    assert!(profile.covers(Family::Read) && !profile.covers(Family::Exec));
    assert_eq!(profile.parts[0].read, [r"/srv/a\x2a", "/srv/b"]);
    assert_eq!(profile.parts[0].exec, [""; 0]);
    let (agent, serve) = (Role::Agent, Phase::Serve);
    assert!(profile.add(agent, serve, Family::Read, "/srv/0"));
    assert!(!profile.add(agent, serve, Family::Read, "/srv/0"));
    assert_eq!(profile.parts[0].read[0], "/srv/0");
    assert!(profile.remove(agent, serve, Family::Read, "/srv/0"));
    assert!(!profile.remove(agent, Phase::Start, Family::Read, "/srv/0"));
    assert_eq!(profile.parts.len(), 1);
}

#[test]
fn what_nobody_has_seen_is_not_approved() {
    let mut baseline = learned();
    let scope = baseline.scopes().next().unwrap().clone();
    baseline.insert(&scope, Family::Read, "/srv/expected", Entry::default());
    assert_eq!(Profile::of("assistant", &baseline).to_toml(), text());
}

#[test]
fn differences_are_listed_both_ways() {
    let before = Profile::from_toml(&text()).unwrap();
    let mut after = before.clone();
    after.parts[0].exec.clear();
    after.parts[0].connect.push("10.0.0.2:443/tcp".into());
    let told: Vec<_> = diff(&before, &after)
        .into_iter()
        .map(|c| (c.family, c.subject, c.added))
        .collect();
    assert_eq!(
        told,
        [
            ("destination", "10.0.0.2:443/tcp".into(), true),
            ("exec", "/bin/date".into(), false)
        ]
    );
    assert_eq!(diff(&before, &before), []);
}

#[test]
fn a_signature_holds_for_the_content_and_for_nothing_else() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let signed = Profile::from_toml(&text()).unwrap().signed(&key);
    let trusted = key.verifying_key();
    let read = Profile::from_toml(&format!("# reviewed\n{}", signed.to_toml())).unwrap();
    assert_eq!(read.verify(&trusted), Ok(()), "comments are free");
    assert_eq!(
        read.fingerprint(),
        Profile::from_toml(&text()).unwrap().fingerprint()
    );

    let mut changed = read.clone();
    changed.parts[0].read.push("/etc/passwd".into());
    assert_eq!(changed.verify(&trusted), Err(SignatureError::Changed));
    let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
    assert!(matches!(
        read.verify(&other),
        Err(SignatureError::OtherKey(_))
    ));
    let mut broken = read.clone();
    broken.signature.as_mut().unwrap().value = "%".into();
    assert!(matches!(
        broken.verify(&trusted),
        Err(SignatureError::Malformed(_))
    ));
    broken.signature = None;
    assert_eq!(broken.verify(&trusted), Err(SignatureError::Missing));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = Profile::from_toml(&text);
    }

    #[test]
    fn any_learned_baseline_is_a_profile(paths in proptest::collection::vec("(/[a-c*{}\\\\ ]{1,4}){1,3}", 0..20)) {
        let mut baseline = Baseline::default();
        for path in &paths {
            baseline.absorb(&seen(open(path, READ), Verdict::New));
        }
        let profile = Profile::of("assistant", &baseline);
        let back = Profile::from_toml(&profile.to_toml());
        prop_assert_eq!(back.as_ref(), Ok(&profile));
        prop_assert!(diff(&profile, &profile).is_empty());
    }
}

/// The profiles that come with slmguard.
#[test]
fn starter_profiles_can_be_read_and_those_of_servers_not_run_here_are_derived() {
    for (name, text) in [
        (
            "ollama",
            include_str!("../../../../packaging/profiles/ollama.toml"),
        ),
        (
            "vllm",
            include_str!("../../../../packaging/profiles/vllm.toml"),
        ),
        (
            "tgi",
            include_str!("../../../../packaging/profiles/tgi.toml"),
        ),
    ] {
        let profile = Profile::from_toml(text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(profile.workload, name);
        assert_eq!(profile.provenance, Provenance::Derived, "{name}");
        let baseline = profile.to_baseline(name);
        assert!(
            !Profile::of(name, &baseline).parts.iter().any(Part::has_any),
            "{name}"
        );
    }
}
