//! Hosts behind a declared proxy: the kernel hears of the proxy, what was learned is not told, every
//! other host becomes one alert, and so does what could not be seen.

use std::net::Ipv4Addr;

use slmguard_core::observation::{Request, Target};

use super::{odd::told, *};

const HOUR: u64 = 3_600_000_000_000;

fn config() -> String {
    CONFIG.replace(
        "name = \"a\"",
        "name = \"a\"\nproxies = [\"10.0.0.5:3128\"]",
    )
}

fn asked(engine: &Engine, host: &str, time: u64) {
    let fact = Fact::Request(Request {
        proxy: odd::to(5, 3128),
        target: Target::parse(host.as_bytes(), None),
        tunnel: true,
        cookie: 1,
    });
    odd::seen(engine, fact, time);
}

#[test]
fn the_kernel_is_told_which_proxies_were_declared() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), &config());
    let number = engine.classes.describe(
        class(&engine, Role::Agent, Phase::Start),
        &scope(Role::Agent),
    );
    let told = fake.told();
    assert_eq!(told.proxies.len(), 1);
    let key = told.proxies[0];
    assert_eq!(
        key.address,
        Ipv4Addr::new(10, 0, 0, 5).to_ipv6_mapped().octets()
    );
    assert_eq!(
        (key.workload, key.port, key.zero),
        (number.workload, 3128, 0)
    );
    drop(told);
    let (_, none) = start(tempfile::tempdir().unwrap().path(), CONFIG);
    assert_eq!(none.told().proxies, []);
}

#[test]
fn a_new_host_behind_a_proxy_becomes_an_alert_that_says_what_can_be_done() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), &config());
    let now = clock::now();
    for host in ["api.example.com:443", "models.example.com:443"] {
        asked(&engine, host, now);
    }
    assert_eq!(told(&engine), [0; 0], "it learns");
    engine
        .set_mode("a", &change("enforce", true), ROOT)
        .unwrap();
    asked(&engine, "api.example.com:443", now + HOUR);
    odd::called(&engine, odd::to(5, 3128), now + HOUR);
    assert_eq!(told(&engine), [0; 0], "it was learned");
    asked(&engine, "evil.example:443", now + HOUR);
    asked(&engine, "evil.example:443", now + HOUR + 1);
    let alerts = told(&engine);
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    asked(&engine, "other.example:443", now + HOUR);
    assert_eq!(told(&engine).len(), 1, "another host is other news");
    let alert = &alerts[0];
    for (key, value) in [
        ("kind", "odd"),
        ("subject", "10.0.0.5:3128/tcp"),
        ("verdict", "audited"),
        ("severity", "high"),
        ("workload", "a"),
    ] {
        assert_eq!(alert[key], value, "{key}: {alert}");
    }
    assert_eq!(alert["prevented"], false);
    assert_eq!(alert["nearest"].as_array().unwrap().len(), 2, "{alert}");
    let reasons: Vec<_> = alert["reasons"].as_array().unwrap().iter().collect();
    let text = format!("{reasons:?}");
    for part in [
        "asked the proxy 10.0.0.5:3128/tcp for evil.example:443, which it did not learn",
        "Nothing was stopped",
        "slmguard mode a learn",
        "slmguard baseline reject a --subject 10.0.0.5:3128/tcp",
        "api.example.com:443",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn blind_calls_are_told_once_with_a_count_and_shown_where_the_baseline_is() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), &config());
    let now = clock::now();
    asked(&engine, "api.example.com:443", now);
    engine
        .set_mode("a", &change("enforce", true), ROOT)
        .unwrap();
    asked(&engine, "", now + HOUR);
    asked(&engine, "", now + 2 * HOUR);
    let alerts = told(&engine);
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0]["severity"], "medium");
    let first = alerts[0]["reasons"][0].as_str().unwrap();
    assert!(
        first.contains("the host behind it could not be seen"),
        "{first}"
    );
    let unwatched = engine.evidence("a").unwrap().unwatched.unwrap();
    assert!(
        unwatched.starts_with("2 calls of the proxy 10.0.0.5:3128/tcp"),
        "{unwatched}"
    );
    engine.save_calls();
    drop(engine);

    let (engine, _) = start(dir.path(), &config());
    asked(&engine, "api.example.com:443", now + 3 * HOUR);
    asked(&engine, "", now + 3 * HOUR);
    assert_eq!(told(&engine), [0; 0], "both are known after a restart");
    asked(&engine, "", now + 26 * HOUR);
    assert_eq!(told(&engine)[0]["count"], 3);
}
