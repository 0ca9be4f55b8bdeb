//! Reach: whom a workload's calls reach inside its connectors, and on whose word.
//!
//! A host that everybody shares (a mail service, a bank, a chat) hides its true destinations in the
//! arguments of calls. Where those can be read (MCP over stdio or plaintext HTTP), each destination
//! is learned together with where its text came from. A destination that was only ever reached
//! because the person named it in the request is *not* known when nobody names it: so a payment
//! that one task makes on request does not open the account to injected text in another.
//!
//! Counts episodes, never calls. Knows no policy; quorum and organisations are the only rules here.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::address::{self, Shape, Subject};

/// Subjects that are kept; more is a flood.
pub const MAX_SUBJECTS: usize = 32_768;
/// Members of an organisation that must be known before all of it is.
pub const SIBLINGS: usize = 3;

/// Where the text of an argument occurred before the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// In the request of the person. Only where the request can be read.
    pub named: bool,
    /// In an earlier result of a tool; `None` where that cannot be said, because only a part of
    /// the argument is the subject.
    pub from_result: Option<bool>,
}

/// What an argument is in its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// It says where the call goes.
    Destination,
    /// It is carried there.
    Payload,
}

/// A subject that a call reaches, or makes its receiver reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The subject.
    pub subject: Subject,
    /// Its part.
    pub part: Part,
    /// Where it came from.
    pub origin: Origin,
}

/// Something that is not in the baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What.
    pub reached: Reached,
    /// It is known, but only as something that a person names.
    pub only_named: bool,
}

/// Episodes in which a subject was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episodes {
    /// With the person naming it.
    pub named: u32,
    /// Without.
    pub unnamed: u32,
}

/// The baseline of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    subjects: BTreeMap<String, Episodes>,
    episodes: u64,
    refused: u64,
}

/// What one argument reaches.
pub fn reached(text: &str, cut: bool, part: Part, origin: Origin) -> Vec<Reached> {
    let subjects = match part {
        Part::Destination => address::destinations(text, cut),
        Part::Payload => address::links(text, cut),
    };
    subjects
        .into_iter()
        .map(|subject| {
            // That the whole argument did not occur says nothing about a part of it.
            let from_result = origin.from_result.filter(|came| *came || subject.whole);
            Reached {
                subject,
                part,
                origin: Origin {
                    from_result,
                    ..origin
                },
            }
        })
        .collect()
}

impl Reach {
    /// Takes an episode in.
    pub fn learn(&mut self, episode: &[Reached]) {
        self.episodes = self.episodes.saturating_add(1);
        let seen: BTreeSet<(&str, bool)> = episode
            .iter()
            .map(|r| (r.subject.text.as_str(), r.origin.named))
            .collect();
        for (text, named) in seen {
            if !self.subjects.contains_key(text) && self.subjects.len() >= MAX_SUBJECTS {
                self.refused = self.refused.saturating_add(1);
                continue;
            }
            let entry = self.subjects.entry(text.to_owned()).or_default();
            let counter = if named {
                &mut entry.named
            } else {
                &mut entry.unnamed
            };
            *counter = counter.saturating_add(1);
        }
    }

    /// Adds what another host learned.
    pub fn merge(&mut self, other: &Self) {
        self.episodes = self.episodes.saturating_add(other.episodes);
        self.refused = self.refused.saturating_add(other.refused);
        for (text, theirs) in &other.subjects {
            if !self.subjects.contains_key(text) && self.subjects.len() >= MAX_SUBJECTS {
                self.refused = self.refused.saturating_add(1);
                continue;
            }
            let mine = self.subjects.entry(text.clone()).or_default();
            mine.named = mine.named.saturating_add(theirs.named);
            mine.unnamed = mine.unnamed.saturating_add(theirs.unnamed);
        }
    }

    /// The view for judging: what is known with at least `quorum` episodes, and which
    /// organisations are known by [`SIBLINGS`] members.
    pub fn known(&self, quorum: u32) -> Known<'_> {
        let mut members: BTreeMap<&str, usize> = BTreeMap::new();
        for text in self.subjects.keys() {
            if let Some(organisation) = address::organisation(text) {
                *members.entry(organisation).or_default() += 1;
            }
        }
        members.retain(|_, count| *count >= SIBLINGS);
        Known {
            reach: self,
            quorum: quorum.max(1),
            organisations: members.into_keys().collect(),
        }
    }

    /// Episodes taken in.
    pub fn episodes(&self) -> u64 {
        self.episodes
    }

    /// Subjects known.
    pub fn len(&self) -> usize {
        self.subjects.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// Times that a subject was not learned because [`MAX_SUBJECTS`] were known.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

/// See [`Reach::known`].
#[derive(Clone, Debug)]
pub struct Known<'a> {
    reach: &'a Reach,
    quorum: u32,
    organisations: BTreeSet<&'a str>,
}

