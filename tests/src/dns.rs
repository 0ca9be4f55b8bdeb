//! The scene's name server: a handful of names, everything else NXDOMAIN.
//!
//! Pure: bytes of a query in, bytes of the answer out. The socket is
//! [`crate::world`]'s.

use std::collections::BTreeMap;
use std::net::IpAddr;

const A: u16 = 1;
const AAAA: u16 = 28;
const IN: u16 = 1;
const HEADER: usize = 12;
/// Seconds for which an answer holds: one test, not more.
const TTL: u32 = 30;
/// "The name is at offset 12": where the question stands.
const NAME_OF_QUESTION: [u8; 2] = [0xc0, 0x0c];

/// The names that exist.
pub type Zone = BTreeMap<&'static str, Vec<IpAddr>>;

/// Answers a query, unless it is none.
pub fn answer(query: &[u8], zone: &Zone) -> Option<Vec<u8>> {
    let header = query.get(..HEADER)?;
    let is_query = header[2] & 0x80 == 0;
    let questions = u16::from_be_bytes([header[4], header[5]]);
    if !is_query || questions != 1 {
        return None;
    }
    let (name, end) = read_name(query, HEADER)?;
    let kind = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
    let question = query.get(HEADER..end + 4)?;

    let known = zone.get(name.as_str());
    let addresses: Vec<Vec<u8>> = known
        .into_iter()
        .flatten()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(v4), A) => Some(v4.octets().to_vec()),
            (IpAddr::V6(v6), AAAA) => Some(v6.octets().to_vec()),
            _ => None,
        })
        .collect();

    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(&header[..2]);
    // An authoritative answer; recursion as desired; 3 = no such name.
    out.push(0x84 | (header[2] & 0x01));
    out.push(if known.is_some() { 0x80 } else { 0x83 });
    for count in [1, addresses.len() as u16, 0, 0] {
        out.extend_from_slice(&count.to_be_bytes());
    }
    out.extend_from_slice(question);
    for address in addresses {
        out.extend_from_slice(&NAME_OF_QUESTION);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&IN.to_be_bytes());
        out.extend_from_slice(&TTL.to_be_bytes());
        out.extend_from_slice(&(address.len() as u16).to_be_bytes());
        out.extend_from_slice(&address);
    }
    Some(out)
}

/// The name at `at` in lower case, and where it ends. Questions are never
/// compressed.
fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        if length > 63 || labels.len() > 127 {
            return None;
        }
        let label = message.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.extend_from_slice(&[0, 0, kind as u8, 0, 1]);
        bytes
    }

    fn zone() -> Zone {
        Zone::from([("weather.demo", vec!["10.77.0.10".parse().expect("address")])])
    }

    #[test]
    fn known_names_have_their_addresses() {
        let answer = answer(&query("Weather.demo", A), &zone()).expect("an answer");
        assert_eq!(&answer[..2], &[0xab, 0xcd], "the query's id");
        assert_eq!(answer[3] & 0x0f, 0);
        assert_eq!(&answer[6..8], &[0, 1], "one address");
        assert_eq!(&answer[answer.len() - 4..], &[10, 77, 0, 10]);
    }

    #[test]
    fn a_name_without_that_kind_of_address_exists_all_the_same() {
        let answer = answer(&query("weather.demo", AAAA), &zone()).expect("an answer");
        assert_eq!((answer[3] & 0x0f, &answer[6..8]), (0, &[0u8, 0][..]));
    }

    #[test]
    fn unknown_names_do_not_exist_and_rubbish_is_not_answered() {
        assert_eq!(
            answer(&query("else.where", A), &zone()).expect("an answer")[3] & 0x0f,
            3
        );
        assert!(answer(&[], &zone()).is_none());
        assert!(answer(&query("weather.demo", A)[..20], &zone()).is_none());
        let mut response = query("weather.demo", A);
        response[2] |= 0x80;
        assert!(answer(&response, &zone()).is_none());
    }
}
