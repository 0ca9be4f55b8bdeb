//! Tests of the model of destinations: what is known after which calls.

use proptest::prelude::*;

use super::*;

fn model(calls: &[(&str, u64)]) -> DestinationModel {
    let mut model = DestinationModel::default();
    for (name, episode) in calls {
        model.absorb(name.as_bytes(), 443, 6, None, *episode);
    }
    model
}

fn says(model: &DestinationModel, name: &str) -> Known {
    model.knows(name.as_bytes(), 443, 6)
}

#[test]
fn a_name_is_known_exactly_or_by_its_numbers() {
    let model = model(&[("api.example.com", 1), ("cdn-1.example.net", 1)]);
    assert_eq!(says(&model, "API.example.com."), Known::Exact);
    assert_eq!(
        says(&model, "cdn-22.example.net"),
        Known::Class("cdn-{n}.example.net".into())
    );
    assert_eq!(says(&model, "www.example.com"), Known::Unknown);
    assert_eq!(model.knows(b"api.example.com", 8443, 6), Known::Unknown);
    assert_eq!(model.knows(b"api.example.com", 443, 17), Known::Unknown);
    assert_eq!(
        model
            .nearest(b"apo.example.com", 443, 6)
            .first()
            .map(String::as_str),
        Some("api.example.com")
    );
}

#[test]
fn three_siblings_in_three_episodes_open_their_domain() {
    let three = [
        ("a.example.com", 1),
        ("b.example.com", 2),
        ("c.example.com", 3),
    ];
    let all = model(&three);
    assert_eq!(
        says(&all, "d.example.com"),
        Known::Suffix("{any}.example.com".into())
    );
    assert_eq!(all.patterns()[0].0.to_string(), "{any}.example.com:443/tcp");
    assert_eq!(all.patterns().len(), 1);
    for other in ["x.d.example.com", "example.com", "d.example.org"] {
        assert_eq!(says(&all, other), Known::Unknown, "{other}");
    }
    assert_eq!(says(&model(&three[..2]), "d.example.com"), Known::Unknown);
    let once = three.map(|(name, _)| (name, 1));
    assert_eq!(says(&model(&once), "d.example.com"), Known::Unknown);
    let numbered = [
        ("a1.example.com", 1),
        ("a2.example.com", 2),
        ("a3.example.com", 3),
    ];
    assert_eq!(
        says(&model(&numbered), "d.example.com"),
        Known::Unknown,
        "one form"
    );
}

#[test]
fn customers_of_a_provider_never_open_the_provider() {
    for suffix in [
        "github.io",
        "s3.amazonaws.com",
        "blob.core.windows.net",
        "hf.space",
        "slack.com",
    ] {
        let names: Vec<String> = (0..9).map(|n| format!("team{n}x.{suffix}")).collect();
        let calls: Vec<_> = names
            .iter()
            .zip(0..)
            .map(|(n, e)| (n.as_str(), e))
            .collect();
        let model = model(&calls);
        assert_eq!(
            says(&model, &format!("evil.{suffix}")),
            Known::Unknown,
            "{suffix}"
        );
        assert_eq!(
            says(&model, &format!("team77x.{suffix}")),
            Known::Unknown,
            "{suffix}"
        );
        assert_eq!(model.patterns().len(), 9);
    }
}

#[test]
fn the_addresses_of_a_name_are_that_name_s() {
    let mut model = DestinationModel::default();
    for n in 1..5u8 {
        let address = Some(IpAddr::from([192, 0, 2, n]));
        model.absorb(b"a.example.com", 443, 6, address, n.into());
    }
    let inside = IpAddr::from([192, 0, 2, 200]);
    assert!(model.has_address(b"a.example.com", 443, 6, inside));
    assert!(!model.has_address(b"b.example.com", 443, 6, inside));
    let networks = &model.patterns()[0].1;
    assert_eq!(networks, &[(IpAddr::from([192, 0, 2, 0]), 24)]);
    assert!(model.bytes() > 0);
}

#[test]
fn a_full_model_stops_learning_and_says_so() {
    let mut model = DestinationModel::default();
    let name = |n: usize| format!("x{}.y", "a".repeat(n % 64 + 1) + &"b".repeat(n / 64));
    for n in 0..MAX_SERVICES + 10 {
        model.absorb(name(n).as_bytes(), 443, 6, None, 1);
    }
    assert_eq!((model.len(), model.refused()), (MAX_SERVICES, 10));
    assert_eq!(says(&model, &name(0)), Known::Exact);
}

proptest! {
    #[test]
    fn the_order_and_the_host_do_not_matter(
        all in proptest::collection::vec(("[a-d]{1,2}[0-9]?\\.(example\\.com|github\\.io|x)", 0u64..5, any::<u8>()), 0..30),
        cut in any::<prop::sample::Index>(),
    ) {
        let of = |calls: &[(String, u64, u8)]| {
            let mut model = DestinationModel::default();
            for (name, episode, n) in calls {
                let address = Some(IpAddr::from([192, 0, 2, *n]));
                model.absorb(name.as_bytes(), 443, 6, address, *episode);
            }
            model
        };
        let whole = of(&all);
        let (a, b) = all.split_at(if all.is_empty() { 0 } else { cut.index(all.len()) });
        for (first, second) in [(a, b), (b, a)] {
            let mut joined = of(first);
            joined.merge(&of(second));
            prop_assert_eq!(&joined, &whole);
            prop_assert_eq!(joined.patterns(), whole.patterns());
        }
        for (name, ..) in &all {
            prop_assert_ne!(says(&whole, name), Known::Unknown);
        }
    }
}