impl Known<'_> {
    /// What of an episode is not known. What the person named in this very request is not news:
    /// it is what was asked for.
    pub fn news(&self, episode: &[Reached]) -> Vec<News> {
        episode.iter().filter_map(|r| self.news_of(r)).collect()
    }

    fn news_of(&self, reached: &Reached) -> Option<News> {
        let text = &reached.subject.text;
        let episodes = self.reach.subjects.get(text).copied().unwrap_or_default();
        let organisation = address::organisation(text);
        if reached.origin.named
            || episodes.unnamed >= self.quorum
            || organisation.is_some_and(|o| self.organisations.contains(o))
        {
            return None;
        }
        Some(News {
            reached: reached.clone(),
            only_named: episodes.named > 0,
        })
    }
}

impl News {
    /// Its text may have come out of a tool's result, and no person named it: the mark of an
    /// injected destination.
    pub fn is_tainted(&self) -> bool {
        self.reached.origin.from_result != Some(false)
    }

    /// It leads out by itself: a host, a mail address, an account or an id, and not a word that
    /// only a directory resolves.
    pub fn is_routable(&self) -> bool {
        self.reached.subject.shape != Shape::Words
    }

    /// For a person.
    pub fn sentence(&self) -> String {
        let text = crate::text::escape(self.reached.subject.text.as_bytes());
        let known = if self.only_named {
            "was so far only reached when a person named it"
        } else {
            "was never reached before"
        };
        let came = match self.reached.origin.from_result {
            Some(true) => ", and its text comes from what a tool returned",
            Some(false) => "",
            None => ", and nobody named it in the request",
        };
        format!("{text} {known}{came}.")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ASKED: Origin = Origin {
        named: true,
        from_result: Some(false),
    };
    const INJECTED: Origin = Origin {
        named: false,
        from_result: Some(true),
    };

    fn to(text: &str, origin: Origin) -> Vec<Reached> {
        reached(text, false, Part::Destination, origin)
    }

    #[test]
    fn paying_on_request_does_not_open_the_account_to_an_injection() {
        let mut reach = Reach::default();
        reach.learn(&to("US13300001", ASKED));
        let known = reach.known(1);
        assert_eq!(known.news(&to("US13300001", ASKED)), []);
        let news = known.news(&to("US13300001", INJECTED));
        assert!(news[0].only_named && news[0].is_tainted() && news[0].is_routable());
        assert_eq!(
            news[0].sentence(),
            "us13300001 was so far only reached when a person named it, and its text comes from what a tool returned."
        );
    }

    #[test]
    fn three_colleagues_make_an_organisation_and_three_strangers_do_not() {
        let mut reach = Reach::default();
        for name in ["a", "b", "c"] {
            reach.learn(&to(&format!("{name}@corp.example"), INJECTED));
            reach.learn(&to(&format!("{name}@gmail.com"), INJECTED));
        }
        let known = reach.known(1);
        assert_eq!(known.news(&to("d@corp.example", INJECTED)), []);
        assert_eq!(known.news(&to("d@gmail.com", INJECTED)).len(), 1);
    }

    #[test]
    fn a_link_in_a_message_counts_like_a_destination() {
        let reach = Reach::default();
        let text = "hello, click www.evil.example";
        let origin = Origin {
            named: false,
            from_result: Some(false),
        };
        let message = reached(text, false, Part::Payload, origin);
        let news = reach.known(1).news(&message);
        assert!(
            news[0].is_tainted(),
            "a part of an argument may come from anywhere"
        );
        assert_eq!(reached("no link", false, Part::Payload, origin), []);
    }

    #[test]
    fn a_quorum_wants_more_than_one_episode() {
        let mut reach = Reach::default();
        reach.learn(&to("x1", INJECTED));
        assert_eq!(reach.known(2).news(&to("x1", INJECTED)).len(), 1);
        reach.learn(&to("x1", INJECTED));
        assert_eq!(reach.known(2).news(&to("x1", INJECTED)), []);
    }

    proptest! {
        #[test]
        fn what_was_learned_is_no_news_whoever_learned_it(
            a in prop::collection::vec("[a-z0-9@.]{1,12}", 0..20),
            b in prop::collection::vec("[a-z0-9@.]{1,12}", 0..20),
        ) {
            let mut one = Reach::default();
            a.iter().for_each(|text| one.learn(&to(text, INJECTED)));
            let mut other = Reach::default();
            b.iter().for_each(|text| other.learn(&to(text, INJECTED)));
            one.merge(&other);
            let known = one.known(1);
            for text in a.iter().chain(&b) {
                prop_assert_eq!(known.news(&to(text, INJECTED)), vec![]);
            }
            let copy: Reach = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
            prop_assert_eq!(copy, one);
        }
    }
}
