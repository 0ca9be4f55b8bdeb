//! Open sets of names: when so many siblings were looked up, on so many days, that any name directly
//! below their domain will do.
//!
//! Whose name a name is, and where nothing may be general, is in [`super::suffix`].

use std::collections::BTreeMap;

use super::{
    few::{ENOUGH, Few},
    suffix,
};

/// Names that one set stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open<'a> {
    /// The set: `{any}.example.com`.
    pub set: String,
    /// Names, as they were learned.
    pub members: Vec<&'a str>,
}

/// The sets that have become open among learned names, each given with the day on which it was first
/// seen: three siblings or more, first seen on three different days or more.
pub fn open_sets<'a>(names: impl IntoIterator<Item = (&'a str, u64)>) -> Vec<Open<'a>> {
    let mut siblings: BTreeMap<String, (Vec<&str>, Few)> = BTreeMap::new();
    for (name, day) in names {
        // A set itself has a class for its first label, as its members may have.
        let Some(set) = suffix::open_of_form(name).filter(|set| set != name) else {
            continue;
        };
        let (members, days) = siblings.entry(set).or_default();
        members.push(name);
        days.add(day);
    }
    siblings
        .into_iter()
        .filter(|(_, (members, days))| members.len() >= ENOUGH && days.is_enough())
        .map(|(set, (members, _))| Open { set, members })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_keep_coming_become_one_set() {
        let names = [
            ("a.example.com", 1),
            ("b.example.com", 2),
            ("cdn-{n}.example.com", 3),
            ("example.com", 4),
            ("deep.a.example.com", 4),
        ];
        let sets = open_sets(names);
        assert_eq!(sets.len(), 1);
        assert_eq!(sets[0].set, "{any}.example.com");
        let members = ["a.example.com", "b.example.com", "cdn-{n}.example.com"];
        assert_eq!(sets[0].members, members);
    }

    #[test]
    fn a_day_a_stranger_and_a_provider_make_none() {
        let one_day = ["a", "b", "c", "d"].map(|l| format!("{l}.example.com"));
        assert_eq!(open_sets(one_day.iter().map(|n| (n.as_str(), 7))), []);
        for domain in ["github.io", "amazonaws.com", "demo", "nip.io"] {
            let names = ["a", "b", "c", "d"].map(|label| format!("{label}.{domain}"));
            let names = names.iter().zip(1..).map(|(n, day)| (n.as_str(), day));
            assert_eq!(open_sets(names), [], "{domain}");
        }
    }

    #[test]
    fn a_set_is_not_its_own_member() {
        let names = [
            ("{any}.example.com", 1),
            ("a.example.com", 2),
            ("b.example.com", 3),
        ];
        assert_eq!(open_sets(names), []);
    }
}
