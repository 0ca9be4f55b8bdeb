//! Names and tactics of ATT&CK and ATLAS techniques, out of the vendored lists (`vendored/`).
//! Looks up; says nothing about which technique fits what (that is `mapping`).

/// A catalogue of techniques.
#[derive(Clone, Copy, Debug)]
pub struct Catalogue {
    /// What it is called.
    pub name: &'static str,
    /// A line `id, name, tactics` for each tactic and technique, parted by tabs; the first one holds
    /// the version.
    lines: &'static str,
}

/// MITRE ATT&CK, Enterprise.
pub const ATTACK: Catalogue = Catalogue {
    name: "MITRE ATT&CK",
    lines: include_str!("../../vendored/attack.tsv"),
};

/// MITRE ATLAS.
pub const ATLAS: Catalogue = Catalogue {
    name: "MITRE ATLAS",
    lines: include_str!("../../vendored/atlas.tsv"),
};

/// A tactic or a technique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is called.
    pub name: &'static str,
    /// Ids of the tactics that a technique serves; empty for a tactic.
    pub tactics: Vec<&'static str>,
}

impl Catalogue {
    /// Version of the list: `18.1`.
    pub fn version(self) -> &'static str {
        self.find("version").map_or("", |entry| entry.name)
    }

    /// What an id stands for; `None` if the list does not have it.
    pub fn find(self, id: &str) -> Option<Entry> {
        self.lines.lines().find_map(|line| {
            let mut columns = line.split('\t');
            if columns.next() != Some(id) {
                return None;
            }
            let name = columns.next()?;
            let tactics = columns.next()?.split(',').filter(|id| !id.is_empty());
            Some(Entry {
                name,
                tactics: tactics.collect(),
            })
        })
    }
}

/// The id of the technique that a technique is part of: `T1552` of `T1552.005`, `AML.T0018` of
/// `AML.T0018.002`.
pub fn parent(id: &str) -> Option<&str> {
    let (parent, number) = id.rsplit_once('.')?;
    let is_number = number.len() == 3 && number.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tactics_come_from_the_lists() {
        assert_eq!((ATTACK.version(), ATLAS.version()), ("18.1", "5.6.0"));
        let exfiltration = ATTACK.find("T1041").unwrap();
        assert_eq!(exfiltration.name, "Exfiltration Over C2 Channel");
        assert_eq!(exfiltration.tactics, ["TA0010"]);
        assert_eq!(ATTACK.find("TA0010").unwrap().name, "Exfiltration");
        assert_eq!(
            ATLAS.find("AML.T0051").unwrap().name,
            "LLM Prompt Injection"
        );
        assert_eq!(ATTACK.find("T104"), None);
        assert_eq!(ATTACK.find(""), None);
    }

    #[test]
    fn a_part_of_a_technique_names_the_whole() {
        assert_eq!(parent("T1552.005"), Some("T1552"));
        assert_eq!(parent("AML.T0018.002"), Some("AML.T0018"));
        assert_eq!((parent("T1552"), parent("AML.T0018")), (None, None));
    }

    /// The mapping's table is in its source: every id that stands there between quotes.
    #[test]
    fn every_id_of_the_mapping_is_in_its_list() {
        let quoted = include_str!("mapping.rs").split('"').skip(1).step_by(2);
        let mut seen = [0; 3];
        for id in quoted {
            let bytes = id.as_bytes();
            if id.starts_with("AML.T") {
                seen[0] += 1;
                assert!(ATLAS.find(id).is_some(), "{id} is not in ATLAS");
            } else if id.starts_with('T') && bytes.get(1).is_some_and(u8::is_ascii_digit) {
                seen[1] += 1;
                assert!(ATTACK.find(id).is_some(), "{id} is not in ATT&CK");
            } else if let Some((list, year)) = id.split_once(":20") {
                // Ten risks each; there is no list of them to read.
                seen[2] += 1;
                let numbers: Vec<String> = (1..=10).map(|n| format!("{n:02}")).collect();
                let known = match year {
                    "25" => list.strip_prefix("LLM"),
                    "26" => list.strip_prefix("ASI"),
                    _ => None,
                };
                let known = known.is_some_and(|n| numbers.iter().any(|number| number == n));
                assert!(known, "{id} is not an id of OWASP");
            }
        }
        assert!(
            seen.iter().all(|n| *n > 30),
            "{seen:?}: the source reads otherwise"
        );
    }
}
