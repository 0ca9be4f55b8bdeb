//! Files of a guarded workload. The proof is what left the file, or entered it.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::Result;
use scene::probe::{Fate, LOOT, Order};
use scene::trial::{Setup, Trial, WORKLOAD, text};

const SECRET: &str = "the secret of this file";

#[test]
fn without_a_guard_every_file_is_read_and_written() -> Result<()> {
    let trial = Trial::unguarded()?;
    let file = trial.file("unknown", SECRET)?;
    let credentials = trial.file("home/.aws/credentials", SECRET)?;
    let outsider = trial.outsider()?;
    let mut probe = trial.member()?;
    assert_eq!(
        probe.ask(&Order::Read(file.clone()))?,
        Fate::Done(SECRET.into())
    );
    assert_eq!(
        probe.ask(&Order::Read(credentials))?,
        Fate::Done(SECRET.into())
    );
    assert!(probe.ask(&Order::Append(file.clone()))?.worked());
    assert_eq!(fs::read_to_string(file)?, format!("{SECRET}{LOOT}"));
    let environ = format!("/proc/{}/environ", outsider.pid());
    assert!(probe.ask(&Order::Read(environ.into()))?.worked());
    Ok(())
}

#[test]
fn a_file_outside_the_policy_stays_closed() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let (known, unknown) = (
        trial.file("known", "known")?,
        trial.file("unknown", SECRET)?,
    );
    trial.learn_and_enforce(&[Order::Read(known.clone())])?;
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&Order::Read(known))?, Fate::Done("known".into()));
    assert_eq!(
        probe.ask(&Order::Read(unknown.clone()))?,
        trial.undeniable(Fate::SHOT)?
    );
    let alert = trial.alert("open", &text(&unknown))?;
    assert_eq!(alert["access"], "read");
    let (verdict, hook) = match trial.daemon()?.tier()?.as_str() {
        "lsm" => ("blocked", "lsm_file_open"),
        _ => ("killed", "open_exit"),
    };
    assert_eq!(
        (alert["verdict"].as_str(), alert["hook"].as_str()),
        (Some(verdict), Some(hook))
    );
    Ok(())
}

#[test]
fn a_file_of_a_known_kind_is_open_and_another_name_in_its_folder_is_told() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let request = |n: u32| format!("queue/req-{n:08x}-4f50-6172-8394-a5b6c7d8e9f0.json");
    let [first, second] = [1, 2].map(|n| trial.file(&request(n), SECRET));
    let (first, second) = (first?, second?);
    let (beside, elsewhere) = (
        trial.file("queue/notes.json", SECRET)?,
        trial.file("other/notes.json", SECRET)?,
    );
    trial.learn_and_enforce(&[Order::Read(first)])?;
    let mut probe = trial.member()?;
    let read = Fate::Done(SECRET.into());
    assert_eq!(probe.ask(&Order::Read(second.clone()))?, read);
    // Detected, not prevented: the kernel compares whole names.
    assert_eq!(probe.ask(&Order::Read(beside.clone()))?, read);
    let alert = trial.alert("open", &text(&beside))?;
    assert_eq!(alert["verdict"], "audited");
    // Prevented: no class of names is allowed there.
    assert_eq!(
        probe.ask(&Order::Read(elsewhere.clone()))?,
        trial.undeniable(Fate::SHOT)?
    );
    trial.alert("open", &text(&elsewhere))?;
    let alerts = trial.daemon()?.alerts()?;
    let about = text(&second);
    assert!(
        alerts
            .iter()
            .all(|alert| alert["subject"] != about.as_str())
    );
    Ok(())
}

#[test]
fn a_file_that_is_known_for_reading_is_not_written() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let (read, written) = (trial.file("read", SECRET)?, trial.file("written", SECRET)?);
    trial.learn_and_enforce(&[Order::Read(read.clone()), Order::Append(written.clone())])?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&Order::Append(written))?.worked());
    assert_eq!(
        probe.ask(&Order::Append(read.clone()))?,
        trial.undeniable(Fate::SHOT)?
    );
    assert_eq!(fs::read_to_string(&read)?, SECRET);
    assert_eq!(trial.alert("open", &text(&read))?["access"], "write");
    Ok(())
}

