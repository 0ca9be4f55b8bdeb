//! Tests of the binding of addresses to names; addresses and names are documentation's.

use proptest::prelude::*;

use super::*;
use crate::names::NameTable;

const NOW: u64 = 1_700_000_000_000_000_000;
const MINUTE: u64 = 60 * 1_000_000_000;

fn address(n: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, n])
}

fn call(n: u8, port: u16) -> Call<'static> {
    Call {
        endpoint: Endpoint {
            address: address(n),
            port,
            protocol: 6,
        },
        server_name: None,
        encrypted: false,
        asked_for: None,
    }
}

fn odd(table: &NameTable, call: &Call, around: &Surroundings) -> Vec<Feature> {
    features(table, "w", call, around, NOW)
        .into_iter()
        .collect()
}

#[test]
fn an_answer_counts_for_its_lifetime_but_at_least_five_minutes_and_a_quarter_of_an_hour_more() {
    let mut table = NameTable::default();
    table.learn("w", b"short.example", address(1), 0, NOW);
    table.learn("w", b"long.example", address(2), 3600, NOW);
    let name = |n, now| bind(&table, "w", address(n), None, now).map(|b| b.name);
    assert_eq!(name(1, NOW + 20 * MINUTE - 1), Some("short.example"));
    assert_eq!(name(1, NOW + 20 * MINUTE), None);
    assert_eq!(name(2, NOW + 75 * MINUTE - 1), Some("long.example"));
    assert_eq!(name(2, NOW + 75 * MINUTE), None);
    assert_eq!(bind(&table, "other", address(1), None, NOW), None);
}

#[test]
fn of_several_names_the_server_name_decides_and_else_the_latest_answer() {
    let mut table = NameTable::default();
    table.learn("w", b"b.example", address(1), 60, NOW - MINUTE);
    table.learn("w", b"a.example", address(1), 600, NOW - 2 * MINUTE);
    let bound = |server_name: Option<&[u8]>| {
        let b = bind(&table, "w", address(1), server_name, NOW).unwrap();
        (b.name, b.by, b.names)
    };
    assert_eq!(bound(None), ("b.example", By::LatestAnswer, 2));
    assert_eq!(bound(Some(b"A.example.")), ("a.example", By::ServerName, 2));
    assert_eq!(
        bound(Some(b"evil.example")),
        ("b.example", By::LatestAnswer, 2)
    );
}

#[test]
fn what_is_odd_about_a_call_is_told() {
    let mut table = NameTable::default();
    table.learn("w", b"a.example", address(1), 60, NOW);
    let around = Surroundings {
        resolvers: [call(3, 53).endpoint].into(),
        proxies: [call(4, 3128).endpoint].into(),
    };
    let with_name = |name| Call {
        server_name: Some(name),
        ..call(1, 443)
    };
    assert_eq!(odd(&table, &call(1, 443), &around), []);
    assert_eq!(odd(&table, &with_name(b"a.example"), &around), []);
    assert_eq!(
        odd(&table, &with_name(b"b.example"), &around),
        [Feature::ServerNameDiffers]
    );
    let hidden = Call {
        encrypted: true,
        ..with_name(b"front.example")
    };
    assert_eq!(odd(&table, &hidden, &around), [Feature::ServerNameHidden]);
    assert_eq!(
        odd(&table, &call(2, 443), &around),
        [Feature::DirectAddress]
    );
    assert_eq!(odd(&table, &call(3, 53), &around), []);
    assert_eq!(
        odd(&table, &call(2, 53), &around),
        [Feature::DirectAddress, Feature::UnlearnedResolver]
    );
    assert_eq!(
        odd(&table, &call(1, 853), &around),
        [Feature::EncryptedResolver]
    );
    let over_https = Call {
        endpoint: Endpoint {
            address: "8.8.8.8".parse().unwrap(),
            ..call(1, 443).endpoint
        },
        ..call(1, 443)
    };
    assert!(odd(&table, &over_https, &around).contains(&Feature::EncryptedResolver));
    assert_eq!(odd(&table, &call(4, 3128), &around), [Feature::Blind]);
    let host = Target::parse(b"API.example:443", None).unwrap();
    let tunnel = Call {
        asked_for: Some(&host),
        ..call(4, 3128)
    };
    assert_eq!(
        odd(&table, &tunnel, &around),
        [Feature::Through(host.clone())]
    );
}

proptest! {
    #[test]
    fn any_name_can_be_sent(name in proptest::collection::vec(any::<u8>(), 0..40), answers in proptest::collection::vec((0u8..3, 0u64..40), 0..6)) {
        let mut table = NameTable::default();
        for (n, minutes) in &answers {
            table.learn("w", &[b'a' + n], address(1), 0, NOW - minutes * MINUTE);
        }
        let bound = bind(&table, "w", address(1), Some(&name), NOW);
        let valid = answers.iter().filter(|(_, minutes)| *minutes < 20);
        let newest = valid.min_by_key(|(n, minutes)| (*minutes, *n));
        let latest = newest.map(|(n, _)| char::from(b'a' + n).to_string());
        if bound.is_none_or(|b| b.by != By::ServerName) {
            prop_assert_eq!(bound.map(|b| b.name.to_owned()), latest);
        }
        let call = Call { server_name: Some(&name), ..call(1, 443) };
        let _ = features(&table, "w", &call, &Surroundings::default(), NOW);
    }
}
