//! What is known instead: the subjects that are most like an unknown one. For people only; no
//! decision depends on it.

use std::{cmp::Reverse, net::IpAddr};

use monitor_common::class::Family;

use crate::decide::endpoint_rule::EndpointRule;

/// How many are shown.
const SHOWN: usize = 3;
/// How many of the roughly similar are compared letter by letter.
const COMPARED: usize = 24;
/// Letters that are compared; paths differ at their ends.
const LETTERS: usize = 256;

/// The most similar of the known subjects, best first.
pub(super) fn nearest<'a>(
    family: Family,
    subject: &str,
    known: impl Iterator<Item = &'a str>,
) -> Vec<String> {
    let rough: fn(&str, &str) -> (u32, usize) = match family {
        Family::Destination | Family::Listen => like_endpoint,
        Family::Read | Family::Write | Family::Exec | Family::Unix => like_path,
        Family::Name => like_name,
        Family::Facility => |_, _| (1, 0),
    };
    let mut best: Vec<(Reverse<(u32, usize)>, &str)> = known
        .filter(|other| *other != subject)
        .map(|other| (Reverse(rough(subject, other)), other))
        .filter(|(Reverse((likeness, _)), _)| *likeness > 0)
        .collect();
    if best.len() > COMPARED {
        best.select_nth_unstable(COMPARED - 1);
        best.truncate(COMPARED);
    }
    let mut ranked: Vec<_> = best
        .into_iter()
        .map(|(Reverse((likeness, _)), other)| (Reverse(likeness), edits(subject, other), other))
        .collect();
    ranked.sort_unstable();
    ranked
        .into_iter()
        .take(SHOWN)
        .map(|(_, _, other)| other.to_owned())
        .collect()
}

/// Components in common at the front and at the back, the latter twice, because the last one is the
/// file's own name; and bytes in common, for the choice among equally many.
fn like_path(a: &str, b: &str) -> (u32, usize) {
    let parts = |text| str::split(text, '/').filter(|part| !part.is_empty());
    let same = |(x, y): &(&str, &str)| x == y;
    let front = parts(a).zip(parts(b)).take_while(same).count();
    let back = parts(a).rev().zip(parts(b).rev()).take_while(same).count();
    let bytes = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    ((front + 2 * back) as u32, bytes)
}

/// Labels in common from the right, as names are delegated.
fn like_name(a: &str, b: &str) -> (u32, usize) {
    let same = a
        .rsplit('.')
        .zip(b.rsplit('.'))
        .take_while(|(x, y)| x == y)
        .count();
    (1 + same as u32, 0)
}

/// The same address above the same network above the same service; any destination is a little
/// like any other, because there are few and all of them are worth seeing.
fn like_endpoint(a: &str, b: &str) -> (u32, usize) {
    let (Ok(x), Ok(y)) = (EndpointRule::parse(a), EndpointRule::parse(b)) else {
        return (1, 0);
    };
    let bits = match (x.address(), y.address()) {
        (IpAddr::V4(p), IpAddr::V4(q)) => (u32::from(p) ^ u32::from(q)).leading_zeros() * 4,
        (IpAddr::V6(p), IpAddr::V6(q)) => (u128::from(p) ^ u128::from(q)).leading_zeros(),
        _ => 0,
    };
    let service = u32::from(x.service() == y.service());
    (1 + 2 * bits + 3 * service, 0)
}

/// Edit distance over the last letters.
fn edits(a: &str, b: &str) -> usize {
    let tail = |text: &str| {
        let bytes = text.as_bytes();
        bytes[bytes.len().saturating_sub(LETTERS)..].to_vec()
    };
    let (a, b) = (tail(a), tail(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_the_same_name_or_place_come_first() {
        let known = [
            "/srv/models/a.gguf",
            "/srv/models/b/c.gguf",
            "/etc/hosts",
            "/usr/lib/libc.so.6",
        ];
        let near = |subject| nearest(Family::Read, subject, known.into_iter());
        assert_eq!(
            near("/srv/models/b.gguf"),
            ["/srv/models/a.gguf", "/srv/models/b/c.gguf"]
        );
        assert_eq!(near("/opt/libc.so.6"), ["/usr/lib/libc.so.6"]);
        assert_eq!(near("/nothing/alike"), [""; 0]);
    }

    #[test]
    fn destinations_of_the_same_host_and_network_come_first() {
        let known = [
            "10.0.0.1:443/tcp",
            "10.0.9.9:80/tcp",
            "192.0.2.1:443/tcp",
            "[::1]:53/udp",
        ];
        let near = nearest(Family::Destination, "10.0.0.1:8443/tcp", known.into_iter());
        assert_eq!(
            near,
            ["10.0.0.1:443/tcp", "10.0.9.9:80/tcp", "192.0.2.1:443/tcp"]
        );
    }

    #[test]
    fn the_edit_distance_is_one() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("same", "same"), 0);
    }

    #[test]
    fn ten_thousand_known_files_do_not_hurt() {
        let known: Vec<String> = (0..10_000)
            .map(|i| format!("/srv/data/{i}/x.bin"))
            .collect();
        let near = nearest(
            Family::Read,
            "/srv/data/77777/x.bin",
            known.iter().map(String::as_str),
        );
        assert_eq!(near[0], "/srv/data/7777/x.bin");
        assert_eq!(near.len(), 3);
    }
}