#[test]
fn an_operator_s_rule_allows_what_was_never_seen() -> Result<()> {
    let trial = Trial::prepared(Setup::tool().with("[workload.allow]\nread = [\"/**/models/*\"]"))?;
    trial.daemon()?.launch()?;
    let (model, other) = (
        trial.file("models/a.gguf", "GGUF")?,
        trial.file("models/deep/b.gguf", SECRET)?,
    );
    trial.learn_and_enforce(&[])?;
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&Order::Read(model))?, Fate::Done("GGUF".into()));
    assert_eq!(
        probe.ask(&Order::Read(other))?,
        trial.undeniable(Fate::SHOT)?,
        "one component only"
    );
    Ok(())
}

#[test]
fn credentials_are_told_in_learn_mode_and_out_of_reach_in_monitor_mode() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let credentials = trial.file("home/.aws/credentials", SECRET)?;
    let harmless = trial.file("home/harmless", "nothing")?;
    let read = Order::Read(credentials.clone());
    assert!(trial.member()?.ask(&read)?.worked());
    assert_eq!(
        trial.alert("open", &text(&credentials))?["verdict"],
        "audited"
    );

    trial.daemon()?.mode(WORKLOAD, "monitor")?;
    assert_eq!(trial.member()?.ask(&read)?, trial.undeniable(Fate::SHOT)?);
    assert!(
        trial.member()?.ask(&Order::Read(harmless))?.worked(),
        "a deviation passes in monitor mode"
    );
    trial.enforce()?;
    assert_eq!(
        trial.member()?.ask(&read)?,
        trial.undeniable(Fate::SHOT)?,
        "learning does not excuse it"
    );
    Ok(())
}

#[test]
fn a_link_to_credentials_is_as_good_as_the_file() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().mode("monitor"))?;
    let credentials = trial.file("home/.aws/credentials", SECRET)?;
    let link = trial.path("notes.txt");
    symlink(&credentials, &link)?;
    assert_eq!(
        trial.member()?.ask(&Order::Read(link))?,
        trial.undeniable(Fate::SHOT)?
    );
    trial.alert("open", &text(&credentials))?;
    Ok(())
}

#[test]
fn memory_and_environment_of_others_are_out_of_reach_and_one_s_own_are_not() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().mode("monitor"))?;
    let outsider = trial.outsider()?;
    for name in ["environ", "mem"] {
        let others = Order::Read(format!("/proc/{}/{name}", outsider.pid()).into());
        assert_eq!(
            trial.member()?.ask(&others)?,
            trial.undeniable(Fate::SHOT)?,
            "{name}"
        );
    }
    let mut probe = trial.member()?;
    assert!(
        probe
            .ask(&Order::Read("/proc/self/environ".into()))?
            .worked()
    );
    let own = Order::Read(format!("/proc/{}/environ", probe.pid()).into());
    assert!(probe.ask(&own)?.worked());
    Ok(())
}

#[test]
fn where_a_server_s_unknown_file_cannot_be_denied_it_is_told() -> Result<()> {
    let trial = Trial::guarded(Setup::role("server"))?;
    let unknown = trial.file("unknown", SECRET)?;
    trial.learn_and_enforce(&[])?;
    let fate = trial.member()?.ask(&Order::Read(unknown.clone()))?;
    let alert = trial.alert("open", &text(&unknown))?;
    if trial.daemon()?.tier()? == "lsm" {
        assert_eq!(
            (fate, alert["verdict"].as_str()),
            (Fate::EPERM, Some("blocked"))
        );
    } else {
        assert_eq!(
            (fate, &alert["prevented"]),
            (Fate::Done(SECRET.into()), &false.into())
        );
    }
    Ok(())
}

#[test]
fn an_operator_may_have_a_tool_live() -> Result<()> {
    let trial = Trial::guarded(
        Setup::tool()
            .tier("cgroup")
            .with("[workload.undeniable]\ntool = \"alert\""),
    )?;
    let unknown = trial.file("unknown", SECRET)?;
    trial.learn_and_enforce(&[])?;
    assert_eq!(
        trial.member()?.ask(&Order::Read(unknown.clone()))?,
        Fate::Done(SECRET.into())
    );
    assert_eq!(trial.alert("open", &text(&unknown))?["prevented"], false);
    Ok(())
}
